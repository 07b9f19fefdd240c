//! Silent clients delay nobody; who does not read costs a bounded amount of memory.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_gateway_postgres::Limits;
use safeconduct_model::Operation;
use support::{
    World,
    raw::{Heard, Raw},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

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
    let waiting = "SELECT wait_event FROM pg_stat_activity WHERE query LIKE 'SELECT repeat(%'";
    let mut stopped = 0;
    while stopped < ROUNDS {
        match world.rows(waiting).as_str() {
            "ClientWrite" => stopped += 1,
            "ClientRead" => panic!("the gateway took all that the client did not read"),
            _ => stopped = 0,
        }
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

/// How often others are served before a client counts as stopped. More only makes the test stricter.
const ROUNDS: usize = 40;

/// A trigger that makes the server wait at the row 1001 until somebody opens the gate.
const SLOW_SERVER: &str = "
CREATE TABLE gate (open boolean);
GRANT SELECT ON gate TO app;
CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
  WHILE NEW.id = 1001 AND NOT EXISTS (SELECT FROM gate) LOOP PERFORM pg_sleep(0.01); END LOOP;
  RETURN NEW;
END $$;
CREATE TRIGGER slow BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION wait_at_gate();
";
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%orders%' AND wait_event = 'PgSleep'";

/// Sends `piece` so many times while the server does not read; says how many bytes were taken before it was let go on.
async fn sent_to_a_slow_server(first: Vec<u8>, piece: Vec<u8>, pieces: usize, last: Vec<u8>) -> (World, u64, Vec<Heard>) {
    let world = World::start().await;
    let _ = world.rows(SLOW_SERVER);
    world.window("oscar", &[Operation::Read, Operation::Write], 900).await;
    let secret = world.secret("oscar").await;
    let mut other = Raw::session(&world, &secret).await;
    let raw = Raw::session(&world, &secret).await;
    let (mut read, mut write) = tokio::io::split(raw.stream);
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        write.write_all(&first).await.unwrap();
        for _ in 0..pieces {
            write.write_all(&piece).await.unwrap();
            counted.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        write.write_all(&last).await.unwrap();
        write.flush().await.unwrap();
    });
    world.until_rows(WAITING, "1").await;
    for _ in 0..ROUNDS {
        assert_eq!(support::raw::tags(&other.query("SELECT 1").await), "TDCZ");
        let _ = world.rows("SELECT 1");
    }
    let before = sent.load(Ordering::Relaxed);
    let _ = world.rows("INSERT INTO gate VALUES (true)");
    // Only now the client reads. All of it comes, in order.
    let mut bytes = BytesMut::new();
    let mut heard = Vec::new();
    while !heard.last().is_some_and(|message: &Heard| message.tag == 'Z' && heard.len() > 1) {
        assert_ne!(read.read_buf(&mut bytes).await.unwrap(), 0, "{heard:?}");
        while let Some(message) = Heard::take(&mut bytes) {
            if message.tag != '2' {
                heard.push(message);
            }
        }
    }
    sending.await.unwrap();
    (world, before, heard)
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_a_server_that_does_not_read_a_copy_stops_the_client_not_the_gateway() {
    let mut first = BytesMut::new();
    frontend::query("COPY orders FROM STDIN", &mut first).unwrap();
    frontend::CopyData::new(&b"1001\tgate\n"[..]).unwrap().write(&mut first);
    let line = format!("\\N\t{}\n", "x".repeat(64 * 1024));
    let mut piece = BytesMut::new();
    frontend::CopyData::new(line.as_bytes()).unwrap().write(&mut piece);
    let mut last = BytesMut::new();
    frontend::copy_done(&mut last);
    // 128 MiB, of which the server refuses the first row in the end: the key is missing.
    let (world, before, heard) = sent_to_a_slow_server(first.to_vec(), piece.to_vec(), 2_048, last.to_vec()).await;
    assert!(before < 48 << 20, "{before} bytes were taken");
    assert_eq!(support::raw::errors(&heard), ["23502"]);
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f42_a_slow_server_stops_a_pipeline_and_all_of_it_is_answered_in_the_end() {
    let insert = |id: &str, note: &str, out: &mut BytesMut| {
        let bound = frontend::bind(
            "",
            "s",
            [],
            [id, note],
            |value, out| {
                out.extend_from_slice(value.as_bytes());
                Ok(postgres_protocol::IsNull::No)
            },
            [],
            out,
        );
        assert!(bound.is_ok());
        frontend::execute("", 0, out).unwrap();
    };
    let mut first = BytesMut::new();
    frontend::parse("s", "INSERT INTO orders VALUES ($1::int, $2) ON CONFLICT DO NOTHING", [], &mut first).unwrap();
    insert("1001", "gate", &mut first);
    let mut piece = BytesMut::new();
    insert("1", &"x".repeat(32 * 1024), &mut piece);
    let mut last = BytesMut::new();
    frontend::sync(&mut last);
    let (world, before, heard) = sent_to_a_slow_server(first.to_vec(), piece.to_vec(), 4_000, last.to_vec()).await;
    assert!(before < 64 << 20, "{before} bytes were taken");
    assert_eq!(heard.iter().filter(|message| message.tag == 'C').count(), 4_001);
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "101");
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_client_that_leaves_behind_a_full_buffer_is_noticed_while_its_statement_is_held() {
    let world = World::start_with(Limits { buffer_bytes: 32 * 1024, ..Limits::default() }).await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    for by_reset in [false, true] {
        let mut raw = Raw::session(&world, &secret).await;
        raw.say(|out| {
            frontend::query("UPDATE orders SET note = 'x'", out).unwrap();
            for _ in 0..100 {
                frontend::query(&format!("SELECT '{}'", "x".repeat(1_000)), out).unwrap();
            }
        })
        .await;
        let held = world.held().await;
        if by_reset {
            // Closed over what it did not read.
            drop(raw);
        } else {
            while raw.next().await.unwrap().tag != 'N' {}
            raw.stream.get_mut().0.shutdown().await.unwrap();
        }
        world.until_state(&held.access.envelope.access_request, "withdrawn").await;
        world.quiet().await;
    }
    assert_eq!(world.rows("SELECT count(*) FROM orders WHERE note = 'x'"), "0");
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}
