//! Support for the gate's tests: messages by hand, and a judge that decides by operation.
#![allow(dead_code, reason = "each test file uses a part")]

use std::{collections::HashMap, sync::Arc};

use bytes::{BufMut as _, Bytes, BytesMut};
use safeconduct_model::{AccessRequestId, Audit, GrantId, MintingKey, OperationSet, Permit, SessionId};
use safeconduct_protocol::postgres::{
    gate::{Ask, Charge, Config, Gate, Judge, Verdict},
    messages::Report,
};
use safeconduct_sql::{FunctionClasses, facts::Facts};

pub fn session() -> SessionId {
    SessionId::from_bits(1)
}

pub fn gate() -> Gate {
    let mut config = Config::new(session(), "orders");
    config.settings.insert("timezone".to_owned(), "UTC".to_owned());
    config.max_copy_bytes = 16;
    Gate::new(config)
}

pub fn permit(claimed: Option<u64>) -> Permit {
    MintingKey::make().mint(session(), GrantId::from_bits(7), claimed.map(AccessRequestId::from_bits), claimed.is_some(), Audit::Journaled)
}

pub fn operations(words: &str) -> OperationSet {
    words.split_whitespace().map(|word| word.parse().unwrap()).collect()
}

/// Permits what `permits` covers, holds what `holds` covers on top, refuses the rest.
pub struct ByOperation {
    pub permits: OperationSet,
    pub holds: OperationSet,
    pub covered: bool,
    pub asked: Vec<Ask>,
    cache: HashMap<String, Arc<Facts>>,
}

impl ByOperation {
    pub fn new(permits: &str, holds: &str) -> Self {
        Self { permits: operations(permits), holds: operations(holds), covered: true, asked: Vec::new(), cache: HashMap::new() }
    }
}

thread_local! {
    static CLASSES: FunctionClasses = FunctionClasses::default();
}

pub fn facts(text: &str) -> Arc<Facts> {
    CLASSES.with(|classes| Arc::new(safeconduct_sql::facts(text, classes)))
}

impl Judge for ByOperation {
    fn facts(&mut self, text: &str) -> Arc<Facts> {
        Arc::clone(self.cache.entry(text.to_owned()).or_insert_with(|| facts(text)))
    }

    fn judge(&mut self, ask: &Ask) -> Verdict {
        self.asked.push(ask.clone());
        let mut both = self.permits.clone();
        both.extend(&self.holds);
        if self.permits.covers(&ask.operations) {
            Verdict::Permit(permit(None))
        } else if both.covers(&ask.operations) || (self.holds.contains(safeconduct_model::Operation::Unknown)) {
            Verdict::Hold
        } else {
            Verdict::Refuse(Report::new("42501", format!("needs {}", ask.operations)))
        }
    }

    fn still_covered(&mut self, _: &[Charge]) -> bool {
        self.covered
    }
}

pub fn frame(tag: u8, fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut body = BytesMut::new();
    fill(&mut body);
    let mut bytes = BytesMut::new();
    bytes.put_u8(tag);
    bytes.put_u32(u32::try_from(body.len() + 4).unwrap());
    bytes.extend_from_slice(&body);
    bytes.freeze()
}

pub fn put(body: &mut BytesMut, text: &str) {
    body.put_slice(text.as_bytes());
    body.put_u8(0);
}

pub fn cstr<'a>(body: &mut &'a [u8]) -> &'a str {
    let end = body.iter().position(|byte| *byte == 0).unwrap();
    let text = std::str::from_utf8(&body[..end]).unwrap();
    *body = &body[end + 1..];
    text
}

/// Whole frames at the start of a buffer, taken out of it.
pub fn frames(buffer: &mut BytesMut) -> Vec<(u8, Bytes)> {
    let mut found = Vec::new();
    while buffer.len() >= 5 {
        let length = u32::from_be_bytes(buffer[1..5].try_into().unwrap()) as usize + 1;
        if buffer.len() < length {
            break;
        }
        let frame = buffer.split_to(length).freeze();
        found.push((frame[0], frame.slice(5..)));
    }
    found
}
