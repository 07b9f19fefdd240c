//! A throwaway PostgreSQL server: its own data directory and Unix socket, gone when dropped or when the test process dies.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

/// A running server. Trusts everybody who reaches its socket; listens on no network.
pub struct PostgresServer {
    pub socket_dir: PathBuf,
    pub port: u16,
    pub data_dir: PathBuf,
    /// The shell that started the server and stops it when its standard input ends.
    keeper: Child,
}

/// Starts the server, says `ready`, waits for the end of its input, stops the server and takes everything away.
const KEEPER: &str = r#"
set -e
trap : INT TERM HUP
"$BIN/initdb" -D "$DIR/data" -U postgres --auth=trust -E UTF8 --no-locale -N >"$DIR/log" 2>&1
"$BIN/pg_ctl" -D "$DIR/data" -w -l "$DIR/log" -o "-c listen_addresses='' -c unix_socket_directories='$DIR' -c port=$PORT -c fsync=off \
  -c max_connections=50 -c max_prepared_transactions=5 -c autovacuum=off -c log_min_messages=panic -c shared_buffers=64MB" start >/dev/null 2>&1
echo ready
cat >/dev/null || true
"$BIN/pg_ctl" -D "$DIR/data" -m immediate stop >/dev/null 2>&1 || true
rm -rf "$DIR"
"#;

impl PostgresServer {
    /// Starts a server and waits until it answers.
    ///
    /// # Panics
    /// When PostgreSQL is not installed or does not start.
    #[must_use]
    pub fn start() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let bin = server_programs().expect("PostgreSQL's server is needed: apt-get install postgresql, or set PG_BINDIR");
        let name = format!("safeconduct-pg-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        std::fs::create_dir(&dir).expect("a directory for the server");
        let mut command = if is_root() {
            // PostgreSQL refuses to run as root.
            run(Command::new("chown").arg("postgres").arg(&dir));
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--", "sh", "-c", KEEPER]);
            command
        } else {
            let mut command = Command::new("sh");
            command.args(["-c", KEEPER]);
            command
        };
        run(Command::new("chmod").arg("711").arg(&dir));
        // Only part of the socket's name: no network port is used.
        let port = 5432;
        command.env("BIN", &bin).env("DIR", &dir).env("PORT", port.to_string()).current_dir("/");
        let mut keeper = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a shell for the server");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().expect("the shell's output")).read_line(&mut line).expect("the shell's answer");
        assert_eq!(line.trim(), "ready", "the server did not start: {}", std::fs::read_to_string(dir.join("log")).unwrap_or_default());
        Self { data_dir: dir.join("data"), socket_dir: dir, port, keeper }
    }

    /// The socket file.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.socket_dir.join(format!(".s.PGSQL.{}", self.port))
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        let _ = std::fs::remove_dir_all(&self.socket_dir);
    }
}

/// Where `initdb` and `pg_ctl` are: `PG_BINDIR`, else the newest of Debian's directories, else the `PATH`.
fn server_programs() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("PG_BINDIR") {
        return Some(dir.into());
    }
    let has_server = |dir: &Path| dir.join("pg_ctl").is_file() && dir.join("initdb").is_file();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let newest = debian
        .filter(|dir| has_server(dir))
        .max_by_key(|dir| dir.parent().and_then(Path::file_name).and_then(|version| version.to_str()?.parse::<u32>().ok()).unwrap_or(0));
    newest.or_else(|| std::env::split_paths(&std::env::var_os("PATH")?).find(|dir| has_server(dir)))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

fn run(command: &mut Command) {
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?} failed");
}
