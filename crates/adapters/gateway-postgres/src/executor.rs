//! Exact actions on PostgreSQL: the stored text, once, on a connection of the gateway's own.
//!
//! Says what happened and never guesses: an answer that is lost is an unknown outcome. Reads nothing from the requester, so a
//! `COPY … FROM STDIN` has no data and is not begun.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::{IsNull, message::frontend};
use safeconduct_app::ports::{BoxFuture, Executor, ResultPart, ResultSink, Run};
use safeconduct_lifecycle::{ExactOutcome, TransactionEnd};
use safeconduct_model::{Parameter, SqlAction};
use safeconduct_protocol::postgres::messages::rows_of_tag;
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES, StatementFacts, StatementKind};
use tokio::{io::AsyncWriteExt, sync::watch, time::timeout};

use crate::{
    Secrets,
    config::Limits,
    signal::raised,
    transport::CancelTarget,
    upstream::{self, Login, Upstream},
    wire::{Body, Message, Reader, Report, malformed, take_text},
};

/// Largest row or other message that is kept; a larger one is left out and said to be.
const KEEP_BYTES: usize = 32 * 1024 * 1024;
/// How long a stopped action may take to say how it ended.
const STOPPED_ANSWER: Duration = Duration::from_secs(10);
/// What a setting may not be named by an action: the gateway gives these their values.
const PINNED: [&str; 6] =
    ["search_path", "client_encoding", "standard_conforming_strings", "application_name", "session_authorization", "role"];

/// Runs exact actions on PostgreSQL servers.
pub struct PostgresExecutor {
    secrets: Secrets,
    limits: Limits,
}

impl PostgresExecutor {
    /// An executor that reads upstream passwords with `secrets`.
    #[must_use]
    pub const fn new(secrets: Secrets, limits: Limits) -> Self {
        Self { secrets, limits }
    }

    async fn run(&self, run: Run, sink: &mut (dyn ResultSink + Send)) -> ExactOutcome {
        let not_run = |why: String| ExactOutcome::RefusedNotRun { why };
        let Run { permit, resource, action, principal, login: minted, read_only, mut stop } = run;
        if permit.claimed().is_none() {
            return not_run("the action was not claimed".into());
        }
        if let Some(name) = action.settings.keys().find(|name| PINNED.contains(&name.to_ascii_lowercase().as_str())) {
            return not_run(format!("the gateway keeps the setting `{name}` itself"));
        }
        if wants_data(&action).await {
            return not_run("it copies data that only its session had: run it where the data is, with `connect`".into());
        }
        let settings: Vec<(String, String)> = action.settings.clone().into_iter().collect();
        let request = match encode(&action) {
            Ok(request) => request,
            Err(_) => return not_run("the action can't be put into messages".into()),
        };
        let application_name = format!("safeconduct {} {principal}", permit.session());
        let login = Login {
            resource: &resource,
            database: &action.database,
            application_name: &application_name,
            settings: &settings,
            minted: minted.as_ref(),
            read_only: read_only && minted.is_some(),
            expects_refusal: false,
        };
        let upstream = tokio::select! {
            connected = upstream::connect(&login, &self.secrets, self.limits.upstream_connect) => connected,
            () = raised(&mut stop) => return not_run("stopped before it was sent".into()),
        };
        let upstream = match upstream {
            Ok(upstream) => upstream,
            Err(error) => return not_run(error.to_string()),
        };
        if *stop.borrow() {
            return not_run("stopped before it was sent".into());
        }
        drop(permit);
        Execution::new(upstream, self.limits.cancel, stop).perform(&request, sink).await
    }
}

impl Executor for PostgresExecutor {
    fn execute<'a>(&'a self, run: Run, sink: &'a mut (dyn ResultSink + Send)) -> BoxFuture<'a, ExactOutcome> {
        Box::pin(self.run(run, sink))
    }
}

/// True if the action is about data that is not stored, or may be: then nothing of it is begun.
async fn wants_data(action: &SqlAction) -> bool {
    if action.copy_data.is_some() {
        return true;
    }
    // Nothing but a COPY has this word; most actions are never parsed here.
    if !action.text.to_ascii_lowercase().contains("copy") {
        return false;
    }
    let (text, (answer, answered)) = (action.text.clone(), tokio::sync::oneshot::channel());
    let parsing = std::thread::Builder::new().name("copy-facts".into()).stack_size(PARSER_STACK_BYTES).spawn(move || {
        let facts = safeconduct_sql::facts(&text, &FunctionClasses::default());
        let copies = |statement: &StatementFacts| matches!(statement.kind, StatementKind::CopyFromStdin { .. });
        let _ = answer.send(facts.statements.iter().any(copies));
    });
    parsing.is_err() || answered.await.unwrap_or(true)
}

