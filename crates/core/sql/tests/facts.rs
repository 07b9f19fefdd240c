//! Facts about single texts: everything but the operations, which `evasions` has.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use safeconduct_model::Operation;
use safeconduct_sql::{Facts, FunctionClasses, ObjectUse, StatementFacts, StatementKind, Usage, facts, summary_line};

fn all(text: &str) -> Facts {
    facts(text, &FunctionClasses::default())
}

fn one(text: &str) -> StatementFacts {
    let mut found = all(text);
    assert_eq!((found.statements.len(), &found.unparsable), (1, &None), "{text}");
    found.statements.pop().unwrap()
}

fn objects(text: &str) -> String {
    let shown = |object: &ObjectUse| format!("{}:{}", object.name, format!("{:?}", object.usage).to_lowercase());
    one(text).objects.iter().map(shown).collect::<Vec<_>>().join(" ")
}

#[test]
fn f34_each_statement_of_a_text_has_its_facts_and_its_place() {
    let text = "  select 'ö';\n-- two\ndelete from t ; ;";
    let found = all(text);
    let parts: Vec<_> = found.statements.iter().map(|s| (s.command.as_str(), &text[s.start_bytes..s.end_bytes])).collect();
    assert_eq!(parts, [("SELECT", "select 'ö'"), ("DELETE", "delete from t")]);
    assert_eq!(found.operations.to_string(), "read+write");
}

#[test]
fn an_empty_text_needs_connect_and_an_unparsable_one_unknown() {
    assert_eq!((all(" -- nothing\n;").operations.to_string(), all("").statements.len()), ("connect".to_owned(), 0));
    let broken = all("selekt 1");
    assert_eq!((broken.operations.to_string(), broken.statements.len()), ("unknown".to_owned(), 0));
    assert!(broken.unparsable.unwrap().contains("syntax error"));
}

#[test]
fn f35_a_text_beyond_the_caps_is_unparsable() {
    for text in [
        "select '\0'".to_owned(),
        format!("select '{}'", "x".repeat(256 * 1024)),
        format!("select {}1{}", "(".repeat(2_100), ")".repeat(2_100)),
    ] {
        let found = all(&text);
        assert!(found.unparsable.is_some() && found.operations.contains(Operation::Unknown), "{}", &text[..10]);
    }
}

#[test]
fn objects_are_named_with_their_use() {
    assert_eq!(objects("select * from orders o, app.customers where exists (table vault)"), "app.customers:read orders:read vault:read");
    assert_eq!(objects("insert into a select * from b"), "a:write b:read");
    assert_eq!(objects("update a set x = (select y from c) from b where a.id = b.id"), "a:write b:read c:read");
    assert_eq!(objects("merge into a using b on true when matched then delete"), "a:write b:read");
    assert_eq!(objects("select * into n from a for update"), "a:write n:ddl");
    assert_eq!(objects("select * from a join b on true for update of b"), "a:write b:write");
    assert_eq!(objects("copy a from stdin"), "a:write");
    assert_eq!(objects("copy a to stdout"), "a:read");
    assert_eq!(objects("drop table a, \"B\".c"), "\"B\".c:ddl a:ddl");
    assert_eq!(objects("drop function app.f(int)"), "app.f:ddl");
    assert_eq!(objects("drop trigger t on a"), "a:ddl");
    assert_eq!(objects("alter table a add foreign key (x) references b"), "a:ddl b:read");
    assert_eq!(objects("create table a (like b)"), "a:ddl b:read");
    assert_eq!(objects("truncate a, b"), "a:write b:write");
    assert_eq!(objects("refresh materialized view v"), "v:write");
    assert_eq!(objects("lock a in share mode"), "a:write");
    assert_eq!(objects("vacuum a"), "a:read");
    assert_eq!(objects("create function app.f() returns int language sql as 'select 1'"), "app.f:ddl");
    assert_eq!(objects("create type app.t as enum ('a')"), "app.t:ddl");
    assert_eq!(objects("create schema s create table t (a int)"), "s:ddl t:ddl");
    assert_eq!(objects("explain delete from a using b"), "a:read b:read");
    assert_eq!(objects("select * from \"public.orders\", \"A\""), "\"A\":read \"public.orders\":read");
}

