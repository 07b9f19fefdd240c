//! Estimates: what a real server's statistics say of tables, and that nothing else is ever asked before somebody approves.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::{net::TcpListener, sync::Arc};

use safeconduct_app::{
    AccessView, AskedFor, Estimate,
    ports::{BoxFuture, RelationName, ResultPart, ResultSink, SinkClosed, Statistics as _, Unsaid},
};
use safeconduct_gateway_postgres::PostgresStatistics;
use safeconduct_model::{Operation, ResourceKind, UpstreamTls};
use safeconduct_testkit::{minutes, ttl};
use support::{Setup, World, minted};

async fn world(sql: &str) -> World {
    World::set_up(Setup { sql: sql.to_owned(), ..Setup::default() }).await
}

async fn asked(world: &World, text: &str) -> AccessView {
    let what = AskedFor::ExactSql { database: None, text: text.to_owned() };
    world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.unwrap()
}

/// What somebody who may approve is told about a statement.
async fn estimate(world: &World, text: &str) -> Estimate {
    let view = asked(world, text).await;
    world.app.estimate(&world.caller("bob"), &view.access.envelope.access_request).await.unwrap()
}

async fn check(world: &World, text: &str, summary: &str) {
    assert_eq!(estimate(world, text).await.summary, summary, "{text}");
}

/// The questions of the gateway's own that reached the server.
fn questions(world: &World) -> usize {
    world.server.log().matches("JOIN pg_catalog.pg_inherits").count()
}

