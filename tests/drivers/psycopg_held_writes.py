"""psycopg writes what somebody approves while it waits, and is a reader again before and after."""

import psycopg
from psycopg import errors

with psycopg.connect(autocommit=True) as conn:
    changed = conn.execute("UPDATE orders SET note = %s WHERE id = %s", ("psycopg", 1))
    assert changed.rowcount == 1
    returned = conn.execute("INSERT INTO orders VALUES (%s, %s) RETURNING id, note", (1001, "psycopg")).fetchall()
    assert returned == [(1001, "psycopg")]
    assert conn.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
    assert conn.execute("SELECT note FROM orders WHERE id = %s", (1,)).fetchone() == ("psycopg",)
    # Inside its own transaction, which began read only, nothing can be held that could never run.
    try:
        with conn.transaction():
            conn.execute("DELETE FROM orders")
    except errors.ReadOnlySqlTransaction:
        print("read only transaction")
    assert conn.execute("SELECT count(*) FROM orders").fetchone() == (101,)
print("done")
