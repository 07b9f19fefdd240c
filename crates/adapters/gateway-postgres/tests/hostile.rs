//! Bytes no client should send: a clear error in PostgreSQL's own form, nothing of it at the server, and only that connection suffers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use bytes::BytesMut;
use postgres_protocol::message::frontend;
use safeconduct_app::DoorSecret;
use safeconduct_model::Operation;
use support::{
    World,
    raw::{Raw, errors, status, tags},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

async fn alice() -> (World, DoorSecret, Raw) {
    let world = World::start().await;
    world.window("alice", &[Operation::Read], 900).await;
    let secret = world.secret("alice").await;
    let bystander = Raw::session(&world, &secret).await;
    (world, secret, bystander)
}

/// Somebody else's session goes on.
async fn undisturbed(bystander: &mut Raw, after: &str) {
    assert_eq!(tags(&bystander.query("SELECT 1").await), "TDCZ", "{after}");
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &u32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

/// Only the beginning of a message that says it is this long.
fn announced(tag: u8, length: u32) -> Vec<u8> {
    [&[tag][..], &length.to_be_bytes(), b"marker"].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_malformed_message_of_any_kind_ends_its_session_with_a_clear_error() {
    let (world, secret, mut bystander) = alice().await;
    let mib = 1 << 20;
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("query without an end", frame(b'Q', b"SELECT 'marker'")),
        ("query that goes on behind its end", frame(b'Q', b"SELECT 'marker'\0; DELETE FROM orders\0")),
        ("empty body of a query", frame(b'Q', b"")),
        ("parse without types", frame(b'P', b"s\0SELECT 'marker'\0")),
        ("parse with fewer types than said", frame(b'P', b"s\0SELECT 'marker'\0\0\x02\0\0\0\x17")),
        ("parse with bytes left over", frame(b'P', b"s\0SELECT 'marker'\0\0\0more")),
        ("bind with a negative length", frame(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0")),
        ("bind with a value that is too short", frame(b'B', b"\0\0\0\0\0\x01\0\0\0\x09marker\0\0")),
        ("bind with too many formats", frame(b'B', b"\0\0\0\x02\0\0\0\0\0\x01\0\0\0\x01x\0\0")),
        ("bind with a format nobody knows", frame(b'B', b"\0\0\0\x01\0\x07\0\x01\0\0\0\x01x\0\0")),
        ("bind that ends early", frame(b'B', b"\0\0\0")),
        ("describe of nothing", frame(b'D', b"Xmarker\0")),
        ("describe without an end", frame(b'D', b"Smarker")),
        ("close of nothing", frame(b'C', b"Xmarker\0")),
        ("execute without a limit", frame(b'E', b"marker\0")),
        ("sync with a body", frame(b'S', b"marker")),
        ("flush with a body", frame(b'H', b"marker")),
        ("copy that ends with a body", frame(b'c', b"marker")),
        ("copy that fails without an end", frame(b'f', b"marker")),
        ("goodbye with a body", frame(b'X', b"marker")),
        ("password in an open session", frame(b'p', b"marker\0")),
        ("message of a server", frame(b'Z', b"I")),
        ("message that does not exist", frame(b'!', b"marker")),
        ("startup packet in an open session", b"\0\0\0\x08\x04\xd2\x16\x2f".to_vec()),
        ("length below its own size", announced(b'Q', 3)),
        ("length of nothing", announced(b'S', 0)),
        ("negative length", announced(b'Q', 0x8000_0004)),
        ("largest length", announced(b'd', u32::MAX)),
        ("text above the bound", announced(b'Q', mib + 64)),
        ("text to parse above the bound", announced(b'P', mib + 64)),
        ("parameters above the bound", announced(b'B', 65 * mib)),
        ("name above the bound", announced(b'E', 64 << 10)),
    ];
    for (what, bytes) in bad {
        let mut raw = Raw::session(&world, &secret).await;
        raw.send(&bytes).await;
        let heard = raw.until_ready().await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["08P01".to_owned()], '?'), "{what}: {heard:?}");
        let fields = heard.last().unwrap().fields();
        assert!(fields[&'S'] == "FATAL" && fields[&'M'].len() > 10, "{what}: {fields:?}");
        assert!(raw.next().await.is_none(), "{what}");
        undisturbed(&mut bystander, what).await;
    }
    assert!(!world.server.log().contains("marker"));
    assert_eq!(world.rows("SELECT count(*) FROM orders"), "100");
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_a_broken_message_takes_nothing_along_that_came_before_it() {
    let (world, secret, mut bystander) = alice().await;
    let mut raw = Raw::session(&world, &secret).await;
    raw.query("BEGIN").await;
    // One good statement and a broken one in the same breath.
    let bytes = [frame(b'Q', b"SELECT 'good'\0"), frame(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0")].concat();
    raw.send(&bytes).await;
    let heard = raw.until_ready().await;
    assert!(errors(&heard).is_empty() || errors(&heard) == ["08P01"], "{heard:?}");
    while raw.next().await.is_some() {}
    world.until_rows("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'safeconduct%'", "1").await;
    undisturbed(&mut bystander, "the rest").await;
}

/// A startup packet with this version.
fn startup(version: u32, parameters: &[u8]) -> Vec<u8> {
    let length = u32::try_from(8 + parameters.len()).unwrap();
    [&length.to_be_bytes()[..], &version.to_be_bytes(), parameters].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_protocol_versions_nobody_speaks_are_named_in_the_refusal() {
    let (world, secret, mut bystander) = alice().await;
    for (version, shown) in [(2 << 16, "2.0"), (1 << 16, "1.0"), (4 << 16, "4.0"), ((4 << 16) + 7, "4.7"), (u32::MAX, "65535.65535")] {
        let mut raw = Raw::encrypted(&world).await;
        raw.send(&startup(version, b"user\0alice\0database\0orders-db\0\0")).await;
        let heard = raw.until_ready().await;
        assert_eq!((tags(&heard).as_str(), errors(&heard)), ("E", vec!["0A000".to_owned()]), "{shown}: {heard:?}");
        assert!(heard[0].fields()[&'M'].contains(shown), "{heard:?}");
        undisturbed(&mut bystander, shown).await;
    }
    // A newer minor version is talked down, and asked for a password like any other.
    let mut raw = Raw::encrypted(&world).await;
    raw.send(&startup((3 << 16) + 99, b"user\0alice\0database\0orders-db\0_pq_.marker\0on\0\0")).await;
    let told = raw.next().await.unwrap();
    assert_eq!((told.tag, &told.body[..8]), ('v', &b"\0\x03\0\0\0\0\0\x01"[..]), "{told:?}");
    assert!(told.body.ends_with(b"_pq_.marker\0"), "{told:?}");
    assert_eq!(raw.next().await.unwrap().tag, 'R');
    drop(secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_startup_packets_that_make_no_sense_are_refused_with_a_reason() {
    let (world, _secret, mut bystander) = alice().await;
    let huge = [&b"user\0"[..], &vec![b'a'; 20_000], b"\0\0"].concat();
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("nobody", startup(3 << 16, b"\0")),
        ("no end", startup(3 << 16, b"user\0alice")),
        ("name without a value", startup(3 << 16, b"user\0alice\0database\0\0")),
        ("a name twice", startup(3 << 16, b"user\0alice\0user\0bob\0database\0orders-db\0\0")),
        ("bytes behind the end", startup(3 << 16, b"user\0alice\0database\0orders-db\0\0more")),
        ("not UTF-8", startup(3 << 16, b"user\0al\xffice\0database\0orders-db\0\0")),
        ("too large", startup(3 << 16, &huge)),
        ("no length", vec![0, 0, 0, 0]),
        ("length of itself", vec![0, 0, 0, 4]),
        ("largest length", vec![0xff; 8]),
        ("TLS within TLS", vec![0, 0, 0, 8, 4, 210, 22, 47]),
        ("cancel without a key", vec![0, 0, 0, 12, 4, 210, 22, 46, 0, 0, 0, 1]),
    ];
    for (what, bytes) in bad {
        let mut raw = Raw::encrypted(&world).await;
        raw.send(&bytes).await;
        let heard = raw.until_ready().await;
        // What asks for encryption anew or to cancel is owed no answer.
        if !matches!(what, "TLS within TLS") {
            assert_eq!(tags(&heard), "E", "{what}: {heard:?}");
            assert!(errors(&heard) == ["08P01"] || errors(&heard) == ["28000"], "{what}: {heard:?}");
        }
        assert!(raw.next().await.is_none(), "{what}");
        undisturbed(&mut bystander, what).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_nonsense_in_place_of_a_proof_is_refused() {
    let (world, _secret, mut bystander) = alice().await;
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("a query before sign-in", frame(b'Q', b"SELECT 'marker'\0")),
        ("an unknown mechanism", frame(b'p', b"SCRAM-MD5\0\0\0\0\x03n,,")),
        ("no mechanism", frame(b'p', b"")),
        ("a length that lies", frame(b'p', b"SCRAM-SHA-256\0\0\0\xff\xffn,,n=,r=x")),
        ("no nonce", frame(b'p', b"SCRAM-SHA-256\0\0\0\0\x03n,,")),
        ("not UTF-8", frame(b'p', b"SCRAM-SHA-256\0\0\0\0\x0an,,n=,r=\xff\xfe")),
        ("a password in clear", frame(b'p', b"secret\0")),
        ("a huge proof", announced(b'p', 1 << 20)),
    ];
    for (what, bytes) in bad {
        let mut raw = Raw::encrypted(&world).await;
        raw.send(&startup(3 << 16, b"user\0alice\0database\0orders-db\0\0")).await;
        assert_eq!(raw.next().await.unwrap().tag, 'R', "{what}");
        raw.send(&bytes).await;
        let heard = raw.until_ready().await;
        assert_eq!((tags(&heard).as_str(), errors(&heard)), ("E", vec!["28000".to_owned()]), "{what}: {heard:?}");
        undisturbed(&mut bystander, what).await;
    }
    assert!(!world.server.log().contains("marker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn f41_half_open_connections_are_over_at_every_stage() {
    let (world, secret, mut bystander) = alice().await;
    // Before TLS, after it, and in the middle of sign-in.
    let mut tcp = TcpStream::connect(world.door).await.unwrap();
    tcp.write_all(&[0, 0, 0, 8]).await.unwrap();
    tcp.shutdown().await.unwrap();
    assert_eq!(tcp.read(&mut [0]).await.unwrap_or(0), 0);
    let mut raw = Raw::encrypted(&world).await;
    raw.stream.get_mut().0.shutdown().await.unwrap();
    assert!(raw.next().await.is_none());
    let mut raw = Raw::encrypted(&world).await;
    raw.send(&startup(3 << 16, b"user\0alice\0database\0orders-db\0\0")).await;
    assert_eq!(raw.next().await.unwrap().tag, 'R');
    raw.stream.get_mut().0.shutdown().await.unwrap();
    while raw.next().await.is_some() {}
    // Idle, in the middle of a message, in a transaction and while a statement runs: nothing is left at the server.
    let stages: [&[&[u8]]; 4] = [
        &[],
        &[b"Q\0\0\0\x20SELECT 'mar"],
        &[b"Q\0\0\0\x0aBEGIN\0", b"Q\0\0\0\x2dLOCK TABLE orders IN ACCESS SHARE MODE    \0"],
        &[b"Q\0\0\0\x19SELECT pg_sleep(600)\0"],
    ];
    for stage in stages {
        let mut raw = Raw::session(&world, &secret).await;
        for bytes in stage {
            raw.send(bytes).await;
        }
        raw.stream.get_mut().0.shutdown().await.unwrap();
        while raw.next().await.is_some() {}
        world.until_rows("SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'safeconduct%'", "1").await;
        undisturbed(&mut bystander, "half open").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f35_other_encodings_are_refused_and_the_session_goes_on() {
    let (world, secret, mut bystander) = alice().await;
    // Oscar may not even ask for what the gateway keeps to itself.
    world.window("oscar", &[Operation::Read], 900).await;
    let mut raw = Raw::session(&world, &world.secret("oscar").await).await;
    for text in ["SET client_encoding = 'LATIN1'", "SET NAMES 'SJIS'", "SET client_encoding TO SQL_ASCII"] {
        let heard = raw.query(text).await;
        assert_eq!((errors(&heard).len(), status(&heard)), (1, 'I'), "{text}: {heard:?}");
    }
    let encoding = raw.query("SHOW client_encoding").await;
    assert!(String::from_utf8_lossy(&encoding[1].body).contains("UTF8"), "{encoding:?}");

    let mut raw = Raw::session(&world, &secret).await;
    // ISO-8859-1 and broken UTF-8: in a query, in a text to parse, in a name.
    for text in [&b"SELECT 'marker \xe9t\xe9'\0"[..], b"SELECT 'marker \xed\xa0\x80'\0", b"SELECT 'marker' AS \"\xc0\xaf\"\0"] {
        raw.send(&frame(b'Q', text)).await;
        let heard = raw.until_ready().await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["22021".to_owned()], 'I'), "{heard:?}");
        raw.send(&[frame(b'P', &[b"\0", text, b"\0\0"].concat()), frame(b'S', b"")].concat()).await;
        let heard = raw.until_ready().await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["22021".to_owned()], 'I'), "{heard:?}");
    }
    assert!(!world.server.log().contains("marker"));

    // A parameter: the server knows its type, so it says what is wrong with it.
    let bind = |out: &mut BytesMut, value: &[u8]| {
        let bound = frontend::bind(
            "",
            "",
            [],
            [value],
            |value, out| {
                out.extend_from_slice(value);
                Ok(postgres_protocol::IsNull::No)
            },
            [],
            out,
        );
        assert!(bound.is_ok());
        frontend::execute("", 0, out).unwrap();
        frontend::sync(out);
    };
    for value in [&b"\xe9t\xe9"[..], b"nul\0byte"] {
        raw.say(|out| {
            frontend::parse("", "SELECT $1::text", [], out).unwrap();
            bind(out, value);
        })
        .await;
        let heard = raw.until_ready().await;
        assert_eq!((errors(&heard), status(&heard)), (vec!["22021".to_owned()], 'I'), "{value:?} {heard:?}");
    }
    // Where people would have to be asked they could not be shown it.
    raw.say(|out| {
        frontend::parse("", "UPDATE orders SET note = $1 WHERE id = 7", [], out).unwrap();
        bind(out, b"\xe9t\xe9");
    })
    .await;
    let heard = raw.until_ready().await;
    assert_eq!((errors(&heard), status(&heard)), (vec!["42501".to_owned()], 'I'), "{heard:?}");
    assert_eq!(world.rows("SELECT note FROM orders WHERE id = 7"), "order 7");
    undisturbed(&mut bystander, "encodings").await;
}
