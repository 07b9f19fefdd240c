//! The second lock: login roles made for sessions on a real server, what they may do while grants come and go, and what the first lock
//! can't see.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::time::Duration;

use safeconduct_app::AskedFor;
use safeconduct_lifecycle::SessionEvent;
use safeconduct_model::{Narrowing, Operation};
use safeconduct_testkit::{ttl, words};
use support::{
    World,
    raw::{Raw, errors, status},
};

/// What the first lock lets a reader do, and what it does beside: an invoker's function and a definer's, each behind a view and an operator.
const SIDE_EFFECTS: &str = "
CREATE TABLE seen (what text);
ALTER TABLE seen OWNER TO app;
CREATE FUNCTION spy(text) RETURNS text LANGUAGE plpgsql AS 'BEGIN INSERT INTO public.seen VALUES ($1); RETURN $1; END';
CREATE FUNCTION spy_as_owner(text) RETURNS text LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN INSERT INTO public.seen VALUES ($1); RETURN $1; END';
ALTER FUNCTION spy_as_owner(text) OWNER TO app;
CREATE VIEW harmless AS SELECT spy('view') AS note;
CREATE VIEW quite_harmless AS SELECT spy_as_owner('view') AS note;
CREATE FUNCTION cast_spy(text, integer) RETURNS text LANGUAGE sql AS 'SELECT public.spy_as_owner($1)';
CREATE OPERATOR public.+ (FUNCTION = cast_spy, LEFTARG = text, RIGHTARG = integer);
GRANT SELECT ON harmless, quite_harmless TO orders_read;
";

