//! A COPY FROM STDIN that needs approval: its data comes whole before anybody is asked, and what came is what is copied.
//!
//! The gate itself invites the client to send, keeps at most [`super::Config::max_copy_bytes`] and asks about the text together with a
//! digest of the data. Approved, the text goes to the server and exactly these bytes after it: the client has no second say. Only a COPY that
//! is a simple query of its own is kept like this.

use bytes::{Buf as _, Bytes, BytesMut};
use safeconduct_model::CopyData;
use safeconduct_sql::facts::{Facts, StatementFacts, StatementKind};

use super::{
    Gate, Holding,
    ask::{Ask, Output},
    client::Step,
    decide::Refusal,
};
use crate::postgres::messages::{self, FrontendMessage, Report};

/// Bytes of one copy-data message to the server.
const CHUNK_BYTES: usize = 64 << 10;

/// A COPY whose data is coming in. Nothing of it has reached the server.
#[derive(Debug)]
pub(super) struct Spool {
    tag: u8,
    raw: Bytes,
    ask: Box<Ask>,
    data: BytesMut,
    /// Cancelled before it was whole.
    refused: Option<Report>,
}

/// Copy data that came whole.
#[derive(Debug)]
pub(super) struct Spooled {
    pub bytes: Bytes,
    pub shown: CopyData,
}

/// Where a copy's data comes from.
#[derive(Debug)]
pub(super) enum Supply {
    /// From the client, under the statement's permit.
    Client,
    /// Kept and approved: it goes once the server asks for it.
    Kept { bytes: Bytes, binary: bool },
    /// It went, or never will.
    Spent,
}

impl Gate {
    /// Keeps a statement that waits: for its copy data first, if it needs any.
    pub(super) fn keep(&mut self, tag: u8, raw: Bytes, ask: Box<Ask>, out: &mut Vec<Output>) {
        if ask.wants_copy_data() {
            let invitation = messages::copy_in_response(binary(&ask.facts));
            self.spool = Some(Spool { tag, raw, ask, data: BytesMut::new(), refused: None });
            return self.say(invitation, out);
        }
        self.holding = Some(Holding { tag, raw, resolution: None, spooled: None });
        out.push(Output::Hold(ask));
    }

    /// Takes a piece of copy data. One byte too many and the copy is refused; the client's rest is dropped as after any failed copy.
    pub(super) fn spool_piece(&mut self, piece: &[u8], out: &mut Vec<Output>) -> Step {
        let most = self.config.max_copy_bytes;
        let Some(spool) = &mut self.spool else { return Step::Drop };
        if piece.len() <= most.saturating_sub(spool.data.len()) {
            spool.data.extend_from_slice(piece);
            return Step::Drop;
        }
        let report = Report::new("54000", format!("the data of a COPY that needs approval is at most {most} bytes"))
            .detail("None of it was copied.")
            .hint("Copy it in parts, or ask for a grant that covers writing.");
        self.refuse_spool(report, out)
    }

    /// A message of the client while copy data is expected.
    pub(super) fn spool_message(&mut self, message: &FrontendMessage<'_>, out: &mut Vec<Output>) -> Step {
        match message {
            FrontendMessage::CopyDone => {
                if let Some(Spool { tag, raw, mut ask, data, .. }) = self.spool.take() {
                    let bytes = data.freeze();
                    let shown = CopyData::of(&bytes);
                    ask.copy_data = Some(shown.clone());
                    self.holding = Some(Holding { tag, raw, resolution: None, spooled: Some(Spooled { bytes, shown }) });
                    out.push(Output::Hold(ask));
                }
                Step::Drop
            }
            FrontendMessage::CopyFail { why } => {
                let report = Report::new("57014", format!("COPY from stdin failed: {}", String::from_utf8_lossy(why)));
                self.refuse_spool(report, out)
            }
            FrontendMessage::Sync | FrontendMessage::Flush => Step::Drop,
            _ => Step::Broken("only copy data may be sent during COPY".to_owned()),
        }
    }

    /// Refuses a copy that was cancelled while its data came in.
    pub(super) fn take_cancelled_spool(&mut self, out: &mut Vec<Output>) {
        if self.closed {
            return;
        }
        if let Some(report) = self.spool.as_mut().and_then(|spool| spool.refused.take())
            && let Step::Replace(bytes) = self.refuse_spool(report, out)
        {
            out.push(Output::ToServer(bytes));
        }
    }

    pub(super) fn cancel_spool(&mut self, report: Report) {
        if let Some(spool) = &mut self.spool {
            spool.refused = Some(report);
        }
    }

    fn refuse_spool(&mut self, report: Report, out: &mut Vec<Output>) -> Step {
        let Some(Spool { ask, .. }) = self.spool.take() else { return Step::Drop };
        // Nothing was forwarded since the server was last quiet, so this never has to wait.
        self.refuse(Refusal::of(*ask, report, true), out)
    }
}

impl Supply {
    /// What a copy that runs under an approval is fed with.
    pub(super) fn of(spooled: Option<Spooled>, facts: &Facts) -> Self {
        spooled.map_or(Self::Client, |Spooled { bytes, .. }| Self::Kept { bytes, binary: binary(facts) })
    }

    /// No more data goes, and none may be asked for.
    pub(super) fn stop(&mut self) {
        if matches!(self, Self::Kept { .. }) {
            *self = Self::Spent;
        }
    }

    /// The kept data as messages, once, if the server takes it in the format it was kept in; else what makes the server give up. `None`: the
    /// data is the client's to send.
    pub(super) fn take(&mut self, wanted_binary: bool) -> Option<Vec<Bytes>> {
        let (mut bytes, binary) = match std::mem::replace(self, Self::Spent) {
            Self::Kept { bytes, binary } => (bytes, binary),
            Self::Spent => return Some(vec![messages::copy_fail("the approved data was already copied")]),
            Self::Client => {
                *self = Self::Client;
                return None;
            }
        };
        if binary != wanted_binary {
            return Some(vec![messages::copy_fail("the server expects copy data in another format than was approved")]);
        }
        let mut messages = Vec::with_capacity(bytes.len().div_ceil(CHUNK_BYTES) * 2 + 1);
        while bytes.has_remaining() {
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES));
            messages.extend([messages::copy_data_header(chunk.len()), chunk]);
        }
        messages.push(messages::copy_done());
        Some(messages)
    }
}

/// True if the text is one COPY FROM STDIN and nothing else.
pub(super) fn is_one_copy(facts: &Facts) -> bool {
    facts.unparsable.is_none() && matches!(facts.statements.as_slice(), [StatementFacts { kind: StatementKind::CopyFromStdin { .. }, .. }])
}

fn binary(facts: &Facts) -> bool {
    facts.statements.iter().any(|statement| matches!(statement.kind, StatementKind::CopyFromStdin { binary: true }))
}
