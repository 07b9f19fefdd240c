//! The database goes away, falls silent, or is restarted: who used it is told, what was exact has an honest outcome, others go on.

use safeconduct_testkit::PostgresServer;
use serde_json::{Value, json};

use crate::{
    api::{Api, id, state},
    door::{Lost, Session},
    node::{Node, PATIENCE, RESOURCE, TABLES},
    wire::{Mode, Wire},
};

const OTHER: &str = "orders-db2";
const SLOW: &str = "INSERT INTO marks SELECT 1, 'slow' FROM pg_sleep(600)";

struct Scene {
    server: PostgresServer,
    wire: Wire,
    node: Node,
}

impl Scene {
    /// Two resources on one server; only the first hangs on the wire.
    async fn set() -> Self {
        let server = PostgresServer::start_with(TABLES);
        let wire = Wire::to(server.port).await;
        let mut node = Node::furnished(&server, &[wire.port, server.port]).await;
        node.start();
        Self { server, wire, node }
    }

    async fn session(&self, name: &str, resource: &str) -> (Session, Value) {
        let api = self.node.api(name);
        let grant = api.window_on(resource, &["read"], "30m", "a look").await.unwrap();
        (self.open(&api, resource).await.unwrap(), grant)
    }

    async fn open(&self, api: &Api, resource: &str) -> Result<Session, Lost> {
        let secret = api.connect(resource).await.unwrap();
        Session::open(&self.node, &secret, None).await
    }

    /// An exact action, approved and being run. It is at the server when this returns.
    async fn running(&self, name: &'static str) -> (String, tokio::task::JoinHandle<Vec<Value>>) {
        let id = self.approved(name, SLOW).await;
        let (api, run) = (self.node.api(name), id.clone());
        let running = tokio::spawn(async move { api.execute(&run).await.unwrap() });
        while self.server.psql_superuser(
            "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%slow%pg_sleep%' AND state = 'active' AND usename = 'app'",
        ) != "1"
        {
            tokio::task::yield_now().await;
        }
        (id, running)
    }

    async fn approved(&self, name: &str, text: &str) -> String {
        let asked = self.node.api(name).exact(RESOURCE, text, "a fault").await.unwrap();
        self.node.api("bob").approve(&asked).await.unwrap();
        id(&asked).to_owned()
    }

    /// A statement that is held; its client waits for the answer.
    async fn held(&self, name: &str) -> (String, tokio::task::JoinHandle<Result<(), Lost>>) {
        let (mut session, _) = self.session(name, RESOURCE).await;
        let waiting = tokio::spawn(async move { session.query("INSERT INTO marks VALUES (2, 'held')").await.map(drop) });
        let bob = self.node.api("bob");
        loop {
            let pending = bob.get("/access-requests?list=to-approve&state=pending").await.unwrap();
            if let Some(view) = pending.as_array().unwrap().first() {
                return (id(view).to_owned(), waiting);
            }
            tokio::task::yield_now().await;
        }
    }

