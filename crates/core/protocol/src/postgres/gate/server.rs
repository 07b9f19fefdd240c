//! The server's side of the gate: answers are matched with what was forwarded, and names change only here.

use bytes::{Bytes, BytesMut};
use safeconduct_model::SessionId;

use super::{
    Copy, Gate,
    ask::{CloseReason, Ended, Output, Record, Settlement},
    statements::{Effect, Expect, ExpectQuery},
};
use crate::postgres::{
    frame::Piece,
    messages::{self, BackendMessage, ServerError, Severity, Target, TransactionStatus, rows_of_tag},
};

/// The tag of PREPARE TRANSACTION: what ran before it is neither committed nor rolled back, perhaps for days.
const PREPARED: &str = "PREPARE TRANSACTION";

/// What becomes of a server's message.
pub(super) enum Step {
    Forward,
    Replace(Bytes),
    /// Keep it from the client.
    Drop,
    /// Pass it, then end.
    Last(CloseReason),
    Broken(&'static str),
}

impl Gate {
    pub(super) fn take_server(&mut self, buffer: &mut BytesMut, out: &mut Vec<Output>) {
        let mut pass = 0;
        while !self.closed {
            let piece = match self.server.next(buffer.get(pass..).unwrap_or_default()) {
                Ok(Some(piece)) => piece,
                Ok(None) => break,
                Err(error) => {
                    flush(buffer, &mut pass, out);
                    return self.server_broke(error, out);
                }
            };
            let (len, step) = match piece {
                Piece::Part { tag, len, opens, .. } => (len, self.bulk(tag, opens)),
                Piece::Whole { tag, len } => {
                    let body = buffer.get(pass + 5..pass + len).unwrap_or_default();
                    let step = match BackendMessage::parse(tag, body) {
                        Ok(message) => self.answer(message, out),
                        Err(_) => Step::Broken("malformed message"),
                    };
                    (len, step)
                }
            };
            match step {
                Step::Forward => pass += len,
                Step::Replace(bytes) => {
                    flush(buffer, &mut pass, out);
                    drop(buffer.split_to(len));
                    out.push(Output::ToClient(bytes));
                }
                Step::Drop => {
                    flush(buffer, &mut pass, out);
                    drop(buffer.split_to(len));
                }
                Step::Last(reason) => {
                    pass += len;
                    flush(buffer, &mut pass, out);
                    return self.close(reason, None, out);
                }
                Step::Broken(what) => {
                    flush(buffer, &mut pass, out);
                    return self.server_broke(what, out);
                }
            }
        }
        flush(buffer, &mut pass, out);
        if !self.notes.is_empty() && self.server.at_boundary() {
            out.extend(self.notes.drain(..).map(Output::ToClient));
        }
    }

    fn bulk(&mut self, tag: u8, opens: bool) -> Step {
        match (tag, self.outstanding.front()) {
            (b'D' | b'd', Some(Expect::Execute { .. } | Expect::Query(_))) if opens => {
                self.rows += 1;
                Step::Forward
            }
            (b'V', Some(Expect::Call(_))) => Step::Forward,
            (b'D' | b'd' | b'V', _) if opens => Step::Broken("rows that nobody asked for"),
            _ => Step::Forward,
        }
    }