/// The action as messages: a simple query, or an extended one if it has parameters.
fn encode(action: &SqlAction) -> io::Result<BytesMut> {
    let mut out = BytesMut::new();
    if action.parameters.is_empty() {
        frontend::query(&action.text, &mut out)?;
        return Ok(out);
    }
    let values = action.parameters.iter().map(bytes_of).collect::<io::Result<Vec<_>>>()?;
    frontend::parse("", &action.text, action.parameters.iter().map(|parameter| parameter.type_oid), &mut out)?;
    let bound = frontend::bind(
        "",
        "",
        action.parameters.iter().map(|parameter| i16::from(parameter.binary)),
        values,
        |value, out| {
            Ok(match value {
                Some(bytes) => {
                    out.extend_from_slice(&bytes);
                    IsNull::No
                }
                None => IsNull::Yes,
            })
        },
        Some(0),
        &mut out,
    );
    bound.map_err(|_| malformed("parameters can't be sent"))?;
    frontend::describe(b'P', "", &mut out)?;
    frontend::execute("", 0, &mut out)?;
    frontend::sync(&mut out);
    Ok(out)
}

fn bytes_of(parameter: &Parameter) -> io::Result<Option<Vec<u8>>> {
    let Some(hex) = &parameter.hex else { return Ok(None) };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = hex.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(Some).ok_or_else(|| malformed("parameter is not hexadecimal"))
}

/// One action that was sent, until its outcome is known.
struct Execution {
    upstream: Upstream,
    guard: CancelGuard,
    stop: watch::Receiver<bool>,
    stopped: bool,
    sink_closed: bool,
}

/// Cancels upstream if the action is dropped before its end.
struct CancelGuard {
    target: CancelTarget,
    limit: Duration,
    armed: bool,
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if self.armed {
            let (target, limit) = (self.target.clone(), self.limit);
            tokio::spawn(async move { target.send(limit).await });
        }
    }
}

/// What has been seen of the outcome.
#[derive(Default)]
struct Seen {
    command: Option<String>,
    rows: Option<u64>,
    rolled_back: bool,
    failed: Option<Report>,
}

impl Execution {
    fn new(upstream: Upstream, limit: Duration, stop: watch::Receiver<bool>) -> Self {
        let guard = CancelGuard { target: upstream.cancel.clone(), limit, armed: true };
        Self { upstream, guard, stop, stopped: false, sink_closed: false }
    }

    async fn perform(mut self, request: &[u8], sink: &mut (dyn ResultSink + Send)) -> ExactOutcome {
        let sent = async {
            self.upstream.stream.write_all(request).await?;
            self.upstream.stream.flush().await
        };
        if sent.await.is_err() {
            // Part of it may have arrived.
            return self.lost("the connection was lost while it was sent");
        }
        let mut reader = Reader::from_rest(std::mem::take(&mut self.upstream.rest));
        let mut seen = Seen::default();
        loop {
            let Ok(message) = self.next(&mut reader).await else {
                return match seen.failed {
                    Some(report) => self.end(ExactOutcome::Failed { sqlstate: report.sqlstate, message: report.message }),
                    None if self.stopped => self.lost("it was stopped and the server did not say how it ended"),
                    None => self.lost("the connection was lost before the server answered"),
                };
            };
            match self.take(message, &mut seen, sink).await {
                Ok(None) => {}
                Ok(Some(outcome)) => return self.end(outcome),
                Err(_) => return self.lost("the server's answer could not be read"),
            }
        }
    }

