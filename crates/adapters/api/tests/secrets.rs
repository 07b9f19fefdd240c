//! f47: tokens and passwords are in no log line and no error, whatever a caller does with them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use serde_json::json;
use support::{PASSWORD, World, ask};
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn f47_no_secret_is_logged_or_repeated() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = World::new().await;
    let token = world.sign_in("alice").await;
    let mut answers = String::new();
    let calls = [
        ("GET", format!("/api/v1/whoami?token={token}"), None),
        ("GET", format!("/api/v1/{token}"), None),
        ("GET", format!("/api/v1/access-requests/{token}"), None),
        ("POST", "/api/v1/access-requests".to_owned(), Some(ask("orders-db", &["read"]))),
        ("POST", "/api/v1/access-requests".to_owned(), Some(json!({ "password": PASSWORD, "token": token }))),
        ("POST", "/api/v1/sign-in".to_owned(), Some(json!({ "name": PASSWORD, "password": PASSWORD }))),
        ("POST", "/api/v1/passwords".to_owned(), Some(json!({ "name": "alice", "code": token, "password": PASSWORD }))),
    ];
    for (method, path, body) in calls {
        let answer = world.call(method, &path, Some(&token), body).await;
        // A path part that is no id is named in the answer to whoever sent it; nothing else repeats what was sent.
        if !path.starts_with("/api/v1/access-requests/") {
            answers.push_str(&answer.text);
        }
    }
    world.call("POST", "/api/v1/sign-out", Some(&token), None).await;
    answers.push_str(&world.call("GET", "/api/v1/whoami", Some(&token), None).await.text);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("answered"), "{log}");
    for secret in [token.as_str(), PASSWORD] {
        assert!(!log.contains(secret), "{log}");
        assert!(!answers.contains(secret), "{answers}");
    }
}

#[test]
fn f47_secrets_have_no_debug() {
    let sign_in = safeconduct_api::dto::Secret::from(PASSWORD.to_owned());
    assert!(!format!("{sign_in:?}").contains(PASSWORD));
}