    fn answer(&mut self, message: BackendMessage<'_>, out: &mut Vec<Output>) -> Step {
        if let Some(step) = self.own_answer(&message) {
            return step;
        }
        match message {
            BackendMessage::ErrorResponse(error) => return self.error(error, out),
            BackendMessage::ParameterStatus { name, value } => return self.setting(name, value),
            BackendMessage::ReadyForQuery(status) => return self.ready(status, out),
            BackendMessage::RowDescription | BackendMessage::NoData => {
                if matches!(self.outstanding.front(), Some(Expect::Describe { .. })) {
                    self.pop();
                }
                return Step::Forward;
            }
            BackendMessage::ParameterDescription { type_oids } => {
                if let Some(Expect::Describe { statement: Some(prepared) }) = self.outstanding.front() {
                    // The first description stands: a statement's types never change.
                    let _ = prepared.described.set(type_oids);
                }
                return Step::Forward;
            }
            BackendMessage::CopyInResponse { binary } => return self.copy_in(binary, out),
            BackendMessage::CopyOutResponse | BackendMessage::CopyDone => {
                return match self.outstanding.front() {
                    Some(Expect::Execute { .. } | Expect::Query(_)) => Step::Forward,
                    _ => Step::Broken("copy that nobody asked for"),
                };
            }
            BackendMessage::CommandComplete { tag } if matches!(self.outstanding.front(), Some(Expect::Query(_))) => {
                return self.query_part(tag, out);
            }
            BackendMessage::EmptyQueryResponse if matches!(self.outstanding.front(), Some(Expect::Query(_))) => return Step::Forward,
            _ => {}
        }
        match (message, self.pop()) {
            (BackendMessage::ParseComplete, Some(Expect::Parse { name, prepared, order })) => {
                self.prepared_bytes += prepared.text.len();
                let before = self.prepared.confirmed(&name, Some((prepared, order)));
                self.prepared_bytes -= before.map_or(0, |before| before.text.len());
            }
            (BackendMessage::BindComplete, Some(Expect::Bind { name, portal, order })) => {
                let before = self.portals.confirmed(&name, Some((portal, order)));
                before.into_iter().for_each(|before| self.portal_gone(before.statement, out));
            }
            (BackendMessage::CloseComplete, Some(Expect::Close { target, name })) => match target {
                Target::Statement => {
                    let before = self.prepared.confirmed(&name, None);
                    self.prepared_bytes -= before.map_or(0, |before| before.text.len());
                }
                Target::Portal => {
                    let before = self.portals.confirmed(&name, None);
                    before.into_iter().for_each(|before| self.portal_gone(before.statement, out));
                }
            },
            (BackendMessage::CommandComplete { tag }, Some(Expect::Execute { portal, effects, order })) => {
                let rows =
                    rows_of_tag(tag).map(|last| if tag.starts_with("SELECT") { self.rows_before(portal.statement) + last } else { last });
                for (_, effect) in effects {
                    self.apply(effect, order, portal.statement, tag, out);
                }
                self.ended(portal.statement, Ended::Completed { tag: tag.to_owned(), rows }, out);
                if tag == PREPARED {
                    self.settle(portal.statement, Settlement::Unknown, out);
                } else if portal.prepared.facts.unparsable.is_some() && matches!(tag, "COMMIT" | "ROLLBACK") {
                    self.unclear_end(portal.statement, out);
                }
                self.copy_over();
            }
            (BackendMessage::EmptyQueryResponse, Some(Expect::Execute { portal, .. })) => {
                self.ended(portal.statement, Ended::Completed { tag: String::new(), rows: None }, out);
                self.copy_over();
            }
            (BackendMessage::PortalSuspended, Some(Expect::Execute { portal, effects, .. })) => {
                let rows = std::mem::take(&mut self.rows);
                if let Some(progress) = self.open.get_mut(&portal.statement) {
                    progress.suspended = true;
                    progress.rows += rows;
                }
                self.undo(effects, true);
                self.copy_over();
            }
            _ => return Step::Broken("an answer out of order"),
        }
        Step::Forward
    }

    fn rows_before(&self, statement: u64) -> u64 {
        self.open.get(&statement).map_or(0, |progress| progress.rows)
    }

    pub(super) fn pop(&mut self) -> Option<Expect> {
        let expect = self.outstanding.pop_front()?;
        self.outstanding_bytes -= expect.bytes();
        Some(expect)
    }

    /// A message that may have begun a copy was answered. Such a message is always the last one forwarded.
    fn copy_over(&mut self) {
        if self.outstanding.is_empty() {
            self.copy = Copy::No;
        }
        self.rows = 0;
    }

    /// One statement of a Query was answered.
    fn query_part(&mut self, tag: &str, out: &mut Vec<Output>) -> Step {
        let Some(Expect::Query(query)) = self.outstanding.front_mut() else { return Step::Broken("an answer out of order") };
        let place = query.done;
        query.done += 1;
        if query.count.is_some_and(|count| place >= count) {
            return Step::Broken("more answers than statements");
        }
        tag.clone_into(&mut query.tag);
        query.ends_unclear |= query.count.is_none() && matches!(tag, "COMMIT" | "ROLLBACK");
        query.prepared_transaction |= tag == PREPARED;
        if let Some(rows) = rows_of_tag(tag) {
            query.rows = Some(query.rows.unwrap_or(0) + rows);
        }
        let (statement, order) = (query.statement, query.order);
        let due = query.effects.iter().take_while(|(at, _)| *at <= place).count();
        let due: Vec<_> = query.effects.drain(..due).collect();
        for (_, effect) in due {
            self.outstanding_bytes -= 128;
            self.apply(effect, order, statement, tag, out);
        }
        Step::Forward
    }

