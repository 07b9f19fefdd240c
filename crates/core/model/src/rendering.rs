//! What an envelope says, line by line: the one form in which people see what they sign, at the command line and on the signing page.
//!
//! Nothing that is signed is left out. `tests/vectors/envelope` holds envelopes with their lines; both programs are tested by them
//! (docs/specs/evidence.md). Values are as they are in the envelope: whoever shows them writes out what would hide or reorder.

use crate::{Action, CopyData, Envelope, Narrowing, Origin, Parameter, PrincipalKind, Quorum, Scope, SqlAction};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub label: String,
    pub value: String,
}

/// Lines that are gathered.
#[derive(Default)]
struct Lines(Vec<Line>);

impl Lines {
    fn add(&mut self, label: impl Into<String>, value: impl Into<String>) {
        self.0.push(Line { label: label.into(), value: value.into() });
    }
}

impl Envelope {
    /// Every line, in the order in which they are shown.
    #[must_use]
    pub fn rendering(&self) -> Vec<Line> {
        let mut lines = Lines::default();
        let kind = match self.requester_kind {
            PrincipalKind::Person => "a person",
            PrincipalKind::Workload => "a workload",
        };
        lines.add("asked by", format!("{}, {kind}", self.requester));
        lines.add("on", format!("{} at {}", self.resource, self.gateway));
        match &self.scope {
            Scope::Exact { action: Action::Sql(sql), needs } => {
                lines.add("what", "exactly this, once");
                statement(&mut lines, sql);
                lines.add("needs", list(needs.iter()));
            }
            Scope::Exact { action: Action::Administration(change), needs } => {
                lines.add("what", "this change, once");
                lines.add("change", change.to_string());
                lines.add("needs", list(needs.iter()));
            }
            Scope::Window { operations, narrow } => {
                lines.add("what", "all of this, any number of times");
                lines.add("operations", list(operations.iter()));
                bounds(&mut lines, narrow);
            }
        }
        lines.add("for", self.duration.to_string());
        if let Some(start) = self.starts_at {
            lines.add("not before", start.to_string());
        }
        match &self.origin {
            Origin::Asked => {}
            Origin::Held { session, in_transaction: false } => lines.add("held in", session.to_string()),
            Origin::Held { session, in_transaction: true } => lines.add("held in", format!("{session}, inside its transaction")),
            Origin::Extension { of } => lines.add("makes longer", of.to_string()),
        }
        self.asking(&mut lines);
        lines.add("takes", self.quorum.as_ref().map_or_else(|| "nobody".to_owned(), Quorum::to_string));
        lines.add("policy", self.policy.to_string());
        lines.add("roster", format!("epoch {}", self.roster_epoch));
        lines.add("nonce", &self.nonce);
        lines.add("form", self.v.to_string());
        lines.0
    }

    fn asking(&self, lines: &mut Lines) {
        let asked = &self.asked;
        lines.add("their words", format!("“{}”", asked.reason));
        if let Some(ticket) = &asked.ticket {
            lines.add("ticket", format!("“{ticket}”"));
        }
        lines.add("access request", self.access_request.to_string());
        lines.add("asked at", self.asked_at.to_string());
        lines.add("decided by", self.pending_until.to_string());
        lines.add("from", &asked.source);
        lines.add("signed in by", format!("{}, {} s before", asked.sign_in, asked.sign_in_age_seconds));
        for (name, value) in &asked.claims {
            lines.add(format!("sign-in says {name}"), format!("“{value}”"));
        }
    }
}

fn list(names: impl Iterator<Item = impl ToString>) -> String {
    names.map(|name| name.to_string()).collect::<Vec<_>>().join(", ")
}

fn bounds(lines: &mut Lines, narrow: &Narrowing) {
    for (label, names) in [("only databases", &narrow.databases), ("only schemas", &narrow.schemas), ("only tables", &narrow.tables)] {
        if !names.is_empty() {
            lines.add(label, list(names.iter()));
        }
    }
}

fn statement(lines: &mut Lines, sql: &SqlAction) {
    lines.add("database", &sql.database);
    lines.add("statement", &sql.text);
    for (place, parameter) in (1_usize..).zip(&sql.parameters) {
        parameter_lines(lines, place, parameter);
    }
    for (name, value) in &sql.settings {
        lines.add(format!("setting {name}"), value);
    }
    if let Some(data) = &sql.copy_data {
        copied(lines, data);
    }
}

/// The value as people read it; its bytes beside it unless they are just those of the text.
fn parameter_lines(lines: &mut Lines, place: usize, parameter: &Parameter) {
    let typed = if parameter.type_oid == 0 { String::new() } else { format!(", of type {}", parameter.type_oid) };
    let (value, own) = match &parameter.shown {
        None => ("NULL".to_owned(), None),
        Some(shown) => (format!("“{shown}”"), Some(hex(shown.as_bytes()))),
    };
    lines.add(format!("${place}"), format!("{value}{typed}"));
    if parameter.binary || parameter.hex != own {
        let form = if parameter.binary { "binary" } else { "text" };
        lines.add(format!("${place} as sent"), format!("{form}, {}", parameter.hex.as_deref().unwrap_or("NULL")));
    }
}

fn copied(lines: &mut Lines, data: &CopyData) {
    lines.add("copies", data.to_string());
    for line in &data.first_lines {
        lines.add("|", line);
    }
    if data.lines_left() > 0 {
        lines.add("|", format!("and {} more, not shown", data.lines_left()));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