#[test]
fn f30_with_names_hide_a_table_only_where_postgresql_lets_them() {
    assert_eq!(objects("with x as (select 1) select * from x"), "");
    assert_eq!(objects("with x as (select * from x) select * from x"), "x:read", "not yet in sight in its own query");
    assert_eq!(objects("with recursive x as (select * from x) select * from x"), "");
    assert_eq!(objects("with a as (select * from b), b as (select 1) select * from a, b"), "b:read");
    assert_eq!(objects("with recursive a as (select * from b), b as (select 1) select * from a, b"), "");
    assert_eq!(objects("select * from (with x as (select 1) select * from x) y, x"), "x:read", "out of sight outside");
    assert_eq!(objects("with x as (select 1) select * from public.x"), "public.x:read");
    assert_eq!(objects("with x as (select 1) delete from x"), "x:write", "a target is always a table");
    assert_eq!(objects("with x as (select 1) insert into t select * from x"), "t:write");
    assert_eq!(objects("with x as (select 1) select (select max(1) from x) union select * from x"), "");
    assert_eq!(objects("with x as (select 1) select * from x for update"), "");
}

#[test]
fn where_clauses_are_seen() {
    assert_eq!(one("delete from t").has_where, Some(false));
    assert_eq!(one("delete from t where true").has_where, Some(true));
    assert_eq!(one("update t set a = 1 where id = 2").has_where, Some(true));
    assert_eq!(one("with x as (delete from t) update u set a = 1 where b").has_where, Some(false));
    assert_eq!(one("select 1 where true").has_where, None);
    assert_eq!(one("prepare p as delete from t").has_where, Some(false));
}

#[test]
fn parameters_and_functions_are_listed() {
    let found = one("select lower($2), app.\"F\"($11) from f(1) where a = $1");
    assert_eq!(found.parameters, 11);
    assert_eq!(found.functions, ["app.\"F\"", "f", "lower"]);
}

#[test]
fn what_a_gate_tracks() {
    let kind = |text: &str| one(text).kind;
    assert_eq!(kind("begin"), StatementKind::Begin { read_write: None });
    assert_eq!(kind("begin read write"), StatementKind::Begin { read_write: Some(true) });
    assert_eq!(kind("start transaction read only"), StatementKind::Begin { read_write: Some(false) });
    assert_eq!(kind("end"), StatementKind::Commit { chain: false });
    assert_eq!(kind("abort and chain"), StatementKind::Rollback { chain: true });
    assert_eq!(kind("savepoint \"A b\""), StatementKind::Savepoint { name: "A b".into() });
    assert_eq!(kind("release x"), StatementKind::ReleaseSavepoint { name: "x".into() });
    assert_eq!(kind("rollback to x"), StatementKind::RollbackTo { name: "x".into() });
    let set = |name: &str, value: Option<&str>, local| StatementKind::Set { name: name.into(), value: value.map(Into::into), local };
    assert_eq!(kind("set \"DateStyle\" = iso, dmy"), set("datestyle", Some("iso, dmy"), false));
    assert_eq!(kind("set local statement_timeout to 0"), set("statement_timeout", Some("0"), true));
    assert_eq!(kind("set time zone default"), set("timezone", None, false));
    assert_eq!(kind("reset all"), set("all", None, false));
    assert_eq!(
        kind("set transaction read only, isolation level serializable"),
        set("transaction", Some("read only, isolation level serializable"), true)
    );
    assert_eq!(kind("set session characteristics as transaction read write"), set("session_characteristics", Some("read write"), false));
    assert_eq!(kind("show Search_Path"), StatementKind::Show { name: "search_path".into() });
    assert_eq!(kind("execute \"P\"(1)"), StatementKind::Execute { name: "P".into() });
    assert_eq!(kind("explain execute p"), StatementKind::Execute { name: "p".into() });
    assert_eq!(kind("deallocate all"), StatementKind::Deallocate { name: None });
    assert_eq!(kind("deallocate \"all\""), StatementKind::Deallocate { name: Some("all".into()) });
    assert_eq!(kind("fetch 2 from c"), StatementKind::Fetch { name: "c".into() });
    assert_eq!(kind("close all"), StatementKind::CloseCursor { name: None });
    assert_eq!(kind("discard all"), StatementKind::Discard { all: true, plans: false });
    for text in
        ["copy t from stdin", "copy t from stdin csv", "copy t from stdin with (format text, header)", "copy t (\"binary\") from stdin"]
    {
        assert_eq!(kind(text), StatementKind::CopyFromStdin { binary: false }, "{text}");
    }
    for text in [
        "copy t from stdin (format binary)",
        "copy binary t from stdin",
        "copy t from stdin with binary",
        "copy t from stdin (format 'binary')",
    ] {
        assert_eq!(kind(text), StatementKind::CopyFromStdin { binary: true }, "{text}");
    }
    assert_eq!(kind("copy t to stdout"), StatementKind::CopyToStdout);
    assert_eq!(kind("copy t to '/x'"), StatementKind::Plain);
    for text in [
        "create temp table t ()",
        "select 1 into temp t",
        "create temp view v as select 1",
        "create temp sequence s",
        "explain analyze create temp table t as select 1",
    ] {
        assert_eq!(kind(text), StatementKind::CreateTemp, "{text}");
    }
    assert_eq!(kind("explain create temp table t as select 1"), StatementKind::Plain);
    assert_eq!(kind("explain declare c cursor for select 1"), StatementKind::Plain);
    let StatementKind::Prepare { name, inner } = kind("prepare p as delete from t where id = $1") else { panic!() };
    assert_eq!(
        (name.as_str(), inner.command.as_str(), inner.operations.to_string().as_str(), inner.parameters),
        ("p", "DELETE", "write", 1)
    );
    let StatementKind::DeclareCursor { name, inner, hold } = kind("declare c cursor with hold for select * from t for update") else {
        panic!()
    };
    assert_eq!((name.as_str(), inner.operations.to_string().as_str(), hold), ("c", "read+write", true));
}