#[tokio::test(flavor = "multi_thread")]
async fn f12_a_session_has_a_role_of_its_own_that_was_intended_before_and_goes_with_it() {
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
    // F47: neither the server's log nor its catalog ever held a password in the clear.
    assert!(!world.server.log().contains("PASSWORD '") || world.server.log().contains("PASSWORD 'SCRAM-SHA-256$"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f04_f11_rights_follow_the_union_of_grants_while_the_session_runs() {
    let world = World::minted("").await;
    let first = world.window("oscar", &[Operation::Read, Operation::Write], 600).await;
    let secret = world.secret("oscar").await;
    let mut raw = Raw::session(&world, &secret).await;
    assert_eq!(errors(&raw.query("UPDATE orders SET note = 'one' WHERE id = 1").await), [""; 0]);
    let second = world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    // F11: sign-in ends at the server when the last grant does.
    let until = format!(
        "SELECT rolvaliduntil = timestamptz '{}' FROM pg_roles WHERE rolname LIKE 'safeconduct\\_se%'",
        world.deadline(&second).await
    );
    world.until_rows(&until, "t").await;
    world.app.release(&world.caller("oscar"), &first).await.unwrap();
    assert_eq!(errors(&raw.query("UPDATE orders SET note = 'two' WHERE id = 2").await), [""; 0]);
    world.until_ended(&first).await;
    let third = world.window("oscar", &[Operation::Read], 900).await;
    world.app.release(&world.caller("oscar"), &second).await.unwrap();
    world.until_ended(&second).await;
    assert_eq!(world.rows(MEMBERSHIPS), "orders_read");
    assert_eq!(errors(&raw.query("SELECT 1 FROM orders").await), [""; 0]);
    let heard = raw.query("SHOW default_transaction_read_only").await;
    assert_eq!(heard.iter().find(|heard| heard.tag == 'D').map(|row| row.body[6..].to_vec()), Some(b"on".to_vec()));
    // A new one brings the right back, on the same connection.
    world.window("oscar", &[Operation::Write, Operation::Temp], 900).await;
    assert_eq!(errors(&raw.query("UPDATE orders SET note = 'three' WHERE id = 3").await), [""; 0]);
    assert_eq!(errors(&raw.query("CREATE TEMP TABLE mine (a int)").await), [""; 0]);
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note IN ('one', 'two', 'three')"), "3");
    // F11: an extension is felt at the server.
    let extended = world.app.extend(&world.caller("oscar"), &third, ttl(1800), words("more")).await.unwrap();
    assert_eq!(extended.access.state.name(), "applied", "{:?}", extended.access);
    let until = format!(
        "SELECT rolvaliduntil = timestamptz '{}' FROM pg_roles WHERE rolname LIKE 'safeconduct\\_se%'",
        world.deadline(&third).await
    );
    world.until_rows(&until, "t").await;
}

/// Whoever knows of a grant sends at once: the session's role and its transactions have followed by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn f11_the_first_statement_after_a_grant_has_its_rights() {
    let world = World::minted("").await;
    world.window("oscar", &[Operation::Read], 3600).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    for round in 0..20 {
        let grant = world.window("oscar", &[Operation::Write], 600).await;
        assert_eq!(errors(&raw.query("UPDATE orders SET note = 'now' WHERE id = 1").await), [""; 0], "round {round}");
        world.app.release(&world.caller("oscar"), &grant).await.unwrap();
        world.until_ended(&grant).await;
    }
}

const MEMBERSHIPS: &str = "SELECT string_agg(g.rolname, ',' ORDER BY 1) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid \
     JOIN pg_roles r ON r.oid = m.member WHERE r.rolname LIKE 'safeconduct\\_se%'";

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_grant_is_rights_on_exactly_those_objects() {
    let world = World::minted("CREATE TABLE other (a int); ALTER TABLE other OWNER TO app; GRANT SELECT ON other TO orders_read;").await;
    let narrow = Narrowing { tables: ["public.orders".to_owned(), "public.not_there".to_owned()].into(), ..Narrowing::default() };
    let what = AskedFor::Window { operations: [Operation::Read].into_iter().collect(), narrow };
    let asked = world.app.ask(&world.caller("alice"), world.asking(what, ttl(600))).await.unwrap();
    assert!(asked.second_lock, "an approver is told that the server holds it too");
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    assert_eq!(errors(&raw.query("SELECT count(*) FROM public.orders").await), [""; 0]);
    let granted = "SELECT string_agg(DISTINCT relname || ':' || (a).privilege_type, ',') FROM (SELECT relname, aclexplode(relacl) a FROM pg_class) c \
         JOIN pg_roles r ON r.oid = (a).grantee WHERE r.rolname LIKE 'safeconduct\\_se%'";
    assert_eq!(world.rows(granted), "orders:SELECT");
    assert_eq!(world.rows(MEMBERSHIPS), "");
    drop(raw);
    world.until_roles("").await;
    assert_eq!(world.rows("SELECT relacl::text LIKE '%safeconduct_se%' FROM pg_class WHERE relname = 'orders'"), "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn f31_f32_what_a_view_or_operator_does_beside_is_stopped_by_the_second_lock() {
    let world = World::minted(SIDE_EFFECTS).await;
    world.window("alice", &[Operation::Read], 600).await;
    world.apply("forbid (principal, action, resource == Resource::\"orders-db\") when { context.exact };").await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    for (text, refused) in [
        ("SELECT * FROM harmless", "25006"),
        ("SELECT * FROM quite_harmless", "25006"),
        ("SELECT note + 1 FROM orders", "25006"),
        ("WITH s AS (SELECT * FROM quite_harmless) SELECT * FROM s", "25006"),
    ] {
        let heard = raw.query(text).await;
        assert_eq!(errors(&heard), [refused], "{text}: {heard:?}");
    }
    assert_eq!(world.rows("SELECT count(*) FROM seen"), "0");
    // Without the second half of the lock, rights alone stop what runs as the invoker.
    world.window("oscar", &[Operation::Read, Operation::Temp], 600).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    assert_eq!(errors(&raw.query("SELECT * FROM harmless").await), ["42501"]);
    assert_eq!(world.rows("SELECT count(*) FROM seen"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_can_t_be_turned_off_by_any_spelling() {
    let world = World::minted("").await;
    world.window("alice", &[Operation::Read], 600).await;
    let secret = world.secret("alice").await;
    world.apply("forbid (principal, action, resource == Resource::\"orders-db\") when { context.exact };").await;
    let mut raw = Raw::session(&world, &secret).await;
    for text in [
        "SET default_transaction_read_only = off",
        "SET LOCAL default_transaction_read_only TO 'off'",
        "SET transaction_read_only = false",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
        "SELECT set_config('default_transaction_read_only', 'off', false)",
        "SELECT pg_catalog.set_config('transaction_read_only', 'off', true)",
        "BEGIN READ WRITE",
        "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
        "BEGIN; SET TRANSACTION READ WRITE",
        "UPDATE pg_settings SET setting = 'off' WHERE name = 'default_transaction_read_only'",
        "ALTER ROLE CURRENT_USER SET default_transaction_read_only = off",
        "ALTER DATABASE app SET default_transaction_read_only = off",
        "PREPARE p AS UPDATE pg_settings SET setting = 'off' WHERE name = 'transaction_read_only'",
        "DO 'BEGIN SET default_transaction_read_only = off; END'",
        "EXPLAIN ANALYZE SELECT set_config('transaction_read_only', 'off', false)",
    ] {
        let heard = raw.query(text).await;
        assert_eq!(errors(&heard), ["42501"], "{text}: {heard:?}");
        if status(&heard) != 'I' {
            raw.query("ROLLBACK").await;
        }
    }
    // What goes back to how the session began goes back to read only.
    for text in ["RESET default_transaction_read_only", "SET default_transaction_read_only = DEFAULT", "RESET ALL", "DISCARD ALL"] {
        raw.query(text).await;
        let heard = raw.query("SHOW transaction_read_only").await;
        assert_eq!(heard.iter().find(|heard| heard.tag == 'D').map(|row| row.body[6..].to_vec()), Some(b"on".to_vec()), "{text}");
    }
    // A session that began with more and lost it, too; and one that still has it writes on.
    let grant = world.window("oscar", &[Operation::Write], 600).await;
    world.window("oscar", &[Operation::Read], 900).await;
    let mut writer = Raw::session(&world, &world.secret("oscar").await).await;
    writer.query("RESET ALL").await;
    assert_eq!(errors(&writer.query("UPDATE orders SET note = 'w' WHERE id = 1").await), [""; 0]);
    world.app.release(&world.caller("oscar"), &grant).await.unwrap();
    world.until_ended(&grant).await;
    writer.query("RESET ALL").await;
    let heard = writer.query("SHOW transaction_read_only").await;
    assert_eq!(heard.iter().find(|heard| heard.tag == 'D').map(|row| row.body[6..].to_vec()), Some(b"on".to_vec()));
    // Nor at sign-in.
    for options in ["-c default_transaction_read_only=off", "--default-transaction-read-only=off"] {
        let mut psql = world.client(&secret, "psql");
        psql.args(["-X", "-A", "-t", "-c", "SHOW default_transaction_read_only"]).env("PGOPTIONS", options);
        let said: support::Said = psql.output().await.unwrap().into();
        assert!(!said.ok || said.out == "on", "{options}: {said:?}");
    }
}

/// The spike behind the second lock: rights are looked up when a statement begins, whatever the transaction's snapshot.
#[tokio::test(flavor = "multi_thread")]
async fn rights_given_and_taken_are_felt_by_the_next_statement_of_an_open_transaction() {
    let server = safeconduct_testkit::PostgresServer::start_with(
        "CREATE ROLE g; CREATE TABLE t (a int); GRANT SELECT ON t TO g; GRANT ALL ON SCHEMA public TO app;",
    );
    for isolation in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
        let script = format!(
            "BEGIN ISOLATION LEVEL {isolation};\nSELECT 'snapshot';\n\
             \\! psql -X -q -h \"$SUPER\" -U postgres app -c 'GRANT g TO app'\n\
             SELECT 'member', count(*) FROM t;\n\
             \\! psql -X -q -h \"$SUPER\" -U postgres app -c 'GRANT INSERT ON t TO app'\n\
             INSERT INTO t VALUES (1);\nSELECT 'inserted';\nSAVEPOINT s;\n\
             \\! psql -X -q -h \"$SUPER\" -U postgres app -c 'REVOKE INSERT ON t FROM app'\n\
             INSERT INTO t VALUES (2);\nROLLBACK TO s;\n\
             \\! psql -X -q -h \"$SUPER\" -U postgres app -c 'REVOKE g FROM app'\n\
             SELECT 'still a member', count(*) FROM t;\nROLLBACK;\n"
        );
        let script_file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(script_file.path(), script).unwrap();
        let mut psql = tokio::process::Command::new("psql");
        psql.args(["-X", "-A", "-t", "-h", &server.host, "-p", &server.port.to_string(), "-U", "app", "app", "-f"]).arg(script_file.path());
        psql.env("PGPASSWORD", &server.password).env("SUPER", &server.host).env("PGPORT", server.port.to_string());
        psql.env("PGPASSFILE", pass_file(&server, script_file.path()));
        psql.env_remove("PGPASSWORD");
        let said: support::Said = tokio::time::timeout(Duration::from_secs(60), psql.output()).await.unwrap().unwrap().into();
        assert!(
            said.out.contains("member|0") && said.out.contains("inserted") && !said.out.contains("still a member"),
            "{isolation}: {said:?}"
        );
        assert_eq!(said.err.matches("permission denied for table t").count(), 2, "{isolation}: {said:?}");
    }
}

fn pass_file(server: &safeconduct_testkit::PostgresServer, beside: &std::path::Path) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let file = beside.with_extension("pass");
    std::fs::write(&file, format!("*:*:*:app:{}\n*:*:*:postgres:{}\n", server.password, server.superuser_password)).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}
