//! `kill -9` at seeded points under load, and what must hold afterwards. `SEED` and `ROUNDS` are read from the environment.

use std::{sync::Arc, time::Duration};

use safeconduct_testkit::{PostgresServer, TestEntropy};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, process::Child};

use crate::{
    api::{id, state},
    checks::{self, Left, Ran},
    load::{Confirmed, LATE, Round},
    node::{Node, PATIENCE, RESOURCE, ROLES, TABLES, program},
    progress::Progress,
};

/// Rounds on one store before a new one: what is verified grows with it.
const ROUNDS_PER_STORE: u64 = 20;
/// A round is killed after at most this many messages.
const LONGEST: u64 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn f12_f17_killed_at_any_point_it_goes_on_from_what_it_recorded() {
    let number = |name: &str, usual: u64| std::env::var(name).ok().map_or(usual, |text| text.parse().unwrap());
    let (seed, rounds) = (number("SEED", 1), number("ROUNDS", 4));
    let server = PostgresServer::start_with(&format!("{TABLES}{ROLES}"));
    let dice = TestEntropy::seeded(seed);
    let mut store: Option<Store> = None;
    let (mut statements, mut started, mut minted) = (0, Vec::new(), false);
    for number in 1..=rounds {
        if store.as_ref().is_none_or(|store| store.rounds == ROUNDS_PER_STORE) {
            if let Some(store) = store.take() {
                store.close().await;
            }
            // By turns with a role for each session and with one login for all.
            minted = !minted;
            let upstreams = [server.port];
            let node =
                if minted { Node::furnished_with_roles(&server, &upstreams).await } else { Node::furnished(&server, &upstreams).await };
            store = Some(Store { node, rounds: 0, past: Default::default() });
        }
        let store = store.as_mut().unwrap();
        store.rounds += 1;
        eprintln!("round {number} of {rounds}, SEED={seed}");
        let round = tokio::time::timeout(5 * PATIENCE, store.round(&server, number, &dice));
        let (ran, took) = round.await.unwrap_or_else(|_| panic!("round {number} hangs; the node said\n{}", store.node.said()));
        statements += ran;
        started.push(took);
    }
    if let Some(store) = store {
        store.close().await;
    }
    started.sort();
    eprintln!("{rounds} rounds held, {statements} statements at the server, median start {:?}", started[started.len() / 2]);
}

/// A node on one store, round after round.
struct Store {
    node: Node,
    rounds: u64,
    /// Access requests of earlier rounds: settled and checked.
    past: std::collections::BTreeSet<String>,
}

impl Store {
    async fn round(&mut self, server: &PostgresServer, number: u64, dice: &TestEntropy) -> (u64, Duration) {
        let mut took = self.node.start();
        let waiting = Waiting::start(&self.node, number).await;
        let progress = Arc::new(Progress::until(1 + dice.next_u64() % LONGEST));
        let round = Round {
            node: &self.node,
            number: i64::try_from(number).unwrap(),
            progress: Arc::clone(&progress),
            confirmed: Default::default(),
            dice: TestEntropy::seeded(dice.next_u64()),
        };
        let pid = self.node.pid().to_string();
        let kill = async {
            progress.reached().await;
            // At once, from here: the clients go on meanwhile.
            assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
        };
        tokio::join!(round.load(), kill);
        let confirmed = round.confirmed.into_inner();
        self.node.kill();

        let ran = Ran::until_quiet(server);
        let marks = checks::marks(server);
        let left = Left::behind(&self.node.data).await;
        left.hold_what_was_confirmed(&confirmed);
        left.agree_with(&marks, &ran);
        checks::confirmed_marks(&confirmed, &marks);
        if dice.next_u64().is_multiple_of(4) {
            // Killed again while it recovers: it listens before it reads the store.
            self.node.spawn();
            while std::net::TcpStream::connect(self.node.api).is_err() {
                std::thread::yield_now();
            }
            self.node.kill();
        }
        took = took.max(self.node.start());
        let auditor = self.node.api("carol");
        left.go_on(&auditor, &self.past).await;
        ran.were_intended(&self.node.recordings(), &left);
        self.resumes(number, confirmed, left.entries, waiting, server).await;
        self.past.extend(left.access.into_keys());
        self.tidy().await;
        checks::until_no_minted_role(server);
        self.node.kill();
        let _ = Ran::until_quiet(server);
        (ran.statements(), took)
    }

