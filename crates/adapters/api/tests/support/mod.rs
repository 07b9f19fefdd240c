//! A gateway in memory with the demonstration's policy and people, and a client that calls its router directly.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "each test uses a part of it; a test that can't go on stops"
)]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode, header},
};
use safeconduct_api::{ApiConfig, router};
use safeconduct_app::{App, DoorAddress, DoorSession, Person, Ports, Settings, ports::Append};
use safeconduct_ledger::SignerKey;
use safeconduct_lifecycle::{NodeEvent, StreamId};
use safeconduct_model::MintingKey;
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, ttl};
use serde_json::{Value, json};
use tower::ServiceExt as _;
use zeroize::Zeroizing;

pub const PASSWORD: &str = "correct-horse-battery";

/// Everybody with their groups; `mallory` belongs nowhere.
const PEOPLE: [(&str, &[&str]); 7] = [
    ("alice", &["engineers"]),
    ("bob", &["dba"]),
    ("dora", &["dba"]),
    ("carol", &["auditors"]),
    ("ann", &["administrators"]),
    ("abe", &["administrators"]),
    ("mallory", &[]),
];

pub struct World {
    pub app: App,
    pub router: Router,
    pub clock: Arc<TestClock>,
    pub key: SignerKey,
    pub store: Arc<MemoryStore>,
    ports: Ports,
    settings: Settings,
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

    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl World {
    pub async fn new() -> Self {
        let key = SignerKey::from_seed("test.example/ledger", &[7; 32]).unwrap();
        let clock = Arc::new(TestClock::default());
        let store = Arc::new(MemoryStore::new());
        let ports = Ports {
            store: store.clone(),
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
        let app = App::start(ports.clone(), settings.clone(), MintingKey::make()).await.unwrap();
        app.operator_policy(&demo_bundle()).await.unwrap();
        let person = |(name, groups): (&str, &[&str])| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: groups.iter().map(|group| parsed(group)).collect(),
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            workload: false,
        };
        app.operator_people(PEOPLE.into_iter().map(person).collect()).await.unwrap();
        // Who may approve was there before anything is asked.
        clock.advance(std::time::Duration::from_secs(1));
        let router = router(app.clone(), &ApiConfig::default());
        Self { app, router, clock, key, store, ports, settings }
    }

    /// The same gateway after a restart: another application and router on the same store.
    pub async fn restarted(self) -> Self {
        self.app.shutdown().await;
        let app = App::start(self.ports.clone(), self.settings.clone(), MintingKey::make()).await.unwrap();
        let router = router(app.clone(), &ApiConfig::default());
        Self { app, router, ..self }
    }

    pub async fn sign_in(&self, name: &str) -> String {
        let answer = self.call("POST", "/api/v1/sign-in", None, Some(json!({ "name": name, "password": PASSWORD }))).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()["token"].as_str().unwrap().to_owned()
    }

    /// Checks that those who audit may read this and nobody else, whoever it is about: `PERSON` in it stands for who asks.
    pub async fn is_for_those_who_audit(&self, path: &str) {
        assert_eq!(self.call("GET", path, None, None).await.status, StatusCode::UNAUTHORIZED, "{path}");
        for (who, audits) in [("carol", true), ("ann", true), ("alice", false), ("bob", false), ("mallory", false)] {
            let token = self.sign_in(who).await;
            let answer = self.call("GET", &path.replace("PERSON", who), Some(&token), None).await;
            if audits {
                assert_eq!(answer.status, StatusCode::OK, "{who}: {}", answer.text);
            } else {
                assert_eq!((answer.status, answer.code().as_str()), (StatusCode::FORBIDDEN, "VIEW-001"), "{who}: {}", answer.text);
            }
        }
    }

    pub async fn call(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>) -> Answer {
        self.call_with(method, path, token, body, &[]).await
    }

    pub async fn call_with(&self, method: &str, path: &str, token: Option<&str>, body: Option<Value>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        // A stream of events never ends; its head is all a test here looks at.
        let streams = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let bytes = if streams { Vec::new().into() } else { to_bytes(body, usize::MAX).await.unwrap() };
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8_lossy(&bytes).into_owned() }
    }

    /// A pending access request of alice's to write on orders-db.
    pub async fn pending(&self, token: &str) -> Value {
        let answer = self.call("POST", "/api/v1/access-requests", Some(token), Some(ask("orders-db", &["write"]))).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text);
        let view = answer.json();
        assert_eq!(view["state"], "pending", "{view}");
        view
    }

    /// A session on orders-db for somebody who has a grant.
    pub async fn open(&self, token: &str) -> DoorSession {
        let caller = self.app.authenticate(token, "test", safeconduct_app::Reach::EVERY_TOKEN).await.unwrap();
        let secret = self.app.connect(&caller, &parsed("orders-db"), None).await.unwrap();
        let lookup = self.app.door_lookup(secret.user.as_str(), &secret.dbname);
        let last = lookup.verifiers().len() - 1;
        self.app.door_open(lookup, last, "192.0.2.1:5".parse().unwrap()).await.unwrap_or_else(|refused| panic!("{refused}"))
    }

    /// So many entries more, of the node.
    pub async fn fill(&self, entries: usize) {
        let at = self.app.now();
        let expected = self.ports.store.version(StreamId::Node).await.unwrap();
        let events = vec![NodeEvent::Stopped { at }.into(); entries];
        self.ports.store.append(vec![Append { stream: StreamId::Node, expected, events, row: None }], at).await.unwrap();
    }

    pub async fn size(&self) -> u64 {
        self.app.ledger_size().await.unwrap()
    }
}

/// Asks for operations on a resource for a quarter of an hour.
pub fn ask(resource: &str, operations: &[&str]) -> Value {
    json!({
        "resource": resource, "what": { "kind": "window", "operations": operations }, "reason": "order 4711 is stuck", "duration": "15m",
    })
}

/// The bundle of the demonstration.
pub fn demo_bundle() -> BundleFiles {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../demo/bundle");
    let mut files = BTreeMap::new();
    for folder in ["resources", "policies"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let entry = entry.unwrap();
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    BundleFiles { files }
}
