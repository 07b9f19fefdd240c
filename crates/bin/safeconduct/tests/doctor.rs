//! `doctor` against a real server, as it should be and with problems planted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{fs, process::Command};

use support::{Ran, node::Place, snapshot};

/// Runs SQL as the server's superuser.
fn sql(place: &Place, text: &str) {
    let server = &place.server;
    let mut psql = Command::new("psql");
    psql.args([
        "-X",
        "-q",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        &server.database,
        "-U",
        &server.superuser,
        "-p",
        &server.port.to_string(),
        "-c",
        text,
    ]);
    psql.env("PGPASSWORD", &server.superuser_password).env("PGHOST", &server.socket_dir);
    Ran::of(psql.output().unwrap()).ok();
}

fn doctor(place: &Place, more: &[&str]) -> Ran {
    let settings = place.settings();
    place.run("operator", &[&["doctor", "--config", settings.to_str().unwrap()], more].concat())
}

/// What it said, without what differs from run to run.
fn page(place: &Place, ran: &Ran) -> String {
    let text = ran.page().replace(place.folder.path().to_str().unwrap(), "DIR").replace(&place.server.port.to_string(), "PORT");
    let mut lines = Vec::new();
    for line in text.lines() {
        let words = line.split(' ').map(|word| match word.split_once(':') {
            Some(("127.0.0.1", rest)) if rest.bytes().all(|b| b.is_ascii_digit()) => "ADDRESS".to_owned(),
            _ => word.to_owned(),
        });
        let line = words.collect::<Vec<_>>().join(" ");
        let version = line.split_once(", version: PostgreSQL ").map(|(before, _)| format!("{before}, version: PostgreSQL N"));
        lines.push(version.unwrap_or(line));
    }
    lines.join("\n") + "\n"
}

#[test]
fn a_gateway_and_a_server_as_they_should_be_and_then_with_problems_planted() {
    let place = Place::new();
    sql(
        &place,
        "ALTER TABLE orders OWNER TO postgres; GRANT SELECT ON orders TO app; ALTER DATABASE app OWNER TO postgres; \
         REVOKE ALL ON DATABASE app FROM PUBLIC; GRANT CONNECT ON DATABASE app TO app; REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    );
    let well = doctor(&place, &[]);
    assert_eq!(well.status, 0, "{}", well.page());
    snapshot("doctor-well", &page(&place, &well));

    sql(
        &place,
        "GRANT TEMPORARY, CREATE ON DATABASE app TO PUBLIC; GRANT CREATE ON SCHEMA public TO PUBLIC; \
         CREATE FUNCTION public.raise_salary(integer) RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT'; \
         CREATE FUNCTION public.length(numeric) RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
         CREATE FUNCTION public.same(text, integer) RETURNS boolean LANGUAGE sql AS 'SELECT true'; \
         CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = integer, FUNCTION = public.same); \
         CREATE EXTENSION dblink; ALTER TABLE orders OWNER TO app; \
         ALTER ROLE app CREATEROLE REPLICATION; GRANT pg_execute_server_program TO app; \
         SELECT lo_create(4711); GRANT SELECT ON LARGE OBJECT 4711 TO PUBLIC",
    );
    sql(&place, "ALTER SYSTEM SET password_encryption = 'md5'");
    sql(&place, "SELECT pg_reload_conf()");
    let ill = doctor(&place, &["--resource", "orders-db"]);
    assert_eq!(ill.status, 1, "{}", ill.page());
    snapshot("doctor-planted", &page(&place, &ill));
    let json = doctor(&place, &["--resource", "orders-db", "--json"]).json();
    let failed = json["checks"].as_array().unwrap().iter().filter(|check| check["level"] == "FAIL").count();
    assert_eq!(failed, ill.out.lines().filter(|line| line.starts_with("FAIL")).count());
    assert!(failed > 0);

    sql(&place, "ALTER ROLE app SUPERUSER");
    assert!(doctor(&place, &["--resource", "orders-db"]).out.contains("it is a superuser"));
    sql(&place, "ALTER ROLE app NOSUPERUSER PASSWORD 'another'");
    let refused = doctor(&place, &["--resource", "orders-db"]);
    assert!(refused.status == 1 && refused.out.contains("did not accept the gateway's login"), "{}", refused.page());
    assert!(!refused.page().contains(&place.server.password));

    let resource = place.path("bundle/resources/orders-db.toml");
    let text = fs::read_to_string(&resource).unwrap();
    fs::write(&resource, text.replace("server_name = \"localhost\"", "server_name = \"db.example.com\"")).unwrap();
    let another = doctor(&place, &["--resource", "orders-db"]);
    assert!(another.out.contains("could not prove its identity"), "{}", another.page());
    fs::write(&resource, text.replace(&format!("port = {}", place.server.port), "port = 1")).unwrap();
    assert!(doctor(&place, &["--resource", "orders-db"]).out.contains("can't be reached"));
    assert!(doctor(&place, &["--resource", "nothing"]).out.contains("no resource `nothing`"));
}

