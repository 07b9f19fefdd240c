//! The client's side of the gate: every message is decided, or is harmless by itself.

use std::{fmt::Write as _, sync::Arc};

use bytes::{Bytes, BytesMut};
use safeconduct_model::Operation;
use safeconduct_sql::facts::{Facts, StatementKind};

use super::{
    Copy, Gate, Holding,
    ask::{Ask, CloseReason, Judge, NotExact, Output, Resolution, Verdict},
    decide::Refusal,
    names::{MAX_NAME_BYTES, Meaning},
    reading::Read,
    refer::{Referred, copies, effects, makes},
    spool::{Supply, is_one_copy},
    statements::{Effect, Expect, ExpectQuery, Portal, Prepared},
};
use crate::postgres::{
    frame::Piece,
    messages::{self, Bind, FrontendMessage, Report, Target},
    parameter,
};

/// Most bytes kept for messages whose answers are outstanding.
const MAX_OUTSTANDING_BYTES: usize = 16 << 20;

/// What becomes of a client's message.
pub(super) enum Step {
    Forward,
    /// Forward, then ask the server to answer at once.
    ForwardAndFlush,
    Drop,
    Replace(Bytes),
    /// Outstanding answers decide: try again when there are none.
    Wait,
    Hold(Box<Ask>),
    Last(CloseReason),
    Broken(String),
    Uncovered,
}

impl Gate {
    pub(super) fn take_client(&mut self, buffer: &mut BytesMut, judge: &mut dyn Judge, out: &mut Vec<Output>) {
        if !self.take_held(buffer, judge, out) {
            return;
        }
        self.take_cancelled_spool(out);
        let mut pass = 0;
        while !self.closed && !self.is_stalled() && (pass > 0 || !self.own_goes_first(out)) {
            let piece = match self.client.next(buffer.get(pass..).unwrap_or_default()) {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => return self.client_broke(error, out),
            };
            let (tag, len, step) = match piece {
                Piece::Part { tag, len, opens, .. } => {
                    if opens {
                        // A piece that began to pass passes whole, whatever the server answers meanwhile; the server ignores stray data.
                        self.copy_piece = self.copy == Copy::In;
                    }
                    let step = if self.spool.is_some() {
                        let piece = buffer.get(pass + if opens { 5 } else { 0 }..pass + len).unwrap_or_default();
                        self.spool_piece(piece, out)
                    } else if self.copy_piece {
                        Step::Forward
                    } else {
                        Step::Drop
                    };
                    (tag, len, step)
                }
                Piece::Whole { tag, len } => {
                    let body = buffer.get(pass + 5..pass + len).unwrap_or_default();
                    (tag, len, self.message(tag, body, None, judge, out))
                }
            };
            match step {
                Step::Forward => pass += len,
                Step::ForwardAndFlush => {
                    pass += len;
                    flush(buffer, &mut pass, out);
                    out.push(Output::ToServer(messages::flush()));
                }
                Step::Drop => {
                    flush(buffer, &mut pass, out);
                    drop(buffer.split_to(len));
                }
                Step::Replace(bytes) => {
                    flush(buffer, &mut pass, out);
                    drop(buffer.split_to(len));
                    out.push(Output::ToServer(bytes));
                }
                Step::Wait if self.outstanding.is_empty() => self.client_broke("a message that can't be decided", out),
                Step::Wait => {
                    flush(buffer, &mut pass, out);
                    out.push(Output::ToServer(messages::flush()));
                    self.draining = true;
                }
                Step::Hold(ask) => {
                    flush(buffer, &mut pass, out);
                    self.keep(tag, buffer.split_to(len).freeze(), ask, out);
                }
                Step::Last(reason) => {
                    pass += len;
                    flush(buffer, &mut pass, out);
                    self.close(reason, None, out);
                }
                Step::Broken(what) => self.client_broke(what, out),
                Step::Uncovered => self.uncovered(out),
            }
        }
        if !self.closed {
            flush(buffer, &mut pass, out);
        }
    }

