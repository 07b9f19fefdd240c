//! What psql prints of a part of PostgreSQL's own regression tests, straight and through the door under an unrestricted grant: not a byte apart
//! but for object ids.
//!
//! `make regress` runs the whole suite with PostgreSQL's own driver against a real node (`scripts/pg-regress.sh`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use safeconduct_model::Operation;
use support::{World, feed, state::corpus};
use tokio::process::Command;

/// Tests that need no files and no other test's tables, and that lean on sessions: names, cursors, transactions, copies, settings, roles.
const TESTS: [&str; 16] = [
    "async",
    "boolean",
    "copydml",
    "guc",
    "insert_conflict",
    "json_encoding",
    "largeobject",
    "lock",
    "namespace",
    "plancache",
    "prepared_xacts",
    "privileges",
    "sequence",
    "temp",
    "transactions",
    "xml",
];

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_tests_print_the_same_through_the_door() {
    let mut text = String::new();
    for (test, statements) in corpus().iter().filter(|(test, _)| TESTS.contains(&test.as_str())) {
        text.push_str(&format!("\\echo == {test}\n\\connect -\n"));
        for statement in statements {
            text.push_str(statement);
            text.push_str(if statement.to_lowercase().contains("from stdin") { ";\n\\.\n" } else { ";\n" });
        }
    }
    let (direct, door) = tokio::join!(Box::pin(printed(&text, false)), Box::pin(printed(&text, true)));
    let (direct, door) = (without_object_ids(&direct), without_object_ids(&door));
    assert!(direct.lines().count() > 4_000 && direct.contains("== xml"), "the corpus or the server is not what this test expects");
    let mut differences = Vec::new();
    for (straight, through) in direct.split("== ").zip(door.split("== ")) {
        if straight != through {
            let first = straight.lines().zip(through.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let around = |text: &str| text.lines().skip(first.saturating_sub(6)).take(10).collect::<Vec<_>>().join("\n");
            let test = straight.lines().next().unwrap_or_default();
            differences.push(format!(
                "{test}, line {first}\n--- straight\n{}\n--- through the door\n{}",
                around(straight),
                around(through)
            ));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Two servers count their objects apart: rows that are nothing but an object id are not compared.
fn without_object_ids(text: &str) -> String {
    let line = |line: &str| {
        let object_id = line.trim().parse::<u32>().is_ok_and(|number| number >= 16_384);
        if object_id { "an object id\n".to_owned() } else { format!("{line}\n") }
    };
    text.lines().map(line).collect()
}

/// What psql prints of it all, errors in their places.
async fn printed(text: &str, door: bool) -> String {
    let world = World::start().await;
    let _ = world.rows("ALTER ROLE app SUPERUSER");
    let mut psql = if door {
        world.unrestricted_for("oscar").await;
        world.window("oscar", &[Operation::Unrestricted], 3600).await;
        world.client(&world.secret("oscar").await, "sh")
    } else {
        let server = &world.server;
        let mut psql = Command::new("sh");
        psql.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        psql.env("PGHOST", &server.host).env("PGPORT", server.port.to_string()).env("PGUSER", &server.user);
        psql.env("PGPASSWORD", &server.password).env("PGDATABASE", &server.database);
        // What the door pins.
        psql.env("PGOPTIONS", "-c search_path=\"public\",\\ pg_temp");
        psql
    };
    psql.args(["-c", "exec psql -X -a -q 2>&1"]);
    feed(psql, text).await.out
}
