//! Estimates: who is told, in which words, and how seldom a server is asked.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicBool, atomic::Ordering::SeqCst},
    time::Duration,
};

use common::*;
use parking_lot::Mutex;
use safeconduct_app::{
    AccessView, Estimate,
    ports::{BoxFuture, Relation, RelationKind, RelationName, Statistics, Unsaid},
};
use safeconduct_model::{AccessRequestId, Operation, Resource};

/// A server with these tables in `public`; what it was asked.
#[derive(Default)]
struct Server {
    tables: BTreeMap<&'static str, Relation>,
    asked: Mutex<Vec<Vec<RelationName>>>,
    silent: AtomicBool,
}

impl Statistics for Server {
    fn sizes<'a>(
        &'a self,
        _: &'a Resource,
        database: &'a str,
        names: &'a [RelationName],
    ) -> BoxFuture<'a, Result<Vec<Vec<Relation>>, Unsaid>> {
        assert_eq!(database, "orders");
        self.asked.lock().push(names.to_vec());
        let found = |name: &RelationName| {
            let table = self.tables.get(name.name.as_str()).filter(|_| name.schemas.iter().any(|schema| schema == "public"));
            table.cloned().into_iter().collect()
        };
        let silent = self.silent.load(SeqCst);
        Box::pin(async move {
            // Others get a chance to come in between.
            tokio::task::yield_now().await;
            if silent { Err(Unsaid("it is silent".to_owned())) } else { Ok(names.iter().map(found).collect()) }
        })
    }
}

fn table(rows: u64) -> Relation {
    Relation { schema: "public".to_owned(), kind: RelationKind::Table, tables: 1, uncounted: 0, rows }
}

async fn house() -> (House, Arc<Server>) {
    let tables = [("orders", table(1_200_000)), ("items", table(1)), ("Odd", table(999))];
    let server = Arc::new(Server { tables: tables.into(), ..Server::default() });
    let house = House::new().await;
    house.app.set_statistics(Arc::clone(&server) as _);
    (house, server)
}

fn id(view: &AccessView) -> AccessRequestId {
    view.access.envelope.access_request.clone()
}

async fn told(house: &House, text: &str) -> Estimate {
    let view = house.exact("alice", text).await.unwrap();
    house.app.estimate(&house.caller("bob"), &id(&view)).await.unwrap()
}

#[tokio::test]
async fn a_statement_is_told_by_the_tables_it_names() {
    let (house, server) = house().await;
    let by = "(the server's statistics)";
    for (text, summary) in [
        ("update orders set total = 1 where id = 1", format!("at most about 1,200,000 rows of public.orders {by}")),
        ("delete from public.orders where id = 1", format!("at most about 1,200,000 rows of public.orders {by}")),
        ("delete from items", format!("about 1 row of public.items: every row {by}")),
        ("update \"Odd\" set a = 1", format!("about 999 rows of public.\"Odd\": every row {by}")),
        (
            "update orders set total = 1 from items where items.id = orders.id",
            format!("at most about 1,200,000 rows of public.orders {by}"),
        ),
        (
            "insert into items select id from orders",
            format!("public.items holds about 1 row; public.orders holds about 1,200,000 rows {by}"),
        ),
        // Which of the two the condition is for is not known.
        (
            "with gone as (delete from items where id = 1 returning id) update orders set total = 1",
            format!("public.items holds about 1 row; public.orders holds about 1,200,000 rows {by}"),
        ),
        (
            "update orders set total = 1 where id = 2; delete from items; delete from items",
            format!("at most about 1,200,000 rows of public.orders; about 1 row of public.items: every row {by}"),
        ),
        ("delete from nothing where id = 1", "unknown: sessions would find no table of this name (nothing)".to_owned()),
        ("delete from pg_temp.mine", "unknown: temporary tables are their session's own (pg_temp.mine)".to_owned()),
        ("delete from elsewhere.public.orders", "unknown: it names another database (elsewhere.public.orders)".to_owned()),
        ("insert into orders.public.items values (my_function())", format!("public.items holds about 1 row {by}")),
        ("select my_function()", "unknown: the statement names no table".to_owned()),
    ] {
        assert_eq!(told(&house, text).await.summary, summary, "{text}");
        house.advance(3600).await;
    }
    let asked = server.asked.lock().concat();
    assert!(asked.contains(&RelationName { schemas: vec!["pg_catalog".into(), "public".into()], name: "orders".into() }), "{asked:?}");
    assert!(asked.contains(&RelationName { schemas: vec!["public".into()], name: "orders".into() }), "{asked:?}");
}

#[tokio::test]
async fn a_truncate_and_a_drop_are_told_too() {
    let (house, _) = house().await;
    for (text, summary) in [
        (
            "truncate orders, items",
            "about 1 row of public.items: every row; about 1,200,000 rows of public.orders: every row (the server's statistics)",
        ),
        ("drop table orders", "public.orders holds about 1,200,000 rows (the server's statistics)"),
        // What is yet to be made holds nothing that could be lost.
        ("create table later as select * from items", "public.items holds about 1 row (the server's statistics)"),
    ] {
        assert_eq!(told(&house, text).await.summary, summary, "{text}");
    }
}

