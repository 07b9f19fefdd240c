//! One connection of the gateway's own account: statements of the gateway's own making, and their rows as text.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use safeconduct_app::ports::MintingError;
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    upstream::Upstream,
    wire::{Reader, Report, malformed},
};

/// Rows of one statement.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// Largest message taken from the server.
const MESSAGE_BYTES: usize = 64 * 1024;
/// The server gives a statement up after this long, so that none goes on whose answer nobody waits for.
const STATEMENT_SECONDS: u64 = 30;

pub(super) struct Admin {
    upstream: Upstream,
    reader: Reader,
}

pub(super) enum AdminError {
    Lost(io::Error),
    Refused { sqlstate: String, message: String },
}

impl From<AdminError> for MintingError {
    fn from(error: AdminError) -> Self {
        match error {
            AdminError::Lost(error) => Self::Unreachable(Box::new(error)),
            AdminError::Refused { sqlstate, message } => Self::Refused { sqlstate, message },
        }
    }
}

/// What such a connection is opened with.
pub(super) fn settings() -> [(String, String); 1] {
    [("statement_timeout".to_owned(), format!("{STATEMENT_SECONDS}s"))]
}

impl Admin {
    pub(super) fn over(mut upstream: Upstream) -> Self {
        let reader = Reader::from_rest(std::mem::take(&mut upstream.rest));
        Self { upstream, reader }
    }

    /// Runs statements as one transaction; gives the rows of each that has some.
    pub(super) async fn run(&mut self, statements: &str) -> Result<Vec<Rows>, AdminError> {
        // The server's own bound comes first.
        match timeout(Duration::from_secs(STATEMENT_SECONDS + 5), self.query(statements)).await {
            Ok(Ok(answer)) => answer.map_err(|report| AdminError::Refused { sqlstate: report.sqlstate, message: report.message }),
            Ok(Err(error)) => Err(AdminError::Lost(error)),
            Err(_) => Err(AdminError::Lost(io::ErrorKind::TimedOut.into())),
        }
    }

    async fn query(&mut self, statements: &str) -> io::Result<Result<Vec<Rows>, Report>> {
        let mut request = BytesMut::new();
        frontend::query(statements, &mut request)?;
        self.upstream.stream.write_all(&request).await?;
        self.upstream.stream.flush().await?;
        let (mut answers, mut failed): (Vec<Rows>, _) = (Vec::new(), None);
        loop {
            let message = self.reader.next(&mut self.upstream.stream, MESSAGE_BYTES).await?;
            let tag = message.tag;
            let body = message.whole()?;
            match tag {
                b'Z' => return Ok(failed.map_or(Ok(answers), Err)),
                b'T' => answers.push(Rows::new()),
                b'D' => answers.last_mut().ok_or_else(|| malformed("rows without columns"))?.push(row(body)?),
                b'E' => {
                    let report = Report::parse(body)?;
                    if report.severity == "FATAL" || report.severity == "PANIC" {
                        return Err(io::Error::other(report.message));
                    }
                    failed = Some(report);
                }
                _ => {}
            }
        }
    }

    /// Says goodbye; what the server makes of it does not matter.
    pub(super) async fn close(mut self) {
        let mut goodbye = BytesMut::new();
        frontend::terminate(&mut goodbye);
        let _ = self.upstream.stream.write_all(&goodbye).await;
        let _ = self.upstream.stream.shutdown().await;
    }
}

fn row(mut body: Bytes) -> io::Result<Vec<Option<String>>> {
    let short = || malformed("row is cut short");
    let columns = body.try_get_u16().map_err(|_| short())?;
    let mut row = Vec::with_capacity(columns.into());
    for _ in 0..columns {
        let length = body.try_get_i32().map_err(|_| short())?;
        let value = match usize::try_from(length) {
            Err(_) => None,
            Ok(length) if length <= body.len() => Some(body.split_to(length)),
            Ok(_) => return Err(short()),
        };
        row.push(value.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()));
    }
    Ok(row)
}