    /// Whoever waited goes on waiting, and what comes is what they waited for. The ledger extends what was seen of it.
    async fn resumes(&self, number: u64, confirmed: Confirmed, entries: u64, waiting: Waiting, server: &PostgresServer) {
        let bob = self.node.api("bob");
        for id in [&waiting.window.1, &waiting.run.1] {
            bob.approve(&bob.show(id).await.unwrap()).await.unwrap();
        }
        waiting.window.0.ends_well().await;
        waiting.run.0.ends_well().await;
        let ran = server.psql_superuser(&format!("SELECT count(*) FROM marks WHERE id = {}", Waiting::mark(number)));
        assert_eq!(ran, "1", "what waited to be run ran once");

        let checkpoint = confirmed.checkpoint.clone();
        let following =
            Round { node: &self.node, number: 0, progress: Arc::default(), confirmed: confirmed.into(), dice: TestEntropy::seeded(0) };
        if !following.confirmed.lock().news.is_empty() {
            following.listen(Some(entries)).await.unwrap();
            checks::contiguous(&following.confirmed.lock().news);
        }
        let auditor = self.node.api("carol");
        let key = auditor.get("/ledger/key").await.unwrap()["key"].as_str().unwrap().to_owned();
        let mut arguments = vec!["ledger", "verify", "--vkey", &key];
        let file = self.node.folder.path().join("checkpoint");
        if let Some(note) = checkpoint {
            std::fs::write(&file, note).unwrap();
            arguments.extend(["--checkpoint", file.to_str().unwrap()]);
        }
        let verified = self.node.command("carol", &arguments).output().await.unwrap();
        assert!(verified.status.success(), "{verified:?}");
    }

    /// Nothing of this round is left open for the next one.
    async fn tidy(&self) {
        let (ann, bob) = (self.node.api("ann"), self.node.api("bob"));
        for view in ann.get("/grants?all=true&limit=200").await.unwrap().as_array().unwrap() {
            if state(view) == "active" {
                let path = format!("/grants/{}/revoke", view["grant"].as_str().unwrap());
                ann.post(&path, json!({"reason": "the round is over"})).await.unwrap();
            }
        }
        for view in bob.get("/access-requests?list=to-approve&state=pending&limit=200").await.unwrap().as_array().unwrap() {
            bob.post(&format!("/access-requests/{}/deny", id(view)), json!({"comment": "the round is over"})).await.unwrap();
        }
    }

    /// Verified once more, offline, by the program that knows only the format.
    async fn close(mut self) {
        self.node.start();
        let copy = self.node.folder.path().join("export");
        let key = self.node.api("carol").get("/ledger/key").await.unwrap()["key"].as_str().unwrap().to_owned();
        let home = self.node.folder.path().join("homes/carol");
        let profile = format!("server = \"{}\"\nname = \"carol\"\nledger_key = \"{key}\"\n", self.node.url());
        std::fs::write(home.join("profile.toml"), profile).unwrap();
        let exported = self.node.command("carol", &["ledger", "export", copy.to_str().unwrap()]).output().await.unwrap();
        assert!(exported.status.success(), "{exported:?}");
        let remembered = home.join("checkpoint");
        let verify = program().with_file_name("safeconduct-verify");
        let verified =
            tokio::process::Command::new(verify).arg(&copy).args(["--vkey", &key, "--checkpoint"]).arg(remembered).output().await;
        let verified = verified.expect("safeconduct-verify is built with the workspace");
        assert!(verified.status.success(), "{verified:?}");
    }
}

/// Two people at the command line who wait through the kill.
struct Waiting {
    window: (Program, String),
    run: (Program, String),
}

impl Waiting {
    fn mark(number: u64) -> u64 {
        (number * 10 + 9) * 100_000
    }

    async fn start(node: &Node, number: u64) -> Self {
        let asking = ["request", RESOURCE, "-o", "write", "--for", "20m", "--reason", LATE, "--wait", "--timeout", "10m"];
        let insert = format!("INSERT INTO marks VALUES ({}, 'run')", Self::mark(number));
        let running = ["run", RESOURCE, "--reason", LATE, "--timeout", "10m", "--", &insert];
        let window = Program::waiting(node.command("wendy", &asking)).await;
        let run = Program::waiting(node.command("wendy", &running)).await;
        Self { window, run }
    }
}

struct Program {
    child: Child,
    said: String,
}

impl Program {
    /// Starts it and returns what it waits for.
    async fn waiting(mut command: tokio::process::Command) -> (Self, String) {
        let mut child = command.spawn().unwrap();
        let (mut said, mut buffer) = (String::new(), [0; 512]);
        loop {
            let size = child.stderr.as_mut().unwrap().read(&mut buffer).await.unwrap();
            assert_ne!(size, 0, "it does not wait: {said}");
            said.push_str(&String::from_utf8_lossy(&buffer[..size]));
            if let Some(id) = said.split_whitespace().find(|word| word.starts_with("rq-") && word.len() == "rq-".len() + 12) {
                let id = id.to_owned();
                return (Self { child, said }, id);
            }
        }
    }

    async fn ends_well(self) {
        let output = self.child.wait_with_output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}\n{}\n{}", self.said, text(&output.stderr), text(&output.stdout));
    }
}
