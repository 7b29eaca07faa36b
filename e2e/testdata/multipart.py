"""Multipart uploads by boto3, by its transfer manager and by hand. The endpoint and the keys come from the environment.

    multipart.py transfer BUCKET BYTES...        objects of these sizes with several thresholds and part sizes
    multipart.py parts BUCKET COUNT SIZE SEED    COUNT parts of SIZE bytes: any order, every one twice, gaps
    multipart.py checksums BUCKET                composite and full-object checksums, to where they are read again
    multipart.py copies BUCKET OTHER             parts copied from both buckets, whole and by ranges
    multipart.py refusals BUCKET                 what must be refused, and how
"""

import base64
import hashlib
import io
import random
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

MIB = 1 << 20
s3 = boto3.client("s3", config=Config(max_pool_connections=32, retries={"max_attempts": 0}))


def blob(size, seed):
    return random.Random(seed).randbytes(size)


def whole(bucket, key):
    return s3.get_object(Bucket=bucket, Key=key)["Body"].read()


def same(bucket, key, want):
    got = whole(bucket, key)
    assert got == want, f"{key}: {len(got)} bytes are not the {len(want)} that were sent"


def fails(code, call, **args):
    try:
        call(**args)
    except ClientError as e:
        assert e.response["Error"]["Code"] == code, f"{call.__name__}: {e}, want {code}"
        return
    raise AssertionError(f"{call.__name__}{ {k: v for k, v in args.items() if k != 'Body'} } was not refused with {code}")


def composite_etag(parts):
    sums = b"".join(hashlib.md5(p).digest() for p in parts)
    return f'"{hashlib.md5(sums).hexdigest()}-{len(parts)}"'


def transfer(bucket, *sizes):
    configs = [
        TransferConfig(),
        TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=16),
        TransferConfig(multipart_threshold=1, multipart_chunksize=7 * MIB, max_concurrency=3),
        TransferConfig(multipart_threshold=6 * MIB, multipart_chunksize=5 * MIB + 1, use_threads=False),
    ]
    for size in map(int, sizes):
        data = blob(size, size)
        for i, config in enumerate(configs):
            key = f"transfer/{size}-{i}"
            s3.upload_fileobj(io.BytesIO(data), bucket, key, Config=config, ExtraArgs={"Metadata": {"n": str(i)}})
            back = io.BytesIO()
            s3.download_fileobj(bucket, key, back, Config=config)
            assert back.getvalue() == data, key
            head = s3.head_object(Bucket=bucket, Key=key)
            assert head["ContentLength"] == size and head["Metadata"] == {"n": str(i)}, head
            s3.copy({"Bucket": bucket, "Key": key}, bucket, key + ".copy", Config=config)
            same(bucket, key + ".copy", data)
        print(f"{size} bytes, {len(configs)} configurations")


def chosen(count, rng):
    """Numbers with gaps; the first and the last that there can be are among them."""
    if count >= 9_900:
        numbers = [n for n in range(1, 10_001) if n in (1, 10_000) or rng.random() < count / 10_000]
        return numbers if count < 10_000 else list(range(1, 10_001))
    return sorted({1, 10_000, *rng.sample(range(2, 10_000), count - 2)})


