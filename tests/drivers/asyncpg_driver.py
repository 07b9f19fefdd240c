"""asyncpg as programs use it: everything in the extended protocol, parameters in binary. See README.md."""

import asyncio
import os
import ssl
import sys

import asyncpg


def check(what, good):
    if not good:
        sys.exit(f"failed: {what}")
    print(what, flush=True)


def tls():
    return ssl.create_default_context(cafile=os.environ["PGSSLROOTCERT"])


async def connect():
    return await asyncpg.connect(ssl=tls())


async def reads():
    db = await connect()
    check("simple", await db.fetchval("select 1") == 1)
    check("parameters", (await db.fetchrow("select id, note from orders where id = $1", 7))["id"] == 7)
    statement = await db.prepare("select id from orders where id = $1")
    check("prepared, twenty times", [await statement.fetchval(n) for n in range(1, 21)] == list(range(1, 21)))
    check("several at once", await db.execute("select 1; select 2") == "SELECT 1")
    async with db.transaction():
        found = [row["id"] async for row in db.cursor("select id from orders where id <= 100 order by id", prefetch=7)]
    check("cursor", found == list(range(1, 101)))
    try:
        await db.fetchval("select 1 / 0")
        check("error", False)
    except asyncpg.DivisionByZeroError:
        check("error", True)
    try:
        await db.fetchval("select pg_sleep(30)", timeout=0.3)
        check("cancel by timeout", False)
    except asyncio.TimeoutError:
        check("cancel by timeout", True)
    check("after a cancel", await db.fetchval("select 4") == 4)
    await db.close()
    await pool()
    await listen()


async def pool():
    """Every release resets the session, as asyncpg does it: locks, cursors, listeners, all settings."""
    shown = "select current_setting('timezone') || current_setting('statement_timeout')"
    async with asyncpg.create_pool(ssl=tls(), min_size=1, max_size=2) as pool:
        async with pool.acquire() as db:
            fresh = await db.fetchval(shown)
            await db.execute("set timezone = 'Asia/Tokyo'")
            await db.execute("set statement_timeout = '1h'")
            check("pool: set", await db.fetchval("show timezone") == "Asia/Tokyo")
        for _ in range(5):
            async with pool.acquire() as db:
                check("pool: reset", await db.fetchval(shown) == fresh)
        found = await asyncio.gather(*(pool.fetchval("select $1::int", n) for n in range(40)))
        check("pool: shared", found == list(range(40)))
        async with pool.acquire() as db, db.transaction():
            check("pool: transaction", await db.fetchval("select 5") == 5)


async def listen():
    listener = await connect()
    heard = asyncio.Queue()

    def hear(_, __, channel, payload):
        heard.put_nowait((channel, payload))

    await listener.add_listener("driver", hear)
    check("listening", await listener.fetchval("select 6") == 6)
    if sys.argv[1:] == ["writes"]:
        teller = await connect()
        await teller.execute("notify driver, 'hello'")
        check("notified", await heard.get() == ("driver", "hello"))
        await teller.close()
    await listener.remove_listener("driver", hear)
    await listener.close()


async def writes():
    db = await connect()
    await db.executemany("insert into orders (id, note) values ($1, $2)", [(1_000_000 + n, "driver") for n in range(20)])
    check("executemany", await db.execute("delete from orders where id >= $1", 1_000_000) == "DELETE 20")
    transaction = db.transaction()
    await transaction.start()
    await db.execute("insert into orders (id, note) values ($1, $2)", 1_000_000, "driver")
    await transaction.rollback()
    check("rollback", await db.fetchval("select count(*) from orders where id >= 1000000") == 0)
    await db.close()


async def main():
    await reads()
    if sys.argv[1:] == ["writes"]:
        await writes()
    print("done")


asyncio.run(main())
