// node-pg writes what somebody approves while it waits. See README.md.
const fs = require("fs");
const { Client } = require("pg");

const ssl = { ca: fs.readFileSync(process.env.PGSSLROOTCERT, "utf8"), rejectUnauthorized: true };
delete process.env.PGSSLMODE;

function check(what, good) {
  if (!good) throw new Error(`failed: ${what}`);
  console.log(what);
}

async function main() {
  const db = new Client({ ssl });
  await db.connect();
  check("update", (await db.query("UPDATE orders SET note = $1 WHERE id = $2", ["node", 1])).rowCount === 1);
  const insert = { name: "insert", text: "INSERT INTO orders VALUES ($1, $2) RETURNING id", values: [1001, "node"] };
  check("insert", (await db.query(insert)).rows[0].id === 1001);
  check("reader", (await db.query("SHOW default_transaction_read_only")).rows[0].default_transaction_read_only === "on");
  check("read", (await db.query("SELECT note FROM orders WHERE id = $1", [1])).rows[0].note === "node");
  await db.end();
  console.log("done");
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
