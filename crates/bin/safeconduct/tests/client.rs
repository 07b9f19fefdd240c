//! The client against a real API over TLS, with everything behind it in memory: asking, approving, proving.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use rustls::pki_types::PrivateKeyDer;
use safeconduct_app::{
    App, AskedFor, Caller, DoorAddress, NewAccessRequest, Person, Ports, Settings,
    ports::{BoxFuture, Relation, RelationKind, RelationName, Statistics, Unsaid},
};
use safeconduct_ledger::{Checkpoint, SignerKey, TreeHash};
use safeconduct_model::{MintingKey, PrincipalKind, Resource, SignInId, Ttl};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, ttl, words};
use support::{Ran, command, root};
use zeroize::Zeroizing;

const PASSWORD: &str = "correct-horse-battery";
const ORIGIN: &str = "test.example/ledger";

struct Gateway {
    app: App,
    clock: Arc<TestClock>,
    url: String,
    homes: tempfile::TempDir,
    ca: PathBuf,
}

impl Gateway {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let clock = Arc::new(TestClock::default());
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            recorder: Arc::new(MemoryRecorder::new()),
            clock: clock.clone(),
            entropy: Arc::new(TestEntropy::seeded(1)),
            signer: Arc::new(TestSigner(SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap())),
        };
        let hours = |n: u64| Ttl::from_seconds(n * 3600).unwrap();
        let settings = Settings {
            gateway: "test".into(),
            public_url: "https://127.0.0.1:8443".into(),
            door: DoorAddress { host: "127.0.0.1".into(), port: 6432, ca_pem: "PEM\n".into() },
            pending: hours(1),
            pending_per_principal: 20,
            sign_in: hours(8),
            sign_in_idle: hours(8),
            token_days: 90,
            bundle_watched: false,
            signing_page: None,
            roster: None,
        };
        let app = App::start(ports, settings, MintingKey::make()).await.unwrap();
        app.operator_policy(&demo_bundle()).await.unwrap();
        let person = |(name, group): (&str, &str)| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: vec![parsed(group)],
            password: Some(Zeroizing::new(PASSWORD.to_owned())),
            workload: false,
        };
        let people = [("alice", "engineers"), ("bob", "dba"), ("carol", "auditors"), ("ann", "administrators"), ("abe", "administrators")];
        app.operator_people(people.into_iter().map(person).collect()).await.unwrap();
        clock.advance(std::time::Duration::from_secs(1));

        let certified = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let router = safeconduct_api::router(app.clone(), &safeconduct_api::ApiConfig::default());
        tokio::spawn(safeconduct_api::serve(listener, Arc::new(tls), router, std::future::pending()));
        let homes = tempfile::tempdir().unwrap();
        let ca = homes.path().join("ca.pem");
        std::fs::write(&ca, certified.cert.pem()).unwrap();
        std::fs::write(homes.path().join("password"), format!("{PASSWORD}\n")).unwrap();
        Self { app, clock, url, homes, ca }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.homes.path().join(name)
    }

    async fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        let mut command = command(&self.home(name), arguments);
        tokio::task::spawn_blocking(move || Ran::of(command.output().unwrap())).await.unwrap()
    }

    async fn sign_in(&self, name: &str) {
        let password = self.homes.path().join("password");
        let (ca, password) = (self.ca.to_str().unwrap(), password.to_str().unwrap());
        self.run(name, &["sign-in", name, "--server", &self.url, "--ca", ca, "--password-file", password]).await.ok();
    }
}

fn demo_bundle() -> BundleFiles {
    let mut files = BTreeMap::new();
    for folder in ["resources", "policies"] {
        for entry in std::fs::read_dir(root().join("demo/bundle").join(folder)).unwrap() {
            let entry = entry.unwrap();
            files.insert(format!("{folder}/{}", entry.file_name().to_string_lossy()), std::fs::read(entry.path()).unwrap());
        }
    }
    BundleFiles { files }
}