    /// Takes the held message up again once it is decided. False while it is not.
    fn take_held(&mut self, buffer: &BytesMut, judge: &mut dyn Judge, out: &mut Vec<Output>) -> bool {
        let Some(holding) = &mut self.holding else { return true };
        if self.closed {
            return false;
        }
        let approved = matches!(holding.resolution, Some(Resolution::Approved(_)));
        if approved && self.own_goes_first(out) {
            return false;
        }
        let Some(holding) = &mut self.holding else { return true };
        let Some(resolution) = holding.resolution.take() else {
            if terminates(buffer) {
                self.close(CloseReason::ClientTerminated, None, out);
            }
            return false;
        };
        let Some(Holding { tag, raw, spooled, .. }) = self.holding.take() else { return true };
        let body = raw.slice(5..);
        self.spooled = spooled;
        let step = self.message(tag, &body, Some(resolution), judge, out);
        // INVARIANT: kept data belongs to the message it was kept for, whatever became of that.
        self.spooled = None;
        match step {
            Step::Forward => out.push(Output::ToServer(raw)),
            Step::ForwardAndFlush => out.extend([raw, messages::flush()].map(Output::ToServer)),
            Step::Replace(bytes) => out.push(Output::ToServer(bytes)),
            Step::Uncovered => self.uncovered(out),
            // The server was quiet when the hold began and nothing was forwarded since.
            Step::Drop | Step::Wait | Step::Hold(_) | Step::Last(_) | Step::Broken(_) => self.client_broke("a held message changed", out),
        }
        true
    }

    /// Ends the session because a grant that its open transaction used has ended. The client hears the same whoever sees it first: the gate, or who follows grants.
    pub fn uncovered(&mut self, out: &mut Vec<Output>) {
        let report = Report::new("57P01", "terminating connection: a grant that the open transaction used has ended")
            .detail("The transaction is rolled back.");
        self.close(CloseReason::Uncovered, Some(&report), out);
    }

    fn is_stalled(&mut self) -> bool {
        if self.draining {
            self.draining = !self.outstanding.is_empty();
        }
        self.draining || self.holding.is_some() || self.copy == Copy::Waiting
    }

    fn message(&mut self, tag: u8, body: &[u8], given: Option<Resolution>, judge: &mut dyn Judge, out: &mut Vec<Output>) -> Step {
        let Ok(message) = FrontendMessage::parse(tag, body) else { return Step::Broken("malformed message".to_owned()) };
        if matches!(message, FrontendMessage::Terminate) {
            return Step::Last(CloseReason::ClientTerminated);
        }
        if self.spool.is_some() {
            return self.spool_message(&message, out);
        }
        if self.copy == Copy::In {
            return match message {
                FrontendMessage::CopyDone | FrontendMessage::CopyFail { .. } => {
                    self.copy = Copy::Waiting;
                    Step::ForwardAndFlush
                }
                // The server ignores both while it copies.
                FrontendMessage::Sync | FrontendMessage::Flush => Step::Drop,
                _ => Step::Broken("only copy data may be sent during COPY".to_owned()),
            };
        }
        if self.skipping && !matches!(message, FrontendMessage::Sync) {
            return Step::Drop;
        }
        if self.outstanding.len() >= self.config.max_outstanding || self.outstanding_bytes > MAX_OUTSTANDING_BYTES {
            return Step::Wait;
        }
        match message {
            FrontendMessage::Query { text } => self.query(text, given, judge, out),
            FrontendMessage::Parse { name, text, type_oids } => self.parse(name, text, type_oids, judge, out),
            FrontendMessage::Bind(bind) => self.bind(&bind, given, judge, out),
            FrontendMessage::Describe { target, name } => self.describe(target, name),
            FrontendMessage::Execute { portal, .. } => self.execute(portal, judge, out),
            FrontendMessage::Close { target, name } => self.close_name(target, name),
            FrontendMessage::FunctionCall(call) => self.call(&call, judge, out),
            FrontendMessage::Sync => self.sync(judge),
            FrontendMessage::Flush => Step::Forward,
            FrontendMessage::CopyDone | FrontendMessage::CopyFail { .. } => Step::Drop,
            FrontendMessage::Terminate => Step::Last(CloseReason::ClientTerminated),
            FrontendMessage::Password { .. } => Step::Broken("a password was sent to an open session".to_owned()),
        }
    }

