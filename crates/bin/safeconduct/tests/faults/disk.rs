//! Disks that are full or can't be written: nothing passes unrecorded, what is lost is said, and it goes on once there is space again.

use std::{path::Path, process::Command};

use safeconduct_testkit::PostgresServer;
use serde_json::{Value, json};

use crate::{
    api::{Api, id, state},
    checks::Ran,
    door::{Lost, Session},
    node::{Node, RESOURCE, TABLES},
};

/// A small file system in memory, where this machine lets us have one.
struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn small(at: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs"]).arg(at).output().unwrap();
        mounted.status.success().then_some(Self(at))
    }

    /// Takes what is left of it.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        let block = [0; 4096];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // Lazily: the node may still have files open.
        drop(Command::new("umount").arg("-l").arg(self.0).status());
    }
}

struct Scene {
    server: PostgresServer,
    node: Node,
    alice: Api,
}

impl Scene {
    async fn session(&self) -> Session {
        self.alice.window(&["read"], "a look").await.unwrap();
        let secret = self.alice.connect(RESOURCE).await.unwrap();
        Session::open(&self.node, &secret, None).await.unwrap()
    }

    async fn open(&self, secret: &Value) -> Result<Session, Lost> {
        Session::open(&self.node, secret, None).await
    }

    async fn until_ready(&self, wanted: bool) -> String {
        loop {
            let answer = self.node.api("ann").get("/readyz").await;
            if answer.is_ok() == wanted {
                return answer.map_or_else(|failed| failed.code().to_owned(), |_| "ready".to_owned());
            }
            tokio::task::yield_now().await;
        }
    }

    /// The ledger is whole, and everything that reached the database was intended.
    async fn verify(&self) {
        let key = self.alice.get("/ledger/key").await.unwrap()["key"].as_str().unwrap().to_owned();
        let verified = self.node.command("carol", &["ledger", "verify", "--vkey", &key]).output().await.unwrap();
        assert!(verified.status.success(), "{verified:?}");
    }
}

fn told(result: &Result<impl Sized, Lost>) -> &str {
    match result {
        Err(Lost::Refused { sqlstate, .. }) => sqlstate,
        Err(Lost::Gone) => "gone",
        Ok(_) => "passed",
    }
}

/// Queries until one does not pass; how that was told.
async fn until_refused(session: &mut Session) -> String {
    for n in 0..10_000 {
        let result = session.query(&format!("SELECT 1 FROM orders /* {n} {} */", "x".repeat(8_000))).await;
        if result.is_err() {
            return told(&result).to_owned();
        }
    }
    panic!("nothing was ever refused")
}