#[tokio::test(flavor = "multi_thread")]
async fn asking_looking_approving_and_ending() {
    let gateway = Gateway::start().await;
    for name in ["alice", "bob"] {
        gateway.sign_in(name).await;
    }
    assert!(gateway.run("alice", &["whoami"]).await.ok().out.starts_with("alice (person)"));
    assert!(gateway.run("alice", &["resources"]).await.ok().out.contains("orders-db"));

    let asked = gateway
        .run("alice", &["request", "orders-db", "-o", "write", "--for", "15m", "--reason", "order 4711", "--json"])
        .await
        .ok()
        .json();
    let id = asked["id"].as_str().unwrap();
    assert_eq!(asked["state"], "pending");
    assert!(gateway.run("bob", &["requests", "--to-approve"]).await.ok().out.contains(id));
    let shown = gateway.run("bob", &["show", id]).await.ok().out;
    assert!(shown.contains("“order 4711”") && shown.contains(asked["digest"].as_str().unwrap()), "{shown}");

    // Nobody looks, so nothing is approved.
    let blind = gateway.run("bob", &["approve", id]).await;
    assert!(blind.status == 1 && blind.err.contains("CLI-009"), "{}", blind.page());
    let other = format!("sha256:{}", "0".repeat(64));
    let changed = gateway.run("bob", &["approve", id, "--yes", "--digest", &other]).await;
    assert!(changed.status == 1 && changed.err.contains("CLI-007"), "{}", changed.page());
    let own = gateway.run("alice", &["approve", id, "--yes", "--digest", asked["digest"].as_str().unwrap()]).await;
    assert_eq!(own.status, 3, "{}", own.page());

    gateway.run("bob", &["approve", id, "--yes", "--digest", asked["digest"].as_str().unwrap()]).await.ok();
    let grant = id.replace("rq-", "gr-");
    assert!(gateway.run("alice", &["grants"]).await.ok().out.contains(&grant));
    assert!(gateway.run("alice", &["show", id, "--wait"]).await.ok().out.contains("active"));
    let files = gateway.run("alice", &["connect", "orders-db", "--json"]).await.ok().json();
    let pass = std::fs::read_to_string(files["environment"]["PGPASSFILE"].as_str().unwrap()).unwrap();
    assert!(pass.starts_with("127.0.0.1:6432:orders-db"), "{pass}");
    std::fs::remove_dir_all(Path::new(files["directory"].as_str().unwrap())).unwrap();
    assert!(gateway.run("alice", &["release", &grant]).await.ok().out.contains("given back"));

    let asked = gateway.run("alice", &["request", "orders-db", "-o", "write", "--reason", "again", "--json"]).await.ok().json();
    gateway.run("bob", &["deny", asked["id"].as_str().unwrap(), "--comment", "not today"]).await.ok();
    let denied = gateway.run("alice", &["show", asked["id"].as_str().unwrap(), "--wait"]).await;
    assert!(denied.status == 3 && denied.err.contains("not today"), "{}", denied.page());
    assert!(gateway.run("alice", &["status"]).await.ok().out.contains("standing privilege"));
    let explained = gateway.run("alice", &["policy", "explain", "orders-db", "-o", "read"]).await.ok();
    assert!(!explained.out.is_empty());

    gateway.run("alice", &["sign-out"]).await.ok();
    assert_eq!(gateway.run("alice", &["whoami"]).await.status, 5);
}

/// A server where every table has 40,000 rows, as long as it answers.
struct Rows(AtomicBool);

