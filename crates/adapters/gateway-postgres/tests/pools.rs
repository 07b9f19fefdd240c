//! A connection pool in front of the door: Debian's pgbouncer, which signs in over verified TLS and shares few sessions among many clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::process::Stdio;

use safeconduct_app::ports::SessionQuery;
use safeconduct_model::Operation;
use support::{Said, World, feed};
use tokio::process::{Child, Command};

struct Pool {
    port: u16,
    _folder: tempfile::TempDir,
    _child: Child,
}

impl Pool {
    /// A pool of one session per database, and of four.
    async fn start(world: &World, user: &str, mode: &str) -> Self {
        let secret = world.secret(user).await;
        let folder = tempfile::Builder::new().prefix("safeconduct-pool-").tempdir_in("/tmp").unwrap();
        std::fs::copy(world.ca_file(), folder.path().join("ca.pem")).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let target = format!(
            "host=localhost port={} dbname={} user={} password={}",
            world.door.port(),
            secret.dbname,
            secret.user,
            &*secret.password
        );
        let settings = format!(
            "[databases]\none = {target} pool_size=1\nfour = {target} pool_size=4\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {mode}\nserver_tls_sslmode = verify-full\nserver_tls_ca_file = {}\n\
             ignore_startup_parameters = extra_float_digits\n",
            folder.path().join("ca.pem").display()
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), settings).unwrap();
        let mut command = safeconduct_testkit::as_the_servers_user("/usr/sbin/pgbouncer", folder.path());
        command.arg(folder.path().join("pgbouncer.ini")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Command::from(command).kill_on_drop(true).spawn().expect("the package `pgbouncer`");
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stderr.take().unwrap()));
        loop {
            let line = lines.next_line().await.unwrap().expect("pgbouncer ended");
            if line.contains("process up") {
                break;
            }
        }
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { port, _folder: folder, _child: child }
    }

    fn client(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
        command.env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string()).env("PGUSER", "anybody").env("PGDATABASE", database);
        command
    }

    async fn psql(&self, database: &str, sql: &str) -> Said {
        let mut psql = self.client("psql", database);
        psql.args(["-X", "-A", "-t", "-q"]);
        feed(psql, sql).await
    }
}

async fn sessions(world: &World) -> usize {
    let query = SessionQuery { limit: 50, ..SessionQuery::default() };
    world.app.sessions(&world.caller("ann"), query).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_shares_a_session_and_hands_it_on_clean() {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write, Operation::Temp], 900).await;
    let pool = Pool::start(&world, "oscar", "session").await;
    let said = pool
        .psql("one", "SET timezone = 'Asia/Tokyo'; SET statement_timeout = '1h'; PREPARE p AS SELECT 1; CREATE TEMP TABLE t (a int);\nSHOW timezone;\n")
        .await;
    assert_eq!((said.out.as_str(), said.err.as_str()), ("Asia/Tokyo", ""));
    let said = pool.psql("one", "SHOW timezone; SHOW statement_timeout;\nEXECUTE p;\nSELECT * FROM t;\n").await;
    assert!(!said.out.contains("Tokyo") && said.out.ends_with("\n0"), "{said:?}");
    assert!(said.err.contains("42501") || said.err.contains("needs approval") || said.err.contains("does not"), "{said:?}");
    let said = pool.psql("one", "UPDATE orders SET note = 'pooled' WHERE id = 7;\nSELECT note FROM orders WHERE id = 7;\n").await;
    assert_eq!((said.out.as_str(), said.err.as_str()), ("pooled", ""));
    assert_eq!(sessions(&world).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbouncer_shares_sessions_by_the_transaction() {
    let world = World::start().await;
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let pool = Pool::start(&world, "oscar", "transaction").await;
    let script = world.folder.path().join("script.sql");
    let statements =
        "\\set id random(1, 100)\nBEGIN;\nUPDATE orders SET note = note WHERE id = :id;\nSELECT note FROM orders WHERE id = :id;\nEND;\n";
    std::fs::write(&script, statements).unwrap();
    for mode in ["simple", "extended"] {
        let mut pgbench = pool.client("pgbench", "four");
        pgbench.args(["-n", "-M", mode, "-c", "12", "-t", "10", "-f"]).arg(&script).stdout(Stdio::piped()).stderr(Stdio::piped());
        let said: Said = pgbench.spawn().unwrap().wait_with_output().await.unwrap().into();
        assert!(said.ok && said.out.contains("120/120"), "{mode}: {said:?}");
    }
    assert!((1..=4).contains(&sessions(&world).await));
    // A refusal is the statement's, not the pool's.
    let said = pool.psql("four", "CREATE ROLE mallory;\nSELECT 1;\n").await;
    assert!(said.err.contains("admin") && said.out == "1", "{said:?}");
}
