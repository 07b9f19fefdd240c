//! A real PostgreSQL server of our own, thrown away after use: TLS, password sign-in, loopback only.
//!
//! A shell holds the server and waits for the end of a pipe from this process: however the test ends, killed too, the server is
//! stopped by its own process id and its folder is removed. Refuses to run without PostgreSQL: a test never skips silently.

use std::{
    fs,
    hash::{BuildHasher as _, Hasher as _},
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::{
        fs::{PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, OnceLock, mpsc},
    thread,
};

use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// Holds the server; ends it and removes the folder when standard input ends.
const KEEPER: &str = r#"
folder=$1; shift
"$@" < /dev/null & pid=$!
cat > /dev/null
kill -QUIT "$pid" 2> /dev/null
wait "$pid" 2> /dev/null
rm -rf -- "$folder"
"#;
/// Starts tried before giving up: another process may take the free port first.
const TRIES: u32 = 5;
const MAX_LOG_BYTES: usize = 4 << 20;

/// A running server. Dropping it stops it.
pub struct PostgresServer {
    /// `127.0.0.1`; the certificate also names `localhost`.
    pub host: String,
    pub port: u16,
    /// PEM of the authority that signed the server's certificate.
    pub ca_file: PathBuf,
    /// Folder of the Unix socket.
    pub socket_dir: PathBuf,
    /// An ordinary login that owns `database`.
    pub user: String,
    pub password: String,
    pub database: String,
    /// `postgres`.
    pub superuser: String,
    pub superuser_password: String,
    /// The superuser's password alone in a file of mode 0600.
    pub superuser_password_file: PathBuf,
    /// The same for the ordinary login.
    pub password_file: PathBuf,
    log: Arc<Mutex<String>>,
    keeper: Child,
}

impl PostgresServer {
    /// Starts a server with the login `app` and its database `app`.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with("")
    }

    /// The same, and then runs `sql` in database `app` as superuser.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start, or if `sql` fails.
    #[must_use]
    pub fn start_with(sql: &str) -> Self {
        Self::start_as(sql, &[])
    }

    /// The same with other settings of the server, each `name=value`.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start_tuned(settings: &[&str]) -> Self {
        Self::start_as("", settings)
    }

    fn start_as(sql: &str, tuned: &[&str]) -> Self {
        let mut last = String::new();
        for _ in 0..TRIES {
            match Self::try_start(tuned) {
                Ok(server) => {
                    let password = &server.password;
                    server.run("postgres", &format!("CREATE ROLE app LOGIN PASSWORD '{password}'; CREATE DATABASE app OWNER app;"));
                    if !sql.is_empty() {
                        server.run("app", sql);
                    }
                    return server;
                }
                Err(log) if log.contains("could not bind") || log.contains("could not create any TCP/IP sockets") => last = log,
                Err(log) => panic!("PostgreSQL did not start:\n{log}"),
            }
        }
        panic!("PostgreSQL found no free port:\n{last}");
    }

    fn try_start(tuned: &[&str]) -> Result<Self, String> {
        let template = template();
        let folder = new_folder("server");
        let data = folder.join("data");
        run(Command::new("cp").arg("-a").arg("--reflink=auto").arg(template.folder.join("data")).arg(&data));
        let ca = certificates(&data);
        let ca_file = folder.join("ca.pem");
        fs::write(&ca_file, ca).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let password = random();
        let (superuser_password_file, password_file) = (folder.join("postgres.password"), folder.join("app.password"));
        write_private(&superuser_password_file, &template.password);
        write_private(&password_file, &password);

        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(&folder);
        command.args(unprivileged()).arg(binary("postgres")).arg("-D").arg(&data);
        for setting in settings(port, &folder).iter().map(String::as_str).chain(tuned.iter().copied()) {
            command.arg("-c").arg(setting);
        }
        // A group of its own: Ctrl-C ends the test, and the end of the test ends the server.
        let mut keeper = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = BufReader::new(keeper.stderr.take().unwrap());
        let server = Self {
            host: "127.0.0.1".to_owned(),
            port,
            ca_file,
            socket_dir: folder,
            user: "app".to_owned(),
            password,
            database: "app".to_owned(),
            superuser: "postgres".to_owned(),
            superuser_password: template.password.clone(),
            superuser_password_file,
            password_file,
            log: Arc::clone(&log),
            keeper,
        };
        let (ready, started) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let up = line.contains("database system is ready to accept connections");
                let down = line.contains("FATAL:") || line.contains("database system is shut down");
                let mut log = log.lock();
                if log.len() < MAX_LOG_BYTES {
                    log.push_str(&line);
                    log.push('\n');
                }
                if up || down {
                    let _ = ready.send(up);
                }
            }
        });
        if started.recv() == Ok(true) { Ok(server) } else { Err(server.log()) }
    }

    /// Runs SQL as superuser in database `app` and returns what psql prints: rows in lines, columns apart by `|`.
    ///
    /// # Panics
    /// If it fails.
    #[must_use]
    pub fn psql_superuser(&self, sql: &str) -> String {
        self.run(&self.database, sql)
    }

    /// Runs SQL as any login over TCP with TLS verified. `Err` is what psql printed to its standard error.
    ///
    /// # Errors
    /// If psql ends with another code than 0.
    ///
    /// # Panics
    /// If psql can't be run.
    pub fn psql(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String, String> {
        let mut command = self.client(user, password, database);
        command.env("PGHOST", &self.host).env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", &self.ca_file);
        psql(command, sql)
    }

    /// What the server logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// What the server logged since this was called last. What is taken makes room: a long test loses nothing of the log.
    #[must_use]
    pub fn take_log(&self) -> String {
        std::mem::take(&mut *self.log.lock())
    }

    fn run(&self, database: &str, sql: &str) -> String {
        let mut command = self.client(&self.superuser, &self.superuser_password, database);
        command.env("PGHOST", &self.socket_dir);
        psql(command, sql).unwrap_or_else(|error| panic!("{sql}\n{error}"))
    }

    fn client(&self, user: &str, password: &str, database: &str) -> Command {
        let mut command = Command::new(binary("psql"));
        command.args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]).env_clear();
        command.env("PGPORT", self.port.to_string()).env("PGUSER", user).env("PGPASSWORD", password).env("PGDATABASE", database);
        command
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        drop(self.keeper.wait());
    }
}

