//! A real node: the built binary with its own folder, killed and started again on the same store, and the people who use it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use safeconduct_app::{App, DoorAddress, Person, Ports, Settings};
use safeconduct_ledger::SignerKey;
use safeconduct_model::{MintingKey, Ttl};
use safeconduct_policy::BundleFiles;
use safeconduct_recordings::LocalRecorder;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_system::{SystemClock, SystemEntropy};
use safeconduct_testkit::{PostgresServer, TestSigner, parsed};
use zeroize::Zeroizing;

use crate::api::Api;

pub const RESOURCE: &str = "orders-db";
const PASSWORD: &str = "correct-horse-battery";
/// Longest that anything may take that must not hang. Generous: it guards, it measures nothing.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Who there is, and their groups.
pub const PEOPLE: [(&str, &str); 10] = [
    ("alice", "engineers"),
    ("erin", "engineers"),
    ("frank", "engineers"),
    ("rita", "engineers"),
    ("wendy", "engineers"),
    ("oscar", "writers"),
    ("bob", "dba"),
    ("dora", "dba"),
    ("carol", "auditors"),
    ("ann", "administrators"),
];

const POLICY: &str = r#"
@id("read") permit (principal in Group::"engineers", action == Action::"read", resource is Resource);
@id("change") permit (principal in Group::"engineers", action in [Action::"write", Action::"ddl", Action::"unknown"], resource is Resource)
  when { context.approvals >= 1 && context.approved_by.contains(Group::"dba") };
@id("windows") permit (principal in Group::"writers", action in [Action::"read", Action::"write"], resource is Resource);
@id("approve") permit (principal in Group::"dba", action == Action::"approve", resource);
"#;

/// What is in the database: marks that statements leave, each its own.
pub const TABLES: &str = "CREATE TABLE marks (id bigint NOT NULL, who text NOT NULL); ALTER TABLE marks OWNER TO app;
CREATE TABLE orders (id integer PRIMARY KEY, note text NOT NULL);
INSERT INTO orders SELECT n, 'order ' || n FROM generate_series(1, 100) n; ALTER TABLE orders OWNER TO app;";

/// What a resource file says where each session gets a role of its own, after the account that makes them.
const MINTED: &str = "kind = \"minted\"\n[postgres.credentials.roles]\nread = [\"marks_read\"]\nwrite = [\"marks_write\"]\n";

/// What that takes at the server.
pub const ROLES: &str = "
CREATE ROLE marks_read; GRANT SELECT ON ALL TABLES IN SCHEMA public TO marks_read;
CREATE ROLE marks_write; GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO marks_write;
ALTER ROLE app CREATEROLE;";

/// Where a node keeps what, and where it listens.
pub struct Node {
    pub folder: tempfile::TempDir,
    pub data: PathBuf,
    pub api: SocketAddr,
    pub door: SocketAddr,
    /// Put before the program, and its environment.
    pub wrapper: Vec<String>,
    pub variables: Vec<(String, String)>,
    tokens: BTreeMap<String, String>,
    http: Option<reqwest::Client>,
    child: Option<Child>,
    said: Arc<Mutex<String>>,
}

impl Node {
    /// A furnished node that is not started. `upstreams` are the ports of its resources: the first is `orders-db`, others `orders-db2`…
    pub async fn furnished(server: &PostgresServer, upstreams: &[u16]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::furnished_in(folder, server, upstreams, "").await
    }

    /// The same, with a login role for each session.
    pub async fn furnished_with_roles(server: &PostgresServer, upstreams: &[u16]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::furnished_in(folder, server, upstreams, MINTED).await
    }

