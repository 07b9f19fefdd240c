//! Waiting for a decision, with a spinner on a terminal and an id to come back with.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use safeconduct_api::dto::AccessRequest;
use safeconduct_model::Ttl;

use crate::{
    client::Client,
    failure::{Exit, Failure},
    output::Output,
};

/// Seconds of one call; the server waits at most this long.
const ONE_CALL: u64 = 30;
/// The wait after the first call that nobody answered; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// And is never longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Waits until an access request is no longer pending.
///
/// A server that goes away meanwhile is waited for, too. Giving up leaves it pending; the failure says how to come back.
pub async fn until_decided(client: &Client, output: Output, asked: AccessRequest, timeout: &str) -> Result<AccessRequest, Failure> {
    if asked.state != "pending" {
        return Ok(asked);
    }
    let timeout: Ttl = timeout.parse().map_err(|error| Failure::usage(format!("`--timeout`: {error}")))?;
    let who = if asked.eligible.is_empty() { "somebody".to_owned() } else { asked.eligible.join(", ") };
    let runs = asked.exact && asked.envelope.pointer("/scope/action/kind").is_some_and(|kind| kind == "sql");
    let back = if runs { format!("run --id {}", asked.id) } else { format!("show {} --wait", asked.id) };
    output.note(format!("{} waits for approval by {who}; Ctrl-C leaves it waiting, `safeconduct {back}` comes back", asked.id));
    let spinner = Spinner::start(&format!("waiting for approval of {}", asked.id));
    let mut away = None;
    let waited = tokio::time::timeout(timeout.duration(), poll(client, output, &asked.id, &mut away)).await;
    drop(spinner);
    waited.unwrap_or_else(|_| Err(away.unwrap_or_else(|| Failure::waited(&asked.id))))
}

/// `away` is why nobody answers at the moment, if so.
async fn poll(client: &Client, output: Output, id: &str, away: &mut Option<Failure>) -> Result<AccessRequest, Failure> {
    let (path, query) = (format!("/access-requests/{id}/wait"), [("timeout", ONE_CALL.to_string())]);
    let mut pause = FIRST_PAUSE;
    loop {
        match client.get::<AccessRequest>(&path, &query).await {
            Ok(now) if now.state != "pending" => return Ok(now),
            Ok(_) => (*away, pause) = (None, FIRST_PAUSE),
            Err(failure) if failure.exit == Exit::Unreachable => {
                if away.is_none() {
                    output.note(format!("the server does not answer; {id} stays as it is, waiting for the server to come back"));
                }
                *away = Some(failure);
                tokio::time::sleep(pause).await;
                pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
            }
            Err(failure) => return Err(failure),
        }
    }
}

/// Fails unless what was asked for was granted.
pub fn granted(request: AccessRequest) -> Result<AccessRequest, Failure> {
    let message = format!("{}: {}", request.id, request.state_text);
    let why = || request.decision.reasons.iter().map(|reason| reason.text.clone()).collect::<Vec<_>>().join("; ");
    match request.state.as_str() {
        "refused" => Err(Failure::new("CLI-011", Exit::Denied, message).why(why()).next(format!(
            "`safeconduct policy explain {}{}` says what would have to be true",
            request.resource,
            asked_for(&request)
        ))),
        "denied" => Err(Failure::new("CLI-011", Exit::Denied, message)),
        "lapsed" | "expired" => Err(Failure::new("CLI-012", Exit::Expired, message).next("ask again")),
        "withdrawn" | "revoked" => Err(Failure::new("CLI-013", Exit::Error, message)),
        _ => Ok(request),
    }
}

/// Its operations as they are typed after `policy explain`; every grant holds `connect`.
fn asked_for(request: &AccessRequest) -> String {
    let operations: Vec<&str> = request.operations.iter().map(String::as_str).filter(|operation| *operation != "connect").collect();
    let exact = if request.exact { " --exact" } else { "" };
    if operations.is_empty() { exact.to_owned() } else { format!(" -o {}{exact}", operations.join(",")) }
}

/// A sign of life on a terminal, nothing elsewhere.
pub struct Spinner(Option<ProgressBar>);

impl Spinner {
    pub fn start(text: &str) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