def parts(bucket, count, size, seed):
    count, size, key = int(count), int(size), "parts/k"
    rng = random.Random(seed)
    numbers = chosen(count, rng)
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    at = dict(Bucket=bucket, Key=key, UploadId=upload)

    def data(n, round):  # the last part, and those that are not chosen at the end, may be short
        return blob(size if n != numbers[-1] else 3, f"{seed}.{n}.{round}")

    def send(job):
        n, round = job
        return n, s3.upload_part(**at, PartNumber=n, Body=data(n, round))["ETag"]

    etags = {}
    for round in range(2):
        order = [(n, round) for n in numbers]
        rng.shuffle(order)
        with ThreadPoolExecutor(8) as pool:
            etags.update(pool.map(send, order))
    left_out = next((n for n in range(2, 10_000) if n not in etags), None)
    if left_out:
        send((left_out, 0))  # a part that is not completed with
    listed = []
    for page in s3.get_paginator("list_parts").paginate(**at, PaginationConfig={"PageSize": 333}):
        listed += [(p["PartNumber"], p["ETag"], p["Size"]) for p in page.get("Parts", [])]
    want = sorted([(n, e, len(data(n, 1))) for n, e in etags.items()] + ([(left_out, None, None)] if left_out else []))
    assert [p[0] for p in listed] == [p[0] for p in want], f"{len(listed)} parts are listed, want {len(want)}"
    assert all(w[1] is None or p == w for p, w in zip(listed, want)), "a part is listed with another ETag or size"
    stale = [{"PartNumber": n, "ETag": f'"{hashlib.md5(data(n, 0)).hexdigest()}"'} for n in numbers]
    fails("InvalidPart", s3.complete_multipart_upload, **at, MultipartUpload={"Parts": stale})
    done = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in numbers]})
    assert done["ETag"] == composite_etag([data(n, 1) for n in numbers]), done["ETag"]
    body, h = s3.get_object(Bucket=bucket, Key=key)["Body"], hashlib.sha256()
    for piece in body.iter_chunks(1 << 20):
        h.update(piece)
    wanted = hashlib.sha256()
    for n in numbers:
        wanted.update(data(n, 1))
    assert h.hexdigest() == wanted.hexdigest(), "the object is not its parts in order"
    again = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in numbers]})
    assert again["ETag"] == done["ETag"], "completed again"
    print(f"{len(numbers)} parts from 1 to {numbers[-1]}, each sent twice, {len(listed)} listed")


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def sha(name):
    return lambda data: base64.b64encode(hashlib.new(name, data).digest()).decode()


def checksums(bucket):
    for alg, kind, of in [("CRC32", "COMPOSITE", crc32), ("CRC32", "FULL_OBJECT", crc32),
                          ("SHA1", "COMPOSITE", sha("sha1")), ("SHA256", "COMPOSITE", sha("sha256"))]:
        key, name = f"sums/{alg}-{kind}", f"Checksum{alg}"
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm=alg, ChecksumType=kind)
        at = dict(Bucket=bucket, Key=key, UploadId=upload["UploadId"])
        blobs = [blob(5 * MIB, 1), blob(5 * MIB + 7, 2), blob(9, 3)]
        done = []
        for n, data in enumerate(blobs, 1):
            fails("BadDigest", s3.upload_part, **at, PartNumber=n, Body=data, **{name: of(b"other")})
            # The first comes with a checksum in its header, the others in a trailer or as the client likes.
            given = {name: of(data)} if n == 1 else {"ChecksumAlgorithm": alg}
            out = s3.upload_part(**at, PartNumber=n, Body=data, **given)
            assert out[name] == of(data), out
            done.append({"PartNumber": n, "ETag": out["ETag"], name: out[name]})
        if kind == "COMPOSITE":
            raw = b"".join(base64.b64decode(of(b)) for b in blobs)
            want = f"{of(raw)}-{len(blobs)}"
        else:
            want = of(b"".join(blobs))
        bad = {name: of(b"other") + ("-3" if kind == "COMPOSITE" else ""), "ChecksumType": kind}
        fails("BadDigest", s3.complete_multipart_upload, **at, MultipartUpload={"Parts": done}, **bad)
        out = s3.complete_multipart_upload(**at, MultipartUpload={"Parts": done}, **{name: want, "ChecksumType": kind})
        assert out[name] == want and out["ChecksumType"] == kind, out
        head = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        assert head[name] == want and head["ChecksumType"] == kind, head
        attrs = s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=["Checksum", "ObjectSize", "ETag"])
        assert attrs["Checksum"][name] == want and attrs["ObjectSize"] == sum(map(len, blobs)), attrs
        same(bucket, key, b"".join(blobs))
        print(f"{alg} {kind}: {want}")


