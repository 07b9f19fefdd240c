//! What every recorder must do. Failing here means that something could happen unrecorded.

use std::sync::Arc;

use safeconduct_app::ports::{Journal, Record, Recorder, RecordingError, What};
use safeconduct_lifecycle::Chunk;
use safeconduct_model::{Digest, SessionId};

use super::Fresh;
use crate::{START, parsed};

/// Runs the whole suite; each part gets a recorder of its own. `restart` ends what `make` made, as a killed process would, and
/// gives a new recorder over the same recordings.
///
/// # Panics
/// At the first promise that does not hold.
pub async fn recorder_conformance(
    make: impl AsyncFn() -> Fresh<dyn Recorder>,
    restart: impl AsyncFn(Fresh<dyn Recorder>) -> Fresh<dyn Recorder>,
) {
    records_come_back_in_order(make().await.port).await;
    what_is_not_there_is_missing(make().await.port).await;
    a_session_is_recorded_once(make().await.port).await;
    full_chunks_are_sealed(make().await.port).await;
    journals_do_not_disturb_each_other(make().await.port).await;
    f48_a_journal_left_open_is_recovered(make().await, &restart).await;
    f48_a_closed_journal_is_reported_until_it_is_settled(make().await, &restart).await;
}

fn session(n: u64) -> SessionId {
    SessionId::from_bits(n)
}

/// The intent of statement `n` as record `n` of its session.
#[must_use]
pub fn intent(n: u64, statement: u64, text: &str) -> Record {
    let what = What::Intent {
        statement,
        text: text.to_owned(),
        names: Vec::new(),
        parameters: Vec::new(),
        operations: "read".to_owned(),
        grant: parsed("gr-000000000001"),
        claimed: None,
    };
    Record { n, at: START, what }
}

/// The outcome of a statement.
#[must_use]
pub fn outcome(n: u64, statement: u64) -> Record {
    let what = What::Outcome {
        statement,
        command: Some("SELECT 1".to_owned()),
        rows: Some(1),
        sqlstate: None,
        message: None,
        duration_micros: 17,
    };
    Record { n, at: START, what }
}

async fn numbers(recorder: &Arc<dyn Recorder>, from: u64, limit: u32) -> Vec<u64> {
    recorder.read(&session(1), from, limit).await.unwrap().iter().map(|record| record.n).collect()
}

async fn records_come_back_in_order(recorder: Arc<dyn Recorder>) {
    let mut journal = recorder.open(&session(1)).unwrap();
    assert!(recorder.read(&session(1), 1, 10).await.unwrap().is_empty());
    let records = [intent(1, 1, "select 'é\n\u{1b}'"), outcome(2, 1), intent(3, 2, "select 2")];
    journal.append(&records).unwrap();
    journal.append(&[]).unwrap();
    journal.sync().await.unwrap();
    assert_eq!(recorder.read(&session(1), 1, 10).await.unwrap(), records, "readable while open");
    journal.append(&[outcome(4, 2)]).unwrap();
    let chunks = journal.close().unwrap();
    assert_eq!(chunks.iter().map(|chunk| (chunk.number, chunk.records, chunk.recovered)).collect::<Vec<_>>(), [(1, 4, false)]);
    assert_eq!(numbers(&recorder, 0, 10).await, [1, 2, 3, 4]);
    assert_eq!(numbers(&recorder, 2, 2).await, [2, 3]);
    assert_eq!(numbers(&recorder, 4, 9).await, [4]);
    assert_eq!(numbers(&recorder, 5, 9).await, [] as [u64; 0]);
    assert_eq!(numbers(&recorder, 1, 0).await, [] as [u64; 0]);
    check_digests(&recorder, &session(1), &chunks).await;
}

async fn check_digests(recorder: &Arc<dyn Recorder>, session: &SessionId, chunks: &[Chunk]) {
    let mut from = 1;
    for chunk in chunks {
        assert_eq!(recorder.chunk_digest(session, chunk.number).await.unwrap(), Some(chunk.digest));
        let records = recorder.read(session, from, u32::try_from(chunk.records).unwrap()).await.unwrap();
        let lines: String = records.iter().map(|record| serde_json::to_string(record).unwrap() + "\n").collect();
        assert_eq!((Digest::of_bytes(lines.as_bytes()), lines.len() as u64), (chunk.digest, chunk.size_bytes));
        from += chunk.records;
    }
}

async fn what_is_not_there_is_missing(recorder: Arc<dyn Recorder>) {
    assert!(matches!(recorder.read(&session(9), 1, 1).await, Err(RecordingError::Missing)));
    assert_eq!(recorder.chunk_digest(&session(9), 1).await.unwrap(), None);
    let journal = recorder.open(&session(1)).unwrap();
    assert_eq!(recorder.chunk_digest(&session(1), 1).await.unwrap(), None);
    assert!(journal.close().unwrap().is_empty());
    recorder.settled(&session(1)).await.unwrap();
    recorder.settled(&session(9)).await.unwrap();
    assert!(recorder.recover().await.unwrap().is_empty());
}