    fn query(&mut self, text: &[u8], given: Option<Resolution>, judge: &mut dyn Judge, out: &mut Vec<Output>) -> Step {
        if let Some(step) = self.beside_claimed(None, true, out) {
            return step;
        }
        let Read { text, facts, unread, doubtful } = self.read(text, judge);
        let referred = self.refer(&text, &facts);
        if referred.unsettled {
            return Step::Wait;
        }
        let (prepares, declares) = makes(&facts);
        if let Some(report) = self.no_room(prepares, declares, text.len()) {
            return self.refuse(Refusal::bare(report, true), out);
        }
        let mut ask = self.ask(Arc::clone(&text), Arc::clone(&facts), &referred, Vec::new(), doubtful);
        if unread.is_some() {
            ask.not_exact = Some(NotExact::Unparsable);
        }
        if ask.not_exact == Some(NotExact::CopyFromStdin) && is_one_copy(&facts) {
            ask.not_exact = None;
        }
        let spooled = self.spooled.take();
        ask.copy_data = spooled.as_ref().map(|spooled| spooled.shown.clone());
        if let Some(report) = self.may_still_write(&ask.operations) {
            return self.refuse(Refusal::of(ask, report, true), out);
        }
        let permit = match (self.decide(&ask, given, judge), unread) {
            (Ok(permit), _) => permit,
            (Err(_), Some(report)) | (Err(Some(report)), None) => return self.refuse(Refusal::of(ask, report, true), out),
            (Err(None), None) => return self.hold(ask, true, out),
        };
        if !self.charges.is_empty() && !judge.still_covered(&self.charges) {
            return Step::Uncovered;
        }
        let charge = self.begin(&permit, ask, out);
        let statement = charge.statement;
        self.order += 1;
        let order = self.order;
        let effects = effects(&text, &facts, &charge);
        self.send_effects(&effects);
        self.prepared.sent(b"", None);
        self.portals.sent(b"", None);
        self.prepared.end_segment();
        self.portals.end_segment();
        self.ran(statement, &charge.operations, &facts.statements);
        let ends_transaction = effects.iter().any(|(_, effect)| matches!(effect, Effect::EndTransaction { .. }));
        let count = facts.unparsable.is_none().then_some(facts.statements.len());
        if referred.copies || copies(&facts) {
            self.copy = Copy::Waiting;
        }
        self.push(Expect::Query(Box::new(ExpectQuery {
            statement,
            count,
            done: 0,
            tag: String::new(),
            rows: None,
            failed: None,
            effects,
            order,
            ends_transaction,
            ends_unclear: false,
            prepared_transaction: false,
            supply: Supply::of(spooled, &facts),
        })));
        self.segment_ran = false;
        self.renamed(&text, &facts).map_or(Step::Forward, |text| Step::Replace(messages::query(&text)))
    }

    fn parse(&mut self, name: &[u8], text: &[u8], type_oids: Vec<u32>, judge: &mut dyn Judge, out: &mut Vec<Output>) -> Step {
        if let Some(report) = unfit_name(name) {
            return self.refuse(Refusal::bare(report, false), out);
        }
        let Read { text, facts, unread, doubtful } = self.read(text, judge);
        if let Some(why) = &facts.unparsable {
            // Only someone who may run anything may even prepare what is not understood. The permit is let go: nothing runs here.
            let ask = self.ask(Arc::clone(&text), Arc::clone(&facts), &Referred::default(), Vec::new(), false);
            let permitted = matches!(judge.judge(&Ask { not_exact: Some(NotExact::Unparsable), ..ask.clone() }), Verdict::Permit(_));
            if !permitted {
                let report = unread.unwrap_or_else(|| {
                    Report::new("42501", "this statement can't be understood, so it can't be prepared")
                        .detail(why.clone())
                        .hint("Send it as a simple query if it is to be approved as it is.")
                });
                return self.refuse(Refusal::of(ask, report, false), out);
            }
        }
        if let Some(report) = self.no_room(usize::from(!name.is_empty()), 0, text.len()) {
            return self.refuse(Refusal::bare(report, false), out);
        }
        self.order += 1;
        let renamed = self.renamed(&text, &facts);
        let prepared = Arc::new(Prepared { doubtful, ..Prepared::new(text, facts, type_oids) });
        self.prepared.sent(name, Some((Arc::clone(&prepared), self.order)));
        self.push(Expect::Parse { name: name.into(), prepared, order: self.order });
        match (renamed, std::str::from_utf8(name)) {
            (Some(text), Ok(name)) => Step::Replace(messages::parse(name, &text)),
            _ => Step::Forward,
        }
    }

