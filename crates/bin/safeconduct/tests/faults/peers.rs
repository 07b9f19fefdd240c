//! Peers that are silent, stall in the middle of a word, or never read: they cost a bounded amount and delay nobody.

use std::{net::SocketAddr, process::Command};

use postgres_protocol::message::frontend;
use safeconduct_testkit::PostgresServer;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    door::Session,
    node::{Node, PATIENCE, RESOURCE, TABLES},
    wire::{Mode, Wire},
};

/// More than half of what a shell gives a process by default: on two listeners that would be too many.
const SILENT: usize = 1_000;
/// Memory that a node may take for one peer that does not read, in KiB. Far above its buffers, far below what was sent.
const MOST_KIB: u64 = 64 * 1024;

/// This process and its children may have as many files open as the system lets them; the node starts with what is usual.
fn many_files() {
    let pid = std::process::id().to_string();
    let raised = Command::new("sh").args(["-c", "prlimit --pid \"$0\" --nofile=$(ulimit -Hn):$(ulimit -Hn)", &pid]).status().unwrap();
    assert!(raised.success());
}

/// Connections that have begun to speak, each in one of these ways, and say nothing more.
async fn silent(at: SocketAddr, begun: &[&[u8]]) -> Vec<TcpStream> {
    let mut sockets = Vec::new();
    for n in 0..SILENT {
        let mut socket = TcpStream::connect(at).await.unwrap();
        drop(socket.write_all(begun[n % begun.len()]).await);
        sockets.push(socket);
    }
    sockets
}