async fn a_session_is_recorded_once(recorder: Arc<dyn Recorder>) {
    let mut journal = recorder.open(&session(1)).unwrap();
    assert!(recorder.open(&session(1)).is_err());
    journal.append(&[intent(1, 1, "select 1")]).unwrap();
    journal.close().unwrap();
    assert!(recorder.open(&session(1)).is_err());
    assert_eq!(numbers(&recorder, 1, 10).await, [1]);
}

async fn full_chunks_are_sealed(recorder: Arc<dyn Recorder>) {
    let mut journal = recorder.open(&session(1)).unwrap();
    let text = "x".repeat(100_000);
    let mut chunks = Vec::new();
    for n in 1..=40 {
        journal.append(&[intent(n, n, &text)]).unwrap();
    }
    journal.sync().await.unwrap();
    chunks.extend(std::iter::from_fn(|| journal.take_sealed()));
    assert!(chunks.len() >= 2, "about four megabytes are several chunks");
    chunks.extend(journal.close().unwrap());
    assert_eq!(chunks.iter().map(|chunk| chunk.number).collect::<Vec<_>>(), (1..=chunks.len() as u64).collect::<Vec<_>>());
    assert_eq!(chunks.iter().map(|chunk| chunk.records).sum::<u64>(), 40);
    check_digests(&recorder, &session(1), &chunks).await;
    for from in [1, 11, 12, 25, 40] {
        assert_eq!(numbers(&recorder, from, 3).await, (from..=40).take(3).collect::<Vec<_>>());
    }
}

async fn journals_do_not_disturb_each_other(recorder: Arc<dyn Recorder>) {
    let tasks: Vec<_> = (1..=8)
        .map(|n| {
            let recorder = Arc::clone(&recorder);
            tokio::spawn(async move {
                let mut journal: Box<dyn Journal> = recorder.open(&session(n)).unwrap();
                for record in 1..=20 {
                    journal.append(&[intent(record, record, &format!("select {n}"))]).unwrap();
                    let (one, other) = (journal.sync(), journal.sync());
                    one.await.unwrap();
                    other.await.unwrap();
                }
                (n, journal.close().unwrap())
            })
        })
        .collect();
    for task in tasks {
        let (n, chunks) = task.await.unwrap();
        assert_eq!(recorder.read(&session(n), 1, 100).await.unwrap().len(), 20);
        check_digests(&recorder, &session(n), &chunks).await;
    }
}

async fn f48_a_journal_left_open_is_recovered(
    fresh: Fresh<dyn Recorder>,
    restart: &impl AsyncFn(Fresh<dyn Recorder>) -> Fresh<dyn Recorder>,
) {
    let mut journal = fresh.port.open(&session(1)).unwrap();
    let records = [intent(1, 1, "select 1"), outcome(2, 1), intent(3, 2, "delete from orders")];
    journal.append(&records).unwrap();
    assert!(fresh.port.recover().await.unwrap().is_empty(), "a journal in use is left alone");
    drop(journal);

    let mut fresh = restart(fresh).await;
    // Whoever recovers may die before it is recorded: the same is said again.
    for _ in 0..3 {
        let recovered = fresh.port.recover().await.unwrap();
        assert_eq!(recovered.len(), 1);
        assert_eq!((&recovered[0].session, &recovered[0].lost), (&session(1), &None));
        assert_eq!(recovered[0].open_intents, records[2..]);
        assert_eq!(recovered[0].chunks.iter().map(|chunk| (chunk.records, chunk.recovered)).collect::<Vec<_>>(), [(3, true)]);
        check_digests(&fresh.port, &session(1), &recovered[0].chunks).await;
        assert_eq!(fresh.port.read(&session(1), 1, 10).await.unwrap(), records);
        fresh = restart(fresh).await;
    }
    fresh.port.settled(&session(1)).await.unwrap();
    assert!(fresh.port.recover().await.unwrap().is_empty());
    let fresh = restart(fresh).await;
    assert!(fresh.port.recover().await.unwrap().is_empty(), "settled for good");
    assert!(fresh.port.open(&session(1)).is_err());
}

async fn f48_a_closed_journal_is_reported_until_it_is_settled(
    fresh: Fresh<dyn Recorder>,
    restart: &impl AsyncFn(Fresh<dyn Recorder>) -> Fresh<dyn Recorder>,
) {
    let mut journal = fresh.port.open(&session(1)).unwrap();
    journal.append(&[intent(1, 1, "select 1"), outcome(2, 1)]).unwrap();
    let chunks = journal.close().unwrap();
    // The process dies before the ledger has them.
    let fresh = restart(fresh).await;
    let recovered = fresh.port.recover().await.unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!((&recovered[0].chunks, &recovered[0].lost), (&chunks, &None));
    assert!(recovered[0].open_intents.is_empty());
    check_digests(&fresh.port, &session(1), &chunks).await;
    fresh.port.settled(&session(1)).await.unwrap();
    let fresh = restart(fresh).await;
    assert!(fresh.port.recover().await.unwrap().is_empty());
    check_digests(&fresh.port, &session(1), &chunks).await;
}