const TABLES: &str = r#"
CREATE SCHEMA archive; CREATE SCHEMA hidden; GRANT USAGE ON SCHEMA archive TO app;
CREATE TABLE archive.orders (id integer); INSERT INTO archive.orders SELECT generate_series(1, 1500);
CREATE TABLE hidden.orders (id integer); INSERT INTO hidden.orders SELECT generate_series(1, 7);
CREATE TABLE archive.closed (id integer); INSERT INTO archive.closed SELECT generate_series(1, 7);
CREATE TABLE fresh (id integer);
CREATE TABLE parts (id integer) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200) PARTITION BY RANGE (id);
CREATE TABLE parts_2a PARTITION OF parts_2 FOR VALUES FROM (100) TO (200);
INSERT INTO parts SELECT generate_series(50, 149);
CREATE TABLE grown (id integer) PARTITION BY RANGE (id);
CREATE TABLE grown_1 PARTITION OF grown FOR VALUES FROM (0) TO (100);
INSERT INTO grown SELECT generate_series(1, 9);
CREATE TABLE "we""ird'; DROP TABLE orders; --\" (id integer); INSERT INTO "we""ird'; DROP TABLE orders; --\" VALUES (1);
CREATE VIEW seen AS SELECT * FROM orders;
CREATE TABLE public.pg_class (id integer);
ALTER TABLE archive.orders OWNER TO app; ALTER TABLE fresh OWNER TO app; ALTER TABLE parts OWNER TO app; ALTER TABLE grown OWNER TO app;
ALTER TABLE "we""ird'; DROP TABLE orders; --\" OWNER TO app; ALTER VIEW seen OWNER TO app; ALTER TABLE hidden.orders OWNER TO app;
ALTER TABLE public.pg_class OWNER TO app;
ANALYZE orders; ANALYZE archive.orders; ANALYZE archive.closed; ANALYZE parts; ANALYZE grown; ANALYZE "we""ird'; DROP TABLE orders; --\";
CREATE TABLE grown_2 PARTITION OF grown FOR VALUES FROM (100) TO (200);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_as_large_as_the_server_counted_it() {
    let world = world(TABLES).await;
    let of = |text: &str| format!("{text} (the server's statistics)");
    check(&world, "update orders set note = '' where id = 1", &of("at most about 100 rows of public.orders")).await;
    check(&world, "delete from archive.orders", &of("about 1,500 rows of archive.orders: every row")).await;
    check(&world, "update parts set id = 1 where id = 2", &of("at most about 100 rows of public.parts")).await;
    let odd = r#"public."we""ird'; DROP TABLE orders; --\""#;
    check(&world, r#"delete from "we""ird'; DROP TABLE orders; --\" where id = 1"#, &of(&format!("at most about 1 row of {odd}"))).await;
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");

    check(&world, "delete from fresh where id = 1", "unknown: the server never counted its rows (public.fresh)").await;
    let some = "unknown: the server counted 1 of its 2 parts, with about 9 rows (public.grown)";
    check(&world, "delete from grown where id = 1", some).await;
    check(&world, "delete from seen where id = 1", "unknown: a view has no statistics of its own (public.seen)").await;
    check(&world, "delete from pg_class where id = 1", "unknown: the name is in more than one schema (pg_class)").await;

    let both = estimate(&world, "insert into archive.orders select id from orders; drop table fresh; create table later (id int)").await;
    assert_eq!(
        both.summary,
        "archive.orders holds about 1,500 rows; public.orders holds about 100 rows (the server's statistics); \
         of public.fresh unknown: the server never counted its rows"
    );
    assert_eq!(both.tables.len(), 3, "{both:?}");
    assert_eq!(both.read_at, Some(world.app.now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_a_table_that_sessions_can_not_use_is_as_one_that_is_not_there() {
    let world = world(TABLES).await;
    for name in ["hidden.orders", "archive.closed", "archive.nothing", "nowhere.orders", "nothing"] {
        let said = estimate(&world, &format!("delete from {name} where id = 1")).await.summary;
        assert_eq!(said, format!("unknown: sessions would find no table of this name ({name})"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_where_sessions_have_roles_of_their_own_a_table_is_seen_by_what_these_may_use() {
    let sql = format!(
        "{} CREATE TABLE theirs (id integer); INSERT INTO theirs VALUES (1), (2); ANALYZE theirs; CREATE TABLE nobodys (id integer); \
         ANALYZE nobodys; GRANT SELECT ON theirs TO orders_read;",
        minted::ROLES
    );
    let setup = Setup { sql, credentials: minted::CREDENTIALS.to_owned(), at: Some(minted_now()), ..Setup::default() };
    let world = World::set_up(setup).await;
    check(&world, "delete from theirs where id = 1", "at most about 2 rows of public.theirs (the server's statistics)").await;
    check(&world, "delete from nobodys where id = 1", "unknown: sessions would find no table of this name (nobodys)").await;
}

fn minted_now() -> safeconduct_model::Timestamp {
    use safeconduct_app::ports::Clock as _;
    safeconduct_testkit::TestClock::default().now()
}

#[derive(Default)]
struct Dropped;

impl ResultSink for Dropped {
    fn push(&mut self, _: ResultPart) -> BoxFuture<'_, Result<(), SinkClosed>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f22_what_somebody_asked_for_reaches_the_server_after_approval_and_not_before() {
    // Planning alone would call it, EXPLAIN included.
    let marker = "CREATE FUNCTION planned(integer) RETURNS integer IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN RAISE LOG 'planned % ran', $1; RETURN $1; END $$;";
    let world = world(&format!("{marker} ANALYZE orders;")).await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let mut psql = world.client(&secret, "psql");
    psql.args(["-X", "-c", "update orders set note = 'marker-held' where id = planned(4712)"]).kill_on_drop(true);
    let mut psql = psql.spawn().unwrap();
    let held = world.held().await;
    let text = "update orders set note = 'marker-before' where id = planned(4711)";
    let view = asked(&world, text).await;
    for view in [&view, &held] {
        let said = world.app.estimate(&world.caller("bob"), &view.access.envelope.access_request).await.unwrap();
        assert_eq!(said.summary, "at most about 100 rows of public.orders (the server's statistics)");
    }

    // Names go as values; the statements are the gateway's own.
    let told = world.run_by_door();
    let ours: Vec<&String> = told.iter().filter(|line| line.contains("safeconduct statistics")).collect();
    assert!(!ours.is_empty(), "{told:?}");
    for line in ours {
        assert!(line.contains("SET search_path = pg_catalog, pg_temp") || line.contains("SELECT asked.place"), "{line}");
    }
    let log = world.server.log();
    assert!(
        !log.contains("marker-before") && !log.contains("marker-held") && !log.contains("planned(47") && !log.contains("planned 47"),
        "{log}"
    );

    // The log would have shown it.
    world.approve(&view).await;
    world.app.execute(&world.caller("alice"), &view.access.envelope.access_request, &mut Dropped).await.unwrap();
    let log = world.server.log();
    assert!(log.contains("marker-before") && log.contains("planned 4711 ran"), "{log}");
    psql.kill().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_many_who_look_at_once_are_one_question_and_figures_are_kept_for_a_minute() {
    let world = Arc::new(world("ANALYZE orders;").await);
    let view = asked(&world, "delete from orders where id = 1").await;
    let id = view.access.envelope.access_request;
    let look = async |times: usize| {
        let tasks = (0..times).map(|_| {
            let (world, id) = (Arc::clone(&world), id.clone());
            tokio::spawn(async move { world.app.estimate(&world.caller("bob"), &id).await.unwrap() })
        });
        for task in tasks.collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap().tables[0].rows, Some(100));
        }
    };
    look(50).await;
    assert_eq!(questions(&world), 1, "{}", world.server.log());
    world.clock.advance(minutes(1));
    look(2).await;
    assert_eq!(questions(&world), 2);
}

/// Asks a server at this port directly.
async fn at_port(port: u16) -> Result<(), Unsaid> {
    let mut resource = safeconduct_testkit::postgres_resource("orders-db");
    let ResourceKind::Postgres(postgres) = &mut resource.kind else { panic!() };
    (postgres.port, postgres.host, postgres.tls) = (port, "127.0.0.1".to_owned(), UpstreamTls::DangerDisabled);
    let statistics = PostgresStatistics::new(Arc::new(|_| Ok(zeroize::Zeroizing::new("x".to_owned()))));
    let names = [RelationName { schemas: vec!["public".into()], name: "orders".into() }];
    statistics.sizes(&resource, "app", &names).await.map(drop)
}

#[tokio::test]
async fn a_server_that_is_gone_or_silent_is_said_to_be() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // It takes connections and says nothing: given up by the gateway.
    assert_eq!(at_port(port).await.unwrap_err().0, "the server of `orders-db` does not answer");
    drop(listener);
    assert_eq!(at_port(port).await.unwrap_err().0, "the server of `orders-db` can't be reached");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_catalog_that_somebody_holds_is_waited_for_no_longer_than_a_moment() {
    let world = world("ANALYZE orders;").await;
    let mut holder = tokio::process::Command::new("psql");
    holder.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("PGHOST", &world.server.socket_dir);
    holder.env("PGPORT", world.server.port.to_string()).env("PGUSER", "postgres").env("PGDATABASE", "app");
    holder.env("PGPASSWORD", &world.server.superuser_password).args(["-X", "-q", "-A", "-t"]);
    holder.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut holder = holder.spawn().unwrap();
    let mut input = holder.stdin.take().unwrap();
    let mut output = tokio::io::BufReader::new(holder.stdout.take().unwrap());
    // What it looks up first is held by nobody else: connections still come up.
    let text = "BEGIN; LOCK TABLE pg_catalog.pg_inherits IN ACCESS EXCLUSIVE MODE; SELECT 'held';\n";
    tokio::io::AsyncWriteExt::write_all(&mut input, text.as_bytes()).await.unwrap();
    let mut said = String::new();
    tokio::io::AsyncBufReadExt::read_line(&mut output, &mut said).await.unwrap();
    assert_eq!(said, "held\n");
    check(&world, "delete from orders where id = 1", "unknown: the server took too long (orders)").await;
}
