//! A gateway in memory with the demonstration's policy and people, and a source that calls its router directly.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of it; a test that can't go on stops"
)]

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use safeconduct_app::{App, Caller, DoorAddress, DoorSession, Person, Ports, Provisioner, Settings, ports::Store};
use safeconduct_ledger::SignerKey;
use safeconduct_lifecycle::{Event, StreamId};
use safeconduct_model::MintingKey;
use safeconduct_policy::BundleFiles;
use safeconduct_scim::Guard;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, ttl};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use zeroize::Zeroizing;

pub const TOKEN: &str = "scim-token-of-the-tests-0123456789abcdef";
pub const PASSWORD: &str = "correct-horse-battery";
pub const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

const PEOPLE: [(&str, &[&str]); 5] =
    [("alice", &["engineers"]), ("bob", &["dba"]), ("carol", &["auditors"]), ("ann", &["administrators"]), ("mallory", &[])];

pub struct World {
    pub app: App,
    pub router: Router,
    pub clock: Arc<TestClock>,
    pub store: Arc<dyn Store>,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// Checks that it is an error of the protocol with this status and word.
    pub fn is_refused(&self, status: u16, scim_type: Option<&str>) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        let body = self.json();
        assert_eq!(body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error", "{body}");
        assert_eq!(body["status"], status.to_string(), "{body}");
        assert_eq!(body["scimType"].as_str(), scim_type, "{body}");
        assert_eq!(self.headers[header::CONTENT_TYPE], "application/scim+json");
    }

    pub fn is(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }
}

/// The source of the tests: it decides about engineers and dba, and may make groups that begin with `corp-`.
pub fn provisioner() -> Provisioner {
    Provisioner {
        name: "corp".to_owned(),
        groups: [("Engineers".to_owned(), parsed("engineers")), ("Database admins".to_owned(), parsed("dba"))].into(),
        new_groups: Some("corp-".to_owned()),
        domain: Some("example.com".to_owned()),
        links: Some("https://idp.example".to_owned()),
    }
}

impl World {
    pub async fn new() -> Self {
        Self::with(provisioner()).await
    }

    pub async fn with(provisioner: Provisioner) -> Self {
        Self::on(Arc::new(MemoryStore::new()), provisioner).await
    }

