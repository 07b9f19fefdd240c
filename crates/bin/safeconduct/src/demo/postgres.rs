//! A throwaway PostgreSQL server: made in a directory, listens on loopback with TLS, gone with the directory.

use std::{
    net::TcpListener,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use crate::failure::{Exit, Failure};

/// A running server.
pub struct Postgres {
    programs: PathBuf,
    data: PathBuf,
    socket: PathBuf,
    pub port: u16,
    /// The authority of its certificate.
    pub ca_file: PathBuf,
    as_user: Option<&'static str>,
}

impl Postgres {
    /// Makes a cluster in `folder` and starts it. `folder` must be one that other users may pass through.
    pub fn start(folder: &Path) -> Result<Self, Failure> {
        let programs = programs()?;
        // The server refuses to run as root, so root runs it as the user that Debian made for it.
        let as_user = (Command::new("id").arg("-u").output().is_ok_and(|o| o.stdout == b"0\n")).then_some("postgres");
        let home = folder.join("postgres");
        std::fs::create_dir_all(&home).map_err(|e| Failure::local("making the server's directory", &e))?;
        let server = Self {
            data: home.join("data"),
            socket: home.clone(),
            port: free_port()?,
            ca_file: folder.join("upstream-ca.pem"),
            programs,
            as_user,
        };
        if let Some(user) = as_user {
            run(Command::new("chown").arg(user).arg(&home), "handing the directory to the server's user")?;
        }
        server.run(
            "initdb",
            &[
                "-D",
                &text(&server.data),
                "-U",
                "postgres",
                "--auth-local=trust",
                "--auth-host=scram-sha-256",
                "-E",
                "UTF8",
                "--no-locale",
                "-N",
            ],
        )?;
        server.certificate()?;
        let settings = format!(
            "listen_addresses='127.0.0.1'\nport={}\nunix_socket_directories='{}'\nssl=on\nssl_cert_file='{home}/server.crt'\nssl_key_file='{home}/server.key'\nfsync=off\nmax_connections=100\n",
            server.port,
            text(&server.socket),
            home = text(&server.socket),
        );
        let file = server.data.join("postgresql.conf");
        let mut conf = std::fs::read_to_string(&file).map_err(|e| Failure::local("reading postgresql.conf", &e))?;
        conf.push_str(&settings);
        std::fs::write(&file, conf).map_err(|e| Failure::local("writing postgresql.conf", &e))?;
        let log = text(&server.socket.join("server.log"));
        server.run("pg_ctl", &["-D", &text(&server.data), "-l", &log, "-w", "-s", "start"])?;
        Ok(server)
    }

    /// Runs SQL as the superuser; returns what `psql` prints, unaligned, without headers.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, Failure> {
        let mut command = self.command("psql");
        command.args([
            "-XqAt",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-h",
            &text(&self.socket),
            "-p",
            &self.port.to_string(),
            "-d",
            database,
        ]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |e: &std::io::Error| Failure::local("psql", e);
        let mut child = command.spawn().map_err(|e| failed(&e))?;
        if let Some(mut input) = child.stdin.take() {
            use std::io::Write as _;
            input.write_all(sql.as_bytes()).map_err(|e| failed(&e))?;
        }
        let output = child.wait_with_output().map_err(|e| failed(&e))?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(Failure::new("DEMO-001", Exit::Error, "the demonstration's database")
                .why(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
        }
    }

    /// Stops the server at once. Its directory is nobody's business then.
    pub fn stop(&self) {
        if let Err(failure) = self.run("pg_ctl", &["-D", &text(&self.data), "-s", "-m", "immediate", "stop"]) {
            eprintln!("the demonstration's PostgreSQL did not stop: {failure}");
        }
    }

    fn certificate(&self) -> Result<(), Failure> {
        let failed = |e: rcgen::Error| Failure::new("DEMO-001", Exit::Error, "no certificate for the database").why(e.to_string());
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "demo database");
        params.subject_alt_names = vec![SanType::DnsName("localhost".to_owned().try_into().map_err(failed)?)];
        let certificate = params.self_signed(&key).map_err(failed)?.pem();
        let write = |path: PathBuf, text: String| {
            std::fs::write(&path, text).map_err(|e| Failure::local(&format!("writing {}", path.display()), &e))
        };
        let key_file = self.socket.join("server.key");
        write(self.ca_file.clone(), certificate.clone())?;
        write(self.socket.join("server.crt"), certificate)?;
        write(key_file.clone(), String::new())?;
        run(Command::new("chmod").arg("600").arg(&key_file), "protecting the server's key")?;
        write(key_file.clone(), key.serialize_pem())?;
        if let Some(user) = self.as_user {
            run(Command::new("chown").arg(user).arg(&key_file), "handing the key to the server's user")?;
        }
        Ok(())
    }

    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = match self.as_user {
            Some(user) => {
                let mut command = Command::new("runuser");
                command.args(["-u", user, "--"]).arg(path);
                command
            }
            None => Command::new(path),
        };
        // Not of the terminal's group: Ctrl-C is the stage's to handle.
        command.current_dir("/").process_group(0);
        command
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Failure> {
        run(self.command(program).args(arguments), program)
    }
}

fn run(command: &mut Command, what: &str) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| Failure::local(what, &e))?;
    if output.status.success() {
        Ok(())
    } else {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Err(Failure::new("DEMO-001", Exit::Error, format!("{what} failed")).why(said.trim().to_owned()))
    }
}

/// The newest installed server's programs.
fn programs() -> Result<PathBuf, Failure> {
    let missing = || Failure::new("DEMO-002", Exit::Error, "no PostgreSQL server is installed").next("apt-get install postgresql");
    let mut found: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .map_err(|_| missing())?
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let version = path.file_name()?.to_str()?.parse().ok()?;
            let programs = path.join("bin");
            programs.join("initdb").is_file().then_some((version, programs))
        })
        .collect();
    found.sort();
    found.pop().map(|(_, programs)| programs).ok_or_else(missing)
}

/// A port nobody listens on at this moment.
pub fn free_port() -> Result<u16, Failure> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|e| Failure::local("finding a free port", &e))?;
    listener.local_addr().map(|address| address.port()).map_err(|e| Failure::local("finding a free port", &e))
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
