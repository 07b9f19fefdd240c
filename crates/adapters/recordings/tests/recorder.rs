//! Recordings on disk: the suite of all recorders, and what only a disk can do.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use safeconduct_app::ports::{Recorder, RecordingError};
use safeconduct_model::{Digest, SessionId};
use safeconduct_recordings::LocalRecorder;
use safeconduct_testkit::conformance::{self, Fresh, intent, outcome};
use tempfile::TempDir;

fn session(n: u64) -> SessionId {
    SessionId::from_bits(n)
}

fn folder(root: &Path, n: u64) -> PathBuf {
    root.join("sessions").join(session(n).as_str())
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Records three lines in session 1, the last an intent, and leaves the journal open.
fn crashed() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let recorder = LocalRecorder::open(root.path()).unwrap();
    let mut journal = recorder.open(&session(1)).unwrap();
    journal.append(&[intent(1, 1, "select 1"), outcome(2, 1), intent(3, 2, "select 2")]).unwrap();
    root
}

#[tokio::test(flavor = "multi_thread")]
async fn local_recordings_conform() {
    let make = async || {
        let root = tempfile::tempdir().unwrap();
        Fresh::recorder(LocalRecorder::open(root.path()).unwrap(), root)
    };
    let restart = async |fresh: Fresh<dyn Recorder>| {
        let root = *fresh.guard.downcast::<TempDir>().unwrap();
        drop(fresh.port);
        Fresh::recorder(LocalRecorder::open(root.path()).unwrap(), root)
    };
    conformance::recorder_conformance(make, restart).await;
}

#[tokio::test]
async fn only_the_owner_may_read_recordings() {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("deep/recordings");
    let recorder = LocalRecorder::open(&inside).unwrap();
    let mut journal = recorder.open(&session(1)).unwrap();
    journal.append(&[intent(1, 1, "select 1")]).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(inside.clone()), 0o700);
    assert_eq!(mode(folder(&inside, 1)), 0o700);
    assert_eq!(mode(folder(&inside, 1).join("000001.open")), 0o600);
    journal.close().unwrap();
    assert_eq!(mode(folder(&inside, 1).join("000001.jsonl")), 0o600);
    assert_eq!(names(&inside.join("live")), [session(1).as_str()]);
    recorder.settled(&session(1)).await.unwrap();
    assert_eq!(names(&inside.join("live")), [] as [&str; 0]);
}

#[tokio::test]
async fn a_second_process_is_kept_out() {
    let root = tempfile::tempdir().unwrap();
    let first = LocalRecorder::open(root.path()).unwrap();
    assert!(matches!(LocalRecorder::open(root.path()), Err(RecordingError::Unwritable(_))));
    drop(first);
    LocalRecorder::open(root.path()).unwrap();
}

