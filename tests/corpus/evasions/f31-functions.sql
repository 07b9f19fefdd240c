-- read: harmless functions
SELECT lower(name), count(*), now(), random(), gen_random_uuid(), current_setting('timezone') FROM orders GROUP BY 1

-- read: waits, changes nothing
SELECT pg_sleep(30)

-- read: looks, changes nothing
SELECT currval('orders_id_seq'), lastval(), pg_relation_size('orders'), pg_get_viewdef('v'::regclass), txid_current(), has_table_privilege('orders', 'select')

-- read+write: moves a sequence
SELECT nextval('orders_id_seq')

-- read+write: sets a sequence
SELECT setval('orders_id_seq', 1)

-- write: among the values of an INSERT
INSERT INTO orders VALUES (nextval('orders_id_seq'))

-- read+admin: ends another session
SELECT pg_terminate_backend(pid) FROM pg_stat_activity

-- read+admin: stops another session's statement
SELECT pg_cancel_backend(42)

-- read+admin: reads a file of the server
SELECT pg_read_file('/etc/passwd')

-- read+admin: the same, in bytes
SELECT pg_read_binary_file('/etc/passwd', 0, 10, true)

-- read+admin: lists files of the server
SELECT * FROM pg_ls_dir('/')

-- read+admin: looks at a file of the server
SELECT (pg_stat_file('/etc/passwd')).size

-- read+admin: reads a file into the database
SELECT lo_import('/etc/passwd')

-- read+admin: writes a file
SELECT lo_export(1, '/tmp/x')

-- read+write: removes a large object
SELECT lo_unlink(1)

-- read+write: makes a large object
SELECT lo_from_bytea(0, '\x00')

-- read+write: changes a large object
SELECT lo_put(1, 0, '\x00')

-- read+unknown: reads a large object that no table name shows
SELECT lo_get(1)

-- read+unknown: opens one, perhaps to write
SELECT lo_open(1, 131072)

-- read+unknown: runs SQL given as text
SELECT query_to_xml('DELETE FROM orders', true, true, '')

-- read+unknown: the same, assembled
SELECT query_to_xml('DEL' || 'ETE FROM orders', true, true, '')

-- read+unknown: reads a table that is named in a value
SELECT table_to_xml('vault', true, true, '')

-- read+unknown: reads everything
SELECT database_to_xml(true, true, '')

-- read+unknown: runs SQL given as text
SELECT * FROM ts_stat('SELECT to_tsvector(note) FROM vault')

-- read+unknown: one form runs SQL given as text
SELECT ts_rewrite('a'::tsquery, 'SELECT t, s FROM vault')

-- read+unknown: another database, or this one with other rights
SELECT * FROM dblink('dbname=app', 'DELETE FROM orders') AS t(a int)

-- read+unknown: the same with a schema
SELECT public.dblink_exec('dbname=app', 'DROP TABLE orders')

-- read+unknown: changes a setting
SELECT set_config('search_path', 'evil', false)

-- read+unknown: the same with its schema
SELECT pg_catalog.set_config('session_replication_role', 'replica', true)

-- read+unknown: quoted and otherwise written, it is the same function
SELECT "pg_catalog" . "set_config"('role', 'postgres', false)

-- read+unknown: as a table
SELECT * FROM set_config('role', 'postgres', false)

-- read+write: takes a lock that others wait for
SELECT pg_advisory_lock(1)

-- connect+read: gives own locks back
SELECT pg_advisory_unlock_all()

-- read+write: tells others
SELECT pg_notify('orders_changed', 'x')

-- read+admin: replication
SELECT pg_drop_replication_slot('s')

-- read+admin: takes changes away from who waits for them
SELECT * FROM pg_logical_slot_get_changes('s', NULL, NULL)

-- read+admin: the server
SELECT pg_reload_conf()

-- read+admin: the server's role
SELECT pg_promote()

-- read+admin: statistics
SELECT pg_stat_reset()

-- read+unknown: a user's function
SELECT close_month(2026, 11)

-- read+unknown: a user's function with a schema
SELECT accounting.close_month()

-- read+unknown: in WHERE
SELECT * FROM orders WHERE close_month() IS NULL

-- read+unknown: in a join's condition
SELECT * FROM orders o JOIN archive a ON close_month(o.id) = a.id

-- read+unknown: in ORDER BY
SELECT * FROM orders ORDER BY close_month()

-- read+unknown: in GROUP BY and HAVING
SELECT 1 FROM orders GROUP BY a HAVING bool_or(close_month())

-- read+unknown: in LIMIT
SELECT * FROM orders LIMIT close_month()

-- read+unknown: in OFFSET
SELECT * FROM orders OFFSET close_month()