    /// The text with the session's own name in front wherever it sets `application_name`: by that the server's people find it.
    fn renamed(&self, text: &str, facts: &Facts) -> Option<String> {
        let mut renamed = String::new();
        let mut copied = 0;
        for statement in &facts.statements {
            let StatementKind::Set { name, value, local } = &statement.kind else { continue };
            if name != "application_name" {
                continue;
            }
            let local = if *local { "LOCAL " } else { "" };
            let wanted: String =
                value.iter().flat_map(|value| value.chars()).filter(|c| c.is_ascii_graphic() || *c == ' ').take(40).collect();
            let gap = if wanted.is_empty() { "" } else { " " };
            renamed.push_str(text.get(copied..statement.start_bytes)?);
            let _ =
                write!(renamed, "SET {local}application_name = 'safeconduct {}{gap}{}'", self.config.session, wanted.replace('\'', "''"));
            copied = statement.end_bytes;
        }
        if copied == 0 {
            return None;
        }
        renamed.push_str(text.get(copied..)?);
        Some(renamed)
    }

    fn bind(&mut self, bind: &Bind<'_>, given: Option<Resolution>, judge: &mut dyn Judge, out: &mut Vec<Output>) -> Step {
        if let Some(report) = unfit_name(bind.portal).or_else(|| unfit_name(bind.statement)) {
            return self.refuse(Refusal::bare(report, false), out);
        }
        if let Some(step) = self.beside_claimed(None, false, out) {
            return step;
        }
        let (prepared, uncertain) = match self.prepared.meaning(bind.statement) {
            Meaning::Is(prepared) => {
                let doubtful = prepared.doubtful;
                (prepared, doubtful)
            }
            Meaning::Uncertain(prepared) => (prepared, true),
            Meaning::Unsettled => return Step::Wait,
            Meaning::Nothing => {
                let name = String::from_utf8_lossy(bind.statement);
                let report = Report::new("26000", format!("prepared statement \"{name}\" does not exist"));
                return self.refuse(Refusal::bare(report, false), out);
            }
        };
        if let Some(report) = self.no_room(0, usize::from(!bind.portal.is_empty()), prepared.text.len()) {
            return self.refuse(Refusal::bare(report, false), out);
        }
        let referred = self.refer(&prepared.text, &prepared.facts);
        if referred.unsettled {
            return Step::Wait;
        }
        let parameters = bind.parameters.iter().enumerate();
        let parameters = parameters.map(|(place, (binary, value))| parameter::record(prepared.type_oid(place), *binary, *value)).collect();
        let mut ask = self.ask(Arc::clone(&prepared.text), Arc::clone(&prepared.facts), &referred, parameters, uncertain);
        if prepared.by_sql {
            ask.not_exact = ask.not_exact.or(Some(NotExact::BehindName));
        }
        if let Some(report) = self.may_still_write(&ask.operations) {
            return self.refuse(Refusal::of(ask, report, false), out);
        }
        let permit = match self.decide(&ask, given, judge) {
            Ok(permit) => permit,
            Err(Some(report)) => return self.refuse(Refusal::of(ask, report, false), out),
            Err(None) => return self.hold(ask, false, out),
        };
        let charge = self.begin(&permit, ask, out);
        self.order += 1;
        let portal = Arc::new(Portal {
            statement: charge.statement,
            operations: charge.operations.clone(),
            charge,
            prepared,
            targets: referred.targets,
            cursor: false,
            hold: false,
        });
        if portal.operations.contains(Operation::Unknown) {
            self.taint();
        }
        self.portals.sent(bind.portal, Some((Arc::clone(&portal), self.order)));
        self.push(Expect::Bind { name: bind.portal.into(), portal, order: self.order });
        Step::Forward
    }

    fn describe(&mut self, target: Target, name: &[u8]) -> Step {
        let statement = match (target, self.prepared.meaning(name)) {
            (Target::Statement, Meaning::Is(prepared) | Meaning::Uncertain(prepared)) => Some(prepared),
            _ => None,
        };
        self.push(Expect::Describe { statement });
        Step::Forward
    }

