// node-pg as programs use it. See README.md.
const fs = require("fs");
const { Client, Pool } = require("pg");

const ssl = { ca: fs.readFileSync(process.env.PGSSLROOTCERT, "utf8"), rejectUnauthorized: true };
delete process.env.PGSSLMODE;

function check(what, good) {
  if (!good) throw new Error(`failed: ${what}`);
  console.log(what);
}

async function refuses(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return error.code;
  }
}

async function reads() {
  const db = new Client({ ssl });
  await db.connect();
  check("simple", (await db.query("select 1 as one")).rows[0].one === 1);
  check("parameters", (await db.query("select id from orders where id = $1", [7])).rows[0].id === 7);
  for (let n = 1; n <= 20; n++) {
    const { rows } = await db.query({ name: "by-id", text: "select id from orders where id = $1", values: [n] });
    if (rows[0].id !== n) check("named statement", false);
  }
  check("named statement, twenty times", true);
  check("several at once", (await db.query("select 1; select 2")).length === 2);
  const queued = await Promise.all(Array.from({ length: 20 }, (_, n) => db.query("select $1::int as n", [n])));
  check("queued", queued.every((answer, n) => answer.rows[0].n === n));
  check("error", (await refuses(db.query("select 1 / 0"))) === "22012");
  check("after an error", (await db.query("select 2 as two")).rows[0].two === 2);
  await db.end();

  const pool = new Pool({ ssl, max: 4 });
  const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => pool.query("select $1::int as n", [n])));
  check("pool", answers.every((answer, n) => answer.rows[0].n === n));

  const sleeper = await pool.connect();
  const slept = refuses(sleeper.query("select pg_sleep(30)"));
  const canceller = new Client({ ssl });
  setTimeout(() => canceller.cancel(sleeper, sleeper.activeQuery ?? sleeper._activeQuery), 300);
  check("cancel", (await slept) === "57014");
  // The driver asks to cancel twice over TLS: the second may hit what follows, with the door and without.
  const four = () => sleeper.query("select 4 as four");
  const after = await four().catch((error) => (error.code === "57014" ? four() : Promise.reject(error)));
  check("after a cancel", after.rows[0].four === 4);
  sleeper.release();
  await pool.end();
}

async function writes() {
  const db = new Client({ ssl });
  await db.connect();
  await db.query("begin");
  check("update", (await db.query("update orders set note = note where id = $1", [7])).rowCount === 1);
  await db.query("commit");
  await db.query("begin");
  await db.query("insert into orders (id, note) values ($1, $2)", [1000000, "driver"]);
  await db.query("rollback");
  check("rollback", (await db.query("select count(*)::int as n from orders where id >= 1000000")).rows[0].n === 0);
  const told = new Promise((resolve) => db.once("notification", (said) => resolve(`${said.channel} ${said.payload}`)));
  await db.query("listen driver");
  await db.query("notify driver, 'hello'");
  check("notified", (await told) === "driver hello");
  await db.end();
}

(async () => {
  await reads();
  if (process.argv[2] === "writes") await writes();
  console.log("done");
})().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