    /// The next message, stopping the action upstream when it must.
    async fn next(&mut self, reader: &mut Reader) -> io::Result<Message> {
        if !self.stopped {
            tokio::select! {
                message = reader.next(&mut self.upstream.stream, KEEP_BYTES) => return message,
                () = raised(&mut self.stop) => self.cancel().await,
            }
        }
        let answer = timeout(STOPPED_ANSWER, reader.next(&mut self.upstream.stream, KEEP_BYTES)).await;
        answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn cancel(&mut self) {
        self.stopped = true;
        self.guard.target.send(self.guard.limit).await;
    }

    fn end(mut self, outcome: ExactOutcome) -> ExactOutcome {
        self.guard.armed = false;
        outcome
    }

    /// The guard stays armed: what may still run is cancelled.
    fn lost(self, why: &str) -> ExactOutcome {
        ExactOutcome::Unknown { why: why.to_owned() }
    }

    async fn take(&mut self, message: Message, seen: &mut Seen, sink: &mut (dyn ResultSink + Send)) -> io::Result<Option<ExactOutcome>> {
        let Message { tag, body } = message;
        let body = match body {
            Body::Whole(body) => body,
            Body::Skipped if matches!(tag, b'D' | b'd') => {
                let message = format!("a row of more than {KEEP_BYTES} bytes was left out");
                self.push(ResultPart::Notice { severity: "WARNING".into(), message }, sink).await;
                return Ok(None);
            }
            Body::Skipped => return Err(malformed("message is too large")),
        };
        match tag {
            b'T' => self.push(ResultPart::Columns { names: column_names(body)? }, sink).await,
            b'D' => self.push(ResultPart::Row { values: row_values(body)? }, sink).await,
            b'H' => self.push(ResultPart::Columns { names: vec!["copy".into()] }, sink).await,
            b'd' => self.push(ResultPart::Row { values: vec![Some(String::from_utf8_lossy(&body).into_owned())] }, sink).await,
            b'G' => self.refuse_copy().await?,
            b'N' => {
                let Report { severity, message, .. } = Report::parse(body)?;
                self.push(ResultPart::Notice { severity, message }, sink).await;
            }
            b'C' => {
                let command = take_text(&mut body.clone())?;
                let rows = rows_of_tag(&command);
                match command.as_str() {
                    "ROLLBACK" => seen.rolled_back = true,
                    "COMMIT" => seen.rolled_back = false,
                    _ => {}
                }
                (seen.command, seen.rows) = (Some(command.clone()), rows);
                self.push(ResultPart::Complete { command, rows }, sink).await;
            }
            b'I' => seen.command = Some(String::new()),
            b'E' => {
                let report = Report::parse(body)?;
                let part = ResultPart::Error { sqlstate: report.sqlstate.clone(), message: report.message.clone() };
                seen.failed = Some(report);
                self.push(part, sink).await;
            }
            b'Z' => return self.settle(seen, &body).await.map(Some),
            b'1' | b'2' | b'3' | b'n' | b's' | b't' | b'c' | b'S' | b'A' => {}
            _ => return Err(malformed("unexpected message from the server")),
        }
        Ok(None)
    }

    async fn settle(&mut self, seen: &mut Seen, status: &Bytes) -> io::Result<ExactOutcome> {
        let open = status.as_ref() != b"I";
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        // A transaction that the text left open ends with the connection: rolled back.
        let _ = self.upstream.stream.write_all(&goodbye).await;
        let _ = self.upstream.stream.shutdown().await;
        if let Some(report) = seen.failed.take() {
            return Ok(ExactOutcome::Failed { sqlstate: report.sqlstate, message: report.message });
        }
        let command = seen.command.take().ok_or_else(|| malformed("server said nothing about the action"))?;
        let transaction = if open || seen.rolled_back { TransactionEnd::RolledBack } else { TransactionEnd::Committed };
        Ok(ExactOutcome::Executed { command, rows: seen.rows, transaction })
    }

    async fn refuse_copy(&mut self) -> io::Result<()> {
        let mut out = BytesMut::new();
        frontend::copy_fail("an exact action carries no data to copy", &mut out)?;
        self.upstream.stream.write_all(&out).await?;
        self.upstream.stream.flush().await
    }

    /// Hands a part on. A receiver that went away misses it; the action goes on.
    async fn push(&mut self, part: ResultPart, sink: &mut (dyn ResultSink + Send)) {
        if self.sink_closed {
            return;
        }
        let mut pushed = sink.push(part);
        if !self.stopped {
            tokio::select! {
                pushed = &mut pushed => {
                    self.sink_closed = pushed.is_err();
                    return;
                }
                () = raised(&mut self.stop) => self.cancel().await,
            }
        }
        self.sink_closed = !matches!(timeout(STOPPED_ANSWER, pushed).await, Ok(Ok(())));
    }
}

fn column_names(mut body: Bytes) -> io::Result<Vec<String>> {
    let short = || malformed("row description ends early");
    let count = body.try_get_u16().map_err(|_| short())?;
    let mut names = Vec::with_capacity(usize::from(count).min(2_000));
    for _ in 0..count {
        names.push(take_text(&mut body)?);
        if body.len() < 18 {
            return Err(short());
        }
        body.advance(18);
    }
    Ok(names)
}

pub(crate) fn row_values(mut body: Bytes) -> io::Result<Vec<Option<String>>> {
    let short = || malformed("row ends early");
    let count = body.try_get_u16().map_err(|_| short())?;
    let mut values = Vec::with_capacity(usize::from(count).min(2_000));
    for _ in 0..count {
        let length = body.try_get_i32().map_err(|_| short())?;
        values.push(match usize::try_from(length) {
            Ok(length) if length <= body.len() => Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()),
            Ok(_) => return Err(short()),
            Err(_) => None,
        });
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_columns_are_read_strictly() {
        let row = Bytes::from_static(b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0");
        assert_eq!(row_values(row.clone()).unwrap(), [Some("ab".to_owned()), None, Some(String::new())]);
        for cut in 0..row.len() {
            assert!(row_values(row.slice(..cut)).is_err(), "{cut}");
        }
        let columns = Bytes::from_static(b"\0\x01id\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0");
        assert_eq!(column_names(columns.clone()).unwrap(), ["id"]);
        assert!(column_names(columns.slice(..columns.len() - 1)).is_err());
    }

    #[test]
    fn parameters_go_out_as_they_were_stored() {
        let parameter = |hex: Option<&str>| Parameter { type_oid: 23, binary: true, hex: hex.map(str::to_owned), shown: None };
        assert_eq!(bytes_of(&parameter(Some("00ff"))).unwrap(), Some(vec![0, 255]));
        assert_eq!(bytes_of(&parameter(None)).unwrap(), None);
        assert!(bytes_of(&parameter(Some("0"))).is_err());
        assert!(bytes_of(&parameter(Some("zz"))).is_err());
    }
}
