"""psycopg 3 as programs use it. See README.md."""

import os
import sys
import threading
import time

import psycopg


def check(what, good):
    if not good:
        sys.exit(f"failed: {what}")
    print(what, flush=True)


def connect(**more):
    return psycopg.connect(sslmode="verify-full", sslrootcert=os.environ["PGSSLROOTCERT"], **more)


def reads():
    with connect() as db:
        check("simple", db.execute("select 1").fetchone() == (1,))
        row = db.execute("select id, note from orders where id = %s", (7,)).fetchone()
        check("parameters", row[0] == 7)
        for number in range(1, 21):
            assert db.execute("select id from orders where id = %s", (number,), prepare=True).fetchone() == (number,)
        check("prepared, twenty times", True)
        row = db.execute("select %s::int + 1, %s::text, %b::int8", (1, "é", 2**40)).fetchone()
        check("text and binary", row == (2, "é", 2**40))
        check("null", db.execute("select %s::text", (None,)).fetchone() == (None,))
        big = db.execute("select n, repeat('x', 1000) from generate_series(1, 5000) n").fetchall()
        check("five megabytes", len(big) == 5000 and big[4999][0] == 5000)
        with db.cursor(name="walk") as cursor:
            cursor.itersize = 10
            cursor.execute("select id from orders where id <= 100 order by id")
            check("server-side cursor", [row[0] for row in cursor] == list(range(1, 101)))
        with db.pipeline():
            answers = [db.execute("select %s::int", (number,)) for number in range(50)]
        check("pipeline", [answer.fetchone()[0] for answer in answers] == list(range(50)))
        with db.cursor().copy("copy (select id from orders where id <= 100 order by id) to stdout") as copy:
            check("copy out", sum(1 for _ in copy.rows()) == 100)
        db.rollback()
        try:
            db.execute("select 1 / 0")
            check("error", False)
        except psycopg.errors.DivisionByZero:
            check("error", True)
        db.rollback()
        check("after an error", db.execute("select 2").fetchone() == (2,))
        with db.transaction():
            db.execute("select 1")
            try:
                with db.transaction():
                    db.execute("select 1 / 0")
            except psycopg.errors.DivisionByZero:
                pass
            check("savepoint", db.execute("select 3").fetchone() == (3,))
    with connect(autocommit=True) as db:
        threading.Timer(0.3, db.cancel).start()
        began = time.monotonic()
        try:
            db.execute("select pg_sleep(30)")
            check("cancel", False)
        except psycopg.errors.QueryCanceled:
            check("cancel", time.monotonic() - began < 15)
        check("after a cancel", db.execute("select 4").fetchone() == (4,))


def writes():
    with connect() as db:
        with db.transaction():
            changed = db.execute("update orders set note = note where id = %s", (7,)).rowcount
            check("update", changed == 1)
        cursor = db.cursor()
        cursor.executemany("insert into orders (id, note) values (%s, %s)", [(1_000_000 + n, "driver") for n in range(20)])
        check("executemany", db.execute("select count(*) from orders where id >= 1000000").fetchone() == (20,))
        db.rollback()
        check("rollback", db.execute("select count(*) from orders where id >= 1000000").fetchone() == (0,))
        with db.pipeline():
            db.execute("insert into orders (id, note) values (%s, %s)", (1_000_000, "driver"))
            gone = db.execute("delete from orders where id = %s returning note", (1_000_000,))
        check("pipelined writes", gone.fetchone() == ("driver",))
        db.commit()
        with db.cursor().copy("copy orders (id, note) from stdin") as copy:
            for number in range(1000):
                copy.write_row((1_000_000 + number, "driver"))
        check("copy in", db.execute("delete from orders where id >= 1000000").rowcount == 1000)
        db.commit()


reads()
if sys.argv[1:] == ["writes"]:
    writes()
print("done")
