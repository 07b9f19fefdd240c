//! Doorbells that ring at real receivers: an HTTPS server whose requests a public verifier checks, and a real mail server.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc, time::SystemTime};

use rustls::pki_types::PrivateKeyDer;
use safeconduct_app::{AccessView, App, AskedFor, Caller, DoorAddress, NewAccessRequest, Person, Ports, Settings};
use safeconduct_doorbells::{Doorbells, ring_forever};
use safeconduct_ledger::SignerKey;
use safeconduct_model::{MintingKey, Operation, PrincipalKind, SignInId, Timestamp};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, ttl, words};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    sync::{mpsc, watch},
};
use tokio_rustls::TlsAcceptor;

const READ: &[Operation] = &[Operation::Read];
const WRITE: &[Operation] = &[Operation::Write];
const BOTH: &[Operation] = &[Operation::Read, Operation::Write];
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const RESOURCE: &str = "kind = \"postgres\"\ndescription = \"orders\"\n[postgres]\nhost = \"127.0.0.1\"\ndatabase = \"app\"\n\
    [postgres.tls]\ndanger_disabled = true\n[postgres.credentials]\nuser = \"app\"\npassword = \"env:NOBODY\"\n";
const POLICY: &str = r#"
@id("read") permit (principal in Group::"engineers", action == Action::"read", resource is Resource);
@id("write") permit (principal in Group::"engineers", action == Action::"write", resource is Resource) when { context.approvals >= 1 };
@id("approve") permit (principal in Group::"dba", action == Action::"approve", resource);
"#;

struct World {
    app: App,
    ports: Ports,
    folder: tempfile::TempDir,
}

fn settings() -> Settings {
    Settings {
        gateway: "gate.example".into(),
        public_url: "https://gate.example".into(),
        door: DoorAddress { host: "127.0.0.1".into(), port: 6432, ca_pem: String::new() },
        pending: ttl(3600),
        pending_per_principal: 20,
        sign_in: ttl(8 * 3600),
        sign_in_idle: ttl(8 * 3600),
        token_days: 90,
        bundle_watched: false,
        signing_page: None,
        roster: None,
    }
}

impl World {
    async fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let clock = Arc::new(TestClock::at(Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap())));
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            recorder: Arc::new(MemoryRecorder::new()),
            clock: clock.clone(),
            entropy: Arc::new(TestEntropy::seeded(1)),
            signer: Arc::new(TestSigner(SignerKey::from_seed("gate.example/ledger", &[7; 32]).unwrap())),
        };
        let app = App::start(ports.clone(), settings(), MintingKey::make()).await.unwrap();
        let files = [("resources/orders-db.toml", RESOURCE), ("policies/test.cedar", POLICY)];
        let files: BTreeMap<_, _> = files.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect();
        app.operator_policy(&BundleFiles { files }).await.unwrap();
        let person = |(name, group): (&str, &str)| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: vec![parsed(group)],
            password: None,
            workload: false,
        };
        app.operator_people([("alice", "engineers"), ("bob", "dba"), ("dora", "dba")].into_iter().map(person).collect()).await.unwrap();
        // Who may approve was there before anything is asked.
        clock.advance(std::time::Duration::from_secs(1));
        Self { app, ports, folder: tempfile::tempdir().unwrap() }
    }

    async fn ask(&self, operations: &[Operation], reason: &str) -> AccessView {
        let ask = NewAccessRequest {
            resource: parsed("orders-db"),
            what: AskedFor::Window { operations: operations.iter().copied().collect(), narrow: Default::default() },
            reason: words(reason),
            ticket: None,
            duration: ttl(600),
            starts_at: None,
        };
        self.app.ask(&caller("alice"), ask).await.unwrap()
    }

    fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Rings until the returned sender says stop or is dropped.
    fn ring(&self, doorbells: &Value) -> watch::Sender<bool> {
        let doorbells = checked(doorbells).unwrap();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(ring_forever(self.app.clone(), doorbells, stopped));
        stop
    }

    /// Until the doorbell follows the record: what is asked from now on rings.
    async fn until_follows(&self, doorbell: &str) {
        while self.ports.store.cursor(&format!("doorbell {doorbell}")).await.unwrap() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

fn checked(doorbells: &Value) -> Result<Doorbells, Vec<String>> {
    serde_json::from_value::<safeconduct_doorbells::Settings>(doorbells.clone()).unwrap().check()
}

fn caller(name: &str) -> Caller {
    Caller {
        name: parsed(name),
        kind: PrincipalKind::Person,
        sign_in: SignInId::from_bits(1),
        method: "password".to_owned(),
        source: "127.0.0.1".to_owned(),
        signed_in_at: safeconduct_testkit::START,
        authenticated_at: Some(safeconduct_testkit::START),
        claims: std::collections::BTreeMap::new(),
        scopes: None,
    }
}

/// A certificate for `localhost` and its key, as PEM, and a server's settings with them.
fn identity() -> (String, String, Arc<rustls::ServerConfig>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem(), Arc::new(config))
}

