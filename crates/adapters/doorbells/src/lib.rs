//! Doorbells: when an access request waits for people, those who may approve hear of it. A doorbell never decides.
//!
//! Each doorbell follows the record with a cursor of its own, rings once for each access request that still waits, and tries again while it
//! waits. So nothing is lost while a receiver or this node is down, what was decided meanwhile rings nowhere, and one that fails delays no
//! other. A receiver may hear of one access request twice, after a crash; the id of the message is the same.

mod mail;
mod settings;
mod webhook;

use std::time::Duration;

use safeconduct_app::{App, Bell, Problem};
use safeconduct_model::AccessRequestId;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

pub use settings::{Doorbells, Settings};
use settings::{Mail, Webhook};

/// Most events that are looked at in one go.
const EVENTS: u32 = 500;
/// How often it is looked whether something waits.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// The first pause after a failure; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// So often it is tried if the receiver does not want it: about half a minute.
const TRIES_IF_UNWANTED: u64 = 5;
/// Most rings of one doorbell in a minute. The others wait, and are left out once they are decided.
const MOST_A_MINUTE: u32 = 60;

/// Why a doorbell did not ring. It is tried again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotRung {
    #[error("what waits can't be read")]
    Unread(#[from] Problem),
    #[error("{0}")]
    Settings(String),
    #[error("the receiver can't be reached")]
    Http(#[from] reqwest::Error),
    #[error("the receiver answered with status {0}")]
    Status(reqwest::StatusCode),
    #[error("the mail server did not take it")]
    Smtp(#[from] lettre::transport::smtp::Error),
    #[error("the message could not be made")]
    Message(#[from] lettre::error::Error),
}

impl NotRung {
    /// The receiver understood and does not want it: another try of the same has little hope, and others wait behind it.
    fn is_unwanted(&self) -> bool {
        match self {
            Self::Status(status) => status.is_client_error() && !matches!(status.as_u16(), 408 | 425 | 429),
            Self::Smtp(error) => error.is_permanent(),
            Self::Message(_) => true,
            _ => false,
        }
    }
}

/// One way to ring.
enum Doorbell {
    Webhook(Box<Webhook>, reqwest::Client),
    Mail(Box<Mail>),
}

impl Doorbell {
    fn name(&self) -> &str {
        match self {
            Self::Webhook(webhook, _) => &webhook.name,
            Self::Mail(_) => "mail",
        }
    }

    /// Under which its cursor is kept. No webhook can take the mail's.
    fn key(&self) -> String {
        match self {
            Self::Webhook(webhook, _) => format!("webhook {}", webhook.name),
            Self::Mail(_) => "mail".to_owned(),
        }
    }

    async fn ring(&self, app: &App, bell: &Bell) -> Result<(), NotRung> {
        match self {
            Self::Webhook(webhook, client) => webhook::ring(client, webhook, bell, app.now()).await,
            Self::Mail(mail) => mail::ring(mail, bell).await,
        }
    }
}

/// Rings all doorbells until told to stop.
pub async fn ring_forever(app: App, doorbells: Doorbells, stop: watch::Receiver<bool>) {
    let mut tasks = tokio::task::JoinSet::new();
    for webhook in doorbells.webhooks {
        match webhook::client(&webhook) {
            Ok(client) => {
                tasks.spawn(follow(app.clone(), Doorbell::Webhook(Box::new(webhook), client), stop.clone()));
            }
            Err(error) => tracing::error!(doorbell = webhook.name, error = &error as &dyn std::error::Error, "does not ring"),
        }
    }
    if let Some(mail) = doorbells.mail {
        tasks.spawn(follow(app, Doorbell::Mail(Box::new(mail)), stop));
    }
    while tasks.join_next().await.is_some() {}
}

/// How many rings are left in this minute.
struct Rate {
    since: Instant,
    left: u32,
}

impl Rate {
    fn full() -> Self {
        Self { since: Instant::now(), left: MOST_A_MINUTE }
    }

    async fn take(&mut self) {
        const MINUTE: Duration = Duration::from_secs(60);
        if self.left == 0 {
            sleep(MINUTE.saturating_sub(self.since.elapsed())).await;
        }
        if self.left == 0 || self.since.elapsed() >= MINUTE {
            *self = Self::full();
        }
        self.left -= 1;
    }
}

/// Follows the record for one doorbell.
async fn follow(app: App, doorbell: Doorbell, mut stop: watch::Receiver<bool>) {
    let work = async {
        let mut rate = Rate::full();
        let mut pause = FIRST_PAUSE;
        loop {
            match ring_for_all(&app, &doorbell, &mut rate).await {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    sleep(LOOK_EVERY).await;
                }
                Err(problem) => {
                    tracing::warn!(doorbell = doorbell.name(), %problem, "what waits can't be read");
                    sleep(pause).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    };
    tokio::select! {
        () = work => {}
        // Its sender gone is the order to stop, too. What was not rung for is rung for after the next start, if it still waits.
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// Rings for everything that was submitted since, in order.
async fn ring_for_all(app: &App, doorbell: &Doorbell, rate: &mut Rate) -> Result<(), Problem> {
    let key = doorbell.key();
    let mut from = app.rung(&key).await?;
    loop {
        let (submitted, next) = app.submitted(from, EVENTS).await?;
        if next == from {
            return Ok(());
        }
        for (id, after) in submitted {
            ring_while_it_waits(app, doorbell, rate, &id).await?;
            app.set_rung(&key, after).await?;
        }
        app.set_rung(&key, next).await?;
        from = next;
    }
}

/// Rings for one access request until that succeeded or nobody is waited for any more.
async fn ring_while_it_waits(app: &App, doorbell: &Doorbell, rate: &mut Rate, id: &AccessRequestId) -> Result<(), Problem> {
    let mut pause = FIRST_PAUSE;
    for attempt in 1_u64.. {
        if app.bell(id).await?.is_none() {
            return Ok(());
        }
        rate.take().await;
        // As it stands now: waiting for its turn may have taken long.
        let Some(bell) = app.bell(id).await? else { return Ok(()) };
        match doorbell.ring(app, &bell).await {
            Ok(()) => {
                app.meters().bell_rang(doorbell.name(), true);
                tracing::info!(doorbell = doorbell.name(), access_request = %id, attempt, "rang");
                return Ok(());
            }
            Err(error) if error.is_unwanted() && attempt >= TRIES_IF_UNWANTED => {
                app.meters().bell_rang(doorbell.name(), false);
                tracing::error!(
                    doorbell = doorbell.name(), access_request = %id, attempt, error = &error as &dyn std::error::Error,
                    "did not ring, and is not tried again"
                );
                return Ok(());
            }
            Err(error) => {
                app.meters().bell_rang(doorbell.name(), false);
                tracing::warn!(
                    doorbell = doorbell.name(), access_request = %id, attempt, error = &error as &dyn std::error::Error,
                    "did not ring; it is tried again while the access request waits"
                );
            }
        }
        sleep(pause).await;
        pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use reqwest::StatusCode;

    use super::*;

    #[test]
    fn only_what_the_receiver_does_not_want_is_given_up() {
        for (status, unwanted) in
            [(400, true), (401, true), (410, true), (408, false), (429, false), (500, false), (503, false), (307, false)]
        {
            assert_eq!(NotRung::Status(StatusCode::from_u16(status).unwrap()).is_unwanted(), unwanted, "{status}");
        }
        assert!(!NotRung::Settings("no secret".to_owned()).is_unwanted());
    }

    #[tokio::test(start_paused = true)]
    async fn f28_a_flood_rings_sixty_times_a_minute() {
        let (mut rate, began) = (Rate::full(), Instant::now());
        for _ in 0..150 {
            rate.take().await;
        }
        assert_eq!(began.elapsed().as_secs(), 120);
    }
}
