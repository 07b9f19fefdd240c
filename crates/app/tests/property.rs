//! Random scripts of what people do while the clock moves, against a plain model: rights are the union of live grants.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::*;
use proptest::prelude::*;
use safeconduct_app::{DoorSession, Verdict};
use safeconduct_lifecycle::AccessState;
use safeconduct_model::{Change, GrantId, Operation, Timestamp};
use safeconduct_testkit::{parsed, ttl, words};

#[derive(Clone, Debug)]
enum Step {
    Ask { who: usize, write: bool, seconds: u64 },
    Approve { by: usize, which: usize },
    Deny { which: usize },
    Release { which: usize },
    Revoke { which: usize },
    Extend { which: usize, seconds: u64 },
    Open { who: usize },
    Close { which: usize },
    Pass { seconds: u64, tick: bool },
    WallJump { seconds: i64 },
    Toggle { who: usize },
    Freeze(bool),
    Fail(bool),
}

const ASKERS: [&str; 2] = ["alice", "erin"];
const APPROVERS: [&str; 4] = ["bob", "dora", "alice", "ann"];

fn step() -> impl Strategy<Value = Step> {
    let which = 0_usize..8;
    prop_oneof![
        4 => (0_usize..2, any::<bool>(), 1_u64..1800).prop_map(|(who, write, seconds)| Step::Ask { who, write, seconds }),
        4 => (0_usize..4, which.clone()).prop_map(|(by, which)| Step::Approve { by, which }),
        1 => which.clone().prop_map(|which| Step::Deny { which }),
        1 => which.clone().prop_map(|which| Step::Release { which }),
        1 => which.clone().prop_map(|which| Step::Revoke { which }),
        1 => (which.clone(), 1_u64..600).prop_map(|(which, seconds)| Step::Extend { which, seconds }),
        3 => (0_usize..2).prop_map(|who| Step::Open { who }),
        1 => which.prop_map(|which| Step::Close { which }),
        4 => (0_u64..900, any::<bool>()).prop_map(|(seconds, tick)| Step::Pass { seconds, tick }),
        1 => (-7200_i64..600).prop_map(|seconds| Step::WallJump { seconds }),
        1 => (0_usize..2).prop_map(|who| Step::Toggle { who }),
        1 => any::<bool>().prop_map(Step::Freeze),
        1 => any::<bool>().prop_map(Step::Fail),
    ]
}

/// What was granted, as plainly as possible.
struct Granted {
    id: GrantId,
    who: usize,
    write: bool,
    until: Timestamp,
    over: bool,
}

struct Play {
    house: House,
    asked: Vec<(safeconduct_app::AccessView, usize, bool)>,
    granted: Vec<Granted>,
    sessions: Vec<(usize, DoorSession)>,
    disabled: [bool; 2],
    latest: Timestamp,
}

impl Play {
    fn note(&mut self, view: &safeconduct_app::AccessView, who: usize, write: bool) {
        let id = view.access.grant();
        match view.access.state {
            AccessState::Active { until, .. } => match self.granted.iter_mut().find(|g| g.id == id) {
                Some(known) => known.until = until,
                None => self.granted.push(Granted { id, who, write, until, over: false }),
            },
            AccessState::Pending => {}
            _ => self.granted.iter_mut().filter(|g| g.id == id).for_each(|g| g.over = true),
        }
    }