#[tokio::test]
async fn f21_only_who_may_see_the_access_request_is_told_and_others_learn_nothing() {
    let (house, server) = house().await;
    let view = house.exact("alice", "delete from orders where id = 1").await.unwrap();
    for stranger in ["mallory", "erin"] {
        let refused = house.app.estimate(&house.caller(stranger), &id(&view)).await.unwrap_err();
        assert_eq!(refused, house.app.access(&house.caller(stranger), &id(&view)).await.unwrap_err(), "{stranger}");
        assert_eq!(refused.code, "REQ-008");
    }
    assert!(server.asked.lock().is_empty());
    for who in ["alice", "bob", "carol"] {
        assert_eq!(house.app.estimate(&house.caller(who), &id(&view)).await.unwrap().tables[0].rows, Some(1_200_000), "{who}");
    }
}

#[tokio::test]
async fn f22_no_server_is_asked_by_looking_ahead_nor_about_what_is_over() {
    let (house, server) = house().await;
    let text = "delete from orders where id = 1";
    house.app.preview(&house.caller("alice"), exact(text)).await.unwrap();
    let window = house.window("alice", &[Operation::Write], 600).await.unwrap();
    let said = house.app.estimate(&house.caller("bob"), &id(&window)).await.unwrap();
    assert_eq!((said.summary.as_str(), said.tables.len()), ("unknown: it asks for no statement", 0));

    let view = house.exact("alice", text).await.unwrap();
    house.app.cancel(&house.caller("alice"), &id(&view)).await.unwrap();
    let said = house.app.estimate(&house.caller("alice"), &id(&view)).await.unwrap();
    assert_eq!((said.summary.as_str(), said.tables.len()), ("unknown: it does not wait to be run", 0));
    assert!(server.asked.lock().is_empty());
}

#[tokio::test]
async fn f22_what_is_told_is_in_no_record() {
    let (house, _) = house().await;
    let view = house.exact("alice", "delete from orders where id = 1").await.unwrap();
    let before = (house.app.ledger_size().await.unwrap(), house.see(&id(&view)).await.access.digest);
    house.app.estimate(&house.caller("bob"), &id(&view)).await.unwrap();
    assert_eq!((house.app.ledger_size().await.unwrap(), house.see(&id(&view)).await.access.digest), before);
}

#[tokio::test]
async fn f42_a_server_is_asked_once_for_many_and_again_after_a_minute() {
    let (house, server) = house().await;
    let house = Arc::new(house);
    let view = house.exact("alice", "delete from orders where id = 1").await.unwrap();
    let looking: Vec<_> = (0..20)
        .map(|_| {
            let (house, id) = (Arc::clone(&house), id(&view));
            tokio::spawn(async move { house.app.estimate(&house.caller("bob"), &id).await.unwrap() })
        })
        .collect();
    for told in looking {
        assert_eq!(told.await.unwrap().tables[0].rows, Some(1_200_000));
    }
    assert_eq!(server.asked.lock().len(), 1);

    let first = house.app.estimate(&house.caller("bob"), &id(&view)).await.unwrap();
    house.clock.advance(Duration::from_secs(59));
    assert_eq!(house.app.estimate(&house.caller("bob"), &id(&view)).await.unwrap(), first, "and it says when it was read");
    assert_eq!(server.asked.lock().len(), 1);
    house.clock.advance(Duration::from_secs(1));
    assert!(house.app.estimate(&house.caller("bob"), &id(&view)).await.unwrap().read_at > first.read_at);
    assert_eq!(server.asked.lock().len(), 2);
}

#[tokio::test]
async fn f42_a_statement_of_very_many_tables_is_looked_up_in_part() {
    let (house, server) = house().await;
    let names: Vec<String> = (0..500).map(|number| format!("select f() from t{number}")).collect();
    let said = told(&house, &names.join("; ")).await;
    assert_eq!(said.tables.len(), 33);
    assert_eq!(said.tables[32].why_not.as_deref(), Some("there are too many tables to look at them all"));
    assert_eq!(server.asked.lock().concat().len(), 32);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_left_alone_for_a_moment_and_its_figures_are_unknown() {
    let (house, server) = house().await;
    server.silent.store(true, SeqCst);
    assert_eq!(told(&house, "delete from orders where id = 1").await.summary, "unknown: it is silent (orders)");
    server.silent.store(false, SeqCst);
    let said = told(&house, "delete from items where id = 1").await;
    assert_eq!((said.summary.as_str(), said.read_at), ("unknown: it is silent (items)", None));
    assert_eq!(server.asked.lock().len(), 1);
    house.clock.advance(Duration::from_secs(10));
    assert!(told(&house, "delete from items where id = 2").await.tables[0].rows.is_some());
}

#[tokio::test]
async fn a_gateway_that_asks_no_servers_says_so() {
    let house = House::new().await;
    assert_eq!(told(&house, "delete from orders").await.summary, "unknown: this gateway asks no servers (orders)");
}