    fn execute(&mut self, name: &[u8], judge: &mut dyn Judge, out: &mut Vec<Output>) -> Step {
        let refuse = |gate: &mut Self, report, out: &mut _| gate.refuse(Refusal::bare(report, false), out);
        let portal = match self.portals.meaning(name) {
            Meaning::Is(portal) | Meaning::Uncertain(portal) => portal,
            Meaning::Unsettled => return Step::Wait,
            Meaning::Nothing => {
                let report = Report::new("34000", format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)));
                return refuse(self, report, out);
            }
        };
        if let Some(step) = self.beside_claimed(Some(portal.statement), false, out) {
            return step;
        }
        if portal.cursor {
            let report = Report::new("0A000", "a cursor can't be executed").hint("Use FETCH.");
            return refuse(self, report, out);
        }
        let referred = self.refer(&portal.prepared.text, &portal.prepared.facts);
        if referred.unsettled {
            return Step::Wait;
        }
        let same = referred.targets.len() == portal.targets.len() && referred.targets.iter().zip(&portal.targets).all(|(a, b)| a.same(b));
        if !portal.targets.is_empty() && !same {
            return refuse(self, Report::new("42501", "what this statement refers to changed after it was bound"), out);
        }
        if !judge.still_covered(std::slice::from_ref(&portal.charge)) {
            return refuse(self, Report::new("42501", "the grant under which this statement was bound has ended"), out);
        }
        let facts = Arc::clone(&portal.prepared.facts);
        let (prepares, declares) = makes(&facts);
        if let Some(report) = self.no_room(prepares, declares, portal.prepared.text.len()) {
            return refuse(self, report, out);
        }
        let ends_transaction = facts.statements.iter().any(|statement| Effect::of_transaction(&statement.kind).is_some());
        if ends_transaction && !self.charges.is_empty() && !judge.still_covered(&self.charges) {
            return Step::Uncovered;
        }
        self.order += 1;
        let effects = effects(&portal.prepared.text, &facts, &portal.charge);
        self.send_effects(&effects);
        self.ran(portal.statement, &portal.operations, &facts.statements);
        self.segment_ran = true;
        let copies = referred.copies || copies(&facts);
        self.push(Expect::Execute { portal, effects, order: self.order });
        if copies {
            // The server answers at once whether it copies; until then nobody can say what a Sync would mean.
            self.copy = Copy::Waiting;
            return Step::ForwardAndFlush;
        }
        Step::Forward
    }

    fn close_name(&mut self, target: Target, name: &[u8]) -> Step {
        match target {
            Target::Statement => self.prepared.sent(name, None),
            Target::Portal => self.portals.sent(name, None),
        }
        self.push(Expect::Close { target, name: name.into() });
        Step::Forward
    }

    fn sync(&mut self, judge: &mut dyn Judge) -> Step {
        // Outside a transaction block Sync commits.
        if !self.charges.is_empty() && !judge.still_covered(&self.charges) {
            return Step::Uncovered;
        }
        self.skipping = false;
        self.segment_ran = false;
        self.prepared.end_segment();
        self.portals.end_segment();
        self.push(Expect::Sync { through: self.statements });
        Step::Forward
    }
}

fn unfit_name(name: &[u8]) -> Option<Report> {
    let unfit = name.len() > MAX_NAME_BYTES || std::str::from_utf8(name).is_err();
    unfit.then(|| Report::new("42602", "names of statements and portals are at most 63 bytes of UTF-8"))
}

/// True if a whole Terminate message is in the buffer.
fn terminates(buffer: &[u8]) -> bool {
    let mut rest = buffer;
    while let Some((&tag, after)) = rest.split_first() {
        if tag == b'X' {
            return true;
        }
        let length = after.get(..4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
        let Some(next) = length.and_then(|length| after.get(length as usize..)) else { return false };
        if length.is_some_and(|length| length < 4) {
            return false;
        }
        rest = next;
    }
    false
}

/// Hands the first `pass` bytes to the server as they are.
fn flush(buffer: &mut BytesMut, pass: &mut usize, out: &mut Vec<Output>) {
    if *pass > 0 {
        out.push(Output::ToServer(buffer.split_to(std::mem::take(pass)).freeze()));
    }
}
