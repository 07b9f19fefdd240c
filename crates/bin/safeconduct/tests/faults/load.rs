//! The load of one round: people who read, write, wait, run, ask and take back, all at once, until the gateway is gone.
//!
//! What the gateway confirmed to them is noted: a confirmed word must hold whatever happens next.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use safeconduct_testkit::TestEntropy;
use serde_json::{Value, json};

use crate::{
    api::{Api, Failed, id, state},
    door::{Lost, Session},
    node::{Node, RESOURCE},
    progress::Progress,
};

/// Marks an access request that nobody decides before the kill.
pub const LATE: &str = "late";

/// What was confirmed.
#[derive(Default)]
pub struct Confirmed {
    /// The state that was confirmed last, and its deadline, by access request.
    pub states: BTreeMap<String, (String, Option<String>)>,
    /// Marks that a statement or an outcome confirmed to be in the database.
    pub marks: Vec<i64>,
    /// Exact actions with their mark.
    pub exact: BTreeMap<String, i64>,
    /// Outcomes that a requester was told.
    pub outcomes: BTreeMap<String, Value>,
    /// Ledger indexes that were told as news, in order.
    pub news: Vec<u64>,
    /// The newest checkpoint seen.
    pub checkpoint: Option<String>,
}

/// What every client of a round shares.
pub struct Round<'a> {
    pub node: &'a Node,
    pub number: i64,
    pub progress: Arc<Progress>,
    pub confirmed: Mutex<Confirmed>,
    pub dice: TestEntropy,
}

