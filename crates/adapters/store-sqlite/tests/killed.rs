//! What survives when the process is killed. Alone in its program: a child holds what its parent has open, locks too, until it is another program.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

mod support;

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use safeconduct_app::ports::Store;
use safeconduct_model::SessionId;
use safeconduct_testkit::{START, TestEntropy};
use support::{check, open, to_session};

const CHILD: &str = "SAFECONDUCT_STORE_CHILD";

/// Appends without end and says what was acknowledged. Runs in a process of its own that is killed.
async fn child(path: &Path) {
    let store = Arc::new(open(path).unwrap());
    let round = store.tree_head().await.unwrap().size;
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let (session, mut version) = ((round << 8) + task + 1, 0);
                loop {
                    let count = 1 + (version % 3) as usize;
                    let index = store.append(vec![to_session(session, version, count)], START).await.unwrap();
                    version += count as u64;
                    // One write per line, so that killing can't cut what is read.
                    let line = format!("\nack {index} {} {version}\n", SessionId::from_bits(session));
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    // None of them ends by itself.
    drop(tasks.into_iter().next().unwrap().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_nothing_acknowledged_is_lost_when_the_process_is_killed() {
    if let Some(path) = env::var_os(CHILD) {
        return child(Path::new(&path)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let chance = TestEntropy::seeded(48);
    let mut acknowledged = Vec::new();
    for _ in 0..6 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "f48_nothing_acknowledged_is_lost_when_the_process_is_killed", "--nocapture"])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let enough = 1 + chance.next_u64() % 120;
        let mut seen = 0;
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let Some(ack) = line.strip_prefix("ack ") else { continue };
            acknowledged.push(ack.to_owned());
            seen += 1;
            if seen == enough {
                child.kill().unwrap();
            }
        }
        assert!(!child.wait().unwrap().success());
        let store = open(&path).unwrap();
        let entries = check(&store).await;
        for ack in &acknowledged {
            let [index, stream, version] = ack.split(' ').collect::<Vec<_>>()[..] else { panic!("{ack}") };
            assert_eq!(entries[index.parse::<usize>().unwrap()].stream, stream);
            let version: u64 = version.parse().unwrap();
            assert!(entries.iter().any(|entry| entry.stream == stream && entry.version == version), "{ack} is lost");
        }
    }
    assert!(acknowledged.len() > 6);
}