-- read+unknown: in a window
SELECT sum(a) OVER (PARTITION BY close_month() ORDER BY b) FROM orders

-- read+unknown: in a named window's frame
SELECT sum(a) OVER w FROM orders WINDOW w AS (ORDER BY b ROWS close_month() PRECEDING)

-- read+unknown: in a FILTER
SELECT count(*) FILTER (WHERE close_month()) FROM orders

-- read+unknown: in an aggregate's ORDER BY
SELECT array_agg(a ORDER BY close_month()) FROM orders

-- read+unknown: in DISTINCT ON
SELECT DISTINCT ON (close_month()) a FROM orders

-- read+unknown: in an array's subscript
SELECT (ARRAY[1, 2])[close_month()]

-- read+unknown: under a cast, a CASE and a ROW
SELECT CASE WHEN true THEN ROW(close_month()::text) END

-- read+unknown: in a subquery of a subquery
SELECT (SELECT (SELECT close_month()))

-- read+unknown: in a LATERAL
SELECT * FROM orders, LATERAL close_month(orders.id)

-- read+unknown: in ROWS FROM
SELECT * FROM ROWS FROM (generate_series(1, 2), close_month())

-- read+unknown: in VALUES
VALUES (close_month())

-- read+unknown: as a named argument
SELECT make_interval(days => close_month())

-- read+unknown: as VARIADIC
SELECT concat(VARIADIC close_month())

-- read+unknown: in a sample's argument
SELECT * FROM orders TABLESAMPLE system (close_month())

-- read+unknown: in XML
SELECT xmlelement(name a, close_month())

-- read+unknown: in XMLTABLE
SELECT * FROM XMLTABLE('/a' PASSING close_month() COLUMNS b int)

-- read+unknown: in AT TIME ZONE
SELECT now() AT TIME ZONE close_month()

-- read+unknown: behind a grouping set
SELECT 1 FROM orders GROUP BY GROUPING SETS ((close_month()), ())

-- read+unknown: in a recursive query's CYCLE mark
WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT close_month() FROM t) SELECT * FROM t

-- write+unknown: in the values of an INSERT
INSERT INTO orders VALUES (close_month())

-- write+unknown: in ON CONFLICT
INSERT INTO orders VALUES (1) ON CONFLICT ((lower(a))) WHERE close_month() DO UPDATE SET n = 1

-- write+unknown: in SET
UPDATE orders SET a[close_month()] = 1

-- read+write+unknown: in RETURNING
DELETE FROM orders RETURNING close_month()

-- read+write+unknown: in a MERGE
MERGE INTO stock USING (VALUES (1)) n(id) ON close_month() WHEN NOT MATCHED THEN DO NOTHING

-- read+unknown: in COPY's query
COPY (SELECT close_month()) TO STDOUT

-- write+unknown: in COPY's condition
COPY orders FROM STDIN WHERE close_month()

-- connect+read+unknown: in a prepared statement
PREPARE p AS SELECT close_month()

-- connect+read+unknown: in a cursor
DECLARE c CURSOR FOR SELECT close_month()

-- read+admin: hashes of passwords
SELECT rolname, rolpassword FROM pg_authid

-- read+admin: the same by its view
SELECT * FROM pg_catalog.pg_shadow

-- read+admin: passwords of other servers
SELECT umoptions FROM pg_user_mapping

-- read+admin: through the standard's view
SELECT * FROM information_schema.user_mapping_options

-- read+admin: everybody's large objects
SELECT data FROM pg_largeobject

-- read+admin: samples of everybody's data
SELECT stavalues1 FROM pg_statistic

-- read+admin: a table's out-of-line data under another name
SELECT * FROM pg_toast.pg_toast_16384

-- read+admin: connection strings
SELECT subconninfo FROM pg_subscription

-- read: the catalogue as such is no secret
SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'

-- read: what psql asks for \d
SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname OPERATOR(pg_catalog.~) '^(orders)$' COLLATE pg_catalog.default AND pg_catalog.pg_table_is_visible(c.oid) ORDER BY 2, 3

-- write+unknown: a view over set_config: writing to it is SET
UPDATE pg_settings SET setting = 'off' WHERE name = 'transaction_read_only'

-- write+unknown: the catalogue itself
UPDATE pg_catalog.pg_proc SET prosecdef = true

-- write+admin+unknown: the catalogue itself, the secret part
DELETE FROM pg_authid

-- read+admin: a WITH query that only looks like the secret is read inside itself
WITH pg_authid AS (SELECT * FROM pg_authid) SELECT * FROM pg_authid

-- read: this one never touches the catalogue
WITH pg_authid AS (SELECT 1) SELECT * FROM pg_authid
