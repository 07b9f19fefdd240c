//! News as server-sent events: names of what happened, to those who may know. Resumes where a client stopped, ends with its sign-in.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, stream};
use safeconduct_app::{App, Caller, News};
use tokio::sync::{OwnedSemaphorePermit, broadcast};

use crate::{
    dto,
    extract::{From, Signed, bearer},
    problem::Failure,
    state::ApiState,
};

/// How often a stream makes sure that its sign-in still holds.
const RECHECK: Duration = Duration::from_secs(10);

/// News, each with the ledger index as its id. After `Last-Event-ID`, an event `missed` says that something may have happened between:
/// look again at what you show.
#[utoipa::path(get, path = "/api/v1/events", tag = "node", params(("Last-Event-ID" = Option<u64>, Header, description = "ledger index of the last event seen")), responses(
    (status = 200, description = "events `news` with data `News`, and `missed`", body = String, content_type = "text/event-stream"),
    (status = 429, body = dto::Problem, content_type = "application/problem+json"),
))]
pub(crate) async fn events(
    State(state): State<ApiState>,
    Signed(caller): Signed,
    From(source): From,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let place = Arc::clone(&state.streams).try_acquire_owned().map_err(|_| Failure::too_many("too many streams are open"))?;
    let token = bearer(&headers).ok_or_else(Failure::not_signed_in)?.to_owned();
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse::<u64>().ok());
    let follower =
        Follower { news: state.app.subscribe(), app: state.app, caller, token, source, last, resumed: last.is_none(), _place: place };
    Ok(Sse::new(stream::unfold(follower, Follower::next)).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))))
}

/// One client following the news.
struct Follower {
    app: App,
    caller: Caller,
    token: String,
    source: String,
    news: broadcast::Receiver<Arc<News>>,
    last: Option<u64>,
    /// False until the client was told what it may have missed.
    resumed: bool,
    _place: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if !self.resumed {
            self.resumed = true;
            return Some((Ok(missed()), self));
        }
        loop {
            match tokio::time::timeout(RECHECK, self.news.recv()).await {
                Err(_) => self.recheck().await?,
                Ok(Err(broadcast::error::RecvError::Closed)) => return None,
                Ok(Err(broadcast::error::RecvError::Lagged(_))) => return Some((Ok(missed()), self)),
                Ok(Ok(news)) if self.last.is_some_and(|last| news.index <= last) => {}
                Ok(Ok(news)) => {
                    self.recheck().await?;
                    if self.app.may_see(&self.caller, &news) {
                        let data = serde_json::to_string(&dto::News::from(&*news)).unwrap_or_default();
                        return Some((Ok(Event::default().event("news").id(news.index.to_string()).data(data)), self));
                    }
                }
            }
        }
    }

    /// `None` ends the stream: the sign-in does not hold any more.
    async fn recheck(&mut self) -> Option<()> {
        self.caller = self.app.authenticate(&self.token, &self.source).await.ok()?;
        Some(())
    }
}

fn missed() -> Event {
    Event::default().event("missed").data("{}")
}
