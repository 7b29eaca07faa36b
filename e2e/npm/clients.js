'use strict';
// The vendors' own clients behind one small interface, talking to an emulator at 127.0.0.1:PORT by virtual-host
// style names, as they talk to the vendor.

const dns = require('dns');
const fs = require('fs');
const os = require('os');
const path = require('path');

// Names below .test are the emulator's. Nothing else is looked up.
dns.lookup = (host, options, callback) => {
  if (typeof options === 'function') [callback, options] = [options, {}];
  if (!host.endsWith('.test')) return process.nextTick(callback, new Error('no look-up of ' + host));
  if (options && options.all) return process.nextTick(callback, null, [{ address: '127.0.0.1', family: 4 }]);
  return process.nextTick(callback, null, '127.0.0.1', 4);
};

// fail throws an error with what the vendor said.
function refused(status, code, message) {
  const err = new Error(`${status} ${code} ${message || ''}`);
  err.status = Number(status);
  err.code = code;
  return err;
}

// ali-oss, with signature V4 or V1.
function oss({ port, access, secret, region, v4 }) {
  const OSS = require('ali-oss');
  const client = new OSS({
    accessKeyId: access, accessKeySecret: secret, endpoint: `http://oss.test:${port}`, region, authorizationV4: v4,
    retryMax: 0,
  });
  const plain = (h) => Object.fromEntries(Object.entries(h).filter(([k]) => k.startsWith('x-oss-meta-')).map(([k, v]) => [k.slice(11), v]));
  const wrap = async (promise) => {
    try {
      return await promise;
    } catch (err) {
      throw refused(err.status, err.code, err.message);
    }
  };
  return {
    minPart: 100 << 10,
    makeBucket: (b) => wrap(client.putBucket(b)),
    dropBucket: (b) => wrap(client.deleteBucket(b)),
    buckets: async () => (await wrap(client.listBuckets({}))).buckets.map((b) => b.name),
    use: (b) => client.useBucket(b),
    put: (key, body, type, meta) => wrap(client.put(key, body, { mime: type, meta })),
    get: async (key, range) => (await wrap(client.get(key, { headers: range ? { Range: range, 'x-oss-range-behavior': 'standard' } : {} }))).content,
    head: async (key) => {
      const { headers } = (await wrap(client.head(key))).res;
      return { size: Number(headers['content-length']), type: headers['content-type'], etag: headers.etag, meta: plain(headers) };
    },
    page: async (prefix, delimiter, max, at) => {
      // An empty parameter is signed as "prefix=" by this client and as "prefix" by its sister in Go: none is sent.
      const query = { 'max-keys': max, 'encoding-type': 'url' };
      if (prefix) query.prefix = prefix;
      if (delimiter) query.delimiter = delimiter;
      if (at) query['continuation-token'] = at;
      const out = await wrap(client.listV2(query));
      return {
        keys: (out.objects || []).map((o) => decodeURIComponent(o.name)), prefixes: (out.prefixes || []).map(decodeURIComponent),
        next: out.isTruncated ? out.nextContinuationToken : '',
      };
    },
    copy: (to, from, etag) => wrap(client.copy(to, from, etag ? { headers: { 'If-Match': etag } } : {})),
    del: (key) => wrap(client.delete(key)),
    delMany: (keys) => wrap(client.deleteMulti(keys, { quiet: false })),
    multipart: async (key, parts) => {
      const { uploadId } = await wrap(client.initMultipartUpload(key));
      const done = [];
      for (const [i, data] of parts.entries()) {
        const part = await wrap(client.uploadPart(key, uploadId, i + 1, data, 0, data.length));
        done.push({ number: i + 1, etag: part.etag });
      }
      const listed = await wrap(client.listParts(key, uploadId, {}));
      if (listed.parts.length !== parts.length) throw new Error(`listParts shows ${listed.parts.length} parts`);
      await wrap(client.completeMultipartUpload(key, uploadId, done));
    },
    abort: async (key) => {
      const { uploadId } = await wrap(client.initMultipartUpload(key));
      await wrap(client.abortMultipartUpload(key, uploadId));
      return wrap(client.listParts(key, uploadId, {}));
    },
  };
}