    async fn run(&mut self, step: Step) {
        let alive = |which: usize, n: usize| (n > 0).then(|| which % n.max(1));
        let house = &self.house;
        match step {
            Step::Ask { who, write, seconds } => {
                let operation = if write { Operation::Write } else { Operation::Read };
                if let Ok(view) = house.window(ASKERS[who], &[operation], seconds).await {
                    self.note(&view, who, write);
                    self.asked.push((view, who, write));
                }
            }
            Step::Approve { by, which } => {
                let Some(which) = alive(which, self.asked.len()) else { return };
                let (view, who, write) = self.asked[which].clone();
                if let Ok(view) = house.approve(APPROVERS[by], &view).await {
                    assert!(by < 2, "only a DBA approves");
                    match &view.access.envelope.origin {
                        safeconduct_model::Origin::Extension { of } => {
                            let original = house.see(&of.access_request()).await;
                            self.note(&original, who, write);
                        }
                        _ => self.note(&view, who, write),
                    }
                }
            }
            Step::Deny { which } => {
                let Some(which) = alive(which, self.asked.len()) else { return };
                let (view, who, write) = self.asked[which].clone();
                let id = view.access.envelope.access_request.clone();
                if let Ok(view) = house.app.deny(&house.caller("bob"), &id, words("no"), None).await {
                    self.note(&view, who, write);
                }
            }
            Step::Release { which } | Step::Revoke { which } => {
                let Some(which) = alive(which, self.granted.len()) else { return };
                let (id, who) = (self.granted[which].id.clone(), ASKERS[self.granted[which].who]);
                let ended = match step {
                    Step::Release { .. } => house.app.release(&house.caller(who), &id).await,
                    _ => house.app.revoke(&house.caller("ann"), &id, words("stop")).await,
                };
                self.granted[which].over |= ended.is_ok();
            }
            Step::Extend { which, seconds } => {
                let Some(which) = alive(which, self.granted.len()) else { return };
                let (id, who, write) = (self.granted[which].id.clone(), self.granted[which].who, self.granted[which].write);
                if let Ok(view) = house.app.extend(&house.caller(ASKERS[who]), &id, ttl(seconds), words("more")).await {
                    let original = house.see(&id.access_request()).await;
                    self.asked.push((view, who, write));
                    self.note(&original, who, write);
                }
            }
            Step::Open { who } => {
                let live = self.live(who, false) || self.live(who, true);
                match house.try_open(ASKERS[who]).await {
                    Ok(session) => {
                        assert!(live, "a session without a live grant");
                        self.sessions.push((who, session));
                    }
                    Err(_) => assert!(!live || house.store.is_full(), "a live grant opens a session"),
                }
            }
            Step::Close { which } => {
                let Some(which) = alive(which, self.sessions.len()) else { return };
                if !house.store.is_full() {
                    self.sessions.swap_remove(which).1.close("done").await;
                }
            }
            Step::Pass { seconds, tick } => {
                house.clock.advance(Duration::from_secs(seconds));
                if tick {
                    let _ = house.app.tick().await;
                }
            }
            Step::WallJump { seconds } => house.clock.set_wall(safeconduct_app::ports::Clock::now(&*house.clock).plus_seconds(seconds)),
            Step::Toggle { who } => {
                let name = parsed(ASKERS[who]);
                let change = if self.disabled[who] { Change::Enable { name } } else { Change::Disable { name } };
                let Ok(view) = house.change("ann", change).await else { return };
                if house.approve("abe", &view).await.is_ok() {
                    self.disabled[who] = !self.disabled[who];
                    self.granted.iter_mut().filter(|g| g.who == who).for_each(|g| g.over = true);
                }
            }
            Step::Freeze(on) => {
                let files = if on { bundle(&format!("{POLICY}{FREEZE}")) } else { bundle(POLICY) };
                if house.app.operator_policy(&files).await.is_ok() && on {
                    self.granted.iter_mut().for_each(|g| g.over = true);
                }
            }
            Step::Fail(on) => house.store.set_full(on),
        }
    }

    fn live(&self, who: usize, write: bool) -> bool {
        let now = self.house.app.now();
        self.granted.iter().any(|g| g.who == who && g.write == write && !g.over && now < g.until)
    }

    fn check(&mut self) {
        let now = self.house.app.now();
        assert!(now >= self.latest, "time went back");
        self.latest = now;
        for (who, session) in &self.sessions {
            // Cut once means cut for good; until then a session may do what the union of its holder's grants allows.
            let cut = ended(session).is_some();
            let (read, write) = (self.live(*who, false), self.live(*who, true));
            assert!(cut || read || write || self.overdue(*who), "a session stands without a live grant");
            for (text, allowed) in [("select 1 from orders", read), ("update orders set a = 1", write), ("commit", read || write)] {
                let permit = matches!(authorize(session, text), Verdict::Permit(_));
                assert_eq!(permit, allowed && !cut, "`{text}` cut {cut}");
            }
        }
    }

    /// True if a grant is past its deadline and no tick has come yet.
    fn overdue(&self, who: usize) -> bool {
        let now = self.house.app.now();
        self.granted.iter().any(|g| g.who == who && !g.over && now >= g.until)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn sessions_hold_exactly_the_union_of_live_grants(script in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let latest = house.app.now();
            let mut play = Play { house, asked: Vec::new(), granted: Vec::new(), sessions: Vec::new(), disabled: [false; 2], latest };
            for step in script {
                play.run(step).await;
                play.check();
            }
            // In the end everything ends.
            play.house.store.set_full(false);
            play.house.clock.advance(Duration::from_secs(24 * 3600));
            play.house.app.tick().await.unwrap();
            for (_, session) in play.sessions.drain(..) {
                assert!(ended(&session).is_some());
                session.close("over").await;
            }
            play.house.app.tick().await.unwrap();
            assert_eq!(play.house.app.status().await.live_grants, 0);
        });
    }
}