    fn apply(&mut self, effect: Effect, order: u64, statement: u64, tag: &str, out: &mut Vec<Output>) {
        match effect {
            Effect::Prepare(name, prepared) => {
                self.prepared_bytes += prepared.text.len();
                let before = self.prepared.confirmed(&name, Some((prepared, order)));
                self.prepared_bytes -= before.map_or(0, |before| before.text.len());
            }
            Effect::Deallocate(name) => {
                let before = self.prepared.confirmed(&name, None);
                self.prepared_bytes -= before.map_or(0, |before| before.text.len());
            }
            Effect::DeallocateAll => self.all_deallocated(),
            Effect::Declare(name, portal) => {
                let before = self.portals.confirmed(&name, Some((portal, order)));
                before.into_iter().for_each(|before| self.portal_gone(before.statement, out));
            }
            Effect::CloseCursor(name) => {
                let before = self.portals.confirmed(&name, None);
                before.into_iter().for_each(|before| self.portal_gone(before.statement, out));
            }
            Effect::CloseAllCursors => self.all_portals_gone(out),
            Effect::DiscardAll => {
                self.all_deallocated();
                self.all_portals_gone(out);
            }
            Effect::Savepoint(savepoint) => self.savepoint(savepoint, order, out),
            Effect::EndTransaction { commit } => {
                // COMMIT of a failed transaction answers ROLLBACK.
                let committed = commit && tag == "COMMIT";
                self.settle(statement, if committed { Settlement::Committed } else { Settlement::RolledBack }, out);
                self.charges.retain(|charge| charge.statement >= statement);
                let gone = self.portals.clear_unless(|portal| portal.hold);
                gone.into_iter().filter(|portal| portal.statement != statement).for_each(|portal| self.portal_gone(portal.statement, out));
            }
        }
    }

    fn all_deallocated(&mut self) {
        let gone = self.prepared.confirmed_all();
        self.prepared_bytes -= gone.iter().map(|prepared| prepared.text.len()).sum::<usize>();
    }

    fn all_portals_gone(&mut self, out: &mut Vec<Output>) {
        let gone = self.portals.confirmed_all();
        gone.into_iter().for_each(|portal| self.portal_gone(portal.statement, out));
    }

    /// Effects that did not come about; `doubtful` if the first one may have.
    fn undo(&mut self, effects: Vec<(usize, Effect)>, doubtful: bool) {
        for (_, effect) in effects {
            match effect {
                Effect::Prepare(name, _) | Effect::Deallocate(name) => self.prepared.failed(&name, doubtful),
                Effect::Declare(name, _) | Effect::CloseCursor(name) => self.portals.failed(&name, doubtful),
                Effect::DeallocateAll => self.prepared.failed_all(),
                Effect::CloseAllCursors => self.portals.failed_all(),
                Effect::DiscardAll => {
                    self.prepared.failed_all();
                    self.portals.failed_all();
                }
                Effect::Savepoint(_) | Effect::EndTransaction { .. } => {}
            }
        }
    }

    /// A portal is no more: if its statement has no outcome yet, this is it.
    pub(super) fn portal_gone(&mut self, statement: u64, out: &mut Vec<Output>) {
        let ended = match self.open.get(&statement) {
            Some(progress) if progress.suspended => Ended::Stopped { rows: progress.rows },
            Some(progress) if !progress.ran => Ended::NotRun,
            _ => return,
        };
        self.ended(statement, ended, out);
    }

    fn settle(&mut self, through: u64, how: Settlement, out: &mut Vec<Output>) {
        if through > self.settled_through {
            self.settled_through = through;
            self.claims.settled(through);
            out.push(Output::Record(Record::Settled { through, how }));
        }
    }

