//! Peers that break the rules, on either side: only their own connection ends, nothing undecided passes, memory stays bounded.
#![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::panic, reason = "whatever goes wrong fails the test")]

#[path = "support/script.rs"]
mod script;
mod support;

use bytes::BytesMut;
use proptest::prelude::*;
use safeconduct_protocol::postgres::{
    gate::{CloseReason, Gate, Output},
    startup,
};
use support::{ByOperation, frames, gate};

/// What the gate sends upstream when a client sends these bytes and the server nothing.
fn upstream(gate: &mut Gate, judge: &mut ByOperation, bytes: &[u8]) -> (Vec<u8>, Option<CloseReason>) {
    let (mut client, mut server, mut out) = (BytesMut::from(bytes), BytesMut::new(), Vec::new());
    gate.advance(&mut client, &mut server, judge, &mut out);
    let (mut sent, mut closed) = (Vec::new(), None);
    for output in out {
        match output {
            Output::ToServer(bytes) => {
                assert!(closed.is_none());
                sent.extend_from_slice(&bytes);
            }
            Output::Close(reason) => closed = Some(reason),
            _ => {}
        }
    }
    (sent, closed)
}

#[test]
fn f41_a_broken_client_is_closed_and_nothing_of_it_passes() {
    let broken: [&[u8]; 9] = [
        b"Q\0\0\0\x0cselect 1",         // no zero byte
        b"Q\0\0\0\x0eselect 1\0x",      // something after it
        b"Q\0\0\0\x03",                 // length below its own
        b"Q\xff\xff\xff\xff",           // length beyond everything
        b"Z\0\0\0\x05I",                // a server's message
        b"\0\0\0\x08\x04\xd2\x16\x2f",  // an SSLRequest in mid-session
        b"p\0\0\0\x08abcd",             // a password in mid-session
        b"B\0\0\0\x0b\0\0\0\x02\0\0\0", // formats that are missing
        b"GET / HTTP/1.1\r\n\r\n",
    ];
    for bytes in broken {
        let (sent, closed) = upstream(&mut gate(), &mut ByOperation::new("unrestricted", ""), bytes);
        assert!(matches!(closed, Some(CloseReason::ClientProtocol(_))), "{bytes:?}: {closed:?}");
        assert_eq!(sent, b"");
    }
}

#[test]
fn a_lying_server_ends_the_session() {
    for line in [
        "ParseComplete",
        "BindComplete",
        "CloseComplete",
        "Complete \"SELECT 1\"",
        "Ready I",
        "Suspended",
        "DataRow x",
        "CopyIn",
        "CopyOut",
        "CopyBoth",
        "Error 42601 \"out of nothing\"",
    ] {
        let (mut gate, mut judge) = (gate(), ByOperation::new("connect read", ""));
        let (mut client, mut server, mut out) = (BytesMut::new(), BytesMut::from(&script::server_message(line)[..]), Vec::new());
        gate.advance(&mut client, &mut server, &mut judge, &mut out);
        assert!(matches!(out.last(), Some(Output::Close(CloseReason::ServerProtocol(_)))), "{line}: {out:?}");
    }
}

#[test]
fn f35_text_that_is_not_utf8_is_understood_by_nobody() {
    let mut bytes = script::client_message("Query \"select 'x'\"").to_vec();
    let at = bytes.iter().position(|byte| *byte == b'x').unwrap();
    bytes[at] = 0xff;
    let (sent, closed) = upstream(&mut gate(), &mut ByOperation::new("connect read write ddl temp admin", "unknown"), &bytes);
    assert_eq!(script::show_client(sent[0], &sent[5..]), "Query \"safeconduct: refused\"");
    assert_eq!(closed, None);
    // The server says what it makes of it.
    let (sent, closed) = upstream(&mut gate(), &mut ByOperation::new("unrestricted", ""), &bytes);
    assert_eq!((sent, closed), (bytes, None));
}

#[test]
fn f33_names_the_server_would_cut_off_are_refused() {
    let long = "n".repeat(64);
    for line in [format!("Parse {long} \"select 1\""), format!("Bind \"\" {long}"), format!("Bind {long} \"\"")] {
        let (sent, _) = upstream(&mut gate(), &mut ByOperation::new("unrestricted", ""), &script::client_message(&line));
        assert_eq!(script::show_client(sent[0], &sent[5..]), "Parse \"safeconduct refused\" \"safeconduct: refused\"", "{line}");
    }
}

#[test]
fn f42_a_server_that_never_answers_lets_only_so_much_pass() {
    let (mut gate, mut judge) = (gate(), ByOperation::new("connect read", ""));
    let query = script::client_message("Query \"select 1\"");
    let (mut client, mut server, mut messages) = (BytesMut::new(), BytesMut::new(), 0);
    for _ in 0..10_000 {
        client.extend_from_slice(&query);
        let mut out = Vec::new();
        gate.advance(&mut client, &mut server, &mut judge, &mut out);
        messages += out.iter().filter(|output| matches!(output, Output::Record(_))).count();
    }
    assert_eq!(messages, 4_096);
    assert_eq!(client.len(), (10_000 - 4_096) * query.len());
}

