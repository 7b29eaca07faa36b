'use strict';
// roundtrip.js CLIENT PORT ACCESS SECRET REGION: one vendor's client against an emulator. Prints a line a
// check, and exits with 1 when one fails.

const crypto = require('crypto');
const clients = require('./clients');

const [name, port, access, secret, region] = process.argv.slice(2);
const kinds = {
  'oss-v4': (o) => clients.oss({ ...o, v4: true }),
  'oss-v1': (o) => clients.oss({ ...o, v4: false }),
  obs: clients.obs,
  cos: clients.cos,
};

// Keys that signatures, URLs and XML have trouble with.
const hostile = [
  'plain', 'with space', ' leading and trailing ', 'a+b', '100%', 'a%2Fb', 'a%252Fb', 'a%00b', 'Ärger/ß', 'ключ', '世界/こんにちは',
  '🚀/🎉', 'cafe\u0301', 'a?b=c&d', '?uploads', 'a#b', 'a&b<c>d', 'a"b\'c`d', 'C:/x', 'a*b|c', 'a;b,c=d@e', '$HOME/${x}',
  '!()~*\'', '...', '.hidden', '.git/config', 'a/', 'a//b', 'dir/sub dir/file+1%.txt', '[x]{y}^', 'a\\b', 'x'.repeat(800),
];

let failed = 0;
function check(what, ok, detail) {
  if (!ok) failed++;
  console.log(`${ok ? 'ok' : 'FAILED'} ${what}${ok || detail === undefined ? '' : ': ' + detail}`);
}

async function attempt(what, fn) {
  try {
    await fn();
  } catch (err) {
    check(what, false, err.stack.split("\n").slice(0, 4).join(" "));
  }
}

// refusal is the error that a call ends with.
async function refusal(promise) {
  try {
    await promise;
  } catch (err) {
    return err;
  }
  return { message: 'no error', status: 0 };
}

const random = (n) => crypto.randomBytes(n);

async function listAll(c, prefix, delimiter, max) {
  const keys = [], prefixes = [];
  let at;
  for (let pages = 0; pages < 1000; pages++) {
    const page = await c.page(prefix, delimiter, max, at);
    if (page.keys.length + page.prefixes.length > max) throw new Error('a page is too long');
    keys.push(...page.keys);
    prefixes.push(...page.prefixes);
    if (!page.next) return { keys, prefixes, pages: pages + 1 };
    at = page.next;
  }
  throw new Error('the listing has no end');
}

async function hostileKeys(c) {
  for (const key of hostile) {
    await attempt(`key ${JSON.stringify(key.slice(0, 40))}`, async () => {
      const data = random(100 + key.length);
      await c.put(key, data);
      const got = await c.get(key);
      const head = await c.head(key);
      check(`key ${JSON.stringify(key.slice(0, 40))}`, data.equals(got) && head.size === data.length, `${got.length} of ${data.length} bytes`);
    });
  }
  await attempt('list of hostile keys', async () => {
    const { keys, pages } = await listAll(c, '', '', 7);
    const want = [...hostile].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    check(`list of ${keys.length} hostile keys on ${pages} pages`, JSON.stringify(keys) === JSON.stringify(want), JSON.stringify(keys));
  });
  for (const key of hostile) {
    await attempt(`copy of ${JSON.stringify(key.slice(0, 40))}`, async () => {
      const to = 'copies/' + crypto.randomUUID();
      await c.copy(to, key);
      check(`copy of ${JSON.stringify(key.slice(0, 40))}`, (await c.get(to)).equals(await c.get(key)));
      await c.del(to);
    });
  }
  for (const key of hostile.slice(0, 5)) await c.del(key);
  await attempt('delete many', async () => {
    await c.delMany(hostile.slice(5));
    const { keys } = await listAll(c, '', '', 100);
    check('delete many', keys.length === 0, JSON.stringify(keys));
  });
}

