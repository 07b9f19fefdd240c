//! Whether the session's texts can be read: as UTF-8, with strings that end where standard SQL ends them.
//!
//! The server says when a setting changed that; until it says so again, no text is understood and only who may run anything goes on.
//! A statement beyond understanding may change it unseen: until the server is ready after one, nothing that is read is certain.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc};

use safeconduct_model::Operation;
use safeconduct_sql::facts::Facts;

use super::{Gate, ask::Judge};
use crate::postgres::messages::Report;

#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Settings under which texts can't be read, with their values.
    astray: BTreeMap<&'static str, String>,
    /// The latest statement beyond understanding that ran.
    opaque: Option<u64>,
}

/// A text with what is known about it.
pub(super) struct Read {
    pub text: Arc<str>,
    pub facts: Arc<Facts>,
    /// What a client hears who may not run everything, if the bytes can't be read.
    pub unread: Option<Report>,
    /// True if the server may read it otherwise.
    pub doubtful: bool,
}

impl Reading {
    /// The server says how a setting is.
    pub(super) fn reported(&mut self, name: &str, value: &str) {
        let (name, as_read) = match name {
            "standard_conforming_strings" => ("standard_conforming_strings", value == "on"),
            "client_encoding" => ("client_encoding", matches!(value.to_ascii_uppercase().as_str(), "UTF8" | "UTF-8" | "UNICODE")),
            _ => return,
        };
        if as_read {
            self.astray.remove(name);
        } else {
            self.astray.insert(name, value.to_owned());
        }
    }

    /// A statement beyond understanding is about to run.
    pub(super) fn opaque(&mut self, statement: u64) {
        self.opaque = Some(statement);
    }

    /// The server is ready: what statements up to this one changed, it has said.
    pub(super) fn ready(&mut self, through: u64) {
        if self.opaque.is_some_and(|opaque| opaque <= through) {
            self.opaque = None;
        }
    }
}

impl Gate {
    /// A text as the server will read it, as far as anybody can tell.
    pub(super) fn read(&self, bytes: &[u8], judge: &mut dyn Judge) -> Read {
        let doubtful = self.reading.opaque.is_some();
        let unread = |report: Report| {
            let facts = beyond_understanding(report.message.clone());
            Read { text: escaped(bytes).into(), facts: Arc::new(facts), unread: Some(report), doubtful }
        };
        match (self.reading.astray.first_key_value(), std::str::from_utf8(bytes)) {
            (Some((name, value)), _) => {
                unread(Report::new("42501", format!("{name} is {value}, so texts can't be read")).hint("Open a new session."))
            }
            (None, Err(_)) => unread(Report::new("22021", "the statement is not valid UTF-8").hint("Set client_encoding to UTF8.")),
            (None, Ok(text)) => Read { text: text.into(), facts: judge.facts(text), unread: None, doubtful },
        }
    }
}

/// Facts of what can't be understood: only who may run anything passes it.
pub(super) fn beyond_understanding(why: String) -> Facts {
    Facts { statements: Vec::new(), operations: [Operation::Unknown].into_iter().collect(), unparsable: Some(why) }
}

/// Text for people, with bytes that are not UTF-8 written out.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            // Writing to a string can't fail.
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}
