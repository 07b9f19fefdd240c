//! PostgreSQL as the oracle of the function lists and of the corpus of evasions: every built-in function that is called harmless is called, in all its forms, in a READ ONLY
//! transaction; none is refused for writing, assigns a transaction id without being asked for one, or changes a setting.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use safeconduct_model::Operation;
use safeconduct_sql::{FunctionClasses, facts};
use support::{
    client::Client,
    evasions::{FILES, cases},
    server::PostgresServer,
};

/// One call for each function that SQL can call, as text, with an argument that its type takes. Aggregates and window functions included.
const CALLS: &str = r#"
select format('select %sfrom (values (1)) one', call) from (
  select format('pg_catalog.%I(%s)%s ', p.proname,
      (select string_agg(format('%s', case
            when t.typname in ('int2', 'int4', 'int8', 'float4', 'float8', 'numeric') then '1::' || t.typname
            when t.typname in ('text', 'varchar', 'bpchar', 'name', 'any', 'anyelement', 'anycompatible') then quote_literal('a') || '::'
                || case when t.typname like 'any%' then 'text' else t.typname end
            when t.typname in ('anyarray', 'anycompatiblearray', 'anynonarray') then case when t.typname = 'anynonarray' then '1' else '''{1,2}''::int[]' end
            when t.typname in ('oid', 'regclass') then '''pg_class''::regclass::' || t.typname
            when t.typname = 'bool' then 'false'
            when t.typname in ('json', 'jsonb') then '''{}''::' || t.typname
            when t.typname in ('date', 'timestamp', 'timestamptz') then '''2026-01-01''::' || t.typname
            when t.typname = 'interval' then '''1 ms''::interval'
            when t.typname = 'record' then 'row(1)'
            when t.typtype = 'p' then 'null'
            else 'null::' || format_type(t.oid, null) end), ', ' order by a.n)
         from unnest(p.proargtypes::oid[]) with ordinality as a(type, n) join pg_type t on t.oid = a.type),
      case p.prokind when 'w' then ' over ()' when 'a' then case when a.aggkind = 'n' then '' else ' within group (order by 1)' end else '' end) as call,
      p.proname
    from pg_proc p left join pg_aggregate a on a.aggfnoid = p.oid
   where p.pronamespace = 'pg_catalog'::regnamespace
     and not (p.proargtypes::oid[] || p.prorettype) && array['internal', 'cstring', 'trigger', 'event_trigger', 'language_handler',
              'fdw_handler', 'index_am_handler', 'table_am_handler', 'tsm_handler']::regtype[]::oid[]) calls
 order by 1
"#;

/// What must be the same before and after.
const STATE: &str = "select concat_ws('|', coalesce(pg_current_xact_id_if_assigned()::text, '-'), \
    (select md5(string_agg(name || setting, ',' order by name)) from pg_settings where name <> 'seed'), \
    (select count(*) from pg_locks where locktype = 'advisory'), (select count(*) from pg_stat_activity))";

#[test]
fn f31_every_function_called_harmless_is_accepted_by_a_read_only_transaction() {
    let server = PostgresServer::start();
    let mut client = Client::connect(&server.socket(), "postgres", "postgres").unwrap();
    let calls = client.query(CALLS).unwrap();
    assert_eq!(calls.error, None);
    client.query("set statement_timeout = '200ms'").unwrap();
    let (mut called, mut ran, mut wrong) = (0, 0, Vec::new());
    for call in &calls.first_column {
        let found = facts(call, &FunctionClasses::default());
        if found.operations.iter().any(|operation| !matches!(operation, Operation::Connect | Operation::Read)) {
            continue;
        }
        called += 1;
        let asks_for_an_id = call.contains("txid_current(") || call.contains("pg_current_xact_id(");
        let answers = client.queries(&["begin read only", STATE, call, STATE, "rollback"]).unwrap();
        let (before, answer, after) = (&answers[1], &answers[2], &answers[3]);
        ran += usize::from(answer.error.is_none());
        if answer.sqlstate() == "25006" || (answer.error.is_none() && before.first_column != after.first_column && !asks_for_an_id) {
            wrong.push(format!("{call}: {answer:?} {before:?} {after:?}"));
        }
    }
    println!("forms of functions {}, called harmless {called}, ran without any error {ran}", calls.first_column.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(called > 2_000 && ran > 1_500, "the catalogue is not what this test expects");
}

#[test]
fn f35_the_server_refuses_what_does_not_parse_and_lets_reads_read() {
    let server = PostgresServer::start();
    let setup = "create table orders (id int, a int, b int, c int, d int, e int, m int, n int, note text, at timestamptz); \
        create table archive (id int, a int, b int); create table vault (secret int, a int, b int); create table t (a int, b int, c int, d int, e int); \
        insert into orders values (1); create sequence orders_id_seq";
    let mut client = Client::connect(&server.socket(), "postgres", "postgres").unwrap();
    assert_eq!(client.query(setup).unwrap().error, None);
    let (mut refused, mut read) = (0, 0);
    for case in FILES.into_iter().flat_map(cases) {
        let mut client = Client::connect(&server.socket(), "postgres", "postgres").unwrap();
        client.query("set statement_timeout = '200ms'").unwrap();
        if case.expected == "unparsable" {
            let answer = client.query(&case.text).unwrap();
            assert!(answer.error.is_some(), "{}: the server understands {}", case.about, case.text);
            refused += 1;
        } else if case.expected.split('+').all(|operation| matches!(operation, "read" | "connect")) {
            let answers = client.queries(&["begin read only", &case.text]).unwrap();
            assert_ne!(answers[1].sqlstate(), "25006", "{}: {}", case.about, case.text);
            let syntax = answers[1].error.as_ref().is_some_and(|(_, message)| message.starts_with("syntax error"));
            assert!(!syntax, "{}: {} {:?}", case.about, case.text, answers[1].error);
            read += 1;
        }
    }
    println!("unparsable and refused {refused}, reads {read}");
    assert!(refused > 10 && read > 60);
}