    async fn furnished_in(folder: tempfile::TempDir, server: &PostgresServer, upstreams: &[u16], credentials: &str) -> Self {
        let data = folder.path().join("data");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&data).unwrap();
        let password = folder.path().join("upstream.password");
        std::fs::write(&password, &server.password).unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        std::fs::write(folder.path().join("keys/checkpoint.key"), format!("{}\n", ledger_key().to_secret_text())).unwrap();
        let tokens = furnish(&data, &bundle(server, upstreams, &password, credentials)).await;
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (api, door) = (free(), free());
        Self { folder, data, api, door, wrapper: Vec::new(), variables: Vec::new(), tokens, http: None, child: None, said: Arc::default() }
    }

    /// Starts it and waits until it says that it is ready. Returns how long that took.
    pub fn start(&mut self) -> Duration {
        let began = Instant::now();
        self.try_start().unwrap_or_else(|status| panic!("the node did not start: {status}\n{}", self.said()));
        began.elapsed()
    }

    /// The same; an error is how it ended instead.
    pub fn try_start(&mut self) -> Result<(), ExitStatus> {
        let lines = self.spawn();
        loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains("authority") => break,
                Ok(_) => {}
                Err(_) => return Err(self.wait()),
            }
        }
        if self.http.is_none() {
            let ca = std::fs::read(self.ca_file()).unwrap();
            let roots = reqwest::Certificate::from_pem_bundle(&ca).unwrap();
            let http = reqwest::Client::builder().tls_certs_only(roots).https_only(true).no_proxy().timeout(PATIENCE);
            self.http = Some(http.build().unwrap());
        }
        Ok(())
    }

    /// Starts the process and returns its lines as they come.
    pub fn spawn(&mut self) -> mpsc::Receiver<String> {
        assert!(self.child.is_none(), "it runs already");
        let program = program();
        let mut command = match self.wrapper.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&program);
                command
            }
            None => Command::new(&program),
        };
        command.arg("serve").env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .env("SAFECONDUCT_HOME", self.folder.path())
            .env("SAFECONDUCT_DATA", &self.data)
            .env("SAFECONDUCT_KEYS", self.folder.path().join("keys"));
        command.env("SAFECONDUCT_API_LISTEN", self.api.to_string()).env("SAFECONDUCT_API_PUBLIC_URL", self.url());
        command.env("SAFECONDUCT_POSTGRES_LISTEN", self.door.to_string());
        command.envs(self.variables.iter().cloned());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        self.child = Some(child);
        let (send, lines) = mpsc::channel();
        let said = Arc::clone(&self.said);
        said.lock().clear();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut said = said.lock();
                said.push_str(&line);
                said.push('\n');
                drop(said);
                let _ = send.send(line);
            }
        });
        lines
    }

    /// Ends it as a crash would: SIGKILL, nothing is flushed.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it does not run");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to stop and waits.
    pub fn stop(&mut self) -> ExitStatus {
        let pid = self.pid();
        assert!(Command::new("kill").args(["-TERM", &pid.to_string()]).status().unwrap().success());
        self.wait()
    }

    fn wait(&mut self) -> ExitStatus {
        self.child.take().expect("it does not run").wait().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it does not run").id()
    }

    /// What it wrote to standard error since it was started.
    pub fn said(&self) -> String {
        self.said.lock().clone()
    }

    /// Resident memory in kibibytes.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.api.port())
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("keys/ca.pem")
    }

    /// The API as one person sees it.
    pub fn api(&self, name: &str) -> Api {
        Api::new(self.http.clone().unwrap(), self.url(), self.tokens.get(name).cloned())
    }

    /// The command line of one person, with a home of their own.
    pub fn command(&self, name: &str, arguments: &[&str]) -> tokio::process::Command {
        let home = self.folder.path().join("homes").join(name);
        let mut command = tokio::process::Command::new(program());
        command.args(arguments).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("SAFECONDUCT_HOME", home);
        command.env("SAFECONDUCT_SERVER", self.url()).env("SAFECONDUCT_CA", self.ca_file()).env("SAFECONDUCT_TOKEN", &self.tokens[name]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    pub fn recordings(&self) -> PathBuf {
        self.data.join("recordings")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        if std::thread::panicking() {
            eprintln!("--- the node said\n{}", self.said());
        }
    }
}

/// The binary under test: the one that was built with this test, or `SAFECONDUCT_PROGRAM`, such as a release build.
pub fn program() -> PathBuf {
    std::env::var_os("SAFECONDUCT_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_safeconduct").into(), PathBuf::from)
}

pub fn settings() -> Settings {
    let hours = |n: u64| Ttl::from_seconds(n * 3600).unwrap();
    Settings {
        gateway: "safeconduct".into(),
        public_url: "https://localhost".into(),
        door: DoorAddress { host: "localhost".into(), port: 0, ca_pem: String::new() },
        pending: hours(8),
        pending_per_principal: 20,
        sign_in: hours(12),
        sign_in_idle: hours(12),
        token_days: 90,
        bundle_watched: false,
        signing_page: None,
        roster: None,
    }
}

fn ledger_key() -> SignerKey {
    SignerKey::from_seed("safeconduct/ledger", &[7; 32]).unwrap()
}

/// An application on the store of a node that does not run.
pub async fn app_on(data: &Path) -> App {
    let ports = Ports {
        store: Arc::new(SqliteStore::open(data.join("safeconduct.db"), Arc::new(SystemEntropy)).unwrap()),
        recorder: Arc::new(LocalRecorder::open(data.join("recordings")).unwrap()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        signer: Arc::new(TestSigner(ledger_key())),
    };
    App::start(ports, settings(), MintingKey::make()).await.unwrap()
}

/// Policy and people, put in place before the node's first start; returns what each signs in with.
async fn furnish(data: &Path, bundle: &BundleFiles) -> BTreeMap<String, String> {
    let app = app_on(data).await;
    app.operator_policy(bundle).await.unwrap();
    let person = |(name, group): (&str, &str)| Person {
        name: parsed(name),
        display_name: name.to_owned(),
        groups: vec![parsed(group)],
        password: Some(Zeroizing::new(PASSWORD.to_owned())),
        workload: false,
    };
    app.operator_people(PEOPLE.into_iter().map(person).collect()).await.unwrap();
    let mut tokens = BTreeMap::new();
    for (name, _) in PEOPLE {
        let signed_in = app.sign_in(name, Zeroizing::new(PASSWORD.to_owned()), "127.0.0.1").await.unwrap();
        tokens.insert(name.to_owned(), signed_in.token.to_string());
    }
    tokens
}

fn bundle(server: &PostgresServer, upstreams: &[u16], password: &Path, credentials: &str) -> BundleFiles {
    let mut files = BTreeMap::from([("policies/faults.cedar".to_owned(), POLICY.as_bytes().to_vec())]);
    for (place, port) in upstreams.iter().enumerate() {
        let name = if place == 0 { RESOURCE.to_owned() } else { format!("{RESOURCE}{}", place + 1) };
        let text = format!(
            "kind = \"postgres\"\ndescription = \"orders\"\n[postgres]\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"app\"\n\
             [postgres.tls]\nca_file = \"{}\"\nserver_name = \"localhost\"\n\
             [postgres.credentials]\nuser = \"{}\"\npassword = \"file:{}\"\n{credentials}",
            server.ca_file.display(),
            server.user,
            password.display(),
        );
        files.insert(format!("resources/{name}.toml"), text.into_bytes());
    }
    BundleFiles { files }
}
