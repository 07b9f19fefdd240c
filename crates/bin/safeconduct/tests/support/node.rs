//! A gateway as an operator runs it: the built binary, its settings in a file, a real server behind it, people who sign in by the command line.
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use safeconduct_testkit::PostgresServer;

use super::{Ran, command};

/// Whoever does not answer by then never will.
const HANG: Duration = Duration::from_secs(60);
pub const PASSWORD: &str = "correct-horse-battery-staple";

const POLICY: &str = r#"
@id("read") permit (principal in Group::"engineers", action == Action::"read", resource == Resource::"orders-db");
@id("write") permit (principal in Group::"engineers", action == Action::"write", resource == Resource::"orders-db")
when { context.approvals >= 1 && context.approved_by.contains(Group::"dba") };
@id("approve") permit (principal in Group::"dba", action == Action::"approve", resource in Resource::"orders-db");
"#;

/// Settings, data, keys, bundle and homes in one folder; the gateway may be started and stopped.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub server: PostgresServer,
    pub more_settings: String,
    /// Where the API listens, at each start.
    api: SocketAddr,
}

/// A gateway that runs.
pub struct Node {
    pub child: Child,
    pub api: String,
    pub door: String,
    pub figures: Option<String>,
    /// Everything it has said on standard error.
    pub log: Arc<Mutex<String>>,
    lines: mpsc::Receiver<String>,
}

impl Place {
    /// A server with one table, and a bundle about it.
    pub fn new() -> Self {
        let server = PostgresServer::start_with(
            "CREATE TABLE orders (id integer PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'one'); ALTER TABLE orders OWNER TO app;",
        );
        let place = Self { folder: tempfile::tempdir().unwrap(), server, more_settings: String::new(), api: free() };
        let bundle = place.path("bundle");
        for part in ["resources", "policies"] {
            fs::create_dir_all(bundle.join(part)).unwrap();
        }
        fs::write(bundle.join("policies/all.cedar"), POLICY).unwrap();
        fs::write(bundle.join("resources/orders-db.toml"), place.resource("description = \"Orders\"\n")).unwrap();
        place
    }

    fn resource(&self, top: &str) -> String {
        let PostgresServer { port, ca_file, database, user, password_file, .. } = &self.server;
        format!(
            "{top}kind = \"postgres\"\n[postgres]\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"{database}\"\nsearch_path = [\"public\"]\n\
             [postgres.tls]\nca_file = \"{}\"\nserver_name = \"localhost\"\n[postgres.credentials]\nuser = \"{user}\"\npassword = \"file:{}\"\n",
            ca_file.display(),
            password_file.display()
        )
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the settings. The door's port is free at this moment.
    pub fn settings(&self) -> PathBuf {
        let (api, door) = (self.api, free());
        let at = self.folder.path().display();
        let text = format!(
            "gateway = \"test\"\ndata = \"{at}/data\"\nkeys = \"{at}/keys\"\nbundle = \"{at}/bundle\"\n[api]\nlisten = \"{api}\"\n\
             public_url = \"https://localhost:{}\"\n[postgres]\nlisten = \"{door}\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n{}",
            api.port(),
            self.more_settings
        );
        let file = self.path("safeconduct.toml");
        fs::write(&file, text).unwrap();
        file
    }

    /// Starts the gateway and waits until it says that it is ready.
    pub fn start(&self) -> Node {
        self.start_with(&[])
    }

    pub fn start_with(&self, environment: &[(&str, &str)]) -> Node {
        let settings = self.settings();
        let mut serve = command(&self.path("operator"), &["serve", "--config", settings.to_str().unwrap(), "--first-administrator", "ann"]);
        serve.envs(environment.iter().copied());
        Node::of(serve)
    }

    /// Ann chooses a password with the code she was given; then a colleague who decides and one who asks.
    pub fn people(&self, node: &Node) {
        let code = node.said("one-time code for ann");
        self.first_sign_in(node, "ann", code.rsplit(' ').next().unwrap());
        for (name, group) in [("alice", "engineers"), ("dora", "dba")] {
            let asked = self.run("ann", &["user", "create", name, "--reason", "a test", "--json"]).ok().json();
            self.run("ann", &["group", "add", group, name, "--reason", "a test"]).ok();
            let code = self.run("ann", &["user", "code", asked["id"].as_str().unwrap()]).ok();
            self.first_sign_in(node, name, code.out.trim());
        }
    }

    fn first_sign_in(&self, node: &Node, name: &str, code: &str) {
        let (ca, password) = (self.path("keys/ca.pem"), self.path("password"));
        fs::write(&password, PASSWORD).unwrap();
        let ca = ca.to_str().unwrap();
        let arguments =
            ["sign-in", name, "--server", &node.api, "--ca", ca, "--code-file", "-", "--password-file", password.to_str().unwrap()];
        let mut sign_in = command(&self.path(name), &arguments);
        let mut child = sign_in.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(code.as_bytes()).unwrap();
        Ran::of(child.wait_with_output().unwrap()).ok();
    }

    /// Signs in with the password, after a restart.
    pub fn sign_in(&self, node: &Node, name: &str) {
        let (ca, password) = (self.path("keys/ca.pem"), self.path("password"));
        let arguments =
            ["sign-in", name, "--server", &node.api, "--ca", ca.to_str().unwrap(), "--password-file", password.to_str().unwrap()];
        self.run(name, &arguments).ok();
    }

    /// A verb, as this person.
    pub fn run(&self, name: &str, arguments: &[&str]) -> Ran {
        super::run(&self.path(name), arguments)
    }

    /// psql through the door, as this person, with its input open.
    pub fn psql(&self, name: &str) -> Psql {
        let print = self.run(name, &["connect", "orders-db", "--json"]).ok().json();
        let variables = print["environment"].as_object().unwrap();
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t"]).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        psql.envs(variables.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())));
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = psql.spawn().unwrap();
        let out = lines_of(child.stdout.take().unwrap(), &Arc::default());
        let secret = fs::read_to_string(variables["PGPASSFILE"].as_str().unwrap()).unwrap();
        Psql { child, out, secret: secret.trim().rsplit(':').next().unwrap().to_owned() }
    }
}

/// A client that stays connected.
pub struct Psql {
    pub child: Child,
    out: mpsc::Receiver<String>,
    /// The password it uses.
    pub secret: String,
}

impl Psql {
    /// Sends a line and does not wait.
    pub fn send(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line of its output.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.out.recv_timeout(HANG).expect("psql said nothing")
    }