impl Statistics for Rows {
    fn sizes<'a>(&'a self, _: &'a Resource, _: &'a str, names: &'a [RelationName]) -> BoxFuture<'a, Result<Vec<Vec<Relation>>, Unsaid>> {
        let size = |_| vec![Relation { schema: "public".into(), kind: RelationKind::Table, tables: 1, uncounted: 0, rows: 40_000 }];
        let silent = || Unsaid("the server is gone".to_owned());
        Box::pin(std::future::ready(if self.0.load(SeqCst) { Ok(names.iter().map(size).collect()) } else { Err(silent()) }))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_shown_with_the_rows_it_may_touch_whether_or_not_they_are_known() {
    let gateway = Gateway::start().await;
    for name in ["alice", "bob"] {
        gateway.sign_in(name).await;
    }
    let server = Arc::new(Rows(AtomicBool::new(false)));
    gateway.app.set_statistics(Arc::clone(&server) as _);
    let alice = Caller {
        name: parsed("alice"),
        kind: PrincipalKind::Person,
        sign_in: SignInId::from_bits(1),
        method: "password".into(),
        source: "127.0.0.1:1".into(),
        signed_in_at: gateway.app.now(),
        authenticated_at: None,
        claims: BTreeMap::new(),
        scopes: None,
    };
    let ask = NewAccessRequest {
        resource: parsed("orders-db"),
        what: AskedFor::ExactSql { database: None, text: "update orders set note = '' where id = 4711".into() },
        reason: words("order 4711"),
        ticket: None,
        duration: ttl(600),
        starts_at: None,
    };
    let view = gateway.app.ask(&alice, ask).await.unwrap();
    let id = view.access.envelope.access_request.to_string();
    let rows = async || {
        let page = gateway.run("bob", &["show", &id]).await.ok().out;
        page.lines().find(|line| line.starts_with("rows ")).map(ToOwned::to_owned).unwrap_or(page)
    };
    assert_eq!(rows().await, "rows           estimated: unknown: the server is gone (orders)");
    server.0.store(true, SeqCst);
    gateway.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(rows().await, "rows           estimated: at most about 40,000 rows of public.orders (the server's statistics)");
    gateway.run("bob", &["deny", &id, "--comment", "not today"]).await.ok();
    assert!(!gateway.run("bob", &["show", &id]).await.ok().out.contains("estimated"));
}

#[tokio::test(flavor = "multi_thread")]
async fn administration_is_asked_for_and_hands_out_its_secret_once() {
    let gateway = Gateway::start().await;
    for name in ["ann", "abe", "alice"] {
        gateway.sign_in(name).await;
    }
    assert_ne!(gateway.run("alice", &["user", "create", "eve", "--reason", "mine"]).await.status, 0);
    let asked = gateway.run("ann", &["user", "create", "eve", "--reason", "joins the shop team", "--json"]).await.ok().json();
    assert_eq!(asked["state"], "pending", "{asked}");
    let id = asked["id"].as_str().unwrap();
    assert_ne!(gateway.run("ann", &["user", "code", id]).await.status, 0);
    gateway.run("abe", &["approve", id, "--yes", "--digest", asked["digest"].as_str().unwrap()]).await.ok();
    let code = gateway.run("ann", &["user", "code", id]).await.ok().out;
    let twice = gateway.run("ann", &["user", "code", id]).await;
    assert!(twice.status != 0 && twice.out.is_empty(), "{}", twice.page());
    assert!(gateway.run("ann", &["user", "list"]).await.ok().out.contains("eve"));

    let file = gateway.homes.path().join("code");
    std::fs::write(&file, code).unwrap();
    let password = gateway.homes.path().join("password");
    let arguments =
        ["sign-in", "eve", "--server", &gateway.url, "--ca", gateway.ca.to_str().unwrap(), "--code-file", file.to_str().unwrap()];
    let arguments = [&arguments[..], &["--password-file", password.to_str().unwrap()]].concat();
    gateway.run("eve", &arguments).await.ok();
    assert!(gateway.run("eve", &["whoami"]).await.ok().out.starts_with("eve"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_applied_when_a_second_administrator_approves_it() {
    let gateway = Gateway::start().await;
    for name in ["ann", "abe", "alice"] {
        gateway.sign_in(name).await;
    }
    let hash = async || gateway.run("ann", &["status", "--json"]).await.ok().json()["policy"].clone();
    let before = hash().await;
    let folder = gateway.homes.path().join("new-bundle");
    for (path, bytes) in demo_bundle().files {
        std::fs::create_dir_all(folder.join(&path).parent().unwrap()).unwrap();
        std::fs::write(folder.join(&path), bytes).unwrap();
    }
    let policy = "@id(\"engineers-write-alone\")\npermit (principal in Group::\"engineers\", action == Action::\"write\", resource == Resource::\"orders-db\");\n";
    std::fs::write(folder.join("policies/alone.cedar"), policy).unwrap();
    let dir = folder.to_str().unwrap();
    gateway.run("ann", &["policy", "check", dir]).await.ok();
    let plan = gateway.run("ann", &["policy", "plan", dir]).await.ok();
    assert!(plan.out.contains("engineers-write-alone"), "{}", plan.page());
    assert_ne!(gateway.run("alice", &["policy", "apply", dir, "--reason", "mine"]).await.status, 0);

    let asked = gateway.run("ann", &["policy", "apply", dir, "--reason", "engineers may write", "--json"]).await.ok().json();
    assert_eq!(asked["state"], "pending", "{asked}");
    let (id, digest) = (asked["id"].as_str().unwrap(), asked["digest"].as_str().unwrap());
    assert_eq!(gateway.run("ann", &["approve", id, "--yes", "--digest", digest]).await.status, 3);
    assert_eq!(hash().await, before);
    let waiting = async { gateway.run("ann", &["show", id, "--wait", "--json"]).await.ok().json() };
    let approving = async { gateway.run("abe", &["approve", id, "--yes", "--digest", digest]).await.ok() };
    let (after, _) = tokio::join!(waiting, approving);
    assert_eq!(after["state"], "settled", "{after}");
    assert_ne!(hash().await, before);
    let written = gateway.run("alice", &["request", "orders-db", "-o", "write", "--reason", "order 4711", "--json"]).await.ok().json();
    assert_eq!(written["state"], "active", "{written}");

    // A bundle with mistakes is shown with all of them and never sent.
    std::fs::write(folder.join("policies/alone.cedar"), "permit (principal, action == Action::\"raed\", resource);\n").unwrap();
    let refused = gateway.run("ann", &["policy", "apply", dir, "--reason", "mistaken"]).await;
    assert!(refused.status == 1 && refused.out.contains("policies/alone.cedar") && refused.err.contains("CLI-010"), "{}", refused.page());
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_alone_are_for_another_command_and_lists_are_one_line_each() {
    let gateway = Gateway::start().await;
    for name in ["alice", "bob"] {
        gateway.sign_in(name).await;
    }
    gateway.run("alice", &["request", "orders-db", "-o", "read", "--reason", "a look"]).await.ok();
    let asked = gateway.run("alice", &["ask", "orders-db", "-o", "write,temp", "--reason", "order 4711", "--json"]).await.ok().json();
    let id = asked["id"].as_str().unwrap();
    assert_eq!(gateway.run("bob", &["requests", "--to-approve", "--ids"]).await.ok().out, format!("{id}\n"));
    let grants = gateway.run("bob", &["grants", "--all", "--ids", "-n", "1"]).await.ok().out;
    assert!(grants.starts_with("gr-") && grants.lines().count() == 1, "{grants}");
    let listed = gateway.run("alice", &["requests"]).await.ok().out;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(listed.contains("write+temp for 30m"), "{listed}");
    let resources = gateway.run("alice", &["resources"]).await.ok();
    support::snapshot("resources", &resources.page());
    let explained = gateway.run("alice", &["policy", "explain", "orders-db"]).await.ok().out;
    for operation in ["read", "write", "ddl", "temp", "admin"] {
        assert!(explained.lines().any(|line| line.starts_with(&format!("{operation}: "))), "{explained}");
    }
    let typo = gateway.run("alice", &["request", "orders-db", "-o", "raed", "--reason", "x"]).await;
    assert!(typo.status == 2 && typo.err.contains("'read'"), "{}", typo.page());
    let long = gateway.run("alice", &["request", "orders-db", "-o", "read", "--for", "40d", "--reason", "x"]).await;
    assert!(long.status == 2 && !long.err.contains("openapi"), "{}", long.page());
    assert_eq!(gateway.run("alice", &["replay", "se-1"]).await.status, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn f53_the_ledger_is_verified_exported_and_an_edited_byte_is_found() {
    let gateway = Gateway::start().await;
    for name in ["alice", "carol"] {
        gateway.sign_in(name).await;
    }
    gateway.run("alice", &["request", "orders-db", "-o", "write", "--reason", "one"]).await.ok();
    gateway.app.publish_checkpoint().await.unwrap();
    let verified = gateway.run("carol", &["ledger", "verify", "--json"]).await.ok().json();
    assert_eq!(verified["verified"], true);
    assert!(verified["report"]["bodies"]["present"].as_u64().unwrap() > 3, "{verified}");
    // Who may not read bodies can verify the log all the same.
    assert!(gateway.run("alice", &["ledger", "verify"]).await.ok().out.contains("without bodies"));
    gateway.run("alice", &["request", "orders-db", "-o", "write", "--for", "5m", "--reason", "two"]).await.ok();
    gateway.app.publish_checkpoint().await.unwrap();
    gateway.run("carol", &["ledger", "checkpoint"]).await.ok();
    assert!(gateway.run("carol", &["ledger", "verify"]).await.ok().out.contains("extends the checkpoint"));
    assert!(gateway.run("carol", &["ledger", "tail"]).await.ok().out.contains("access_request_submitted"));
    assert_ne!(gateway.run("alice", &["ledger", "tail"]).await.status, 0);
    assert_eq!(gateway.run("carol", &["ledger", "prove", "0", "--json"]).await.ok().json()["index"], 0);

    let export = gateway.homes.path().join("export");
    let dir = export.to_str().unwrap();
    gateway.run("carol", &["ledger", "export", dir]).await.ok();
    gateway.run("carol", &["ledger", "verify", "--dir", dir]).await.ok();
    assert_eq!(gateway.run("carol", &["ledger", "export", dir]).await.status, 2);
    let bundle = std::fs::read_dir(export.join("tile/entries/000.p")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&bundle).unwrap();
    let at = bytes.windows(6).rposition(|window| window == b"\"type\"").unwrap() + 9;
    bytes[at] ^= 1;
    std::fs::write(&bundle, bytes).unwrap();
    let edited = gateway.run("carol", &["ledger", "verify", "--dir", dir]).await;
    assert!(edited.status == 1 && edited.err.contains("entry "), "{}", edited.page());

    // A log that is shorter than what was seen is refused.
    let note = std::fs::read_to_string(gateway.home("carol").join("checkpoint")).unwrap();
    let later = Checkpoint { origin: ORIGIN.into(), size: 1_000, root: TreeHash::from_bytes([1; 32]) };
    std::fs::write(
        gateway.home("carol").join("checkpoint"),
        later.sign(&SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap()).unwrap().to_string(),
    )
    .unwrap();
    for arguments in [["ledger", "verify"], ["ledger", "checkpoint"]] {
        let cut = gateway.run("carol", &arguments).await;
        assert!(cut.status == 1 && cut.err.contains("CLI-008"), "{}", cut.page());
    }
    std::fs::write(gateway.home("carol").join("checkpoint"), note).unwrap();
    gateway.run("carol", &["ledger", "verify"]).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_is_not_reached_and_another_ledger_key_is_refused() {
    let gateway = Gateway::start().await;
    gateway.sign_in("alice").await;
    let other = gateway.homes.path().join("other.pem");
    std::fs::write(&other, rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem()).unwrap();
    assert_eq!(gateway.run("alice", &["whoami", "--ca", other.to_str().unwrap()]).await.status, 6);

    let profile = gateway.home("alice").join("profile.toml");
    let text = std::fs::read_to_string(&profile).unwrap();
    let pinned = SignerKey::from_seed(ORIGIN, &[8; 32]).unwrap().verifier().to_string();
    let real = SignerKey::from_seed(ORIGIN, &[7; 32]).unwrap().verifier().to_string();
    std::fs::write(&profile, text.replace(&real, &pinned)).unwrap();
    let password = gateway.homes.path().join("password");
    let refused = gateway.run("alice", &["sign-in", "alice", "--password-file", password.to_str().unwrap()]).await;
    assert!(refused.status == 1 && refused.err.contains("CLI-014"), "{}", refused.page());
}