    pub async fn on(store: Arc<dyn Store>, provisioner: Provisioner) -> Self {
        let clock = Arc::new(TestClock::default());
        let ports = Ports {
            store: Arc::clone(&store),
            recorder: Arc::new(MemoryRecorder::new()),
            clock: clock.clone(),
            entropy: Arc::new(TestEntropy::seeded(1)),
            signer: Arc::new(TestSigner(SignerKey::from_seed("test.example/ledger", &[7; 32]).unwrap())),
        };
        let settings = Settings {
            gateway: "test".into(),
            public_url: "https://127.0.0.1:8443".into(),
            door: DoorAddress { host: "127.0.0.1".into(), port: 6432, ca_pem: "PEM".into() },
            pending: ttl(3600),
            pending_per_principal: 20,
            sign_in: ttl(8 * 3600),
            sign_in_idle: ttl(8 * 3600),
            token_days: 90,
            bundle_watched: false,
            signing_page: None,
            roster: None,
        };
        let app = App::start(ports, settings, MintingKey::make()).await.unwrap();
        app.operator_policy(&demo_bundle()).await.unwrap();
        let person = |(name, groups): (&str, &[&str])| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: groups.iter().map(|group| parsed(group)).collect(),
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            workload: false,
        };
        app.operator_people(PEOPLE.into_iter().map(person).collect()).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let guard = Guard::new(provisioner, &Zeroizing::new(TOKEN.to_owned())).unwrap();
        let router = safeconduct_api::router(app.clone(), &safeconduct_api::ApiConfig::default());
        let router = router.merge(safeconduct_scim::router(app.clone(), guard, "https://127.0.0.1:8443"));
        Self { app, router, clock, store }
    }

    pub async fn call(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_with(method, path, Some(TOKEN), body, &[]).await
    }

    pub async fn call_with(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let path = if path.starts_with("/api") { path.to_owned() } else { format!("/scim/v2{path}") };
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// Makes somebody and returns the resource.
    pub async fn create(&self, user_name: &str) -> Value {
        self.call("POST", "/Users", Some(user(user_name))).await.is(201)
    }

    pub async fn patch(&self, path: &str, operations: Value) -> Answer {
        let body = json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations });
        self.call("PATCH", path, Some(body)).await
    }

    pub async fn sign_in(&self, name: &str) -> String {
        let body = json!({ "name": name, "password": PASSWORD });
        let answer = self.call_with("POST", "/api/v1/sign-in", None, Some(body), &[]).await;
        answer.is(200)["token"].as_str().unwrap().to_owned()
    }

    /// Gives somebody whom the source made a password, as an administrator would: by a one-time code. There is one administrator.
    pub async fn give_password(&self, name: &str) {
        let ann = self.sign_in("ann").await;
        let asked = self.change(&ann, json!({ "change": "reset_secret", "name": name })).await;
        let id = asked["id"].as_str().unwrap().to_owned();
        let code = self.call_with("POST", &format!("/api/v1/access-requests/{id}/one-time"), Some(&ann), None, &[]).await.is(200);
        let body = json!({ "name": name, "code": code["secret"], "password": PASSWORD });
        self.call_with("POST", "/api/v1/passwords", None, Some(body), &[]).await.is(204);
    }

    /// Asks for a change to the gateway.
    pub async fn change(&self, token: &str, change: Value) -> Value {
        let body = json!({ "change": change, "reason": "first day" });
        self.call_with("POST", "/api/v1/changes", Some(token), Some(body), &[]).await.is(201)
    }

    /// Asks for operations on a resource for a quarter of an hour.
    pub async fn ask(&self, token: &str, resource: &str, operations: &[&str]) -> Value {
        let what = json!({ "kind": "window", "operations": operations });
        let body = json!({ "resource": resource, "what": what, "reason": "order 4711 is stuck", "duration": "15m" });
        self.call_with("POST", "/api/v1/access-requests", Some(token), Some(body), &[]).await.is(201)
    }

    pub async fn approve(&self, token: &str, view: &Value) -> Answer {
        let path = format!("/api/v1/access-requests/{}/approve", view["id"].as_str().unwrap());
        self.call_with("POST", &path, Some(token), Some(json!({ "digest": view["digest"] })), &[]).await
    }

    pub async fn caller(&self, name: &str) -> Caller {
        self.app.authenticate(&self.sign_in(name).await, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap()
    }

    /// A session on orders-db for somebody who has a grant.
    pub async fn open(&self, caller: &Caller) -> DoorSession {
        let secret = self.app.connect(caller, &parsed("orders-db"), None).await.unwrap();
        let lookup = self.app.door_lookup(secret.user.as_str(), &secret.dbname);
        let last = lookup.verifiers().len() - 1;
        self.app.door_open(lookup, last, "192.0.2.1:5".parse().unwrap()).await.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// What the ledger has about people and groups, oldest first.
    pub async fn directory(&self) -> Vec<Event> {
        self.store.load(StreamId::Directory).await.unwrap().into_iter().filter_map(|stored| stored.event).collect()
    }
}

pub fn user(user_name: &str) -> Value {
    json!({ "schemas": [USER], "userName": user_name, "displayName": "Somebody New", "externalId": format!("ext-{user_name}"), "active": true })
}

/// The bundle of the demonstration.
pub fn demo_bundle() -> BundleFiles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../demo/bundle");
    let mut files = BTreeMap::new();
    for folder in ["resources", "policies"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            files.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()), std::fs::read(entry.path()).unwrap());
        }
    }
    BundleFiles { files }
}