fn psql(mut command: Command, sql: &str) -> Result<String, String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A server that refuses the sign-in ends psql before it reads.
    drop(child.stdin.take().unwrap().write_all(sql.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn settings(port: u16, folder: &Path) -> [String; 12] {
    [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", folder.display()),
        "ssl=on".to_owned(),
        "ssl_cert_file=server.pem".to_owned(),
        "ssl_key_file=server.key".to_owned(),
        "fsync=off".to_owned(),
        "max_connections=100".to_owned(),
        "shared_buffers=16MB".to_owned(),
        "logging_collector=off".to_owned(),
        "log_statement=all".to_owned(),
        "log_line_prefix=%m [%p] %q%u@%d %a ".to_owned(),
    ]
}

/// A database cluster made once per process and copied for each server.
struct Template {
    folder: PathBuf,
    password: String,
    /// Removes the folder when this process ends.
    _keeper: Child,
}

fn template() -> &'static Template {
    static TEMPLATE: OnceLock<Template> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let (folder, password) = (new_folder("template"), random());
        let keeper = Command::new("sh")
            .args(["-c", "cat > /dev/null; rm -rf -- \"$1\"", "sh"])
            .arg(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let password_file = folder.join("password");
        write_private(&password_file, &password);
        if let Some(owner) = server_user() {
            chown(&password_file, Some(owner), None).unwrap();
        }
        let data = folder.join("data");
        let mut initdb = Command::new("env");
        initdb.args(unprivileged()).arg(binary("initdb")).arg("-D").arg(&data).arg("--pwfile").arg(&password_file);
        initdb.args(["-U", "postgres", "-E", "UTF8", "--no-locale", "--no-sync", "--auth=scram-sha-256"]);
        run(initdb.current_dir(&folder));
        let rules =
            "local all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\nhost replication all 127.0.0.1/32 scram-sha-256\n";
        fs::write(data.join("pg_hba.conf"), rules).unwrap();
        Template { folder, password, _keeper: keeper }
    })
}

/// Makes the server's certificate in its data folder; returns its authority's.
fn certificates(data: &Path) -> String {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.distinguished_name.push(rcgen::DnType::CommonName, "Safeconduct test authority");
    let ca = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    for (name, text) in [("server.pem", certificate.pem()), ("server.key", key.serialize_pem())] {
        let path = data.join(name);
        write_private(&path, &text);
        if let Some(owner) = server_user() {
            chown(&path, Some(owner), None).unwrap();
        }
    }
    ca
}

/// A folder that the server's user can enter; it also owns it.
fn new_folder(what: &str) -> PathBuf {
    let parent = if server_user().is_some() { PathBuf::from("/tmp") } else { std::env::temp_dir() };
    let folder = tempfile::Builder::new().prefix(&format!("safeconduct-{what}-")).tempdir_in(parent).unwrap().keep();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).unwrap();
    if let Some(owner) = server_user() {
        chown(&folder, Some(owner), None).unwrap();
    }
    folder
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, "").unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(path, text).unwrap();
}

/// The user id of `postgres` if we are root: the server refuses to run as root.
fn server_user() -> Option<u32> {
    static USER: OnceLock<Option<u32>> = OnceLock::new();
    *USER.get_or_init(|| {
        let id = |arguments: &[&str]| -> Option<u32> {
            let output = Command::new("id").args(arguments).output().unwrap();
            String::from_utf8(output.stdout).ok()?.trim().parse().ok()
        };
        (id(&["-u"]) == Some(0)).then(|| id(&["-u", "postgres"]).expect("the user `postgres` must exist to run PostgreSQL as root"))
    })
}

/// What comes before a command so that it runs as the server's user, in the same process.
fn unprivileged() -> Vec<String> {
    match server_user() {
        Some(user) => ["setpriv", &format!("--reuid={user}"), "--regid=postgres", "--init-groups"].map(str::to_owned).to_vec(),
        None => Vec::new(),
    }
}

/// A command that runs as the server's user and can use `folder`: for programs that refuse to run as root.
///
/// # Panics
/// If we are root and there is no user `postgres`.
#[must_use]
pub fn as_the_servers_user(program: &str, folder: &Path) -> Command {
    if let Some(owner) = server_user() {
        let inside = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path());
        inside.chain([folder.to_owned()]).for_each(|path| chown(path, Some(owner), None).unwrap());
    }
    let mut command = Command::new("env");
    command.args(unprivileged()).arg(program);
    command
}

/// A program of the newest PostgreSQL that is installed.
fn binary(name: &str) -> PathBuf {
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed
        .filter(|version| version.path().join("bin").join("initdb").exists())
        .filter_map(|version| Some((version.file_name().to_str()?.parse::<u32>().ok()?, version.path())))
        .max();
    match newest {
        Some((_, path)) => path.join("bin").join(name),
        None => panic!("no PostgreSQL server under /usr/lib/postgresql: install the package `postgresql`"),
    }
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// A password for a server that lives for one test.
fn random() -> String {
    let number = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", number(), number())
}
