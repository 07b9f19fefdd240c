-- connect+unknown: where names are looked for
SET search_path = evil, public

-- connect+unknown: the same by its other name
SET SCHEMA 'evil'

-- connect+unknown: any case, quoted
set "Search_PATH" to evil

-- connect+unknown: for one transaction
SET LOCAL search_path TO evil

-- connect: back to the startup packet's value, which is the gateway's
RESET search_path

-- connect: the same, the other way
SET search_path TO DEFAULT

-- connect: everything at once, who acts and the open transaction excepted
RESET ALL

-- connect: the same, and an end to all that the session gathered
DISCARD ALL

-- connect: plans are no meaning
DISCARD PLANS

-- temp: throws temporary objects away
DISCARD TEMP

-- connect+admin: acting as somebody else
SET ROLE postgres

-- connect+admin: back to who one was
RESET ROLE

-- connect+admin: acting as somebody else, entirely
SET SESSION AUTHORIZATION postgres

-- connect+unknown: strings end elsewhere
SET standard_conforming_strings = off

-- connect: what the gateway set anyway
SET standard_conforming_strings = on

-- connect: back to the startup packet's value, which is on
RESET standard_conforming_strings

-- connect+admin: back to who one was, the other way
SET SESSION AUTHORIZATION DEFAULT

-- connect+write: an open transaction may write again
RESET transaction_read_only

-- connect+unknown: bytes mean other letters
SET client_encoding = 'SJIS'

-- connect+unknown: the same by its other name
SET NAMES 'GBK'

-- connect: what the gateway set anyway
SET NAMES 'utf-8'

-- connect+unknown: row security off
SET row_security = off

-- connect+unknown: triggers off
SET session_replication_role = replica

-- connect+unknown: = NULL becomes IS NULL
SET transform_null_equals = on

-- connect+unknown: functions are not checked
SET check_function_bodies = off

-- connect: the gateway puts its own name in front
SET application_name = 'not me'

-- read+unknown: the same where it can't
SELECT set_config('application_name', 'not me', false)

-- connect+read: no more than SET
SELECT current_setting('jit') AS cur, set_config('jit', 'off', false) AS new

-- connect+read: the same with a parameter
SELECT set_config('jit', $1, false)

-- read+unknown: SET says it where the gate can follow
SELECT set_config('datestyle', 'German', false)

-- read+unknown: a value that is not written out
SELECT set_config('jit', current_setting('x'), false)

-- read+unknown: a name that is not written out
SELECT set_config('ji' || 't', 'off', false)

-- connect+unknown: a plan may hide or show errors
SET enable_seqscan = off

-- connect+unknown: settings of extensions are code
SET pgaudit.log = 'none'

-- connect+unknown: a setting nobody heard of
SET no_such_setting = 1

-- connect+unknown: memory of the server
SET work_mem = '100GB'

-- connect+unknown: code loaded at the next connection
SET session_preload_libraries = 'evil'

-- connect+unknown: code loaded now
SET local_preload_libraries = 'evil'

-- connect+write: lets transactions write
SET default_transaction_read_only = off

-- connect: back to how the session began
RESET default_transaction_read_only

-- connect: the safe direction
SET default_transaction_read_only = on

-- connect+write: lets this transaction write
SET transaction_read_only TO false

-- connect+write: the same as a mode
SET TRANSACTION READ WRITE

-- connect+write: for all transactions to come
SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE

-- connect: the safe direction
SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- connect+unknown: another session's view
SET TRANSACTION SNAPSHOT '00000003-0000001B-1'

-- connect: how answers look
SET datestyle = 'ISO, DMY'

-- connect: how answers look
SET TIME ZONE 'Europe/Prague'

-- connect: how answers look
SET TIME ZONE INTERVAL '+02:00' HOUR TO MINUTE

-- connect: how long things may take
SET statement_timeout = '5s'

-- connect: what drivers set
SET extra_float_digits = 3

-- connect: back to the default
RESET timezone

-- connect: looking is free
SHOW search_path

-- connect: looking is free
SHOW ALL

-- read+unknown: an operator from elsewhere
SELECT a OPERATOR(evil.=) b FROM orders

-- read: a built-in operator with its schema
SELECT a OPERATOR(pg_catalog.=) b FROM orders

-- read+unknown: an operator that is not built in
SELECT a <==> b FROM orders

-- read+unknown: such an operator before a value
SELECT @#@ a FROM orders

-- read+unknown: in ORDER BY … USING
SELECT * FROM orders ORDER BY a USING OPERATOR(evil.<)

-- read+unknown: over ANY
SELECT a OPERATOR(evil.=) ANY (ARRAY[1])

-- read+unknown: over a subquery's rows
SELECT (a, b) OPERATOR(evil.<) ALL (SELECT 1, 2) FROM orders

-- read+unknown: a function that is not pg_catalog's although its name is
SELECT evil.lower('x')

-- read: pg_catalog's
SELECT pg_catalog.lower('x')

-- read+unknown: names in other letters are other names
SELECT "Lower"('x')

-- read+unknown: a letter of another alphabet
SELECT lоwer('x')

-- read+unknown: a name of three parts
SELECT app.pg_catalog.lower('x')

-- read+unknown: functions that temporary objects bring
SELECT pg_temp.f()

-- read+unknown: a table of another database
SELECT * FROM app.public.orders

-- read: a table whose name holds a dot is another table
SELECT * FROM "public.orders"

-- read: casts to built-in types
SELECT 'orders'::regclass, '{1,2}'::int[], x::pg_catalog.int4, int '7', interval '1 day', '1'::"char"

-- read: casts to types of the database: what runs is not in the text
SELECT 'paid'::order_status

-- read+unknown: a type's name used as a function
SELECT order_status('paid')

-- read+temp: a temporary object could take a name's place
CREATE TEMP TABLE orders AS SELECT * FROM vault

-- ddl+temp: so could a temporary type
CREATE TYPE pg_temp.t AS ENUM ('a')

-- ddl+temp: and another kind of it
CREATE TYPE pg_temp.t AS (a int)

-- ddl+temp: and a temporary domain
CREATE DOMAIN pg_temp.d AS int

-- ddl+temp+admin: and a temporary operator
CREATE OPERATOR pg_temp.= (LEFTARG = text, RIGHTARG = int, FUNCTION = f)

-- read: a unicode-escaped name is a name
SELECT U&"d\0061t\+000061" FROM orders

-- read+unknown: a unicode-escaped function is that function
SELECT U&"s\0065t_config"('role', 'postgres', false)

-- read+admin: a unicode-escaped table is that table
SELECT * FROM U&"pg!005Fauthid" UESCAPE '!'

-- read+unknown: quoting does not make a function another
SELECT "set_config"('a.b', 'c', false)

-- read+unknown: case does not make a function another
SELECT SeT_CoNfIg('a.b', 'c', false)
