//! A held statement: people are asked, the client is told, and whatever comes first settles it.
//!
//! While holding everything else goes on: a cancel, the client's leaving or the session's end takes the statement back.

use safeconduct_app::{App, DoorSession, Hold, HoldOutcome, ports::What};
use safeconduct_lifecycle::Withdrawal;
use safeconduct_model::AccessRequestId;
use safeconduct_protocol::postgres::{
    gate::{Ask, Resolution},
    messages::Report,
};
use tokio::{sync::oneshot, time::Instant};

use crate::judge::report;

/// A statement that waits for people.
pub(crate) struct Held {
    pub request: AccessRequestId,
    outcome: oneshot::Receiver<HoldOutcome>,
    until: Instant,
}

/// What ended the waiting.
pub(crate) enum Waited {
    Over(HoldOutcome),
    /// The application let go of it without a word.
    Lost,
    TooLong,
}

impl Held {
    /// Asks for exactly this action. What the client is told comes with it.
    ///
    /// # Errors
    /// The error for the client if it can't be asked for.
    pub(crate) async fn place(app: &App, session: &DoorSession, ask: &Ask) -> Result<(Self, Report), Report> {
        let Hold { request, notice, until, outcome } = session.place_hold(ask.action(), ask.in_transaction).await.map_err(report)?;
        let until = Instant::now() + until.left(app.now());
        Ok((Self { request, outcome, until }, told(&notice)))
    }

    /// Waits for people, at most as long as a hold may last. Cancel safe.
    pub(crate) async fn wait(&mut self) -> Waited {
        tokio::select! {
            outcome = &mut self.outcome => outcome.map_or(Waited::Lost, Waited::Over),
            () = tokio::time::sleep_until(self.until) => Waited::TooLong,
        }
    }

    /// What is to be recorded about the holding.
    pub(crate) fn placed(&self, ask: &Ask) -> What {
        What::Held { access_request: self.request.clone(), text: ask.text.as_ref().to_owned() }
    }

    /// The same about its end.
    pub(crate) fn ended(&self, how: &str) -> What {
        What::HoldEnded { access_request: self.request.clone(), how: how.to_owned() }
    }

    /// Takes the decision to the gate: an approval is claimed first.
    pub(crate) async fn settle(&self, session: &DoorSession, waited: Waited) -> (Resolution, String) {
        match waited {
            Waited::Over(HoldOutcome::Approved) => match session.claim(&self.request).await {
                Ok(permit) => (Resolution::Approved(permit), "approved".to_owned()),
                Err(refusal) => refused(report(refusal)),
            },
            Waited::Over(HoldOutcome::Ended(refusal)) => refused(report(refusal)),
            Waited::Lost => refused(self.over("the access request is gone")),
            Waited::TooLong => {
                session.withdraw(&self.request, Withdrawal::HoldTimedOut).await;
                refused(self.over("nobody decided in time"))
            }
        }
    }

    fn over(&self, why: &str) -> Report {
        Report::new("42501", format!("not approved: {why}")).detail(format!("Access request {}.", self.request))
    }
}

fn refused(report: Report) -> (Resolution, String) {
    let how = report.message.clone();
    (Resolution::Refused(report), how)
}

/// The error of a statement that its client cancelled.
pub(crate) fn cancelled() -> Report {
    Report::new("57014", "canceling statement due to user request")
}

/// The lines of a notice as message, detail and hint.
fn told(notice: &str) -> Report {
    let mut lines = notice.lines();
    let told = Report::new("00000", lines.next().unwrap_or("held"));
    let rest: Vec<&str> = lines.collect();
    match rest.split_last() {
        None => told,
        Some((hint, [])) => told.hint(*hint),
        Some((hint, detail)) => told.detail(detail.join("\n")).hint(*hint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_has_message_detail_and_hint() {
        let report = told("held as rq-1\napproval by 1 of dba\nuntil noon\nhttps://x/rq-1");
        assert_eq!(report.message, "held as rq-1");
        assert_eq!(report.detail.as_deref(), Some("approval by 1 of dba\nuntil noon"));
        assert_eq!(report.hint.as_deref(), Some("https://x/rq-1"));
        assert_eq!(told("held").detail, None);
    }
}
