//! The throwaway PostgreSQL server starts, wants passwords and TLS, and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use safeconduct_testkit::PostgresServer;

#[test]
fn a_server_comes_and_goes() {
    let server = PostgresServer::start_with("CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1), (2);");
    let other = PostgresServer::start();
    assert_ne!(server.port, other.port);
    assert_eq!(server.psql_superuser("SELECT count(*), current_user FROM orders"), "2|postgres");
    let tls = server.psql(&server.user, &server.password, &server.database, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    assert_eq!(tls.as_deref(), Ok("t"));
    let wrong = server.psql(&server.user, "wrong", &server.database, "SELECT 1").unwrap_err();
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    assert!(server.psql(&server.user, &server.password, "app", "SELECT * FROM nothing").unwrap_err().contains("does not exist"));
    assert!(server.log().contains("SELECT count(*), current_user FROM orders"));
    let (folder, address) = (server.socket_dir.clone(), (server.host.clone(), server.port));
    drop(server);
    assert!(!folder.exists());
    assert!(std::net::TcpStream::connect(address).is_err());
}
