//! psql, as people use it, through the door to a real server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use safeconduct_app::ports::What;
use safeconduct_model::{Operation, Words};
use support::World;

#[tokio::test(flavor = "multi_thread")]
async fn locked_by_default_and_a_read_grant_opens_for_reading() {
    let world = World::start().await;
    let refused = world.app.connect(&world.caller("alice"), &"orders-db".parse().unwrap(), None).await;
    assert!(refused.is_err());

    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let said = world.psql(&secret, &[], "SELECT count(*) FROM orders;\n\\d orders\n").await;
    assert!(said.ok, "{said:?}");
    assert!(said.out.starts_with("100\n"), "{said:?}");
    world.quiet().await;
    let recorded = world.only_recording().await;
    assert!(recorded.iter().any(|what| matches!(what, What::Intent { text, .. } if text.contains("count(*)"))), "{recorded:?}");
    assert!(recorded.iter().any(|what| matches!(what, What::Outcome { rows: Some(1), sqlstate: None, .. })), "{recorded:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_write_passes_once_when_somebody_else_approves() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let update = "UPDATE orders SET note = note || '!' WHERE id = 7;";
    let twice = format!("{update}\n{update}\n");
    let client = world.psql(&secret, &[], &twice);
    let people = async {
        let held = world.held().await;
        assert_eq!(world.rows("SELECT note FROM orders WHERE id = 7"), "order 7");
        world.approve(&held).await;
        let id = held.access.envelope.access_request.clone();
        let settled = world.until_state(&id, "settled").await;
        assert!(format!("{:?}", settled.access.state).contains("Committed"), "{:?}", settled.access.state);
        assert_eq!(world.rows("SELECT note FROM orders WHERE id = 7"), "order 7!");
        // The second one is another action.
        let held = world.held().await;
        assert_ne!(held.access.envelope.access_request, id);
        world
            .app
            .deny(&world.caller("bob"), &held.access.envelope.access_request, Words::new("once is enough").unwrap(), None)
            .await
            .unwrap();
    };
    let (said, ()) = tokio::join!(client, people);
    assert!(said.err.contains("NOTICE:  held as access request rq-"), "{said:?}");
    assert!(said.out.contains("UPDATE 1"), "{said:?}");
    assert!(said.err.contains("once is enough"), "{said:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 7"), "order 7!");
}
