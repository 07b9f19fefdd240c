"""asyncpg copies rows that somebody approves while it waits: its own binary records, then text."""

import asyncio
import io
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
    records = [(1001, "a\tb"), (1002, "c")]
    assert await conn.copy_records_to_table("orders", records=records) == "COPY 2"
    assert await conn.copy_to_table("orders", source=io.BytesIO(b"1003,csv\n"), format="csv") == "COPY 1"
    assert await conn.fetchval("SELECT count(*) FROM orders WHERE id > 1000") == 3
    await conn.close()


asyncio.run(main())
print("done")
