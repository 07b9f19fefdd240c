//! News as server-sent events: names of what happened, to those who may know. Resumes where a client stopped without gap or repetition,
//! and ends with its sign-in.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use safeconduct_app::{App, Caller, News, Reach};
use tokio::sync::{OwnedSemaphorePermit, broadcast};
use zeroize::Zeroizing;

use crate::{
    dto,
    extract::{CallerSecret, Closing, From, Reached, Signed},
    problem::Failure,
    state::ApiState,
};

/// How often a stream makes sure that its sign-in still holds.
const RECHECK: Duration = Duration::from_secs(10);
/// How far back a client may resume.
const MOST_REPLAYED: u64 = 10_000;
/// Events looked at in one go.
const AT_ONCE: u32 = 200;

/// News, each with the ledger index as its id. After `Last-Event-ID` what happened since comes first, each once, then what happens. An event
/// `missed` says that it is too much to be told: look again at what you show.
#[utoipa::path(get, path = "/api/v1/events", tag = "node", params(("Last-Event-ID" = Option<u64>, Header, description = "ledger index of the last event seen")), responses(
    (status = 200, description = "events `news` with data `News`, and `missed`", body = String, content_type = "text/event-stream"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn events(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    CallerSecret(secret): CallerSecret,
    From(source): From,
    Reached(reach): Reached,
    closing: Closing,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let place = Arc::clone(&state.streams).try_acquire_owned().map_err(|_| Failure::too_many("too many streams are open"))?;
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse::<u64>().ok());
    // Listening begins before anything is read back, so that nothing falls between.
    let news = state.app.subscribe();
    let mut follower = Follower {
        news,
        app: state.app,
        caller,
        secret,
        source,
        reach,
        closing,
        last,
        ready: VecDeque::new(),
        behind: false,
        _place: place,
    };
    if let Some(last) = last {
        let size = follower.app.ledger_size().await?;
        let missing = size.saturating_sub(last.saturating_add(1));
        if missing > MOST_REPLAYED || last >= size {
            follower.last = None;
            follower.ready.push_back(missed());
        } else {
            follower.behind = true;
        }
    }
    Ok(Sse::new(stream::unfold(follower, Follower::next)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// One client following the news.
struct Follower {
    app: App,
    caller: Caller,
    secret: Zeroizing<String>,
    source: String,
    reach: Reach,
    closing: Closing,
    news: broadcast::Receiver<Arc<News>>,
    /// Index of the last event that was told or is not the caller's to know.
    last: Option<u64>,
    /// To be told next.
    ready: VecDeque<Event>,
    /// True while there may be more to read back before listening.
    behind: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some((Ok(event), self));
            }
            if self.behind {
                self.recheck().await?;
                self.read_back().await?;
                continue;
            }
            let received = tokio::select! {
                received = tokio::time::timeout(RECHECK, self.news.recv()) => received,
                () = self.closing.closed() => return None,
            };
            match received {
                Err(_) => self.recheck().await?,
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                // Too slow for what is kept in memory: the ledger has it.
                Ok(Err(broadcast::error::RecvError::Lagged(_))) if self.last.is_some() => self.behind = true,
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => self.ready.push_back(missed()),
                Ok(Ok(news)) if self.last.is_some_and(|last| news.index <= last) => {}
                Ok(Ok(news)) => {
                    self.last = Some(news.index);
                    self.recheck().await?;
                    if self.app.may_see(&self.caller, &news) {
                        self.ready.push_back(event_of(&news));
                    }
                }
            }
        }
    }

    /// Reads the next part of what happened meanwhile. `None` ends the stream: a client comes back and resumes.
    async fn read_back(&mut self) -> Option<()> {
        let from = self.last.map_or(0, |last| last.saturating_add(1));
        let missed = self.app.news_from(&self.caller, from, AT_ONCE).await.ok()?;
        self.ready.extend(missed.news.iter().map(event_of));
        if missed.next == from {
            self.behind = false;
        } else {
            self.last = Some(missed.next.saturating_sub(1));
        }
        Some(())
    }

    /// `None` ends the stream: the sign-in does not hold any more.
    async fn recheck(&mut self) -> Option<()> {
        self.caller = self.app.authenticate(&self.secret, &self.source, self.reach).await.ok()?;
        Some(())
    }
}

fn event_of(news: &News) -> Event {
    let data = serde_json::to_string(&dto::News::from(news)).unwrap_or_default();
    Event::default().event("news").id(news.index.to_string()).data(data)
}

fn missed() -> Event {
    Event::default().event("missed").data("{}")
}