struct Received {
    headers: axum::http::HeaderMap,
    body: String,
}

impl Received {
    fn data(&self) -> Value {
        serde_json::from_str::<Value>(&self.body).unwrap()["data"].take()
    }
}

/// Takes requests and answers them with these statuses, then with 204.
async fn receiver(tls: Arc<rustls::ServerConfig>, statuses: &'static [u16]) -> (u16, mpsc::UnboundedReceiver<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (send, received) = mpsc::unbounded_channel();
    let mut statuses = statuses.iter().copied();
    tokio::spawn(async move {
        let acceptor = TlsAcceptor::from(tls);
        loop {
            let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
            let mut stream = BufReader::new(stream);
            let (mut headers, mut length) = (axum::http::HeaderMap::new(), 0);
            let mut line = String::new();
            while stream.read_line(&mut line).await.unwrap() > 2 {
                if let Some((name, value)) = line.trim_end().split_once(": ") {
                    if name.eq_ignore_ascii_case("content-length") {
                        length = value.parse().unwrap();
                    }
                    headers.insert(axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
                }
                line.clear();
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.unwrap();
            let answer = format!(
                "HTTP/1.1 {} X\r\nlocation: https://localhost:{port}/elsewhere\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
                statuses.next().unwrap_or(204)
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            let _ = send.send(Received { headers, body: String::from_utf8(body).unwrap() });
        }
    });
    (port, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn f19_a_webhook_tells_who_may_approve_once_signed_and_decides_nothing() {
    let world = World::new().await;
    let (pem, _, tls) = identity();
    // A redirect is not followed, a failure is tried again.
    let (port, mut received) = receiver(tls, &[307, 500]).await;
    let ca = world.file("ca.pem", &pem);
    // Two secrets, while receivers move from one to the next.
    let old = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let secret = world.file("secret", &format!("{old} {SECRET}\n"));
    let hook = json!({"webhooks": {"chat": {
        "url": format!("https://localhost:{port}/hook"), "secret": format!("file:{secret}"), "ca_file": ca, "danger_local": true,
    }}});
    let stop = world.ring(&hook);
    world.until_follows("webhook chat").await;
    // What policy allows by itself rings nowhere.
    world.ask(READ, "just looking").await;
    let asked = world.ask(WRITE, "<b>order 4711</b> is stuck & \"late\"").await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let got = received.recv().await.unwrap();
        for secret in [old, SECRET] {
            standardwebhooks::Webhook::new(secret).unwrap().verify(got.body.as_bytes(), &got.headers).expect("a public verifier takes it");
        }
        let changed = got.body.replace("alice", "mallory");
        standardwebhooks::Webhook::new(SECRET).unwrap().verify(changed.as_bytes(), &got.headers).expect_err("a changed body");
        ids.push(got.headers["webhook-id"].to_str().unwrap().to_owned());
        let (data, id) = (got.data(), asked.access.envelope.access_request.to_string());
        assert_eq!(data["access_request"], id);
        assert_eq!(data["reason"], "<b>order 4711</b> is stuck & \"late\"");
        assert_eq!(data["eligible"], json!(["bob", "dora"]));
        assert_eq!(data["digest"], asked.access.digest.to_string());
        assert_eq!(data["link"], format!("https://gate.example/access-requests/{id}"));
        assert!(!got.body.contains("/elsewhere"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "the id is the same over all tries: {ids:?}");
    let view = world.app.access(&caller("bob"), &asked.access.envelope.access_request).await.unwrap();
    assert_eq!(view.access.state.name(), "pending");

    // Another start of the same doorbell rings for what is new, not again for what it rang for.
    while world.ports.store.cursor("doorbell webhook chat").await.unwrap() < world.app.status().await.ledger.unwrap().size {
        tokio::task::yield_now().await;
    }
    drop(stop);
    let _stop = world.ring(&hook);
    let next = world.ask(BOTH, "another order").await;
    assert_eq!(received.recv().await.unwrap().data()["access_request"], next.access.envelope.access_request.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn f18_what_was_decided_meanwhile_rings_nowhere() {
    let world = World::new().await;
    let (pem, _, tls) = identity();
    let (ca, secret) = (world.file("ca.pem", &pem), world.file("secret", SECRET));
    let hook = |port: u16| {
        json!({"webhooks": {"chat": {
            "url": format!("https://localhost:{port}/"), "secret": format!("file:{secret}"), "ca_file": ca, "danger_local": true,
        }}})
    };
    // Nobody listens there.
    let nowhere = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let stop = world.ring(&hook(nowhere));
    world.until_follows("webhook chat").await;
    let decided = world.ask(WRITE, "one").await;
    let waiting = world.ask(BOTH, "two").await;
    let bob = caller("bob");
    world.app.deny(&bob, &decided.access.envelope.access_request, words("no"), None).await.unwrap();
    drop(stop);
    let (port, mut received) = receiver(tls, &[]).await;
    let _stop = world.ring(&hook(port));
    assert_eq!(received.recv().await.unwrap().data()["access_request"], waiting.access.envelope.access_request.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_to_those_who_may_approve_over_tls_and_is_tried_again() {
    let world = World::new().await;
    let (pem, key, _) = identity();
    let (certificate, key, password) = (world.file("ca.pem", &pem), world.file("key.pem", &key), "orange-battery");
    let python = std::env::var("SAFECONDUCT_TEST_PYTHON")
        .unwrap_or_else(|_| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/drivers/python/bin/python").display().to_string());
    assert!(Path::new(&python).exists(), "{python} is missing: run `make test`, which installs the mail server");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/peers/mail_server.py");
    let mut server = tokio::process::Command::new(python);
    server.arg(script).args([&certificate, &key, password]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut server = server.spawn().unwrap();
    let mut said = BufReader::new(server.stdout.take().unwrap()).lines();
    let port: u16 = said.next_line().await.unwrap().unwrap().parse().unwrap();

    let mail = json!({"mail": {
        "host": "localhost", "port": port, "encryption": "starttls", "user": "gate", "password": format!("file:{}", world.file("password", password)),
        "ca_file": certificate, "from": "Safeconduct <gate@example.com>", "to": {"dba": "Team <dba@example.com>", "dora": "dora@example.com"},
    }});
    let _stop = world.ring(&mail);
    world.until_follows("mail").await;
    let asked = world.ask(WRITE, "order 4711 is stuck: it was paid twice, ask Zoë").await;
    let taken: Value = serde_json::from_str(&said.next_line().await.unwrap().unwrap()).unwrap();
    assert_eq!(taken["tls"], true);
    assert_eq!(taken["from"], "gate@example.com");
    assert_eq!(taken["to"], json!(["dba@example.com", "dora@example.com"]));
    let content = taken["content"].as_str().unwrap().replace("=\r\n", "").replace("=C3=AB", "ë");
    let id = asked.access.envelope.access_request.to_string();
    for part in [
        "Subject: [gate.example] alice asks for write on orders-db",
        "Auto-Submitted: auto-generated",
        &format!("Message-ID: <{id}@example.com>"),
        "> order 4711 is stuck: it was paid twice, ask Zoë",
        &format!("https://gate.example/access-requests/{id}"),
        &asked.access.digest.to_string(),
        "decides nothing",
    ] {
        assert!(content.contains(part), "{part}\n{content}");
    }
}

#[test]
fn f45_a_webhook_to_this_machine_has_to_be_meant() {
    let hook = |url: &str| json!({"webhooks": {"chat": {"url": url, "secret": "env:SECRET"}}});
    for url in [
        "https://localhost/",
        "https://127.0.0.1:8443/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://[::ffff:127.0.0.1]/",
        "https://2130706433/",
    ] {
        let problems = checked(&hook(url)).unwrap_err();
        assert!(problems[0].contains("danger_local"), "{url}: {problems:?}");
    }
    checked(&hook("https://chat.example.com/hook")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f45_a_name_that_leads_to_this_machine_is_not_followed() {
    let world = World::new().await;
    let (pem, _, tls) = identity();
    let (port, mut received) = receiver(tls, &[]).await;
    let (ca, secret) = (world.file("ca.pem", &pem), world.file("secret", SECRET));
    // Every resolver leads this name to loopback.
    let url = format!("https://gate.localhost:{port}/");
    let _stop = world.ring(&json!({"webhooks": {"chat": {"url": url, "secret": format!("file:{secret}"), "ca_file": ca}}}));
    world.until_follows("webhook chat").await;
    world.ask(WRITE, "one").await;
    while !world.app.figures().await.contains("safeconduct_doorbell_rings_total{doorbell=\"chat\",result=\"failed\"}") {
        tokio::task::yield_now().await;
    }
    assert!(received.try_recv().is_err());
}
