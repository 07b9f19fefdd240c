//! A whole gateway for tests: a real server behind, a real application inside, hand-moved time, and clients in front.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "shared by several test programs")]

pub mod minted;
pub mod raw;
pub mod state;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    process::{Output, Stdio},
    sync::Arc,
};

use safeconduct_app::{
    AccessView, App, AskedFor, Caller, DoorAddress, DoorSecret, List, NewAccessRequest, Person, Ports, Settings,
    ports::{AccessQuery, CheckpointSigner, Record, TreeHead, What},
};
use safeconduct_gateway_postgres::{ALPN, DoorConfig, Gateway, Limits, PostgresExecutor, PostgresMinting, PostgresStatistics, Secrets};
use safeconduct_model::{AccessRequestId, GrantId, MintingKey, Narrowing, Operation, PrincipalKind, SessionId, SignInId, Timestamp, Ttl};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, PostgresServer, START, TestClock, TestEntropy, minutes, parsed, ttl, words};
use tokio::{io::AsyncWriteExt, process::Command, sync::watch};

const POLICY: &str = r#"
@id("read") permit (principal in Group::"engineers", action == Action::"read", resource == Resource::"orders-db");
@id("windows") permit (principal in Group::"operators", action in [Action::"read", Action::"write", Action::"ddl", Action::"temp"], resource == Resource::"orders-db");
@id("exact") permit (principal in Group::"engineers", action in [Action::"write", Action::"ddl", Action::"temp", Action::"unknown"], resource == Resource::"orders-db")
  when { context.exact && context.approvals >= 1 && context.approved_by.contains(Group::"dba") };
@id("approve") permit (principal in Group::"dba", action == Action::"approve", resource in Resource::"orders-db");
"#;

const TABLES: &str = "
CREATE TABLE orders (id integer PRIMARY KEY, note text NOT NULL);
INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 100) n;
ALTER TABLE orders OWNER TO app;
";

pub struct World {
    pub server: PostgresServer,
    pub app: App,
    pub clock: Arc<TestClock>,
    pub recorder: MemoryRecorder,
    pub door: SocketAddr,
    pub folder: tempfile::TempDir,
    pub store: Arc<MemoryStore>,
    limits: Limits,
    credentials: String,
    shutdown: watch::Sender<bool>,
}

/// What a world is made of beyond the usual.
#[derive(Default)]
pub struct Setup {
    pub limits: Limits,
    /// Run at the server once the tables are there.
    pub sql: String,
    /// More lines of the resource file's `[postgres.credentials]`.
    pub credentials: String,
    /// Where the clock begins; [`START`] if it does not matter to the server.
    pub at: Option<Timestamp>,
}

struct NoSigner;

impl CheckpointSigner for NoSigner {
    fn origin(&self) -> &str {
        "test"
    }
    fn verifier_key(&self) -> String {
        String::new()
    }
    fn sign(&self, _: TreeHead) -> String {
        String::new()
    }
}

impl World {
    pub async fn start() -> Self {
        Self::start_with(Limits::default()).await
    }

    pub async fn start_with(limits: Limits) -> Self {
        Self::set_up(Setup { limits, ..Setup::default() }).await
    }

    pub async fn set_up(setup: Setup) -> Self {
        let Setup { limits, sql, credentials, at } = setup;
        let server = PostgresServer::start_with(&format!("{TABLES}{sql}"));
        let clock = Arc::new(TestClock::at(at.unwrap_or(START)));
        let store = Arc::new(MemoryStore::new());
        let recorder = MemoryRecorder::new();
        let folder = tempfile::tempdir().unwrap();
        let (tls, end_point, ca_pem) = identity();
        std::fs::write(folder.path().join("ca.pem"), &ca_pem).unwrap();

        let ports = Ports {
            store: Arc::clone(&store) as _,
            recorder: Arc::new(recorder.clone()),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(TestEntropy::seeded(7)),
            signer: Arc::new(NoSigner),
        };
        let app = App::start(ports, settings(ca_pem), MintingKey::make()).await.unwrap();
        let password = server.password.clone();
        let secrets: Secrets = Arc::new(move |_| Ok(zeroize::Zeroizing::new(password.clone())));
        app.set_executor(Arc::new(PostgresExecutor::new(Arc::clone(&secrets), limits)));
        app.set_minting(Arc::new(PostgresMinting::new(Arc::clone(&secrets), limits)));
        app.set_statistics(Arc::new(PostgresStatistics::new(Arc::clone(&secrets))));
        app.operator_policy(&bundle(&server, &credentials)).await.unwrap();
        let person = |name: &str, group: &str| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: vec![parsed(group)],
            password: None,
            workload: false,
        };
        let people = [("alice", "engineers"), ("oscar", "operators"), ("bob", "dba"), ("dora", "dba"), ("ann", "administrators")];
        let _codes = app.operator_people(people.map(|(name, group)| person(name, group)).into()).await.unwrap();
        clock.advance(minutes(1));

