//! The gate between any client and any server: nothing passes undecided, however the bytes are split, and nothing is kept without bound.

use std::{collections::BTreeMap, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use safeconduct_model::{Audit, GrantId, MintingKey, Operation, SessionId};
use safeconduct_protocol::postgres::{
    gate::{Ask, Charge, Config, Gate, Judge, Output, Resolution, Verdict},
    messages::Report,
};
use safeconduct_sql::{Facts, FunctionClasses, facts};

/// What the gate puts in the place of a refused text.
const REFUSED: &[u8] = b"safeconduct: refused\0";
/// What the gate may say by itself for each message that came, at most.
const OWN_BYTES: usize = 4096;

/// The input is a script: a byte whose lowest bit names the side and whose other bits the length, then so many bytes of that side.
pub fn wire(data: &[u8]) {
    let script = script(data);
    let mut scene = Scene::new();
    for (server, bytes) in &script {
        scene.feed(*server, bytes);
    }
    scene.check();

    // What a client alone sends means the same in whatever pieces it comes.
    let client: Vec<u8> = script.iter().filter(|(server, _)| !server).flat_map(|(_, bytes)| bytes.iter().copied()).collect();
    let (mut whole, mut pieces) = (Scene::new(), Scene::new());
    whole.feed(false, &client);
    for piece in client.chunks(1 + client.len() % 7) {
        pieces.feed(false, piece);
    }
    // What stands before a broken message and came with it may not have been sent yet: then it never is.
    assert!(pieces.sent.starts_with(&whole.sent), "other bytes reach the server when they come in pieces");
    assert!(whole.closed || whole.sent == pieces.sent, "fewer bytes reach the server when they come at once");
    assert_eq!(whole.closed, pieces.closed);
    whole.check();
}

fn script(mut data: &[u8]) -> Vec<(bool, &[u8])> {
    let mut script = Vec::new();
    while let Some((head, rest)) = data.split_first() {
        let (bytes, left) = rest.split_at(usize::from(head >> 1).min(rest.len()));
        script.push((head & 1 == 1, bytes));
        data = left;
    }
    script
}

struct Scene {
    gate: Gate,
    judge: Reads,
    client: BytesMut,
    server: BytesMut,
    sent: BytesMut,
    told: usize,
    fed: usize,
    closed: bool,
}

impl Scene {
    fn new() -> Self {
        let mut config = Config::new(SessionId::from_bits(1), "orders");
        (config.max_names, config.max_text_bytes, config.max_copy_bytes, config.max_outstanding) = (16, 4096, 64, 64);
        let (client, server, sent) = Default::default();
        Self { gate: Gate::new(config), judge: Reads::default(), client, server, sent, told: 0, fed: 0, closed: false }
    }

    fn feed(&mut self, server: bool, bytes: &[u8]) {
        self.fed += bytes.len();
        (if server { &mut self.server } else { &mut self.client }).extend_from_slice(bytes);
        let mut again = true;
        while std::mem::take(&mut again) {
            let mut out = Vec::new();
            self.gate.advance(&mut self.client, &mut self.server, &mut self.judge, &mut out);
            for output in out {
                match output {
                    Output::ToServer(bytes) => {
                        assert!(!self.closed, "something passes after the end");
                        self.sent.extend_from_slice(&bytes);
                    }
                    Output::ToClient(bytes) => self.told += bytes.len(),
                    Output::Hold(ask) => {
                        assert!(ask.can_hold(), "{ask:?}");
                        self.gate.resolve(Resolution::Refused(Report::new("42501", "denied")));
                        again = true;
                    }
                    Output::Close(_) => self.closed = true,
                    _ => {}
                }
            }
        }
    }

    fn check(&self) {
        let mut sent = self.sent.clone();
        let (mut permitted, mut binds) = (self.judge.permitted.clone(), 0_u64);
        while let Some(length) = sent.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(|bytes| u32::from_be_bytes(bytes) as usize) {
            if sent.len() <= length {
                break;
            }
            let frame = sent.split_to(length + 1).freeze();
            match frame[0] {
                b'Q' if frame[5..] == *REFUSED => {}
                b'Q' => {
                    let text = String::from_utf8(frame[5..frame.len() - 1].to_vec()).expect("text that is not UTF-8 passed");
                    let left = permitted.get_mut(&text).filter(|left| **left > 0);
                    *left.unwrap_or_else(|| panic!("{text:?} passed without a permit")) -= 1;
                }
                b'B' => binds += 1,
                b'F' => panic!("a function call passed"),
                b'P' | b'D' | b'E' | b'C' | b'H' | b'S' | b'X' | b'd' | b'c' | b'f' => {}
                other => panic!("the gate sent {other}"),
            }
        }
        assert!(binds <= self.judge.permits, "{binds} statements were bound with {} permits", self.judge.permits);
        let own = self.fed.saturating_add(OWN_BYTES).saturating_mul(64);
        assert!(self.sent.len() <= own && self.told <= own, "{} and {} bytes out of {}", self.sent.len(), self.told, self.fed);
    }
}

/// Permits what reads, holds what writes, refuses the rest.
#[derive(Default)]
struct Reads {
    permits: u64,
    permitted: BTreeMap<String, u64>,
    classes: FunctionClasses,
}

impl Judge for Reads {
    fn facts(&mut self, text: &str) -> Arc<Facts> {
        Arc::new(facts(text, &self.classes))
    }

    fn judge(&mut self, ask: &Ask) -> Verdict {
        let only = |allowed: &[Operation]| ask.operations.iter().all(|operation| allowed.contains(&operation));
        if only(&[Operation::Connect, Operation::Read]) {
            self.permits += 1;
            *self.permitted.entry(ask.text.to_string()).or_default() += 1;
            Verdict::Permit(MintingKey::make().mint(SessionId::from_bits(1), GrantId::from_bits(1), None, false, Audit::Journaled))
        } else if only(&[Operation::Connect, Operation::Read, Operation::Write]) {
            Verdict::Hold
        } else {
            Verdict::Refuse(Report::new("42501", "refused"))
        }
    }

    fn still_covered(&mut self, _: &[Charge]) -> bool {
        true
    }
}

/// A message with its tag and length.
#[must_use]
pub fn frame(tag: u8, body: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(tag);
    out.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    out.put_slice(body);
    out.freeze()
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let client = |tag, body: &[u8]| (false, frame(tag, body));
    let server = |tag, body: &[u8]| (true, frame(tag, body));
    let bind: &[u8] = b"\0\0\0\0\0\x01\0\0\0\x011\0\0";
    let scripts: [Vec<(bool, Bytes)>; 6] = [
        vec![client(b'Q', b"SELECT 1\0"), server(b'T', b"\0\0"), server(b'D', b"\0\0"), server(b'C', b"SELECT 1\0"), server(b'Z', b"I")],
        vec![client(b'Q', b"DELETE FROM t\0"), server(b'E', b"SERROR\0C42601\0Mno\0\0"), server(b'Z', b"I"), client(b'Q', b"SELECT 2\0")],
        vec![
            client(b'P', b"\0SELECT $1\0\0\0"),
            client(b'B', bind),
            client(b'D', b"P\0"),
            client(b'E', b"\0\0\0\0\0"),
            client(b'S', b""),
            server(b'1', b""),
            server(b'2', b""),
            server(b'n', b""),
            server(b'C', b"SELECT 1\0"),
            server(b'Z', b"I"),
        ],
        vec![client(b'Q', b"COPY t FROM STDIN\0"), client(b'd', b"1\n"), client(b'c', b""), server(b'G', b"\0\0\0"), server(b'Z', b"T")],
        vec![
            client(b'P', b"n\0INSERT INTO t VALUES (1)\0\0\0"),
            client(b'C', b"Sn\0"),
            client(b'H', b""),
            client(b'F', b"\0\0\0\x01"),
            client(b'X', b""),
        ],
        vec![
            server(b'S', b"TimeZone\0UTC\0"),
            server(b'A', b"\0\0\0\x01c\0p\0"),
            server(b'N', b"SNOTICE\0C00000\0Mhm\0\0"),
            client(b'Q', b"BEGIN; SELECT 1; COMMIT\0"),
        ],
    ];
    let encode = |script: Vec<(bool, Bytes)>| {
        let mut out = Vec::new();
        for (server, bytes) in script {
            for piece in bytes.chunks(127) {
                out.push(u8::try_from(piece.len() << 1).unwrap_or(254) | u8::from(server));
                out.extend_from_slice(piece);
            }
        }
        out
    };
    scripts.map(encode).into()
}
