//! A gateway of its own: the release binary on a store that was furnished before, and the API as the people who use it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::{SocketAddr, TcpListener},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use safeconduct_app::{App, DoorAddress, Person, Ports, Settings, ports::Store};
use safeconduct_ledger::SignerKey;
use safeconduct_model::{MintingKey, Ttl};
use safeconduct_policy::BundleFiles;
use safeconduct_recordings::LocalRecorder;
use safeconduct_store_sqlite::SqliteStore;
use safeconduct_system::{SystemClock, SystemEntropy};
use safeconduct_testkit::{TestSigner, parsed};
use serde_json::{Value, json};
use zeroize::Zeroizing;

/// Everybody's.
pub const PASSWORD: &str = "correct-horse-battery";

/// A gateway that runs.
pub struct Node {
    folder: tempfile::TempDir,
    program: PathBuf,
    pub api: SocketAddr,
    pub door: SocketAddr,
    tokens: BTreeMap<String, String>,
    http: reqwest::Client,
    child: Child,
}

/// What a client of the door is told.
#[derive(Clone, Debug)]
pub struct Door {
    pub user: String,
    pub database: String,
    pub password: String,
}

impl Node {
    /// Furnishes a store with this policy and these people, and starts the program on it.
    pub async fn start(program: &Path, bundle: &BundleFiles, people: &[(&str, &str)]) -> Self {
        Self::start_with(program, bundle, people, async |_, _| {}).await
    }