    fn ready(&mut self, status: TransactionStatus, out: &mut Vec<Output>) -> Step {
        let failed = std::mem::take(&mut self.failed_since_ready);
        let (through, how) = match self.pop() {
            Some(Expect::Sync { through }) => (through, if failed { Settlement::RolledBack } else { Settlement::Committed }),
            Some(Expect::Substitute { simple: true, answered: true, through, .. }) => (through, Settlement::RolledBack),
            Some(Expect::Query(query)) => {
                // A COMMIT inside a text that failed later may have kept some of it.
                let partly = query.done > 0 && (query.ends_transaction || query.count.is_none());
                let how = match (&query.failed, partly) {
                    (None, _) if query.prepared_transaction || query.ends_unclear => Settlement::Unknown,
                    (None, _) => Settlement::Committed,
                    (Some(_), false) => Settlement::RolledBack,
                    (Some(_), true) => Settlement::Unknown,
                };
                let (statement, ends_unclear) = (query.statement, query.ends_unclear);
                self.query_over(*query, out);
                if ends_unclear {
                    self.unclear_end(statement, out);
                }
                (statement, how)
            }
            Some(Expect::Call(call)) => {
                let how = if call.failed.is_some() { Settlement::RolledBack } else { Settlement::Committed };
                let statement = call.statement;
                self.call_over(*call, out);
                (statement, how)
            }
            _ => return Step::Broken("ready when it should not be"),
        };
        self.copy_over();
        self.status = status;
        self.reading.ready(through);
        self.settings.confirmed(through, failed, status == TransactionStatus::Idle);
        if status == TransactionStatus::Idle {
            self.settle(through, how, out);
            self.charges.retain(|charge| charge.statement > through);
            let gone = self.portals.clear_unless(|portal| portal.hold);
            gone.into_iter().for_each(|portal| self.portal_gone(portal.statement, out));
        }
        Step::Forward
    }

    fn query_over(&mut self, query: ExpectQuery, out: &mut Vec<Output>) {
        // A Query drops the unnamed statement and portal before it does anything.
        let before = self.prepared.confirmed(b"", None);
        self.prepared_bytes -= before.map_or(0, |before| before.text.len());
        let before = self.portals.confirmed(b"", None);
        before.into_iter().for_each(|before| self.portal_gone(before.statement, out));
        let done = query.done;
        let (tried, never): (Vec<_>, Vec<_>) = query.effects.into_iter().partition(|(at, _)| *at <= done);
        self.undo(tried, true);
        self.undo(never, false);
        let ended = match query.failed {
            Some((sqlstate, message)) => Ended::Failed { sqlstate, message },
            None => Ended::Completed { tag: query.tag, rows: query.rows },
        };
        self.ended(query.statement, ended, out);
    }

    fn error(&mut self, error: ServerError, out: &mut Vec<Output>) -> Step {
        if error.is_fatal() {
            return Step::Last(CloseReason::ServerEnded { sqlstate: error.sqlstate, message: error.message });
        }
        self.failed_since_ready = true;
        let ServerError { sqlstate, message, .. } = error;
        match self.outstanding.front_mut() {
            Some(Expect::Query(query)) => {
                query.failed = Some((sqlstate, message));
                query.supply.stop();
                if self.copy != Copy::No {
                    self.copy = Copy::Waiting;
                }
                return Step::Forward;
            }
            Some(Expect::Call(call)) => {
                call.failed = Some((sqlstate, message));
                return Step::Forward;
            }
            Some(Expect::Substitute { report, simple: true, answered, .. }) if !*answered => {
                *answered = true;
                return Step::Replace(report.encode(Severity::Error));
            }
            // An error of the commit that Sync makes; ReadyForQuery follows.
            Some(Expect::Sync { .. }) => return Step::Forward,
            None | Some(Expect::Substitute { simple: true, .. }) => return Step::Broken("an error out of order"),
            Some(_) => {}
        }
        let head = self.pop();
        let step = match head {
            Some(Expect::Substitute { report, .. }) => Step::Replace(report.encode(Severity::Error)),
            Some(head) => {
                let statement = head.runs().or(if let Expect::Bind { portal, .. } = &head { Some(portal.statement) } else { None });
                self.give_up(head, true, out);
                if let Some(statement) = statement {
                    self.ended(statement, Ended::Failed { sqlstate, message }, out);
                }
                Step::Forward
            }
            None => Step::Broken("an error out of order"),
        };
        // The server now discards everything up to the next Sync.
        while self.outstanding.front().is_some_and(|expect| !matches!(expect, Expect::Sync { .. })) {
            if let Some(skipped) = self.pop() {
                self.give_up(skipped, false, out);
            }
        }
        if self.outstanding.is_empty() {
            self.skipping = true;
        }
        self.copy_over();
        step
    }