#[test]
fn an_account_that_makes_roles_and_what_it_needs() {
    let place = Place::new();
    let resource = place.path("bundle/resources/orders-db.toml");
    let text = fs::read_to_string(&resource).unwrap().replace("user = \"app\"", "kind = \"minted\"\nuser = \"minter\"\nowner = \"keeper\"");
    assert!(text.contains("minter"), "{text}");
    let roles = "\n[postgres.credentials.roles]\nread = [\"readers\"]\nwrite = [\"readers\", \"writers\"]\n";
    fs::write(&resource, text + roles).unwrap();
    let password = &place.server.password;
    sql(&place, &format!("CREATE ROLE minter LOGIN PASSWORD '{password}'; CREATE ROLE keeper; CREATE ROLE readers LOGIN BYPASSRLS"));
    sql(&place, "GRANT SELECT, DELETE ON orders TO readers; GRANT pg_read_all_data TO readers");
    let ill = doctor(&place, &["--resource", "orders-db"]);
    assert_eq!(ill.status, 1, "{}", ill.page());
    for says in [
        "FAIL orders-db, minting: the account may not create roles",
        "FAIL orders-db, group roles: there is no writers",
        "warn orders-db, group roles: sessions get powers with readers (bypassrls, login), readers (member of pg_read_all_data)",
        "warn orders-db, reading: what `read` gives may write: readers on public.orders",
        "FAIL orders-db, owner: the account is no member of `keeper`",
        "ok   orders-db, clock: the server's clock agrees",
    ] {
        assert!(ill.out.contains(says), "{says}\n{}", ill.page());
    }
    sql(
        &place,
        "ALTER ROLE minter CREATEROLE; CREATE ROLE writers; ALTER ROLE readers NOLOGIN NOBYPASSRLS; REVOKE DELETE ON orders FROM readers; \
         REVOKE pg_read_all_data FROM readers; GRANT keeper TO minter",
    );
    if place.server.psql_superuser("SHOW server_version_num").trim().parse::<u32>().unwrap() >= 160_000 {
        let before = doctor(&place, &["--resource", "orders-db"]);
        assert!(before.out.contains("FAIL orders-db, group roles: the account may not give away readers, writers"), "{}", before.page());
        sql(&place, "GRANT readers, writers TO minter WITH ADMIN OPTION");
    }
    let well = doctor(&place, &["--resource", "orders-db"]);
    for says in ["ok   orders-db, minting:", "ok   orders-db, group roles: 2 there", "ok   orders-db, reading:", "ok   orders-db, owner:"] {
        assert!(well.out.contains(says), "{says}\n{}", well.page());
    }
}

#[test]
fn a_machine_with_problems() {
    let place = Place::new();
    let mut gateway = place.start();
    let running = place.run("operator", &["doctor", "--config", place.path("safeconduct.toml").to_str().unwrap()]);
    assert!(running.out.contains("something answers at") && running.out.contains("ok   gateway, store: whole"), "{}", running.page());
    gateway.stop();
    let key = place.path("keys/checkpoint.key");
    Ran::of(Command::new("chmod").arg("644").arg(&key).output().unwrap()).ok();
    assert!(doctor(&place, &[]).out.contains("FAIL gateway, keys: others may read"));
    fs::rename(&key, place.path("elsewhere")).unwrap();
    fs::write(place.path("data/safeconduct.db"), "no store").unwrap();
    let ill = doctor(&place, &[]);
    assert!(ill.out.contains("FAIL gateway, keys:") && ill.out.contains("FAIL gateway, store:"), "{}", ill.page());
    fs::write(place.path("wrong.toml"), "colour = 'red'\n[api]\nlisten = 'here'\n").unwrap();
    let wrong = place.run("operator", &["doctor", "--config", place.path("wrong.toml").to_str().unwrap()]);
    assert!(wrong.status == 1 && wrong.out.contains("colour") && wrong.out.contains("api.listen"), "{}", wrong.page());
}

#[test]
fn a_pooler_in_between_is_found() {
    let place = Place::new();
    let (port, folder) = (support::node::free().port(), place.folder.path());
    let PgBouncer(mut pooler) = PgBouncer::start(&place, port);
    let resource = place.path("bundle/resources/orders-db.toml");
    let text = fs::read_to_string(&resource).unwrap();
    let text = text.replace(&format!("port = {}", place.server.port), &format!("port = {port}"));
    let tls = text.find("[postgres.tls]").unwrap()..text.find("[postgres.credentials]").unwrap();
    let mut without = text.clone();
    without.replace_range(tls, "[postgres.tls]\ndanger_disabled = true\n");
    fs::write(&resource, without).unwrap();
    let found = doctor(&place, &["--resource", "orders-db"]);
    pooler.kill().unwrap();
    pooler.wait().unwrap();
    assert!(
        found.out.contains("FAIL orders-db, pooler:"),
        "{}{}",
        found.page(),
        fs::read_to_string(folder.join("pooler.log")).unwrap_or_default()
    );
}

/// A pooler in front of the server.
struct PgBouncer(std::process::Child);

impl PgBouncer {
    fn start(place: &Place, port: u16) -> Self {
        let (server, folder) = (&place.server, place.folder.path());
        let users = folder.join("users.txt");
        fs::write(&users, format!("\"{}\" \"{}\"\n", server.user, server.password)).unwrap();
        let settings = folder.join("pooler.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = scram-sha-256\n\
             auth_file = {}\nunix_socket_dir =\npool_mode = transaction\nignore_startup_parameters = search_path,options\nserver_tls_sslmode = require\nlogfile = {}\n",
            server.port,
            users.display(),
            folder.join("pooler.log").display()
        );
        fs::write(&settings, text).unwrap();
        // It does not run as root.
        let mut command = if fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) == 0) {
            for path in [folder, &users, &settings] {
                std::os::unix::fs::chown(path, Some(uid("postgres")), None).unwrap();
            }
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=KILL", "/usr/sbin/pgbouncer"]);
            command
        } else {
            Command::new("/usr/sbin/pgbouncer")
        };
        let child = command.arg(&settings).stderr(std::process::Stdio::null()).spawn().expect("package pgbouncer");
        let began = std::time::Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(began.elapsed().as_secs() < 60, "no pooler");
            std::thread::yield_now();
        }
        Self(child)
    }
}

fn uid(name: &str) -> u32 {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split(':').nth(2).unwrap().parse().unwrap()
}
