//! What the text can't show: the ways on SECURITY's list, each tried by a reader. The door alone lets them run what the database's owner put
//! behind the names; a login that may only read does not.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use safeconduct_model::Operation;
use support::{
    World,
    raw::{Raw, errors, status},
};

/// What owners may have put there: everything ends in a row in `seen`.
const BEHIND: &str = "
CREATE TABLE seen (how text);
CREATE FUNCTION leave(text) RETURNS int LANGUAGE sql AS 'INSERT INTO seen VALUES ($1) RETURNING 1';
CREATE VIEW sight AS SELECT leave('view') AS a;
CREATE FUNCTION added(text, text) RETURNS int LANGUAGE sql AS 'SELECT leave(''operator'')';
CREATE OPERATOR public.+ (leftarg = text, rightarg = text, function = added);
CREATE TYPE pair AS (a int);
CREATE FUNCTION to_pair(text) RETURNS pair LANGUAGE sql AS 'SELECT ROW(leave(''cast''))::pair';
CREATE CAST (text AS pair) WITH FUNCTION to_pair(text);
CREATE DOMAIN checked AS int CHECK (leave('domain') = 1);
CREATE FUNCTION public.length(orders) RETURNS int LANGUAGE sql AS 'SELECT leave(''overload'')';
CREATE FUNCTION public.total(orders) RETURNS int LANGUAGE sql AS 'SELECT leave(''field'')';
CREATE TABLE guarded AS SELECT 1 AS a;
ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
CREATE POLICY rows ON guarded USING (leave('policy') = 1);
ALTER TABLE seen OWNER TO app; ALTER TABLE guarded OWNER TO app; ALTER VIEW sight OWNER TO app;
";

/// How, and a text that needs no more than `read`.
const WAYS: [(&str, &str); 8] = [
    ("view", "SELECT * FROM sight"),
    ("view", "COPY (TABLE sight) TO STDOUT"),
    ("operator", "SELECT note + note FROM orders WHERE id = 1"),
    ("cast", "SELECT note::pair FROM orders WHERE id = 1"),
    ("domain", "SELECT id::checked FROM orders WHERE id = 1"),
    ("overload", "SELECT length(orders) FROM orders WHERE id = 1"),
    // A function of one row, written as if it were a column.
    ("field", "SELECT orders.total FROM orders WHERE id = 1"),
    ("policy", "SELECT * FROM guarded"),
];

#[tokio::test(flavor = "multi_thread")]
async fn f32_what_the_text_can_not_show_needs_a_login_that_may_only_read() {
    let world = World::start().await;
    let _ = world.rows(BEHIND);
    world.window("alice", &[Operation::Read], 900).await;
    for may_write in [true, false] {
        let _ = world
            .rows(&format!("ALTER ROLE app SET default_transaction_read_only = {}; TRUNCATE seen", if may_write { "off" } else { "on" }));
        let mut raw = Raw::session(&world, &world.secret("alice").await).await;
        for (how, text) in WAYS {
            let heard = raw.query(text).await;
            let wanted: &[&str] = if may_write { &[] } else { &["25006"] };
            assert_eq!((errors(&heard), status(&heard)), (wanted.iter().map(|code| (*code).to_owned()).collect(), 'I'), "{how}: {text}");
            let left = world.rows(&format!("SELECT count(*) > 0 FROM seen WHERE how = '{how}'"));
            assert_eq!(left, if may_write { "t" } else { "f" }, "{how}: {text}");
        }
        // Nor can a reader turn it off: not by a setting, a mode, a function or the start of a session.
        if !may_write {
            for text in [
                "SET default_transaction_read_only = off",
                "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
                "SET transaction_read_only = off",
                "BEGIN READ WRITE",
                "START TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ WRITE",
                "SELECT set_config('default_transaction_read_only', 'off', false)",
                "SELECT set_config('transaction_' || 'read_only', 'off', true)",
            ] {
                raw.say(|out| postgres_protocol::message::frontend::query(text, out).unwrap()).await;
                let held = world.held().await;
                world
                    .app
                    .deny(&world.caller("bob"), &held.access.envelope.access_request, safeconduct_testkit::words("no"), None)
                    .await
                    .unwrap();
                assert_eq!(errors(&raw.until_ready().await), ["42501"], "{text}");
            }
            for text in ["RESET ALL", "DISCARD ALL", "RESET default_transaction_read_only", "SET default_transaction_read_only TO DEFAULT"]
            {
                assert_eq!(errors(&raw.query(text).await), Vec::<String>::new(), "{text}");
                assert_eq!(errors(&raw.query("SELECT * FROM sight").await), ["25006"], "{text}");
            }
        }
    }
}
