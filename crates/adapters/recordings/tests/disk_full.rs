//! A disk that takes no more: half a line is undone, the caller told, and recording goes on once there is space again.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    env,
    path::Path,
    process::{Command, Stdio},
};

use safeconduct_app::ports::{Recorder, RecordingError};
use safeconduct_model::SessionId;
use safeconduct_recordings::LocalRecorder;
use safeconduct_testkit::conformance::intent;

const CHILD: &str = "SAFECONDUCT_RECORDINGS_CHILD";
const NAME: &str = "f48_a_recording_without_space_refuses_and_recovers";

/// Runs in a process whose files may have a quarter of a mebibyte, and lifts that limit in between.
async fn child(path: &Path) {
    let recorder = LocalRecorder::open(path).unwrap();
    let session = SessionId::from_bits(1);
    let mut journal = recorder.open(&session).unwrap();
    let text = "x".repeat(30_000);
    let mut n = 1;
    while journal.append(&[intent(n, n, &text)]).is_ok() {
        n += 1;
        assert!(n < 100, "the limit is not felt");
    }
    assert!(matches!(journal.append(&[intent(n, n, &text)]), Err(RecordingError::Unwritable(_))));
    journal.sync().await.unwrap();
    assert_eq!(recorder.read(&session, 1, 1000).await.unwrap().len() as u64, n - 1, "no half line is left");

    let lifted = Command::new("prlimit").args(["--pid", &std::process::id().to_string(), "--fsize=unlimited"]).status().unwrap();
    assert!(lifted.success());
    for n in n..n + 5 {
        journal.append(&[intent(n, n, &text)]).unwrap();
    }
    let chunks = journal.close().unwrap();
    assert_eq!(chunks.iter().map(|chunk| chunk.records).sum::<u64>(), n + 4);
    for chunk in chunks {
        assert_eq!(recorder.chunk_digest(&session, chunk.number).await.unwrap(), Some(chunk.digest));
    }
    assert_eq!(recorder.read(&session, 1, 1000).await.unwrap().len() as u64, n + 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn f48_a_recording_without_space_refuses_and_recovers() {
    if let Some(path) = env::var_os(CHILD) {
        return child(Path::new(&path)).await;
    }
    let root = tempfile::tempdir().unwrap();
    let status = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -S -f 512; exec \"$@\"", "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(CHILD, root.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let left = LocalRecorder::open(root.path()).unwrap().recover().await.unwrap();
    assert!(left.iter().all(|one| one.lost.is_none() && one.chunks.iter().all(|chunk| !chunk.recovered)), "everything was closed");
}
