"""psycopg through the door, as its documentation says to use it. Reads where to connect from the PG* environment."""

import threading

import psycopg
from psycopg import errors

with psycopg.connect(autocommit=True) as conn:
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (100,)

    # Parameters, text and binary, and statements prepared by the server after a few runs.
    for n in range(1, 9):
        assert conn.execute("SELECT note FROM orders WHERE id = %s", (n,)).fetchone() == (f"order {n}",)
    with conn.cursor(binary=True) as cur:
        assert cur.execute("SELECT %b::int8 + 1", (41,)).fetchone() == (42,)

    # A transaction, a savepoint, an error of the server in the middle.
    with conn.transaction():
        conn.execute("UPDATE orders SET note = %s WHERE id = %s", ("psycopg", 1))
        try:
            with conn.transaction():
                conn.execute("INSERT INTO orders VALUES (1, 'twice')")
        except errors.UniqueViolation:
            pass
    assert conn.execute("SELECT note FROM orders WHERE id = 1").fetchone() == ("psycopg",)

    # A refusal looks like an error of the server and leaves the connection in use.
    try:
        with conn.transaction():
            conn.execute("UPDATE orders SET note = 'lost' WHERE id = 2")
            conn.execute("CREATE ROLE mallory")
        raise AssertionError("not refused")
    except errors.InsufficientPrivilege:
        pass
    assert conn.execute("SELECT note FROM orders WHERE id = 2").fetchone() == ("order 2",)

    # Pipelines: results in order, and an error skips to the next synchronisation.
    with conn.pipeline():
        cursors = [conn.execute("SELECT %s::int * 2", (n,)) for n in range(50)]
        assert [cur.fetchone()[0] for cur in cursors] == [n * 2 for n in range(50)]
    try:
        with conn.pipeline() as pipeline:
            conn.execute("SELECT 1")
            conn.execute("CREATE ROLE mallory")
            conn.execute("UPDATE orders SET note = 'skipped' WHERE id = 2")
            pipeline.sync()
        raise AssertionError("not refused")
    except errors.InsufficientPrivilege:
        pass
    assert conn.execute("SELECT note FROM orders WHERE id = 2").fetchone() == ("order 2",)

    # A cursor on the server.
    with conn.transaction(), conn.cursor(name="many") as cur:
        cur.itersize = 7
        cur.execute("SELECT id FROM orders ORDER BY id")
        assert [row[0] for row in cur] == list(range(1, 101))

    # Copying both ways.
    with conn.cursor() as cur:
        with cur.copy("COPY orders (id, note) FROM STDIN") as copy:
            for n in range(1000, 3000):
                copy.write_row((n, f"copied {n}"))
        with cur.copy("COPY (SELECT id, note FROM orders WHERE id >= 1000 ORDER BY id) TO STDOUT") as copy:
            copy.set_types(["int4", "text"])
            assert [row[0] for row in copy.rows()] == list(range(1000, 3000))
        try:
            with cur.copy("COPY orders (id, note) FROM STDIN") as copy:
                copy.write_row((5000, "given up"))
                raise RuntimeError("given up")
        except RuntimeError:
            pass
        assert cur.execute("DELETE FROM orders WHERE id >= 1000").rowcount == 2000

    # Cancelling.
    timer = threading.Timer(0.5, conn.cancel)
    timer.start()
    try:
        conn.execute("SELECT pg_sleep(60)")
        raise AssertionError("not cancelled")
    except errors.QueryCanceled:
        pass
    timer.join()
    assert conn.execute("SELECT 1").fetchone() == (1,)

print("done")
