// node-pg through the door: queries, parameters, named statements, cursors, COPY, cancellation.
const assert = require('node:assert');
const fs = require('node:fs');
const { pipeline } = require('node:stream/promises');
const { Readable } = require('node:stream');
const { Client } = require('pg');
const Cursor = require('pg-cursor');
const { from, to } = require('pg-copy-streams');

const options = () => ({
  host: 'localhost',
  port: Number(process.env.PGPORT),
  user: process.env.PGUSER,
  password: process.env.PGPASSWORD,
  database: process.env.PGDATABASE,
  ssl: { ca: fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8') },
  enableChannelBinding: true,
});

async function main() {
  const client = new Client(options());
  await client.connect();
  assert.equal((await client.query('SELECT count(*)::int AS n FROM orders')).rows[0].n, 100);
  for (let n = 1; n < 6; n++) {
    const named = { name: 'by-id', text: 'SELECT note FROM orders WHERE id = $1', values: [n] };
    assert.equal((await client.query(named)).rows[0].note, `order ${n}`);
  }
  const many = await Promise.all([...Array(20).keys()].map((n) => client.query('SELECT $1::int AS n', [n])));
  assert.deepEqual(many.map((result) => result.rows[0].n), [...Array(20).keys()]);

  await client.query('BEGIN');
  await client.query("UPDATE orders SET note = 'lost' WHERE id = 2");
  await assert.rejects(client.query('CREATE ROLE mallory'), { code: '42501' });
  await client.query('ROLLBACK');
  assert.equal((await client.query('SELECT note FROM orders WHERE id = 2')).rows[0].note, 'order 2');

  const cursor = client.query(new Cursor('SELECT id FROM orders ORDER BY id'));
  const seen = [];
  for (let rows = await cursor.read(7); rows.length > 0; rows = await cursor.read(7)) seen.push(...rows.map((row) => row.id));
  await cursor.close();
  assert.equal(seen.length, 100);

  const lines = [...Array(500).keys()].map((n) => `${1000 + n}\tcopied\n`);
  await pipeline(Readable.from(lines), client.query(from('COPY orders (id, note) FROM STDIN')));
  let copied = '';
  for await (const chunk of client.query(to('COPY (SELECT id FROM orders WHERE id >= 1000) TO STDOUT'))) copied += chunk;
  assert.equal(copied.split('\n').length - 1, 500);
  assert.equal((await client.query('DELETE FROM orders WHERE id >= 1000')).rowCount, 500);

  const { processID, secretKey } = client;
  const sleeping = assert.rejects(client.query('SELECT pg_sleep(60)'), { code: '57014' });
  await new Promise((resolve) => setTimeout(resolve, 500));
  const canceller = new Client(options());
  const connection = canceller.connection;
  connection.once('connect', () => connection.requestSsl());
  connection.once('sslconnect', () => connection.cancel(processID, secretKey));
  connection.on('error', () => {});
  connection.connect(Number(process.env.PGPORT), 'localhost');
  await sleeping;
  assert.equal((await client.query('SELECT 1 AS one')).rows[0].one, 1);
  await client.end();
}

main().then(
  () => { console.log('node-pg ok'); process.exit(0); },
  (error) => { console.error(error); process.exit(1); },
);
