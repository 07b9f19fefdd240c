//! The stage: one PostgreSQL server, pgbouncer and the gateway in front of it, all with TLS and SCRAM, and what it takes to reach each.

use std::{
    collections::BTreeMap,
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use safeconduct_policy::BundleFiles;
use safeconduct_testkit::PostgresServer;

use crate::{Args, node::Node};

/// Policy under which everything measured is allowed at once.
const POLICY: &str = r#"
@id("all") permit (principal in Group::"engineers", action in [Action::"read", Action::"write"], resource is Resource);
@id("approve") permit (principal in Group::"dba", action == Action::"approve", resource);
"#;

/// The resource with the gateway's stored login.
pub const STATIC: &str = "bench-db";
/// The same server with a login role for each session.
const MINTED: &str = "minted-db";

/// Server settings that differ from those for tests: durable, quiet, enough connections.
const SERVER: [&str; 5] = ["fsync=on", "max_connections=1200", "shared_buffers=512MB", "log_statement=none", "max_wal_size=4GB"];

/// A way to the server.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    pub address: SocketAddr,
    pub user: String,
    pub password: String,
    pub database: String,
    pub ca_file: PathBuf,
    /// The process in between, if there is one.
    pub pid: Option<u32>,
}

impl Target {
    /// A libpq client that goes this way.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("PGHOST", "localhost").env("PGHOSTADDR", "127.0.0.1").env("PGPORT", self.address.port().to_string());
        command.env("PGUSER", &self.user).env("PGPASSWORD", &self.password).env("PGDATABASE", &self.database);
        command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", &self.ca_file).env("PGGSSENCMODE", "disable");
        command
    }
}

/// Everything in place.
pub struct Stage {
    pub server: PostgresServer,
    pub node: Node,
    /// Direct, through pgbouncer, through the door: in this order.
    pub targets: Vec<Target>,
    /// Through the door, with a login role for each session.
    pub minted: Target,
    _pgbouncer: Bouncer,
}

impl Stage {
    pub async fn set(args: &Args) -> Self {
        eprintln!("setting the stage …");
        let server = PostgresServer::start_tuned(&SERVER);
        let direct = Target {
            name: "direct",
            address: ([127, 0, 0, 1], server.port).into(),
            user: server.user.clone(),
            password: server.password.clone(),
            database: server.database.clone(),
            ca_file: server.ca_file.clone(),
            pid: None,
        };
        let made = direct.command("pgbench").args(["-i", "-q", "-s", &args.scale.to_string()]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let password = &server.password;
        let _ = server.psql_superuser(&format!(
            "CREATE ROLE minter LOGIN CREATEROLE PASSWORD '{password}'; CREATE ROLE bench_read;\n\
             GRANT SELECT ON ALL TABLES IN SCHEMA public TO bench_read;"
        ));
        let pgbouncer = Bouncer::start(&server);
        let through = Target { name: "pgbouncer", address: pgbouncer.address, pid: Some(pgbouncer.child.id()), ..direct.clone() };
        let mut people = vec![("alice", "engineers"), ("erin", "engineers"), ("bob", "dba"), ("ann", "administrators")];
        people.extend(crate::ending::LEAVERS.map(|name| (name, "engineers")));
        let node = Node::start(&args.program, &bundle(&server), &people).await;
        node.window("alice", STATIC, &["read"], "8h").await;
        let door = node.connect("alice", STATIC).await;
        let door = Target {
            name: "safeconduct",
            address: node.door,
            user: door.user,
            password: door.password,
            database: door.database,
            ca_file: node.ca_file(),
            pid: Some(node.pid()),
        };
        node.window("alice", MINTED, &["read"], "8h").await;
        let own_role = node.connect("alice", MINTED).await;
        let minted = Target {
            name: "safeconduct, a role for each session",
            user: own_role.user,
            password: own_role.password,
            database: own_role.database,
            ..door.clone()
        };
        Self { server, node, targets: vec![direct, through, door], minted, _pgbouncer: pgbouncer }
    }
}

fn bundle(server: &PostgresServer) -> BundleFiles {
    let resource = format!(
        "kind = \"postgres\"\ndescription = \"pgbench's tables\"\n[postgres]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"app\"\n\
         [postgres.tls]\nca_file = \"{}\"\nserver_name = \"localhost\"\n\
         [postgres.credentials]\nuser = \"app\"\npassword = \"file:{}\"\n",
        server.port,
        server.ca_file.display(),
        server.password_file.display(),
    );
    let minted = resource.replace("user = \"app\"", "kind = \"minted\"\nuser = \"minter\"")
        + "[postgres.credentials.roles]\nread = [\"bench_read\"]\n";
    let files = BTreeMap::from([
        (format!("resources/{MINTED}.toml"), minted.into_bytes()),
        ("policies/bench.cedar".to_owned(), POLICY.as_bytes().to_vec()),
        (format!("resources/{STATIC}.toml"), resource.into_bytes()),
    ]);
    BundleFiles { files }
}

/// pgbouncer with session pooling, TLS on both sides and SCRAM.
struct Bouncer {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Bouncer {
    fn start(server: &PostgresServer) -> Self {
        let folder = tempfile::tempdir_in("/tmp").unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = |name: &str| folder.path().join(name);
        for name in ["server.pem", "server.key"] {
            fs::copy(server.socket_dir.join("data").join(name), path(name)).unwrap();
        }
        fs::write(path("users.txt"), format!("\"{}\" \"{}\"\n", server.user, server.password)).unwrap();
        let settings = format!(
            "[databases]\napp = host=127.0.0.1 port={} dbname=app\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = session\ndefault_pool_size = 120\nmax_client_conn = 1500\n\
             server_reset_query = DISCARD ALL\nclient_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n\
             server_tls_sslmode = verify-ca\nserver_tls_ca_file = {}\nlog_connections = 0\nlog_disconnections = 0\n",
            server.port,
            address.port(),
            path("users.txt").display(),
            path("server.pem").display(),
            path("server.key").display(),
            server.ca_file.display(),
        );
        fs::write(path("pgbouncer.ini"), settings).unwrap();
        // It refuses to run as root; the folder goes with this process.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let root = String::from_utf8_lossy(&Command::new("id").arg("-u").output().unwrap().stdout).trim() == "0";
        let mut command = if root {
            assert!(Command::new("chown").args(["-R", "postgres"]).arg(folder.path()).status().unwrap().success());
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--init-groups", "pgbouncer"]);
            command
        } else {
            Command::new("pgbouncer")
        };
        let child = command.arg("-q").arg(path("pgbouncer.ini")).stdin(Stdio::null()).spawn().expect("pgbouncer");
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        Self { address, child, _folder: folder }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