def copies(bucket, other):
    data = blob(12 * MIB + 5, 4)
    for b in (bucket, other):
        s3.put_object(Bucket=b, Key="copies/söurce 1+2%", Body=data)
    for b in (bucket, other):
        key = f"copies/from-{b}"
        upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
        at = dict(Bucket=bucket, Key=key, UploadId=upload)
        source = {"Bucket": b, "Key": "copies/söurce 1+2%"}
        for ranges in ("bytes=0-99999999", "bytes=5-", "bytes=9-2", "0-5", f"bytes={len(data)}-{len(data)}"):
            fails("InvalidArgument", s3.upload_part_copy, **at, PartNumber=1, CopySource=source, CopySourceRange=ranges)
        fails("NoSuchKey", s3.upload_part_copy, **at, PartNumber=1, CopySource={"Bucket": b, "Key": "copies/none"})
        fails("NoSuchBucket", s3.upload_part_copy, **at, PartNumber=1, CopySource={"Bucket": "nobody-has-it", "Key": "k"})
        fails("PreconditionFailed", s3.upload_part_copy, **at, PartNumber=1, CopySource=source, CopySourceIfMatch='"x"')
        want, done = b"", []
        for n, ranges in enumerate([(0, 6 * MIB - 1), None, (len(data) - 1, len(data) - 1)], 1):
            more = {} if ranges is None else {"CopySourceRange": f"bytes={ranges[0]}-{ranges[1]}"}
            out = s3.upload_part_copy(**at, PartNumber=n, CopySource=source, **more)["CopyPartResult"]
            piece = data if ranges is None else data[ranges[0]:ranges[1] + 1]
            assert out["ETag"] == f'"{hashlib.md5(piece).hexdigest()}"', out
            want, done = want + piece, done + [{"PartNumber": n, "ETag": out["ETag"]}]
        s3.complete_multipart_upload(**at, MultipartUpload={"Parts": done})
        same(bucket, key, want)
        print(f"from {b}: {len(want)} bytes")


def refusals(bucket):
    key = "refused"
    upload = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    at = dict(Bucket=bucket, Key=key, UploadId=upload)
    etag = s3.upload_part(**at, PartNumber=1, Body=b"x")["ETag"]
    for n in (0, 10_001, -1):
        fails("InvalidArgument", s3.upload_part, **at, PartNumber=n, Body=b"x")
    complete = s3.complete_multipart_upload

    def listed(*numbers, tag=etag):
        return {"Parts": [{"PartNumber": n, "ETag": tag} for n in numbers]}

    fails("InvalidPart", complete, **at, MultipartUpload=listed(2))
    fails("InvalidPartOrder", complete, **at, MultipartUpload=listed(2, 1))
    fails("InvalidPartOrder", complete, **at, MultipartUpload=listed(1, 1))
    fails("InvalidPart", complete, **at, MultipartUpload=listed(1, tag="</ETag><ETag>"))
    fails("InvalidArgument", complete, **at, MultipartUpload=listed(10_001))
    fails("InvalidRequest", complete, **at, MultipartUpload=listed(1), MpuObjectSize=2)
    fails("NoSuchUpload", complete, Bucket=bucket, Key="other", UploadId=upload, MultipartUpload=listed(1))
    fails("NoSuchUpload", s3.list_parts, Bucket=bucket, Key=key, UploadId=upload + "A")
    fails("NoSuchUpload", s3.list_parts, Bucket=bucket, Key=key, UploadId="../../x")
    fails("NoSuchKey", s3.get_object, Bucket=bucket, Key=key)
    s3.put_object(Bucket=bucket, Key=key, Body=b"old")
    fails("PreconditionFailed", complete, **at, MultipartUpload=listed(1), IfNoneMatch="*")
    fails("PreconditionFailed", s3.put_object, Bucket=bucket, Key=key, Body=b"new", IfNoneMatch="*")
    fails("PreconditionFailed", s3.put_object, Bucket=bucket, Key=key, Body=b"new", IfMatch='"x"')
    fails("PreconditionFailed", s3.copy_object, Bucket=bucket, Key=key, CopySource=f"{bucket}/{key}", IfNoneMatch="*",
          MetadataDirective="REPLACE")
    same(bucket, key, b"old")
    s3.abort_multipart_upload(**at)
    fails("NoSuchUpload", s3.upload_part, **at, PartNumber=1, Body=b"x")
    print("refused as they should be")


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