        let config = DoorConfig { listen: "127.0.0.1:0".parse().unwrap(), tls, tls_server_end_point: end_point, secrets, limits };
        let gateway = Gateway::bind(app.clone(), config).await.unwrap();
        let door = gateway.local_addr().unwrap();
        let (shutdown, stop) = watch::channel(false);
        tokio::spawn(gateway.run(stop));
        Self { server, app, clock, recorder, door, folder, store, limits, credentials, shutdown }
    }

    /// Applies the bundle again, with one more policy file.
    pub async fn apply(&self, policy: &str) {
        let mut files = bundle(&self.server, &self.credentials);
        files.files.insert("policies/more.cedar".to_owned(), format!("@id(\"more\") {policy}\n").into_bytes());
        self.app.operator_policy(&files).await.unwrap();
    }

    /// Gives somebody's group the right to ask for everything.
    pub async fn unrestricted_for(&self, name: &str) {
        let mut files = bundle(&self.server, &self.credentials);
        for (path, text) in &mut files.files {
            if path.starts_with("resources/") {
                let unrestricted = String::from_utf8_lossy(text).replace("[postgres]\n", "[postgres]\ndanger_unrestricted = true\n");
                *text = unrestricted.into_bytes();
            }
        }
        let permit = format!(
            "@id(\"everything\") permit (principal == Person::\"{name}\", action == Action::\"unrestricted\", resource == Resource::\"orders-db\");\n"
        );
        files.files.insert("policies/everything.cedar".to_owned(), permit.into_bytes());
        self.app.operator_policy(&files).await.unwrap();
    }

    pub fn caller(&self, name: &str) -> Caller {
        let bits = name.bytes().fold(1_u64, |bits, byte| bits.wrapping_mul(31).wrapping_add(byte.into()));
        Caller {
            name: parsed(name),
            kind: PrincipalKind::Person,
            sign_in: SignInId::from_bits(bits),
            method: "password".into(),
            source: "127.0.0.1:1".into(),
            signed_in_at: START,
            authenticated_at: Some(START),
            claims: std::collections::BTreeMap::new(),
            scopes: None,
        }
    }

    /// Asks for a window that policy gives at once.
    pub async fn window(&self, name: &str, operations: &[Operation], seconds: u64) -> GrantId {
        let what = AskedFor::Window { operations: operations.iter().copied().collect(), narrow: Narrowing::default() };
        let view = self.app.ask(&self.caller(name), self.asking(what, ttl(seconds))).await.unwrap();
        assert_eq!(view.access.state.name(), "active", "{:?}", view.access);
        view.access.grant()
    }

    pub fn asking(&self, what: AskedFor, duration: Ttl) -> NewAccessRequest {
        NewAccessRequest { resource: parsed("orders-db"), what, reason: words("a test"), ticket: None, duration, starts_at: None }
    }

    pub async fn secret(&self, name: &str) -> DoorSecret {
        self.app.connect(&self.caller(name), &parsed("orders-db"), None).await.unwrap()
    }

    /// Waits for a statement to be held.
    pub async fn held(&self) -> AccessView {
        let mut news = self.app.subscribe();
        loop {
            let query = AccessQuery { limit: 10, ..AccessQuery::default() };
            let waiting = self.app.access_requests(&self.caller("bob"), List::ToApprove, query).await.unwrap();
            if let Some(view) = waiting.into_iter().find(|view| view.access.state.name() == "pending") {
                return view;
            }
            let _ = news.recv().await;
        }
    }

    /// Waits until an access request is in this state.
    pub async fn until_state(&self, id: &AccessRequestId, state: &str) -> AccessView {
        let mut news = self.app.subscribe();
        loop {
            let view = self.app.access(&self.caller("alice"), id).await.unwrap();
            if view.access.state.name() == state {
                return view;
            }
            let _ = news.recv().await;
        }
    }

    pub async fn approve(&self, view: &AccessView) {
        self.app.approve(&self.caller("bob"), &view.access.envelope.access_request, view.access.digest, None, None).await.unwrap();
    }

    /// Environment under which libpq finds and trusts the door.
    pub fn environment(&self, secret: &DoorSecret) -> Vec<(String, String)> {
        [
            ("PGHOST", "localhost".to_owned()),
            ("PGHOSTADDR", "127.0.0.1".to_owned()),
            ("PGPORT", self.door.port().to_string()),
            ("PGUSER", secret.user.to_string()),
            ("PGPASSWORD", secret.password.to_string()),
            ("PGDATABASE", secret.dbname.clone()),
            ("PGSSLMODE", "verify-full".to_owned()),
            ("PGSSLROOTCERT", self.ca_file().display().to_string()),
            ("PGCHANNELBINDING", "require".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    pub fn client(&self, secret: &DoorSecret, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).envs(self.environment(secret)).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs psql with this text on its standard input.
    pub async fn psql(&self, secret: &DoorSecret, arguments: &[&str], sql: &str) -> Said {
        let mut psql = self.client(secret, "psql");
        psql.args(["-X", "-A", "-t"]).args(arguments);
        feed(psql, sql).await
    }

    /// Waits until the server says so.
    pub async fn until_rows(&self, sql: &str, wanted: &str) {
        while self.rows(sql) != wanted {
            tokio::task::yield_now().await;
        }
    }

    /// What the server was told to run, by sessions that the door opened and by the gateway itself.
    pub fn run_by_door(&self) -> Vec<String> {
        let log = self.server.log();
        let ours = log.lines().filter(|line| line.contains("app@") && (line.contains("statement:") || line.contains("execute ")));
        ours.map(str::to_owned).collect()
    }

    /// Rows of a query, straight from the server.
    pub fn rows(&self, sql: &str) -> String {
        self.server.psql_superuser(sql)
    }

    pub fn records(&self, session: &SessionId) -> Vec<Record> {
        self.recorder.records(session)
    }

    /// Everything recorded of the one session there was.
    pub async fn only_recording(&self) -> Vec<What> {
        let query = safeconduct_app::ports::SessionQuery { limit: 10, ..Default::default() };
        let sessions = self.app.sessions(&self.caller("ann"), query).await.unwrap();
        assert_eq!(sessions.len(), 1);
        self.records(&sessions[0].id).into_iter().map(|record| record.what).collect()
    }

    /// Waits until no session is open.
    pub async fn quiet(&self) {
        let mut news = self.app.subscribe();
        loop {
            let query = safeconduct_app::ports::SessionQuery { limit: 50, live: Some(true), ..Default::default() };
            if self.app.sessions(&self.caller("ann"), query).await.unwrap().is_empty() {
                return;
            }
            let _ = news.recv().await;
        }
    }
}

/// Runs a program with this text on its standard input.
pub async fn feed(mut program: Command, text: &str) -> Said {
    let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let write = async move {
        // Whoever ended before it read everything said why.
        let _ = input.write_all(text.as_bytes()).await;
    };
    // At once: a program whose output nobody takes stops reading.
    let ((), output) = tokio::join!(write, child.wait_with_output());
    output.unwrap().into()
}

fn settings(ca_pem: String) -> Settings {
    Settings {
        gateway: "test".into(),
        public_url: "https://localhost:8443".into(),
        door: DoorAddress { host: "localhost".into(), port: 5432, ca_pem },
        pending: ttl(3600),
        pending_per_principal: 20,
        sign_in: ttl(8 * 3600),
        sign_in_idle: ttl(8 * 3600),
        token_days: 7,
        bundle_watched: false,
        signing_page: None,
        roster: None,
    }
}

/// What a program said.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        Self { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

pub fn bundle(server: &PostgresServer, credentials: &str) -> BundleFiles {
    let resource = format!(
        "kind = \"postgres\"\ndescription = \"orders\"\n[postgres]\nhost = \"{}\"\nport = {}\ndatabase = \"app\"\n\
         [postgres.tls]\nca_file = \"{}\"\nserver_name = \"localhost\"\n\
         [postgres.credentials]\nuser = \"{}\"\npassword = \"env:ORDERS_PASSWORD\"\n{credentials}",
        server.host,
        server.port,
        server.ca_file.display(),
        server.user
    );
    let files = [("resources/orders-db.toml", resource), ("policies/test.cedar", POLICY.to_owned())];
    BundleFiles { files: files.into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect::<BTreeMap<_, _>>() }
}

/// A certificate for `localhost`, its hash, and the authority it comes from.
fn identity() -> (Arc<rustls::ServerConfig>, Vec<u8>, String) {
    use sha2::Digest as _;
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Door test authority");
    let ca_pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap();
    let certificate = certificate.signed_by(&key, &rcgen::Issuer::new(authority, authority_key)).unwrap();
    let hash = sha2::Sha256::digest(certificate.der()).to_vec();
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    (Arc::new(config), hash, ca_pem)
}