// esdk-obs-nodejs with the native signature. It sends a Buffer as text of type application/json, and puts keys into the XML of
// a batch as they are: so bodies are files, and the keys of a batch percent-encoded.
function obs({ port, access, secret }) {
  const ObsClient = require('esdk-obs-nodejs');
  const client = new ObsClient({
    access_key_id: access, secret_access_key: secret, server: `http://obs.test:${port}`, signature: 'obs', max_retry_count: 0,
    is_signature_negotiation: false,
  });
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'obs-'));
  process.on('exit', () => fs.rmSync(dir, { recursive: true }));
  const file = (data) => {
    const SourceFile = path.join(dir, 'body');
    fs.writeFileSync(SourceFile, data);
    return SourceFile;
  };
  const ready = new Promise(setImmediate); // the constructor goes on after it returns
  let Bucket = '';
  const wrap = async (promise) => {
    const { CommonMsg, InterfaceResult } = await promise;
    if (CommonMsg.Status >= 300) throw refused(CommonMsg.Status, CommonMsg.Code, CommonMsg.Message);
    return InterfaceResult;
  };
  return {
    minPart: 100 << 10,
    makeBucket: (b) => ready.then(() => wrap(client.createBucket({ Bucket: b }))),
    dropBucket: (b) => wrap(client.deleteBucket({ Bucket: b })),
    buckets: async () => (await wrap(client.listBuckets({}))).Buckets.map((b) => b.BucketName),
    use: (b) => { Bucket = b; },
    put: (Key, body, ContentType, Metadata) => wrap(client.putObject({ Bucket, Key, SourceFile: file(body), ContentType, Metadata })),
    get: async (Key, Range) => {
      const { Content } = await wrap(client.getObject({ Bucket, Key, Range, SaveAsStream: true }));
      const pieces = [];
      for await (const piece of Content) pieces.push(piece);
      return Buffer.concat(pieces);
    },
    head: async (Key) => {
      const out = await wrap(client.getObjectMetadata({ Bucket, Key }));
      return { size: Number(out.ContentLength), type: out.ContentType, etag: out.ETag, meta: out.Metadata };
    },
    page: async (Prefix, Delimiter, MaxKeys, Marker) => {
      const out = await wrap(client.listObjects({ Bucket, Prefix, Delimiter, MaxKeys, Marker, EncodingType: 'url' }));
      return {
        keys: out.Contents.map((o) => o.Key), prefixes: out.CommonPrefixes.map((p) => p.Prefix),
        next: String(out.IsTruncated) === 'true' ? out.NextMarker : '',
      };
    },
    copy: (Key, from, etag) => wrap(client.copyObject({ Bucket, Key, CopySource: `${Bucket}/${from}`, CopySourceIfMatch: etag && etag.replace(/"/g, '') })),
    del: (Key) => wrap(client.deleteObject({ Bucket, Key })),
    delMany: (keys) => wrap(client.deleteObjects({ Bucket, Quiet: false, EncodingType: 'url', Objects: keys.map((key) => ({ Key: encodeURIComponent(key) })) })),
    multipart: async (Key, parts) => {
      const { UploadId } = await wrap(client.initiateMultipartUpload({ Bucket, Key }));
      const Parts = [];
      for (const [i, body] of parts.entries()) {
        const part = await wrap(client.uploadPart({ Bucket, Key, UploadId, PartNumber: i + 1, SourceFile: file(body) }));
        Parts.push({ PartNumber: i + 1, ETag: part.ETag });
      }
      const listed = await wrap(client.listParts({ Bucket, Key, UploadId }));
      if (listed.Parts.length !== parts.length) throw new Error(`listParts shows ${listed.Parts.length} parts`);
      await wrap(client.completeMultipartUpload({ Bucket, Key, UploadId, Parts }));
    },
    abort: async (Key) => {
      const { UploadId } = await wrap(client.initiateMultipartUpload({ Bucket, Key }));
      await wrap(client.abortMultipartUpload({ Bucket, Key, UploadId }));
      return wrap(client.listParts({ Bucket, Key, UploadId }));
    },
  };
}

// cos-nodejs-sdk-v5.
function cos({ port, access, secret, region }) {
  const COS = require('cos-nodejs-sdk-v5');
  const client = new COS({
    SecretId: access, SecretKey: secret, Protocol: 'http:', Domain: `{Bucket}.cos.test:${port}`,
    ServiceDomain: `service.cos.test:${port}`, AutoSwitchHost: false,
  });
  let Bucket = '';
  const Region = region;
  const wrap = async (promise) => {
    try {
      return await promise;
    } catch (err) {
      throw refused(err.statusCode, err.code, err.message);
    }
  };
  return {
    minPart: 1 << 20,
    suffix: '-1250000000',
    makeBucket: (b) => wrap(client.putBucket({ Bucket: b, Region })),
    dropBucket: (b) => wrap(client.deleteBucket({ Bucket: b, Region })),
    buckets: async () => (await wrap(client.getService({}))).Buckets.map((b) => b.Name),
    use: (b) => { Bucket = b; },
    put: (Key, Body, ContentType, meta) => wrap(client.putObject({
      Bucket, Region, Key, Body, ContentType, Headers: Object.fromEntries(Object.entries(meta || {}).map(([k, v]) => ['x-cos-meta-' + k, v])),
    })),
    get: async (Key, Range) => (await wrap(client.getObject({ Bucket, Region, Key, Range }))).Body,
    head: async (Key) => {
      const { headers } = await wrap(client.headObject({ Bucket, Region, Key }));
      return {
        size: Number(headers['content-length']), type: headers['content-type'], etag: headers.etag,
        meta: Object.fromEntries(Object.entries(headers).filter(([k]) => k.startsWith('x-cos-meta-')).map(([k, v]) => [k.slice(11), v])),
      };
    },
    page: async (Prefix, Delimiter, MaxKeys, Marker) => {
      const out = await wrap(client.getBucket({ Bucket, Region, Prefix, Delimiter, MaxKeys, Marker, EncodingType: 'url' }));
      const decode = (s) => decodeURIComponent(s);
      return {
        keys: out.Contents.map((o) => decode(o.Key)), prefixes: out.CommonPrefixes.map((p) => decode(p.Prefix)),
        next: out.IsTruncated === 'true' ? decode(out.NextMarker) : '',
      };
    },
    copy: (Key, from, etag) => wrap(client.putObjectCopy({
      Bucket, Region, Key, CopySourceIfMatch: etag, CopySource: `${Bucket}.cos.ap-guangzhou.myqcloud.com/${from.split('/').map(encodeURIComponent).join('/')}`,
    })),
    del: (Key) => wrap(client.deleteObject({ Bucket, Region, Key })),
    delMany: (keys) => wrap(client.deleteMultipleObject({ Bucket, Region, Quiet: false, Objects: keys.map((Key) => ({ Key })) })),
    multipart: async (Key, parts) => {
      const { UploadId } = await wrap(client.multipartInit({ Bucket, Region, Key }));
      const Parts = [];
      for (const [i, Body] of parts.entries()) {
        const part = await wrap(client.multipartUpload({ Bucket, Region, Key, UploadId, PartNumber: i + 1, Body, ContentLength: Body.length }));
        Parts.push({ PartNumber: i + 1, ETag: part.ETag });
      }
      const listed = await wrap(client.multipartListPart({ Bucket, Region, Key, UploadId }));
      if (listed.Part.length !== parts.length) throw new Error(`multipartListPart shows ${listed.Part.length} parts`);
      await wrap(client.multipartComplete({ Bucket, Region, Key, UploadId, Parts }));
    },
    abort: async (Key) => {
      const { UploadId } = await wrap(client.multipartInit({ Bucket, Region, Key }));
      await wrap(client.multipartAbort({ Bucket, Region, Key, UploadId }));
      return wrap(client.multipartListPart({ Bucket, Region, Key, UploadId }));
    },
  };
}

module.exports = { oss, obs, cos };