#[test]
fn a_resource_file_can_give_functions_a_class() {
    let mut classes = FunctionClasses::new(["app"]);
    classes.insert("app.total(int)", Operation::Read).unwrap();
    classes.insert("app.close_month", Operation::Write).unwrap();
    for name in ["json_array", "json_value", "json_query", "json_exists", "json_table", "json_scalar", "json_objectagg", "json_arrayagg"] {
        classes.insert(&format!("pg_catalog.{name}"), Operation::Read).unwrap();
    }
    let needs = |text: &str| facts(text, &classes).operations.to_string();
    assert_eq!(needs("select total(1), app.total(2), json_array(1)"), "read");
    assert_eq!(
        needs("select json_value(a, '$.b' returning int default 0 on empty), json_query(a, '$'), json_exists(a, '$' passing 1 as x)"),
        "read"
    );
    assert_eq!(
        needs("select json_scalar(1), json_objectagg(a : b), json_arrayagg(a order by b returning jsonb), json_array(select 1)"),
        "read"
    );
    assert_eq!(
        needs("select * from json_table(a, '$[*]' columns (b for ordinality, nested path '$.c' columns (d text exists path '$'))) t"),
        "read"
    );
    assert_eq!(needs("select json_value(close(), '$.b')"), "read+unknown");
    assert_eq!(needs("select total(1, 2)"), "read+unknown");
    assert_eq!(needs("select public.total(1)"), "read+unknown");
    assert_eq!(needs("call close_month()"), "write");
    assert_eq!(needs("insert into t values (total(1))"), "read+write");
}

#[test]
fn a_line_for_people() {
    let line = |text: &str| summary_line(&all(text));
    assert_eq!(line("update orders set a = 1 where id = 2"), "UPDATE orders … WHERE …; needs write");
    assert_eq!(line("delete from orders"), "DELETE orders without WHERE; needs write");
    assert_eq!(line("select * from a, b, c, d"), "SELECT a, b, c and 1 more; needs read");
    assert_eq!(line("begin; delete from a; commit"), "BEGIN, then 2 more statements; needs connect+write");
    assert_eq!(
        line("with x as (delete from t returning 1) select * from x"),
        "SELECT t, with an UPDATE or DELETE without WHERE; needs read+write"
    );
    assert_eq!(line(""), "empty; needs connect");
    assert!(line("x").starts_with("not understood (syntax error"));
}

#[test]
fn facts_are_stable_as_json() {
    let found = facts("select nextval('s') from public.orders where id = $1", &FunctionClasses::default());
    insta::assert_json_snapshot!(found, @r#"
    {
      "statements": [
        {
          "start_bytes": 0,
          "end_bytes": 52,
          "command": "SELECT",
          "kind": {
            "kind": "plain"
          },
          "operations": [
            "read",
            "write"
          ],
          "objects": [
            {
              "name": "public.orders",
              "usage": "read"
            }
          ],
          "functions": [
            "nextval"
          ],
          "has_where": null,
          "parameters": 1,
          "why": [
            "function `nextval` needs write: moves a sequence"
          ]
        }
      ],
      "operations": [
        "read",
        "write"
      ],
      "unparsable": null
    }
    "#);
    assert_eq!(one("select 1 from a").objects, [ObjectUse { name: "a".into(), usage: Usage::Read }]);
}
