//! Silent clients delay nobody; who does not read costs a bounded amount of memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use postgres_protocol::message::frontend;
use safeconduct_model::Operation;
use support::{World, raw::Raw};
use tokio::{io::AsyncWriteExt, net::TcpStream};

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_thousand_silent_sockets_delay_nobody() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let mut silent = Vec::new();
    for number in 0..1000 {
        let mut tcp = TcpStream::connect(world.door).await.unwrap();
        match number % 4 {
            // Half a request, a request for TLS and then nothing, half a handshake.
            1 => tcp.write_all(&[0, 0, 0]).await.unwrap(),
            2 => tcp.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.unwrap(),
            3 => tcp.write_all(&[0x16, 3, 1, 2, 0]).await.unwrap(),
            _ => {}
        }
        silent.push(tcp);
    }
    for _ in 0..3 {
        let said = world.psql(&secret, &["-c", "SELECT 1"], "").await;
        assert!(said.ok && said.out == "1", "{said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_garbage_ends_that_connection_only() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let mut good = Raw::session(&world, &secret).await;
    for garbage in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"\0\0\0\0", b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\0\0\0\x08\0\x02\0\0", b"\x16garbage"]
    {
        let mut tcp = TcpStream::connect(world.door).await.unwrap();
        tcp.write_all(garbage).await.unwrap();
        tcp.shutdown().await.unwrap();
        let mut heard = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut heard).await;
    }
    for garbage in [&b"Z\0\0\0\x05I"[..], b"Q\0\0\0\x03", b"Q\x7f\xff\xff\xff", b"B\0\0\0\x08\0\0\0\0", b"p\0\0\0\x05x", b"\0\0\0\0\0"] {
        let mut raw = Raw::session(&world, &secret).await;
        raw.send(garbage).await;
        let heard = raw.until_ready().await;
        assert_eq!(support::raw::status(&heard), '?', "{garbage:?} {heard:?}");
    }
    assert_eq!(support::raw::tags(&good.query("SELECT 1").await), "TDCZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_a_client_that_does_not_read_stops_the_server_not_the_gateway() {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("alice").await).await;
    let before = resident_bytes();
    // 400 MB in rows of a kilobyte, and one row of 100 MB.
    raw.say(|out| frontend::query("SELECT repeat('x', 1000) FROM generate_series(1, 400000); SELECT repeat('y', 100000000)", out).unwrap())
        .await;
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite'";
    while world.rows(waiting) != "1" {
        tokio::task::yield_now().await;
    }
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // What was not read is still all there.
    let (mut rows, mut longest) = (0, 0);
    while let Some(message) = raw.next().await {
        match message.tag {
            'D' => (rows, longest) = (rows + 1, message.body.len().max(longest)),
            'Z' => break,
            _ => {}
        }
    }
    assert_eq!((rows, longest), (400_001, 100_000_006));
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