impl Round<'_> {
    fn api(&self, name: &str) -> Api {
        self.node.api(name).counting(&self.progress)
    }

    fn below(&self, bound: u64) -> u64 {
        self.dice.next_u64() % bound
    }

    /// A mark of its own for each statement: round, client, count.
    pub fn mark(&self, client: i64, count: i64) -> i64 {
        (self.number * 10 + client) * 100_000 + count
    }

    fn confirm(&self, view: &Value) {
        let deadline = view["deadline"].as_str().map(ToOwned::to_owned);
        self.confirmed.lock().states.insert(id(view).to_owned(), (state(view).to_owned(), deadline));
    }

    /// Runs everybody until each has met a gateway that is gone.
    pub async fn load(&self) {
        let (reader, preparer, writer) = (self.reader(), self.preparer(), self.writer());
        let (holder, runner, changer) = (self.holder(), self.runner(), self.changer());
        let (approver, listener) = (self.approver(), self.listen(None));
        let results = tokio::join!(reader, preparer, writer, holder, runner, changer, approver, listener);
        let (a, b, c, d, e, f, g, h) = results;
        for (who, result) in [("reader", a), ("preparer", b), ("writer", c), ("holder", d)] {
            assert_eq!(result, Err(Lost::Gone), "{who} of round {}", self.number);
        }
        for (who, result) in [("runner", e), ("changer", f), ("approver", g), ("listener", h)] {
            assert_eq!(result, Err(Failed::Gone), "{who} of round {}", self.number);
        }
    }

    /// A session under a new window.
    async fn session(&self, name: &str, operations: &[&str]) -> Result<Session, Lost> {
        let gone = |failed: Failed| match failed {
            Failed::Gone => Lost::Gone,
            Failed::Problem { code, detail, .. } => Lost::Refused { sqlstate: code, message: detail },
        };
        let api = self.api(name);
        self.confirm(&api.window(operations, "a round of load").await.map_err(gone)?);
        let secret = api.connect(RESOURCE).await.map_err(gone)?;
        Session::open(self.node, &secret, Some(&self.progress)).await
    }

    async fn reader(&self) -> Result<(), Lost> {
        let mut session = self.session("alice", &["read"]).await?;
        for count in 0.. {
            session.query(&format!("SELECT note FROM orders WHERE id = {} /* {} */", count % 100, self.mark(1, count))).await?;
        }
        Ok(())
    }

    async fn preparer(&self) -> Result<(), Lost> {
        let mut session = self.session("rita", &["read"]).await?;
        session.prepare("named", &format!("SELECT note FROM orders WHERE id = $1 /* {} */", self.mark(2, 0))).await?;
        for count in 0.. {
            session.execute("named", &(count % 100).to_string()).await?;
        }
        Ok(())
    }

    async fn writer(&self) -> Result<(), Lost> {
        let mut session = self.session("oscar", &["read", "write"]).await?;
        for count in 0.. {
            let mark = self.mark(3, count);
            let insert = format!("INSERT INTO marks VALUES ({mark}, 'writer')");
            match self.below(3) {
                0 => {
                    session.query("BEGIN").await?;
                    session.query(&insert).await?;
                    session.query("COMMIT").await?;
                    self.confirmed.lock().marks.push(mark);
                }
                1 => {
                    session.query(&format!("BEGIN; {insert}; ROLLBACK")).await?;
                }
                _ => {
                    session.query(&insert).await?;
                    self.confirmed.lock().marks.push(mark);
                }
            }
        }
        Ok(())
    }

    /// Writes with no right to: each statement is held until somebody approves it.
    async fn holder(&self) -> Result<(), Lost> {
        let mut session = self.session("erin", &["read"]).await?;
        for count in 0.. {
            let mark = self.mark(4, count);
            match session.query(&format!("INSERT INTO marks VALUES ({mark}, 'holder')")).await {
                Ok(_) => self.confirmed.lock().marks.push(mark),
                // Denied: the session goes on.
                Err(Lost::Refused { sqlstate, .. }) if sqlstate == "42501" => {}
                Err(lost) => return Err(lost),
            }
        }
        Ok(())
    }

    async fn runner(&self) -> Result<(), Failed> {
        let api = self.api("frank");
        for count in 0.. {
            let mark = self.mark(5, count);
            let asked = api.exact(RESOURCE, &format!("INSERT INTO marks VALUES ({mark}, 'runner')"), "one exact insert").await?;
            let id = id(&asked).to_owned();
            self.confirmed.lock().exact.insert(id.clone(), mark);
            self.confirm(&asked);
            let mut view = asked;
            while state(&view) == "pending" {
                view = api.get(&format!("/access-requests/{id}/wait?timeout=30")).await?;
            }
            self.confirm(&view);
            if state(&view) != "ready" {
                continue;
            }
            let lines = api.execute(&id).await?;
            // Cut off in the middle it has no outcome.
            let Some(outcome) = lines.last().filter(|line| line["part"] == "outcome") else { continue };
            let mut confirmed = self.confirmed.lock();
            if outcome["result"]["outcome"] == "executed" && outcome["result"]["transaction"] == "committed" {
                confirmed.marks.push(mark);
            }
            confirmed.outcomes.insert(id, outcome["result"].clone());
        }
        Ok(())
    }

    /// Gets grants and ends them in every way there is.
    async fn changer(&self) -> Result<(), Failed> {
        let (api, bob) = (self.api("frank"), self.api("bob"));
        for _ in 0.. {
            let asked = api.window(&["read"], "to be given back").await?;
            self.confirm(&asked);
            let grant = asked["grant"].as_str().unwrap();
            let ended = match self.below(4) {
                0 => api.post(&format!("/grants/{grant}/release"), json!({})).await?,
                1 => bob.post(&format!("/grants/{grant}/revoke"), json!({"reason": "a round of load"})).await?,
                2 => {
                    let longer = json!({"by": "5m", "reason": "a round of load"});
                    let extension = api.post(&format!("/grants/{grant}/extend"), longer).await?;
                    self.confirm(&extension);
                    api.show(id(&asked)).await?
                }
                _ => {
                    let waits = api.window(&["ddl"], LATE).await?;
                    self.confirm(&waits);
                    api.post(&format!("/access-requests/{}/cancel", id(&waits)), json!({})).await?
                }
            };
            self.confirm(&ended);
        }
        Ok(())
    }

    /// Approves what waits, and denies some of it.
    async fn approver(&self) -> Result<(), Failed> {
        let api = self.api("bob");
        let mut news = api.events(None).await?;
        loop {
            let waiting = api.get("/access-requests?list=to-approve&state=pending").await?;
            for view in waiting.as_array().unwrap().iter().filter(|view| view["reason"] != LATE) {
                let decided = if self.below(5) == 0 {
                    api.post(&format!("/access-requests/{}/deny", id(view)), json!({"comment": "not this one"})).await
                } else {
                    api.approve(view).await
                };
                match decided {
                    Err(Failed::Gone) => return Err(Failed::Gone),
                    // Settled meanwhile.
                    Err(Failed::Problem { .. }) => {}
                    Ok(view) if view["exact"] == true => {}
                    Ok(view) => self.confirm(&view),
                }
            }
            if news.chunk().await.map_err(|_| Failed::Gone)?.is_none() {
                return Err(Failed::Gone);
            }
        }
    }

    /// Follows the news from after `last` on, and remembers checkpoints, until `last` of them is heard or the gateway is gone.
    pub async fn listen(&self, until: Option<u64>) -> Result<(), Failed> {
        let api = self.node.api("carol");
        let last = self.confirmed.lock().news.last().copied();
        let mut stream = api.events(last).await?;
        let mut text = String::new();
        while let Some(part) = stream.chunk().await.map_err(|_| Failed::Gone)? {
            text.push_str(&String::from_utf8_lossy(&part));
            while let Some(end) = text.find("\n\n") {
                let event: String = text.drain(..end + 2).collect();
                assert!(!event.contains("event: missed"), "news were missed after {last:?}");
                let Some(index) = event.lines().find_map(|line| line.strip_prefix("id: ")) else { continue };
                let index: u64 = index.parse().unwrap();
                self.confirmed.lock().news.push(index);
                if until.is_some_and(|until| index >= until) {
                    return Ok(());
                }
            }
            if until.is_none() && self.below(4) == 0 {
                let note = api.text("/ledger/checkpoint").await?;
                self.confirmed.lock().checkpoint = Some(note);
            }
        }
        Err(Failed::Gone)
    }
}
