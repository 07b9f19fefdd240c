//! Traces: the way of each access request, from asking to the last byte of its sessions, sent to an OpenTelemetry collector.
//!
//! Follows the record with a cursor, so no statement waits for it and nothing is lost while the collector is away. Says no text and no
//! principal: kinds of things, ids, resources and times.

mod span;

use std::{collections::BTreeSet, time::Duration};

use safeconduct_app::{App, Happened, Problem, Traced};
use tokio::sync::watch;

use self::span::{Span, encode, of_access, of_session};

/// Where traces go, and how much of them.
#[derive(Clone, Debug)]
pub struct Telemetry {
    /// The collector's address for OTLP over HTTP, without `/v1/traces`.
    pub otlp: String,
    /// Name of this gateway.
    pub gateway: String,
    /// Most statements of a session that become spans.
    pub statements: usize,
}

/// Most events that are looked at in one go.
const EVENTS: u32 = 500;
/// How often it is looked whether something happened.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Why spans were not sent. They are sent later.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("what happened can't be read")]
    Unread(#[from] Problem),
    #[error("the collector can't be reached")]
    Unreachable(#[from] reqwest::Error),
    #[error("the collector answered with status {0}")]
    Refused(reqwest::StatusCode),
}

/// Follows the record until told to stop; then sends what is left, once.
pub async fn follow(app: App, telemetry: Telemetry, mut stop: watch::Receiver<bool>) {
    let client = match reqwest::Client::builder().timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => return tracing::error!(%error, "no traces are sent"),
    };
    let (mut pause, mut failing) = (LOOK_EVERY, false);
    let mut from = None;
    loop {
        let last = *stop.borrow();
        match send_from(&app, &client, &telemetry, from).await {
            Ok(next) => {
                (from, pause) = (Some(next), LOOK_EVERY);
                if std::mem::take(&mut failing) {
                    tracing::info!("traces are sent again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(error = &error as &dyn std::error::Error, collector = telemetry.otlp, "traces are sent later");
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // Its sender gone is the order to stop, too.
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }
}

/// Sends everything from an index on, and remembers how far that was.
async fn send_from(app: &App, client: &reqwest::Client, telemetry: &Telemetry, from: Option<u64>) -> Result<u64, NotSent> {
    let mut from = match from {
        Some(from) => from,
        None => app.traced().await?,
    };
    loop {
        let (happened, next) = app.happened(from, EVENTS).await?;
        if next == from {
            return Ok(from);
        }
        let spans = spans(app, telemetry, &happened).await?;
        if !spans.is_empty() {
            let body = encode(&spans, &telemetry.gateway).to_string();
            let sent = client.post(format!("{}/v1/traces", telemetry.otlp)).header("content-type", "application/json").body(body);
            let answer = sent.send().await?;
            if !answer.status().is_success() {
                return Err(NotSent::Refused(answer.status()));
            }
            app.set_traced(next).await?;
        }
        from = next;
    }
}

async fn spans(app: &App, telemetry: &Telemetry, happened: &[Happened]) -> Result<Vec<Span>, Problem> {
    let mut spans = Vec::new();
    // An access request that went several steps is read once.
    let mut seen = BTreeSet::new();
    for Happened { kind, of } in happened {
        match of {
            Traced::Access(id) if span::is_told(kind) && seen.insert((id.clone(), span::ends(kind))) => {
                if let Some(steps) = app.access_steps(id).await? {
                    spans.extend(of_access(id, &steps, kind));
                }
            }
            Traced::Session(id) if *kind == "session_closed" => {
                if let Some(steps) = app.session_steps(id, telemetry.statements).await? {
                    spans.extend(of_session(id, &steps));
                }
            }
            _ => {}
        }
    }
    Ok(spans)
}