    /// The same with a past, which is made before the program starts.
    pub async fn start_with(
        program: &Path,
        bundle: &BundleFiles,
        people: &[(&str, &str)],
        past: impl AsyncFnOnce(&App, &dyn Store),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.path().join("data")).unwrap();
        std::fs::create_dir(folder.path().join("keys")).unwrap();
        let key = SignerKey::from_seed("safeconduct/ledger", &[7; 32]).unwrap();
        std::fs::write(folder.path().join("keys/checkpoint.key"), format!("{}\n", key.to_secret_text())).unwrap();
        let tokens = furnish(&folder.path().join("data"), key, bundle, people, past).await;
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (api, door) = (free(), free());
        let child = spawn(program, folder.path(), api, door).0;
        let roots = reqwest::Certificate::from_pem_bundle(&std::fs::read(folder.path().join("keys/ca.pem")).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only(roots).https_only(true).no_proxy().build().unwrap();
        Self { folder, program: program.to_owned(), api, door, tokens, http, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn ca_file(&self) -> PathBuf {
        self.folder.path().join("keys/ca.pem")
    }

    /// Stops it in order and starts it again on the same store; how long it took to listen.
    pub fn restart(&mut self) -> Duration {
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        self.child.wait().unwrap();
        let (child, took) = spawn(&self.program, self.folder.path(), self.api, self.door);
        self.child = child;
        took
    }

    /// Asks, and gives the answer with how long it took, in milliseconds.
    pub async fn get(&self, who: &str, path: &str) -> (Value, f64) {
        let url = format!("https://localhost:{}/api/v1{path}", self.api.port());
        let began = Instant::now();
        let response = self.http.get(url).bearer_auth(&self.tokens[who]).send().await.unwrap();
        let ok = response.status().is_success();
        let answer: Value = response.json().await.unwrap();
        assert!(ok, "{path}: {answer}");
        (answer, began.elapsed().as_secs_f64() * 1000.0)
    }

    pub async fn post(&self, who: &str, path: &str, body: &Value) -> Value {
        let url = format!("https://localhost:{}/api/v1{path}", self.api.port());
        let response = self.http.post(url).bearer_auth(&self.tokens[who]).json(body).send().await.unwrap();
        let ok = response.status().is_success();
        let answer: Value = response.json().await.unwrap();
        assert!(ok, "{path}: {answer}");
        answer
    }

    /// Asks for a window that policy allows at once; its grant.
    pub async fn window(&self, who: &str, resource: &str, operations: &[&str], duration: &str) -> String {
        let what = json!({"kind": "window", "operations": operations});
        let ask = json!({"resource": resource, "what": what, "reason": "measuring", "duration": duration});
        let view = self.post(who, "/access-requests", &ask).await;
        view["grant"]["id"]
            .as_str()
            .or_else(|| view["grant"].as_str())
            .map_or_else(|| view["id"].as_str().unwrap().replacen("rq-", "gr-", 1), str::to_owned)
    }

    /// A secret for the door.
    pub async fn connect(&self, who: &str, resource: &str) -> Door {
        let door = self.post(who, &format!("/resources/{resource}/connect"), &json!({})).await;
        let text = |name: &str| door[name].as_str().unwrap().to_owned();
        Door { user: text("user"), database: text("dbname"), password: text("password") }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn spawn(program: &Path, folder: &Path, api: SocketAddr, door: SocketAddr) -> (Child, Duration) {
    let began = Instant::now();
    let mut command = Command::new(program);
    command.arg("serve").env_clear().env("SAFECONDUCT_HOME", folder).env("SAFECONDUCT_DATA", folder.join("data"));
    command.env("SAFECONDUCT_KEYS", folder.join("keys")).env("SAFECONDUCT_LOG", "warn");
    command.env("SAFECONDUCT_API_LISTEN", api.to_string()).env("SAFECONDUCT_POSTGRES_LISTEN", door.to_string());
    command.env("SAFECONDUCT_API_PUBLIC_URL", format!("https://localhost:{}", api.port()));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program to measure");
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    while std::net::TcpStream::connect(door).is_err() {
        if let Some(status) = child.try_wait().unwrap() {
            panic!("the gateway ended: {status}: {:?}", said.by_ref().map_while(Result::ok).collect::<Vec<_>>());
        }
        std::thread::yield_now();
    }
    let took = began.elapsed();
    std::thread::spawn(move || {
        said.map_while(Result::ok).filter(|line| line.contains("ERROR") || line.contains("WARN")).for_each(|line| eprintln!("{line}"))
    });
    (child, took)
}

/// What an operator sets, for an application in this process.
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

/// Ports on a folder of this process.
pub fn ports_on(data: &Path, key: SignerKey) -> Ports {
    Ports {
        store: Arc::new(SqliteStore::open(data.join("safeconduct.db"), Arc::new(SystemEntropy)).unwrap()),
        recorder: Arc::new(LocalRecorder::open(data.join("recordings")).unwrap()),
        clock: Arc::new(SystemClock),
        entropy: Arc::new(SystemEntropy),
        signer: Arc::new(TestSigner(key)),
    }
}

/// Somebody in a group, with the password of all.
pub fn person(name: &str, group: &str) -> Person {
    Person {
        name: parsed(name),
        display_name: name.to_owned(),
        groups: vec![parsed(group)],
        password: Some(Zeroizing::new(PASSWORD.to_owned())),
        workload: false,
    }
}

async fn furnish(
    data: &Path,
    key: SignerKey,
    bundle: &BundleFiles,
    people: &[(&str, &str)],
    past: impl AsyncFnOnce(&App, &dyn Store),
) -> BTreeMap<String, String> {
    let ports = ports_on(data, key);
    let store = Arc::clone(&ports.store);
    let app = App::start(ports, settings(), MintingKey::make()).await.unwrap();
    app.operator_policy(bundle).await.unwrap();
    app.operator_people(people.iter().map(|(name, group)| person(name, group)).collect()).await.unwrap();
    let mut tokens = BTreeMap::new();
    for (name, _) in people {
        let signed_in = app.sign_in(name, Zeroizing::new(PASSWORD.to_owned()), "127.0.0.1").await.unwrap();
        tokens.insert((*name).to_owned(), signed_in.token.to_string());
    }
    past(&app, &*store).await;
    tokens
}