    async fn until_state(&self, id: &str, wanted: &str) -> Value {
        let ann = self.node.api("ann");
        loop {
            let view = ann.show(id).await.unwrap();
            if state(&view) == wanted {
                return view;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn refused_with(result: &Result<(), Lost>, wanted: &[&str]) {
    let told = matches!(result, Err(Lost::Refused { sqlstate, .. }) if wanted.contains(&sqlstate.as_str()));
    assert!(told, "wanted one of {wanted:?}: {result:?}");
}

async fn bounded<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what} hangs"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_gone_is_told_to_everybody_and_guessed_about_by_nobody() {
    let scene = Scene::set().await;
    let (mut reading, _) = scene.session("alice", RESOURCE).await;
    let (mut elsewhere, _) = scene.session("alice", OTHER).await;
    let (held, waiting) = scene.held("erin").await;
    let (slow, running) = scene.running("frank").await;
    reading.query("SELECT 1 FROM orders").await.unwrap();

    scene.wire.set(Mode::Cut);
    refused_with(&bounded("a session", reading.query("SELECT 2 FROM orders")).await.map(drop), &["08006"]);
    refused_with(&bounded("a hold", waiting).await.unwrap(), &["08006"]);
    scene.until_state(&held, "withdrawn").await;
    let told = bounded("a run", running).await.unwrap();
    assert_eq!(told.last().unwrap()["result"]["outcome"], "unknown", "{told:?}");
    assert_eq!(scene.until_state(&slow, "settled").await["outcome"]["outcome"], "unknown");
    elsewhere.query("SELECT 3 FROM orders").await.unwrap();

    // While it is away: said at once, and what is exact is not begun.
    let alice = scene.node.api("alice");
    refused_with(&bounded("a sign-in", scene.open(&alice, RESOURCE)).await.map(drop), &["08006"]);
    let never = scene.approved("frank", "INSERT INTO marks VALUES (3, 'never')").await;
    let told = bounded("a run", scene.node.api("frank").execute(&never)).await.unwrap();
    assert_eq!(told.last().unwrap()["result"]["outcome"], "refused_not_run", "{told:?}");
    scene.node.api("ann").get("/readyz").await.unwrap();

    scene.wire.set(Mode::Pass);
    let mut again = scene.open(&alice, RESOURCE).await.unwrap();
    again.query("SELECT 4 FROM orders").await.unwrap();
    for ran in [&slow, &never] {
        let twice = scene.node.api("frank").execute(ran).await.unwrap_err();
        assert!(["RUN-003", "GRANT-003"].contains(&twice.code()), "nothing runs twice: {twice:?}");
    }
    assert_eq!(scene.server.psql_superuser("SELECT count(*) FROM marks"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_database_holds_up_nobody_who_can_leave() {
    let scene = Scene::set().await;
    let (mut reading, grant) = scene.session("alice", RESOURCE).await;
    let (mut elsewhere, _) = scene.session("rita", OTHER).await;
    let (slow, running) = scene.running("frank").await;
    let secret = scene.node.api("alice").connect(RESOURCE).await.unwrap();

    scene.wire.set(Mode::Silent);
    // One asks and gets no answer; one comes and is told after a while; one asks for something exact, which is not begun.
    let never = scene.approved("erin", "INSERT INTO marks VALUES (3, 'never')").await;
    let erin = scene.node.api("erin");
    let (ann, bob) = (scene.node.api("ann"), scene.node.api("bob"));
    let asking = async {
        let asked = reading.query("SELECT 1 FROM orders").await.map(drop);
        refused_with(&asked, &["57P01"]);
    };
    let coming = async {
        refused_with(&Session::open(&scene.node, &secret, None).await.map(drop), &["08006", "57P01"]);
    };
    let exact = async {
        let told = erin.execute(&never).await.unwrap();
        assert_eq!(told.last().unwrap()["result"]["outcome"], "refused_not_run", "{told:?}");
    };
    let others = async {
        for _ in 0..20 {
            elsewhere.query("SELECT 1 FROM orders").await.unwrap();
        }
        // The right ends whatever the server does.
        let revoke = format!("/grants/{}/revoke", grant["grant"].as_str().unwrap());
        bob.post(&revoke, json!({"reason": "the database hangs"})).await.unwrap();
        ann.post(&format!("/grants/{}/revoke", slow.replace("rq-", "gr-")), json!({"reason": "the database hangs"})).await.unwrap();
    };
    bounded("somebody", async { tokio::join!(asking, coming, exact, others) }).await;
    let told = bounded("a stopped run", running).await.unwrap();
    assert_eq!(told.last().unwrap()["result"]["outcome"], "unknown", "{told:?}");
    scene.until_state(&slow, "settled").await;

    scene.wire.set(Mode::Pass);
    let (mut again, _) = scene.session("alice", RESOURCE).await;
    again.query("SELECT 2 FROM orders").await.unwrap();
    assert_eq!(scene.server.psql_superuser("SELECT count(*) FROM marks WHERE id = 3"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_restarts_ends_its_sessions_and_takes_new_ones() {
    let scene = Scene::set().await;
    let (mut reading, _) = scene.session("alice", OTHER).await;
    let (held, waiting) = scene.held("erin").await;
    let (slow, running) = scene.running("frank").await;
    reading.query("SELECT 1 FROM orders").await.unwrap();

    // As after a crash of one of its processes: all of them end, the server recovers by itself.
    let pid =
        scene.server.psql_superuser("SELECT pid FROM pg_stat_activity WHERE query LIKE '%slow%pg_sleep%' AND usename = 'app' LIMIT 1");
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    // The server may answer a few more before it notices that one of its processes is gone.
    let cut: Result<(), Lost> = bounded("a session", async {
        loop {
            reading.query("SELECT 2 FROM orders").await?;
        }
    })
    .await;
    refused_with(&cut, &["08006", "57P02"]);
    refused_with(&bounded("a hold", waiting).await.unwrap(), &["08006", "57P02"]);
    scene.until_state(&held, "withdrawn").await;
    let told = bounded("a run", running).await.unwrap();
    assert_eq!(told.last().unwrap()["result"]["outcome"], "unknown", "{told:?}");
    scene.until_state(&slow, "settled").await;

    let alice = scene.node.api("alice");
    let again = async {
        loop {
            // 57P03: it is recovering.
            match scene.open(&alice, OTHER).await {
                Ok(session) => return session,
                Err(Lost::Refused { sqlstate, .. }) if sqlstate == "57P03" || sqlstate == "08006" => tokio::task::yield_now().await,
                Err(lost) => panic!("{lost:?}"),
            }
        }
    };
    bounded("recovering", again).await.query("SELECT 3 FROM orders").await.unwrap();
}