#[test]
fn f42_prepared_statements_are_bounded() {
    let (mut gate, mut judge) = (gate(), ByOperation::new("connect read", ""));
    let (mut client, mut server, mut out, mut upstream) = (BytesMut::new(), BytesMut::new(), Vec::new(), BytesMut::new());
    let mut refused = 0;
    for number in 0..10_010 {
        client.extend_from_slice(&script::client_message(&format!("Parse s{number} \"select 1\"")));
        client.extend_from_slice(&script::client_message("Sync"));
        gate.advance(&mut client, &mut server, &mut judge, &mut out);
        for output in out.drain(..) {
            if let Output::ToServer(bytes) = output {
                upstream.extend_from_slice(&bytes);
            }
        }
        for (tag, body) in frames(&mut upstream) {
            let shown = script::show_client(tag, &body);
            if shown.contains("refused") {
                refused += 1;
                server.extend_from_slice(&script::server_message("Error 42601 x"));
            } else {
                server.extend_from_slice(&script::server_message(if tag == b'P' { "ParseComplete" } else { "Ready I" }));
            }
        }
        gate.advance(&mut client, &mut server, &mut judge, &mut out);
    }
    assert_eq!(refused, 10);
}

#[test]
fn f42_a_row_of_a_gigabyte_passes_piece_by_piece() {
    let (mut gate, mut judge) = (gate(), ByOperation::new("connect read", ""));
    upstream(&mut gate, &mut judge, &script::client_message("Query \"select 1\""));
    let (mut client, mut server) = (BytesMut::new(), BytesMut::from(&b"D\x3f\xff\xff\xff"[..]));
    let (mut passed, piece) = (0_usize, vec![0; 1 << 20]);
    while passed < 0x4000_0000 {
        let mut out = Vec::new();
        gate.advance(&mut client, &mut server, &mut judge, &mut out);
        assert!(server.is_empty());
        passed += out.iter().map(|output| if let Output::ToClient(bytes) = output { bytes.len() } else { 0 }).sum::<usize>();
        server.extend_from_slice(&piece[..piece.len().min(0x4000_0000 - passed)]);
    }
    server.extend_from_slice(&script::server_message("Complete \"SELECT 1\""));
    let mut out = Vec::new();
    gate.advance(&mut client, &mut server, &mut judge, &mut out);
    assert!(matches!(out.as_slice(), [Output::ToClient(_)]));
}

#[test]
fn a_notice_waits_for_the_end_of_a_row() {
    let (mut gate, mut judge) = (gate(), ByOperation::new("connect read", ""));
    upstream(&mut gate, &mut judge, &script::client_message("Query \"select 1\""));
    let row = script::server_message("DataRow abc");
    let (mut client, mut server, mut out) = (BytesMut::new(), BytesMut::from(&row[..7]), Vec::new());
    gate.advance(&mut client, &mut server, &mut judge, &mut out);
    let report = safeconduct_protocol::postgres::messages::Report::new("00000", "hello");
    gate.notice(&report, safeconduct_protocol::postgres::messages::Severity::Notice, &mut out);
    server.extend_from_slice(&row[7..]);
    gate.advance(&mut client, &mut server, &mut judge, &mut out);
    let mut bytes = BytesMut::new();
    out.into_iter().for_each(|output| {
        if let Output::ToClient(piece) = output {
            bytes.extend_from_slice(&piece)
        }
    });
    let shown: Vec<_> = frames(&mut bytes).into_iter().map(|(tag, body)| script::show_server(tag, &body)).collect();
    assert_eq!(shown, ["DataRow \"abc\"", "Notice 00000 \"hello\""]);
}

proptest! {
    #[test]
    fn f41_no_bytes_make_the_gate_panic_or_pass_a_statement_undecided(
        client in proptest::collection::vec(any::<u8>(), 0..200),
        server in proptest::collection::vec(any::<u8>(), 0..200),
        tag in proptest::sample::select(b"QPBDECFSHXcfdp".to_vec()),
    ) {
        let mut framed = vec![tag];
        framed.extend(u32::try_from(client.len() + 4).unwrap().to_be_bytes());
        framed.extend(&client);
        for bytes in [&client, &framed] {
            let (mut gate, mut judge) = (gate(), ByOperation::new("connect", ""));
            let (mut client, mut server, mut out) = (BytesMut::from(&bytes[..]), BytesMut::from(&server[..]), Vec::new());
            gate.advance(&mut client, &mut server, &mut judge, &mut out);
            gate.finish(&mut out);
        }
    }

    #[test]
    fn f41_no_first_bytes_make_startup_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut length = u32::try_from(bytes.len() + 8).unwrap().to_be_bytes().to_vec();
        length.extend([0, 3, 0, 0]);
        length.extend(&bytes);
        let _ = startup::decode(&mut BytesMut::from(&bytes[..]));
        let _ = startup::decode(&mut BytesMut::from(&length[..]));
    }
}