/// No file of the process may grow: full for it, whatever the file system.
#[tokio::test(flavor = "multi_thread")]
async fn f48_when_nothing_can_be_written_nothing_passes_and_it_goes_on_afterwards() {
    let server = PostgresServer::start_with(TABLES);
    let mut node = Node::furnished(&server, &[server.port]).await;
    // The signal would end the process; a file system that is full sends none.
    node.wrapper = ["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(str::to_owned).into();
    node.start();
    let alice = node.api("alice");
    let scene = Scene { server, node, alice };
    let mut session = scene.session().await;
    let kept = scene.alice.window(&["read"], "kept").await.unwrap();
    let secret = scene.alice.connect(RESOURCE).await.unwrap();
    let asked = scene.alice.exact(RESOURCE, "INSERT INTO marks VALUES (1, 'exact')", "a fault").await.unwrap();
    scene.node.api("bob").approve(&asked).await.unwrap();
    assert_eq!(scene.until_ready(true).await, "ready");

    let pid = scene.node.pid().to_string();
    let limit = |most: &str| {
        let limited = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={most}:unlimited")]).status().unwrap();
        assert!(limited.success());
    };
    limit("0");
    assert_eq!(scene.until_ready(false).await, "STORE-001");
    assert_eq!(scene.alice.window(&["read"], "no").await.unwrap_err().code(), "STORE-001");
    assert_eq!(scene.alice.execute(id(&asked)).await.unwrap_err().code(), "STORE-001");
    let revoke = json!({"reason": "no"});
    let not_yet = scene.node.api("ann").post(&format!("/grants/{}/revoke", kept["grant"].as_str().unwrap()), revoke.clone()).await;
    assert_eq!(not_yet.unwrap_err().code(), "STORE-001");
    assert_eq!(told(&session.query("SELECT 'unrecorded' FROM orders").await), "57P01");
    assert_eq!(told(&scene.open(&secret).await), "57P03");
    // What is read goes on.
    assert_eq!(state(&scene.alice.show(id(&kept)).await.unwrap()), "active");

    limit("unlimited");
    assert_eq!(scene.until_ready(true).await, "ready");
    let lines = scene.alice.execute(id(&asked)).await.unwrap();
    assert_eq!(lines.last().unwrap()["result"]["outcome"], "executed", "{lines:?}");
    scene.open(&secret).await.unwrap().query("SELECT 2 FROM orders").await.unwrap();
    scene.node.api("ann").post(&format!("/grants/{}/revoke", kept["grant"].as_str().unwrap()), revoke).await.unwrap();
    assert!(!scene.server.log().contains("unrecorded"));
    scene.verify().await;
    let Scene { mut node, server, .. } = scene;
    assert!(node.stop().success());
    // The session whose recording had a gap says so.
    node.start();
    let lost = node.api("carol").get("/ledger?from=0&limit=200").await.unwrap().to_string();
    assert!(lost.contains("recording_lost"), "a recording that was lost is reported as lost");
    drop(server);
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_when_recordings_are_full_sessions_stop_and_the_rest_goes_on() {
    let server = PostgresServer::start_with(TABLES);
    let mut node = Node::furnished(&server, &[server.port]).await;
    let recordings = node.recordings();
    // Without the right to mount, `f48_when_nothing_can_be_written…` shows the same for both at once.
    let Some(mount) = Mount::small(&recordings) else { return };
    node.start();
    let alice = node.api("alice");
    let scene = Scene { server, node, alice };
    let mut session = scene.session().await;
    let secret = scene.alice.connect(RESOURCE).await.unwrap();
    session.query("SELECT 1 FROM orders").await.unwrap();
    mount.fill();
    assert_eq!(until_refused(&mut session).await, "57P01");
    assert_eq!(scene.until_ready(false).await, "STORE-003");
    assert_eq!(told(&scene.open(&secret).await), "57P03");
    // Taking away waits for no recording, nor does asking.
    let other = scene.node.api("rita").window(&["read"], "a look").await.unwrap();
    scene.node.api("ann").post(&format!("/grants/{}/revoke", other["grant"].as_str().unwrap()), json!({"reason": "full"})).await.unwrap();

    mount.free();
    assert_eq!(scene.until_ready(true).await, "ready");
    scene.open(&secret).await.unwrap().query("SELECT 2 FROM orders").await.unwrap();
    scene.verify().await;
    let Scene { mut node, server, .. } = scene;
    node.kill();
    let ran = Ran::until_quiet(&server);
    node.start();
    ran.were_intended(&recordings, &crate::checks::Left::behind(&node.data).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_on_a_disk_that_can_only_be_read_it_does_not_start() {
    let server = PostgresServer::start_with(TABLES);
    let mut node = Node::furnished(&server, &[server.port]).await;
    let bound = Command::new("mount").arg("--bind").arg(&node.data).arg(&node.data).output().unwrap().status.success();
    if bound {
        assert!(Command::new("mount").args(["-o", "remount,ro,bind"]).arg(&node.data).status().unwrap().success());
    } else {
        // Not root: then the mode of the directory keeps us out as well.
        assert!(Command::new("chmod").arg("-R").arg("a-w").arg(&node.data).status().unwrap().success());
    }
    let status = node.try_start().unwrap_err();
    assert_eq!(status.code(), Some(1));
    assert!(node.said().contains("SERVE-003"), "{}", node.said());
    let mended = if bound {
        Command::new("umount").arg(&node.data).status()
    } else {
        Command::new("chmod").arg("-R").arg("u+w").arg(&node.data).status()
    };
    assert!(mended.unwrap().success());
    node.start();
    assert!(node.api("alice").get("/readyz").await.is_ok());
}