#[tokio::test]
async fn f48_half_a_line_is_reported_as_lost_and_kept() {
    let root = crashed();
    let open = folder(root.path(), 1).join("000001.open");
    let whole = fs::read(&open).unwrap();
    for tail in [&b"{\"n\":4,\"at\":17"[..], b"\0\0\0\0", b"{}\n{\"n\":5}\n", b"\xff\xfe\n"] {
        let root = crashed();
        let open = folder(root.path(), 1).join("000001.open");
        OpenOptions::new().append(true).open(&open).unwrap().write_all(tail).unwrap();
        let recorder = LocalRecorder::open(root.path()).unwrap();
        let recovered = recorder.recover().await.unwrap().remove(0);
        assert_eq!(recovered.lost, Some(format!("the last {} bytes of chunk 1 can't be read", tail.len())));
        let again = recorder.recover().await.unwrap().remove(0);
        assert_eq!((again.lost, again.chunks), (recovered.lost.clone(), recovered.chunks.clone()), "until it is settled");
        assert_eq!(recovered.open_intents, [intent(3, 2, "select 2")]);
        assert_eq!((recovered.chunks[0].digest, recovered.chunks[0].records), (Digest::of_bytes(&whole), 3));
        assert_eq!(names(&folder(root.path(), 1)), ["000001.jsonl", "000001.lost"]);
        assert_eq!(fs::read(folder(root.path(), 1).join("000001.lost")).unwrap(), tail);
        assert_eq!(recorder.read(&session(1), 1, 10).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn f48_cut_anywhere_the_whole_lines_are_recovered() {
    let whole = fs::read(folder(crashed().path(), 1).join("000001.open")).unwrap();
    for length in 0..whole.len() {
        let root = crashed();
        fs::write(folder(root.path(), 1).join("000001.open"), &whole[..length]).unwrap();
        let recorder = LocalRecorder::open(root.path()).unwrap();
        let recovered = recorder.recover().await.unwrap().remove(0);
        let lines = whole[..length].iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(recovered.chunks.iter().map(|chunk| chunk.records).sum::<u64>(), lines as u64);
        assert_eq!(recovered.lost.is_some(), whole[..length].last().is_some_and(|byte| *byte != b'\n'), "{length}");
        assert_eq!(recorder.read(&session(1), 1, 10).await.unwrap().len(), lines);
    }
}

#[tokio::test]
async fn f48_a_lost_record_or_chunk_is_reported() {
    let root = crashed();
    let open = folder(root.path(), 1).join("000001.open");
    let text = fs::read_to_string(&open).unwrap();
    let lines: Vec<_> = text.lines().collect();
    fs::write(&open, format!("{}\n{}\n", lines[0], lines[2])).unwrap();
    fs::rename(&open, open.with_file_name("000002.open")).unwrap();
    let recovered = LocalRecorder::open(root.path()).unwrap().recover().await.unwrap().remove(0);
    assert_eq!(recovered.lost.as_deref(), Some("records 2 to 2 are missing; chunk 1 is missing"));
}

#[tokio::test]
async fn f48_a_crash_before_the_first_line_is_recovered_as_nothing() {
    let root = tempfile::tempdir().unwrap();
    let recorder = LocalRecorder::open(root.path()).unwrap();
    drop((recorder.open(&session(1)).unwrap(), recorder));
    // The mark was made, and the machine died before the folder was.
    fs::write(root.path().join("live").join(session(2).as_str()), "").unwrap();
    let recorder = LocalRecorder::open(root.path()).unwrap();
    let recovered = recorder.recover().await.unwrap();
    assert_eq!(recovered.len(), 2);
    assert!(recovered.iter().all(|one| one.chunks.is_empty() && one.open_intents.is_empty() && one.lost.is_none()));
}

#[tokio::test]
async fn a_changed_chunk_has_another_digest() {
    let root = tempfile::tempdir().unwrap();
    let recorder = LocalRecorder::open(root.path()).unwrap();
    let mut journal = recorder.open(&session(1)).unwrap();
    journal.append(&[intent(1, 1, "delete from orders")]).unwrap();
    let chunk = journal.close().unwrap().remove(0);
    let path = folder(root.path(), 1).join("000001.jsonl");
    let text = fs::read_to_string(&path).unwrap().replace("delete", "select");
    fs::write(&path, text).unwrap();
    assert_ne!(recorder.chunk_digest(&session(1), 1).await.unwrap(), Some(chunk.digest));
}

#[tokio::test]
async fn f48_what_cannot_be_written_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let recorder = LocalRecorder::open(root.path()).unwrap();
    let mut journal = recorder.open(&session(1)).unwrap();
    fs::remove_dir(folder(root.path(), 1)).unwrap();
    assert!(matches!(journal.append(&[intent(1, 1, "select 1")]), Err(RecordingError::Unwritable(_))));
    fs::remove_dir_all(root.path().join("live")).unwrap();
    assert!(matches!(recorder.open(&session(2)), Err(RecordingError::Unwritable(_))));
}

const CHILD: &str = "SAFECONDUCT_RECORDINGS_CHILD";

/// Records without end and says what left the process. Killed from outside.
fn record_for_ever(root: &Path) {
    let recorder = LocalRecorder::open(root).unwrap();
    let mut journal = recorder.open(&session(1)).unwrap();
    for n in 1.. {
        journal.append(&[intent(n, n, &"x".repeat(20_000))]).unwrap();
        std::io::stdout().write_all(format!("\nack {n}\n").as_bytes()).unwrap();
    }
}

#[tokio::test]
async fn f48_what_was_appended_survives_a_killed_process() {
    if let Some(root) = std::env::var_os(CHILD) {
        return record_for_ever(Path::new(&root));
    }
    for enough in [1, 40, 130] {
        let root = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "f48_what_was_appended_survives_a_killed_process", "--nocapture"])
            .env(CHILD, root.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut acknowledged = 0;
        for line in std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap())) {
            if let Some(n) = line.unwrap().strip_prefix("ack ") {
                acknowledged = n.parse().unwrap();
                if acknowledged == enough {
                    child.kill().unwrap();
                }
            }
        }
        assert!(!child.wait().unwrap().success());
        let recorder = LocalRecorder::open(root.path()).unwrap();
        let recovered = recorder.recover().await.unwrap().remove(0);
        let records: u64 = recovered.chunks.iter().map(|chunk| chunk.records).sum();
        assert!(records >= acknowledged && acknowledged >= enough);
        assert_eq!(recovered.open_intents.len() as u64, records);
        assert_eq!(recorder.read(&session(1), 1, u32::MAX).await.unwrap().len() as u64, records);
        for chunk in &recovered.chunks {
            assert_eq!(recorder.chunk_digest(&session(1), chunk.number).await.unwrap(), Some(chunk.digest));
        }
    }
}
