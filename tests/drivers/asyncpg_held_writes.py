"""asyncpg writes what somebody approves while it waits, by statements that the server has prepared before."""

import asyncio
import os
import ssl

import asyncpg


async def main():
    context = ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])
    conn = await asyncpg.connect(
        host="localhost",
        port=os.environ["PGPORT"],
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        database=os.environ["PGDATABASE"],
        ssl=context,
    )
    assert await conn.execute("UPDATE orders SET note = $1 WHERE id = $2", "asyncpg", 1) == "UPDATE 1"
    insert = await conn.prepare("INSERT INTO orders VALUES ($1, $2) RETURNING id")
    assert await insert.fetchval(1001, "asyncpg") == 1001
    assert await conn.fetchval("SHOW default_transaction_read_only") == "on"
    assert await conn.fetchval("SELECT note FROM orders WHERE id = $1", 1) == "asyncpg"
    await conn.close()


asyncio.run(main())
print("done")