    /// A message failed (`tried`) or was skipped: what it would have changed stays.
    fn give_up(&mut self, expect: Expect, tried: bool, out: &mut Vec<Output>) {
        match expect {
            Expect::Parse { name, .. } => {
                self.prepared.failed(&name, false);
                if tried && name.is_empty() {
                    // The old unnamed statement is dropped before the new text is looked at.
                    let before = self.prepared.remove(b"");
                    self.prepared_bytes -= before.map_or(0, |before| before.text.len());
                }
            }
            Expect::Bind { name, portal, .. } => {
                self.portals.failed(&name, false);
                if !tried {
                    self.ended(portal.statement, Ended::NotRun, out);
                }
            }
            Expect::Execute { effects, portal, .. } => {
                self.undo(effects, tried);
                if !tried
                    && let Some(progress) = self.open.get_mut(&portal.statement)
                    && !progress.suspended
                {
                    progress.ran = false;
                }
            }
            Expect::Close { target: Target::Statement, name } => self.prepared.failed(&name, tried),
            Expect::Close { target: Target::Portal, name } => self.portals.failed(&name, tried),
            Expect::Query(query) => {
                self.prepared.failed(b"", false);
                self.portals.failed(b"", false);
                self.undo(query.effects, false);
                self.ended(query.statement, Ended::NotRun, out);
            }
            Expect::Call(call) => self.ended(call.statement, Ended::NotRun, out),
            Expect::Describe { .. } | Expect::Sync { .. } | Expect::Substitute { .. } | Expect::Own(_) => {}
        }
    }

    fn copy_in(&mut self, binary: bool, out: &mut Vec<Output>) -> Step {
        let alone = self.outstanding.len() == 1 && self.copy == Copy::Waiting;
        if let (true, Some(Expect::Query(query))) = (alone, self.outstanding.front_mut())
            && let Some(messages) = query.supply.take(binary)
        {
            out.extend(messages.into_iter().map(Output::ToServer));
            return Step::Drop;
        }
        // Where the text was understood the gate waits; where it was not, nothing may have been sent after it.
        match (self.outstanding.front(), self.outstanding.len(), self.copy) {
            (Some(Expect::Execute { .. } | Expect::Query(_)), 1, Copy::Waiting | Copy::No) => {
                self.copy = Copy::In;
                // What the client sends next is judged as part of the copy.
                self.draining = false;
                Step::Forward
            }
            _ => Step::Broken("copy that nobody asked for"),
        }
    }

    fn setting(&mut self, name: &str, value: &str) -> Step {
        let name = name.to_ascii_lowercase();
        self.reading.reported(&name, value);
        match name.as_str() {
            "datestyle" | "intervalstyle" | "timezone" | "search_path" | "session_authorization" => {
                self.settings.reported(name, value);
            }
            "application_name" => {
                if let Some(own) = own_name(value, &self.config.session) {
                    return Step::Replace(messages::parameter_status("application_name", own));
                }
            }
            _ => {}
        }
        Step::Forward
    }
}

/// What is the client's own of a session's name; `None` if the gateway's is not in front of it.
#[must_use]
pub fn own_name<'a>(name: &'a str, session: &SessionId) -> Option<&'a str> {
    let rest = name.strip_prefix("safeconduct ")?.strip_prefix(session.as_str())?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix(' ') }
}

/// Hands over the first `pass` bytes as they are.
pub(super) fn flush(buffer: &mut BytesMut, pass: &mut usize, out: &mut Vec<Output>) {
    if *pass > 0 {
        out.push(Output::ToClient(buffer.split_to(std::mem::take(pass)).freeze()));
    }
}
