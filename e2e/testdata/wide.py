"""Wide Parquet files through the gateway by real engines, that read few of 50 columns.

wide.py make DIR FILES GROUPS ROWS   write the files to DIR/wide (an upstream's directory), ROWS a row group
wide.py query ENGINE N               answer query N (0..3) as a JSON line {"answer", "seconds"}
"""
import glob
import json
import os
import pathlib
import sys
import time

import duckdb
import duckdb_extension_httpfs
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.fs as fs
import pyarrow.parquet as pq

COLUMNS = 50
QUERIES = [["c07"], ["c03", "c31"], ["c11", "c12", "c40"], ["c01", "c20", "c25", "c49"]]


def make(directory, files, groups, rows):
    os.makedirs(os.path.join(directory, "wide"), exist_ok=True)
    for n in range(files):
        table = pa.table({f"c{c:02d}": pc.random(groups * rows, initializer=n * COLUMNS + c) for c in range(COLUMNS)})
        pq.write_table(table, os.path.join(directory, "wide", f"part-{n:03d}.parquet"), row_group_size=rows,
                       compression="none", use_dictionary=False)


def by_pyarrow(columns):
    store = fs.S3FileSystem(access_key=os.environ["AWS_ACCESS_KEY_ID"], secret_key=os.environ["AWS_SECRET_ACCESS_KEY"],
                            endpoint_override=os.environ["UNISTORE_S3"], scheme="http", region="us-east-1")
    table = ds.dataset("lake/wide", filesystem=store, format="parquet").to_table(columns=columns)
    return [round(pc.sum(table[c]).as_py(), 3) for c in columns]


def by_duckdb(columns):
    con = duckdb.connect(config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"})
    ext = glob.glob(str(pathlib.Path(duckdb_extension_httpfs.__file__).parent / "extensions" / "*" / "httpfs.duckdb_extension"))
    con.execute(f"LOAD '{ext[0]}'")
    con.execute(f"CREATE SECRET (TYPE s3, KEY_ID '{os.environ['AWS_ACCESS_KEY_ID']}', SECRET '{os.environ['AWS_SECRET_ACCESS_KEY']}', "
                f"ENDPOINT '{os.environ['UNISTORE_S3']}', URL_STYLE 'path', USE_SSL false, REGION 'us-east-1')")
    sums = ", ".join(f"round(sum({c}), 3)" for c in columns)
    return list(con.execute(f"SELECT {sums} FROM read_parquet('s3://lake/wide/*.parquet')").fetchone())


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(sys.argv[2], *map(int, sys.argv[3:6]))
    else:
        columns = QUERIES[int(sys.argv[3])]
        began = time.monotonic()
        answer = {"pyarrow": by_pyarrow, "duckdb": by_duckdb}[sys.argv[2]](columns)
        print(json.dumps({"answer": answer, "seconds": round(time.monotonic() - began, 3)}))
