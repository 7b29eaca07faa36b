"""Parquet through the gateway by real engines.

parquet.py make DIR            write the files with pyarrow and put them into s3://lake/t/ through the gateway
parquet.py query pyarrow|duckdb SOURCE   answer the queries as one JSON line; SOURCE is DIR or "s3"
"""
import glob
import json
import os
import pathlib
import sys

import duckdb
import duckdb_extension_httpfs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

KEY, SECRET, ENDPOINT = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["UNISTORE_S3"]
FILES, ROWS = 4, 200_000


def s3():
    return fs.S3FileSystem(access_key=KEY, secret_key=SECRET, endpoint_override=ENDPOINT, scheme="http", region="us-east-1",
                           allow_bucket_creation=True)


def make(directory):
    store = s3()
    store.create_dir("lake")
    for n in range(FILES):
        base = n * ROWS
        ids = list(range(base, base + ROWS))
        table = pa.table({
            "id": pa.array(ids, pa.int64()),
            "grp": pa.array([i % 97 for i in ids], pa.int32()),
            "price": pa.array([((i * 7919) % 100003) / 100 for i in ids], pa.float64()),
            "note": pa.array([f"row {i * 31 % 4099} of {n}" for i in ids]),
        })
        name = f"part {n}+é.parquet"
        pq.write_table(table, os.path.join(directory, name), row_group_size=50_000)
        with open(os.path.join(directory, name), "rb") as f, store.open_output_stream(f"lake/t/{name}") as out:
            out.write(f.read())


def by_pyarrow(source):
    if source == "s3":
        data = ds.dataset("lake/t", filesystem=s3(), format="parquet")
    else:
        data = ds.dataset(source, format="parquet")
    one = data.to_table(columns=["price"], filter=pc.field("grp") == 13)
    two = data.to_table(columns=["id", "note"], filter=pc.field("id") >= 555_555)
    return [one.num_rows, round(pc.sum(one["price"]).as_py(), 6), two.num_rows, pc.count_distinct(two["note"]).as_py(), data.count_rows()]


def by_duckdb(source):
    con = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    path = "s3://lake/t/*.parquet"
    if source == "s3":
        ext = glob.glob(str(pathlib.Path(duckdb_extension_httpfs.__file__).parent / "extensions" / "*" / "httpfs.duckdb_extension"))
        con.execute(f"LOAD '{ext[0]}'")
        con.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', ENDPOINT '{ENDPOINT}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
    else:
        path = source + "/*.parquet"
    src = f"read_parquet('{path}')"
    return [
        con.execute(f"SELECT count(*), round(sum(price), 3) FROM {src} WHERE grp = 13").fetchall(),
        con.execute(f"SELECT grp, count(*), min(note), max(id) FROM {src} GROUP BY grp ORDER BY grp LIMIT 10").fetchall(),
        con.execute(f"SELECT count(DISTINCT note) FROM {src} WHERE id >= 555555").fetchall(),
    ]


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2])
    else:
        answer = {"pyarrow": by_pyarrow, "duckdb": by_duckdb}[sys.argv[2]](sys.argv[3])
        print(json.dumps(answer))
