//! The second lock: login roles made for sessions on a real server, what they may do, and that nothing of them stays.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use safeconduct_lifecycle::SessionEvent;
use safeconduct_model::Operation;
use support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_session_has_a_role_of_its_own_that_goes_with_it() {
    let world = World::minted("").await;
    let grant = world.window("alice", &[Operation::Read], 600).await;
    let secret = world.secret("alice").await;
    let said =
        world.psql(&secret, &[], "SELECT current_user, session_user, count(*) FROM orders;\nSHOW default_transaction_read_only;").await;
    assert!(said.ok, "{said:?}");
    let session = world.only_session().await;
    let role = format!("safeconduct_{}", session.id);
    assert_eq!(said.out, format!("{role}|{role}|100\non"));
    world.until_roles("").await;
    let proof = world.proof(&session.id).await;
    assert!(proof.existed && proof.probe == "28P01" && proof.ended == 0, "{proof:?}");
    let kinds: Vec<&str> = world.session_events(&session.id).await.iter().map(SessionEvent::kind).collect();
    assert_eq!(kinds[..2], ["session_opened", "credential_intended"], "{kinds:?}");
    assert!(kinds.contains(&"credential_minted") && kinds.contains(&"session_closed"), "{kinds:?}");
    world.app.release(&world.caller("alice"), &grant).await.unwrap();
}