async function objects(c) {
  const data = random(10000);
  await c.put('dir/object', data, 'text/x-emulated', { owner: 'someone', 'two-words': 'a b' });
  const head = await c.head('dir/object');
  check('content type', head.type === 'text/x-emulated', head.type);
  check('metadata', head.meta.owner === 'someone' && head.meta['two-words'] === 'a b', JSON.stringify(head.meta));
  const md5 = crypto.createHash('md5').update(data).digest('hex');
  check('ETag is the MD5', head.etag.replace(/"/g, '').toLowerCase() === md5, head.etag);
  for (const [first, last] of [[0, 0], [0, 9], [5000, 9999], [9999, 9999], [9990, 20000]]) {
    const got = await c.get('dir/object', `bytes=${first}-${last}`);
    check(`range ${first}-${last}`, got.equals(data.subarray(first, last + 1)), `${got.length} bytes`);
  }
  await c.copy('dir/copy', 'dir/object', head.etag);
  check('copy if-match', (await c.get('dir/copy')).equals(data));
  const stale = await refusal(c.copy('dir/copy', 'dir/object', '"00000000000000000000000000000000"'));
  check('copy if-match of another version', stale.status === 412 && stale.code === 'PreconditionFailed', stale.message);
  await c.del('dir/copy');
  const empty = Buffer.alloc(0);
  await c.put('dir/empty', empty);
  check('empty object', (await c.get('dir/empty')).length === 0 && (await c.head('dir/empty')).size === 0);
  const missing = await refusal(c.get('dir/missing'));
  check('missing key', missing.status === 404 && missing.code === 'NoSuchKey', missing.message);
  for (let i = 0; i < 25; i++) await c.put(`tree/${i % 5}/file ${i}`, Buffer.from(String(i)));
  const { keys, prefixes } = await listAll(c, 'tree/', '/', 2);
  check('list with delimiter', keys.length === 0 && prefixes.join() === 'tree/0/,tree/1/,tree/2/,tree/3/,tree/4/', prefixes.join());
  const all = await listAll(c, '', '', 3);
  check('list by threes', new Set(all.keys).size === 27 && all.keys.length === 27, JSON.stringify(all.keys));
}

async function multipart(c) {
  const parts = [random(c.minPart), random(c.minPart + 17), random(333)];
  await c.multipart('big file+%.bin', parts);
  const whole = Buffer.concat(parts);
  check('multipart', (await c.get('big file+%.bin')).equals(whole));
  const edge = c.minPart;
  const got = await c.get('big file+%.bin', `bytes=${edge - 5}-${edge + 4}`);
  check('range across a seam', got.equals(whole.subarray(edge - 5, edge + 5)));
  const small = await refusal(c.multipart('small', [random(1000), random(1000)]));
  check('a small part is refused', small.status === 400 && small.code === 'EntityTooSmall', small.message);
  const gone = await refusal(c.abort('aborted'));
  check('abort', gone.status === 404 && gone.code === 'NoSuchUpload', gone.message);
}

async function credentials(bucket) {
  const wrong = kinds[name]({ port, access, secret: secret + 'x', region });
  wrong.use(bucket);
  await new Promise(setImmediate);
  const bad = await refusal(wrong.put('k', Buffer.from('x')));
  check('a wrong secret is refused', bad.status === 403 && bad.code === 'SignatureDoesNotMatch', bad.message);
  const stranger = kinds[name]({ port, access: 'stranger', secret, region });
  stranger.use(bucket);
  await new Promise(setImmediate);
  const unknown = await refusal(stranger.get('k'));
  check('an unknown access key is refused', unknown.status === 403 && unknown.code === 'InvalidAccessKeyId', unknown.message);
}

async function main() {
  const c = kinds[name]({ port, access, secret, region });
  const bucket = 'npm-' + crypto.randomUUID().slice(0, 8) + (c.suffix || '');
  await c.makeBucket(bucket);
  c.use(bucket);
  check('list of buckets', (await c.buckets()).includes(bucket));
  await attempt('hostile keys', () => hostileKeys(c));
  await attempt('objects', () => objects(c));
  await attempt('multipart', () => multipart(c));
  await attempt('credentials', () => credentials(bucket));
  const full = await refusal(c.dropBucket(bucket));
  check('a full bucket is kept', full.status === 409 && full.code === 'BucketNotEmpty', full.message);
}

main().then(() => {
  console.log(failed ? `${failed} checks FAILED` : 'all checks passed');
  process.exit(failed ? 1 : 0);
}, (err) => {
  console.error(err);
  process.exit(1);
});
