"""psycopg copies rows that somebody approves while it waits: rows by rows, text and binary, then a copy that it gives up itself."""

import psycopg
from psycopg import errors

with psycopg.connect(autocommit=True) as conn:
    with conn.cursor() as cur:
        with cur.copy("COPY orders (id, note) FROM STDIN") as copy:
            copy.write_row((1001, "a\tb"))
            copy.write_row((1002, "c"))
        assert cur.rowcount == 2
        with cur.copy("COPY orders (id, note) FROM STDIN (FORMAT binary)") as copy:
            copy.set_types(["int4", "text"])
            copy.write_row((1003, "binary"))
        assert cur.rowcount == 1
        try:
            with cur.copy("COPY orders (id, note) FROM STDIN") as copy:
                copy.write_row((1004, "x"))
                raise RuntimeError("given up")
        except RuntimeError:
            pass
    assert conn.execute("SELECT count(*) FROM orders WHERE id > 1000").fetchone() == (3,)
print("done")