/// Half of a TLS record that says it is a ClientHello.
const HALF_HELLO: &[u8] = &[22, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

async fn one_of_each(node: &Node, secret: &Value) {
    let api = node.api("alice");
    // A connection of its own, as a newcomer has it.
    drop(TcpStream::connect(node.api).await.unwrap());
    api.get("/whoami").await.unwrap();
    let mut session = Session::open(node, secret, None).await.unwrap();
    session.query("SELECT 1 FROM orders").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_1000_silent_connections_on_every_listener_delay_nobody() {
    let server = PostgresServer::start_with(TABLES);
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let mut node = Node::furnished(&server, &[server.port]).await;
        // What a shell or an init system gives by default.
        node.wrapper = ["sh", "-c", "ulimit -S -n 1024; exec \"$@\"", "sh"].map(str::to_owned).into();
        node.start();
        node.api("alice").window(&["read"], "a look").await.unwrap();
        let secret = node.api("alice").connect(RESOURCE).await.unwrap();
        nodes.push((node, secret));
    }
    many_files();
    let (flooded, control) = (&nodes[0], &nodes[1]);
    let half_startup: &[u8] = &[0, 0, 0, 80, 0, 3];
    let ssl_request: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
    let ssl_then_half: Vec<u8> = [ssl_request, HALF_HELLO].concat();
    let at_door = silent(flooded.0.door, &[b"", half_startup, ssl_request, &ssl_then_half, HALF_HELLO]).await;
    let at_api = silent(flooded.0.api, &[b"", HALF_HELLO]).await;
    // The control goes on until those among the silent are through: how much more it did is how much they were delayed.
    let rounds = 15;
    let through = std::sync::atomic::AtomicBool::new(false);
    let among = async {
        for _ in 0..rounds {
            one_of_each(&flooded.0, &flooded.1).await;
        }
        through.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let alone = async {
        let mut did = 0;
        while !through.load(std::sync::atomic::Ordering::SeqCst) {
            one_of_each(&control.0, &control.1).await;
            did += 1;
        }
        did
    };
    let ((), did) = tokio::time::timeout(PATIENCE, async { tokio::join!(among, alone) }).await.expect("somebody is kept waiting");
    let unaccepted = flooded.0.said().lines().filter(|line| line.contains("accept")).count();
    eprintln!("while there were {rounds} rounds among the silent the control did {did}; {unaccepted} times nothing could be accepted");
    assert_eq!(unaccepted, 0, "there were too few descriptors: {}", flooded.0.said());
    assert!(did <= rounds * 10, "while there were {rounds} rounds among the silent the control did {did}");
    drop((at_door, at_api));
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_a_client_that_never_reads_costs_a_bounded_amount() {
    let server = PostgresServer::start_with(TABLES);
    let mut node = Node::furnished(&server, &[server.port]).await;
    node.start();
    node.api("alice").window(&["read"], "a look").await.unwrap();
    let secret = node.api("alice").connect(RESOURCE).await.unwrap();
    let mut sessions = Vec::new();
    let before = node.resident_kib();
    // 300 MB each: rows of a megabyte, and rows of a few bytes.
    for (rows, bytes) in [(300, 1_000_000), (15_000_000, 10)] {
        let mut session = Session::open(&node, &secret, None).await.unwrap();
        let text = format!("SELECT repeat('x', {bytes}) FROM generate_series(1, {rows})");
        session.say(|out| frontend::query(&text, out).unwrap()).await.unwrap();
        sessions.push(session);
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'safeconduct se-%' AND wait_event = 'ClientWrite'";
    // The server waits for the gateway, which waits for the clients. Seen many times in a row, nothing moves any more.
    let mut in_a_row = 0;
    while in_a_row < 10 {
        let grown = node.resident_kib().saturating_sub(before);
        assert!(grown < MOST_KIB, "{grown} KiB");
        in_a_row = if server.psql_superuser(waiting) == "2" { in_a_row + 1 } else { 0 };
    }
    let grown = node.resident_kib().saturating_sub(before);
    eprintln!("two clients that never read: {grown} KiB");
    assert!(grown < MOST_KIB, "{grown} KiB");
    // One that reads now gets all of it.
    let last = &mut sessions[0];
    let (mut read, mut buffer) = (0, vec![0; 1 << 20]);
    while read < 300_000_000 {
        read += last.stream.read(&mut buffer).await.unwrap();
    }
    assert!(node.resident_kib().saturating_sub(before) < MOST_KIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_a_server_that_never_reads_costs_a_bounded_amount() {
    let server = PostgresServer::start_with(TABLES);
    let wire = Wire::to(server.port).await;
    let mut node = Node::furnished(&server, &[wire.port]).await;
    node.start();
    let oscar = node.api("oscar");
    oscar.window(&["read", "write"], "a copy").await.unwrap();
    let mut session = Session::open(&node, &oscar.connect(RESOURCE).await.unwrap(), None).await.unwrap();
    session.say(|out| frontend::query("COPY marks FROM STDIN", out).unwrap()).await.unwrap();
    assert_eq!(session.next().await.unwrap().tag, 'G');
    let before = node.resident_kib();
    wire.set(Mode::Silent);
    let mut row = bytes::BytesMut::new();
    let data = "7\tcopied\n".repeat(10_000);
    frontend::CopyData::new(data.as_bytes()).unwrap().write(&mut row);
    let mut sent = 0;
    // Until nothing more is taken: 500 MB would be too much.
    while let Ok(written) = tokio::time::timeout(std::time::Duration::from_secs(3), session.stream.write_all(&row)).await {
        written.unwrap();
        sent += row.len();
        assert!(sent < 500_000_000, "the gateway takes everything");
    }
    let grown = node.resident_kib().saturating_sub(before);
    eprintln!("a server that never reads: {sent} bytes taken, {grown} KiB");
    assert!(grown < MOST_KIB, "{grown} KiB");
    // The right ends all the same.
    let grants = oscar.get("/grants").await.unwrap();
    let grant = grants[0]["grant"].as_str().unwrap().to_owned();
    oscar.post(&format!("/grants/{grant}/release"), serde_json::json!({})).await.unwrap();
    let mut rest = Vec::new();
    drop(tokio::time::timeout(PATIENCE, session.stream.read_to_end(&mut rest)).await.expect("the session does not end"));
}