    /// Waits for its end; what it said on standard error.
    pub fn end(mut self) -> (i32, String) {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code().unwrap_or(-1), said)
    }
}

impl Node {
    fn of(mut serve: Command) -> Self {
        let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::default();
        let lines = lines_of(child.stderr.take().unwrap(), &log);
        let mut node = Self { child, api: String::new(), door: String::new(), figures: None, log, lines };
        node.api = node.said("  API ").rsplit(' ').next().unwrap().to_owned();
        node.door = node.said("  PostgreSQL door ").rsplit(' ').next().unwrap().to_owned();
        node.figures = Some(node.said("  figures ").rsplit(' ').next().unwrap().to_owned());
        node.said("  authority ");
        node
    }

    /// Waits for a line that contains this, among those said since the start.
    #[track_caller]
    pub fn said(&self, part: &str) -> String {
        loop {
            if let Some(line) = self.log.lock().unwrap().lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            if self.lines.recv_timeout(HANG).is_err() {
                let log = self.log.lock().unwrap();
                // The last lines may have come together with the end.
                return log.lines().find(|line| line.contains(part)).unwrap_or_else(|| panic!("no `{part}` in\n{log}")).to_owned();
            }
        }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// `GET /metrics`.
    pub fn figures(&self) -> String {
        let at = self.figures.as_deref().unwrap().strip_prefix("http://").unwrap();
        let (address, path) = at.split_once('/').unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        write!(stream, "GET /{path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        body.to_owned()
    }

    /// Waits until a figure is so.
    #[track_caller]
    pub fn until_figure(&self, name: &str, so: impl Fn(f64) -> bool) {
        let began = std::time::Instant::now();
        while began.elapsed() < HANG {
            let figures = self.figures();
            let found = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
            if found.is_some_and(&so) {
                return;
            }
            thread::yield_now();
        }
        panic!("{name} in\n{}", self.figures());
    }

    /// A signal by its name.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> i32 {
        let (done, ended) = mpsc::channel();
        let pid = self.child.id();
        thread::spawn(move || {
            if ended.recv_timeout(HANG).is_err() {
                let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
            }
        });
        let status = self.child.wait().unwrap();
        let _ = done.send(());
        status.code().unwrap_or(-1)
    }

    pub fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.end(), 0, "{}", self.log());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(from: impl std::io::Read + Send + 'static, all: &Arc<Mutex<String>>) -> mpsc::Receiver<String> {
    let (send, lines) = mpsc::channel();
    let all = Arc::clone(all);
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let mut all = all.lock().unwrap();
            all.push_str(&line);
            all.push('\n');
            drop(all);
            // Nobody may be listening any more; the whole is still kept.
            let _ = send.send(line);
        }
    });
    lines
}

/// An address that is free at this moment.
pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// Nothing of this is anywhere in that.
#[track_caller]
pub fn never_says(text: &str, what: &str, secret: &str) {
    assert!(!secret.is_empty() && !text.contains(secret), "{what} is in\n{text}");
}

/// A file of the repository.
pub fn repository(path: &str) -> PathBuf {
    super::root().join(Path::new(path))
}
