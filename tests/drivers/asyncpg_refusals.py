"""asyncpg through the door: binary protocol, type lookups, prepared statements, cursors, COPY, cancellation."""

import asyncio
import os
import ssl

import asyncpg


async def main():
    tls = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    conn = await asyncpg.connect(
        host="localhost",
        port=os.environ["PGPORT"],
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        database=os.environ["PGDATABASE"],
        ssl=tls,
        server_settings={"application_name": "check", "statement_timeout": "60000"},
    )
    assert await conn.fetchval("SELECT count(*) FROM orders") == 100
    assert await conn.fetchval("SELECT $1::int[]", [1, 2, 3]) == [1, 2, 3]
    prepared = await conn.prepare("SELECT note FROM orders WHERE id = $1")
    for n in range(1, 6):
        assert await prepared.fetchval(n) == f"order {n}"

    async with conn.transaction():
        seen = [row["id"] async for row in conn.cursor("SELECT id FROM orders ORDER BY id", prefetch=7)]
    assert seen == list(range(1, 101))

    try:
        async with conn.transaction():
            await conn.execute("UPDATE orders SET note = 'lost' WHERE id = 2")
            await conn.execute("CREATE ROLE mallory")
        raise AssertionError("not refused")
    except asyncpg.InsufficientPrivilegeError:
        pass
    assert await conn.fetchval("SELECT note FROM orders WHERE id = 2") == "order 2"

    await conn.executemany("UPDATE orders SET note = $2 WHERE id = $1", [(n, f"order {n}") for n in range(1, 20)])
    await conn.copy_records_to_table("orders", records=[(n, f"copied {n}") for n in range(1000, 1500)])
    assert await conn.execute("DELETE FROM orders WHERE id >= 1000") == "DELETE 500"

    try:
        await conn.fetch("SELECT pg_sleep(60)", timeout=0.5)
        raise AssertionError("not cancelled")
    except TimeoutError:
        pass
    assert await conn.fetchval("SELECT 1") == 1
    await conn.close()


asyncio.run(main())
print("done")
