//! What every store must do. Failing here means that the product's promises do not hold on that store.

use std::sync::Arc;

use safeconduct_app::ports::{AccessQuery, AccessRow, Append, Row, SessionQuery, SessionRow, Store, StoreError, Stored, ValueChange};
use safeconduct_lifecycle::{Event, SessionEvent, StreamId};
use safeconduct_model::{AccessRequestId, SessionId, Timestamp};

use super::{Fresh, store_ledger};
use crate::{START, node_started, parsed, person_created, session_opened};

/// Runs the whole suite; each part gets a store of its own.
///
/// # Panics
/// At the first promise that does not hold.
pub async fn store_conformance(make: impl AsyncFn() -> Fresh<dyn Store>) {
    macro_rules! run {
        ($($part:path),* $(,)?) => {
            $({
                let fresh = make().await;
                $part(Arc::clone(&fresh.port)).await;
                drop(fresh);
            })*
        };
    }
    run!(
        an_empty_store_has_nothing,
        events_come_back_in_order,
        an_append_is_all_or_nothing,
        f17_of_many_appends_on_one_version_exactly_one_wins,
        f14_stored_time_never_goes_back,
        access_requests_are_listed_newest_first,
        sessions_are_listed_newest_first,
        rows_follow_their_events,
        values_are_written_and_removed_together,
        a_value_is_claimed_once,
        cursors_are_remembered,
        events_of_another_sort_are_refused,
        store_ledger::the_tree_holds_every_entry,
        store_ledger::tiles_are_those_of_the_tree,
        store_ledger::proofs_verify,
        store_ledger::bodies_fit_their_commitments,
        store_ledger::the_newest_checkpoint_counts,
        store_ledger::an_erased_body_is_gone_and_the_tree_stays,
    );
}

pub(super) fn session(n: u64) -> SessionId {
    SessionId::from_bits(n)
}

fn access(n: u64) -> AccessRequestId {
    AccessRequestId::from_bits(n)
}

/// An append of `events` to a session's stream.
pub(super) fn to_session(n: u64, expected: u64, events: Vec<SessionEvent>) -> Append {
    Append { stream: StreamId::Session(session(n)), expected, events: events.into_iter().map(Event::from).collect(), row: None }
}

pub(super) fn opened() -> SessionEvent {
    session_opened("alice", "orders-db", START)
}

fn refused(why: &str) -> SessionEvent {
    SessionEvent::ActionRefused { why: why.to_owned(), at: START }
}

fn seen(stored: &[Stored]) -> Vec<(u64, String, u64)> {
    stored.iter().map(|stored| (stored.index, stored.stream.to_string(), stored.version)).collect()
}

async fn an_empty_store_has_nothing(store: Arc<dyn Store>) {
    assert!(store.load(StreamId::Directory).await.unwrap().is_empty());
    assert!(store.events_from(0, 10).await.unwrap().is_empty());
    assert!(store.entries(0, 10).await.unwrap().is_empty());
    assert!(store.access_requests(AccessQuery { limit: 10, ..AccessQuery::default() }).await.unwrap().is_empty());
    assert_eq!(store.high_water().await.unwrap(), None);
    assert_eq!(store.checkpoint().await.unwrap(), None);
    assert_eq!(store.value("kind", "key").await.unwrap(), None);
    assert_eq!(store.cursor("reader").await.unwrap(), 0);
    assert_eq!(store.tree_head().await.unwrap().size, 0);
    assert_eq!(store.tree_head().await.unwrap().root, *safeconduct_ledger::empty_root().as_bytes());
    assert_eq!(store.tile("tile/0/000").await.unwrap(), None);
}

async fn events_come_back_in_order(store: Arc<dyn Store>) {
    let directory = Append {
        stream: StreamId::Directory,
        expected: 0,
        events: vec![person_created("alice", START).into(), person_created("bob", START).into()],
        row: None,
    };
    let appends = vec![directory, to_session(1, 0, vec![opened()])];
    assert_eq!(store.append(appends, START).await.unwrap(), 0);
    assert_eq!(store.append(vec![to_session(1, 1, vec![refused("one"), refused("two")])], START).await.unwrap(), 3);

    let stream = StreamId::Session(session(1));
    let events = store.load(stream.clone()).await.unwrap();
    let name = stream.to_string();
    assert_eq!(seen(&events), [(2, name.clone(), 1), (3, name.clone(), 2), (4, name, 3)]);
    assert_eq!(events[0].event, Some(opened().into()));
    assert_eq!(events[2].event, Some(refused("two").into()));
    assert_eq!(store.load(StreamId::Directory).await.unwrap().len(), 2);
    assert_eq!(store.version(StreamId::Directory).await.unwrap(), 2);
    assert_eq!(store.version(StreamId::SignIns).await.unwrap(), 0);
    assert!(store.load(StreamId::Session(session(2))).await.unwrap().is_empty());

    let indexes = |events: Vec<Stored>| events.iter().map(|stored| stored.index).collect::<Vec<_>>();
    assert_eq!(indexes(store.events_from(1, 3).await.unwrap()), [1, 2, 3]);
    assert_eq!(indexes(store.events_from(4, 100).await.unwrap()), [4]);
    assert_eq!(indexes(store.events_from(5, 100).await.unwrap()), [] as [u64; 0]);
    assert_eq!(indexes(store.events_from(u64::MAX, 100).await.unwrap()), [] as [u64; 0]);
    assert_eq!(indexes(store.events_from(0, 0).await.unwrap()), [] as [u64; 0]);
}

async fn an_append_is_all_or_nothing(store: Arc<dyn Store>) {
    store.append(vec![to_session(1, 0, vec![opened()])], START).await.unwrap();
    let before = store.tree_head().await.unwrap();
    let row = session_row(2, 0);
    let good = Append { row: Some(Row::Session(row)), ..to_session(2, 0, vec![opened()]) };
    for stale in [0, 2, u64::MAX] {
        let conflict = store.append(vec![good.clone(), to_session(1, stale, vec![refused("x")])], START.plus_seconds(9)).await;
        assert!(matches!(&conflict, Err(StoreError::Conflict { stream }) if *stream == session(1).to_string()), "{conflict:?}");
    }
    assert_eq!(store.tree_head().await.unwrap(), before);
    assert!(store.load(StreamId::Session(session(2))).await.unwrap().is_empty());
    assert!(store.sessions(SessionQuery { limit: 9, ..SessionQuery::default() }).await.unwrap().is_empty());
    assert_eq!(store.high_water().await.unwrap(), Some(START));
    // Nothing was used up by the failures.
    assert_eq!(store.append(vec![good], START).await.unwrap(), 1);
}

async fn f17_of_many_appends_on_one_version_exactly_one_wins(store: Arc<dyn Store>) {
    store.append(vec![to_session(1, 0, vec![opened()])], START).await.unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                // Others go on meanwhile and are not disturbed by the conflicts.
                store.append(vec![to_session(100 + n, 0, vec![opened()])], START).await.unwrap();
                store.append(vec![to_session(1, 1, vec![refused(&n.to_string())])], START).await
            })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(StoreError::Conflict { stream }) => assert_eq!(stream, session(1).to_string()),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(store.load(StreamId::Session(session(1))).await.unwrap().len(), 2);
    let indexes: Vec<u64> = store.events_from(0, 100).await.unwrap().iter().map(|stored| stored.index).collect();
    assert_eq!(indexes, (0..34).collect::<Vec<u64>>());
}

async fn f14_stored_time_never_goes_back(store: Arc<dyn Store>) {
    let at = |seconds| START.plus_seconds(seconds);
    store.append(vec![to_session(1, 0, vec![opened()])], at(100)).await.unwrap();
    store.append(vec![to_session(1, 1, vec![refused("earlier")])], at(50)).await.unwrap();
    assert_eq!(store.high_water().await.unwrap(), Some(at(100)));
    store.raise_high_water(at(200)).await.unwrap();
    store.raise_high_water(at(150)).await.unwrap();
    assert_eq!(store.high_water().await.unwrap(), Some(at(200)));
    store.append(vec![to_session(1, 2, vec![refused("behind the mark")])], at(150)).await.unwrap();
    store.append(vec![to_session(1, 3, vec![refused("later")])], at(300)).await.unwrap();
    let times: Vec<Timestamp> = store.events_from(0, 10).await.unwrap().iter().map(|stored| stored.at).collect();
    assert_eq!(times, [at(100), at(100), at(200), at(300)]);
    assert_eq!(store.high_water().await.unwrap(), Some(at(300)));
}

fn access_row(n: u64, requester: &str, seconds: i64) -> AccessRow {
    AccessRow {
        id: access(n),
        requester: parsed(requester),
        resource: parsed(if n.is_multiple_of(2) { "orders-db" } else { "users-db" }),
        state: if n < 3 { "pending" } else { "active" }.to_owned(),
        exact: n == 1,
        asked_at: START.plus_seconds(seconds),
        open: n != 4,
    }
}

/// Rows may come with any append; these come with events of the node, because they are about lists only.
async fn put_rows(store: &Arc<dyn Store>, rows: Vec<Row>) {
    for row in rows {
        let expected = store.load(StreamId::Node).await.unwrap().len() as u64;
        let append = Append { stream: StreamId::Node, expected, events: vec![node_started(START).into()], row: Some(row) };
        store.append(vec![append], START).await.unwrap();
    }
}

async fn access_requests_are_listed_newest_first(store: Arc<dyn Store>) {
    // 2 and 3 were asked at the same moment: the greater id counts as newer.
    let rows = [(1, "alice", 10), (2, "bob", 20), (3, "alice", 20), (4, "bob", 40), (5, "alice", 30)];
    put_rows(&store, rows.map(|(n, who, seconds)| Row::Access(access_row(n, who, seconds))).to_vec()).await;
    let list = async |query: AccessQuery| -> Vec<AccessRequestId> {
        store.access_requests(query).await.unwrap().into_iter().map(|row| row.id).collect()
    };
    let ids = |numbers: &[u64]| numbers.iter().map(|n| access(*n)).collect::<Vec<_>>();
    let all = AccessQuery { limit: 100, ..AccessQuery::default() };
    assert_eq!(list(all.clone()).await, ids(&[4, 5, 3, 2, 1]));
    assert_eq!(list(AccessQuery { limit: 2, ..all.clone() }).await, ids(&[4, 5]));
    assert_eq!(list(AccessQuery { limit: u32::MAX, ..all.clone() }).await, ids(&[4, 5, 3, 2, 1]));
    assert_eq!(list(AccessQuery { before: Some(access(3)), ..all.clone() }).await, ids(&[2, 1]));
    assert_eq!(list(AccessQuery { before: Some(access(77)), ..all.clone() }).await, ids(&[]));
    assert_eq!(list(AccessQuery { requester: Some(parsed("alice")), ..all.clone() }).await, ids(&[5, 3, 1]));
    assert_eq!(list(AccessQuery { resource: Some(parsed("orders-db")), ..all.clone() }).await, ids(&[4, 2]));
    assert_eq!(list(AccessQuery { state: Some("pending".to_owned()), ..all.clone() }).await, ids(&[2, 1]));
    assert_eq!(list(AccessQuery { open: Some(false), ..all.clone() }).await, ids(&[4]));
    let narrow = AccessQuery { open: Some(true), requester: Some(parsed("alice")), state: Some("active".to_owned()), ..all.clone() };
    assert_eq!(list(narrow).await, ids(&[5, 3]));
    assert_eq!(store.access_requests(all).await.unwrap()[4], access_row(1, "alice", 10));
}

fn session_row(n: u64, seconds: i64) -> SessionRow {
    SessionRow {
        id: session(n),
        principal: parsed(if n.is_multiple_of(2) { "alice" } else { "bob" }),
        resource: parsed("orders-db"),
        opened_at: START.plus_seconds(seconds),
        closed_at: (n > 2).then(|| START.plus_seconds(seconds + 5)),
    }
}

async fn sessions_are_listed_newest_first(store: Arc<dyn Store>) {
    put_rows(&store, [(1, 10), (2, 20), (3, 20), (4, 5)].map(|(n, seconds)| Row::Session(session_row(n, seconds))).to_vec()).await;
    let list =
        async |query: SessionQuery| -> Vec<SessionId> { store.sessions(query).await.unwrap().into_iter().map(|row| row.id).collect() };
    let ids = |numbers: &[u64]| numbers.iter().map(|n| session(*n)).collect::<Vec<_>>();
    let all = SessionQuery { limit: 100, ..SessionQuery::default() };
    assert_eq!(list(all.clone()).await, ids(&[3, 2, 1, 4]));
    assert_eq!(list(SessionQuery { limit: 1, ..all.clone() }).await, ids(&[3]));
    assert_eq!(list(SessionQuery { live: Some(true), ..all.clone() }).await, ids(&[2, 1]));
    assert_eq!(list(SessionQuery { live: Some(false), ..all.clone() }).await, ids(&[3, 4]));
    assert_eq!(list(SessionQuery { principal: Some(parsed("alice")), ..all.clone() }).await, ids(&[2, 4]));
    assert_eq!(list(SessionQuery { before: Some(session(2)), ..all.clone() }).await, ids(&[1, 4]));
    let (ten, twenty) = (Some(START.plus_seconds(10)), Some(START.plus_seconds(20)));
    assert_eq!(list(SessionQuery { open_from: ten, ..all.clone() }).await, ids(&[3, 2, 1, 4]));
    assert_eq!(list(SessionQuery { open_from: Some(START.plus_seconds(11)), ..all.clone() }).await, ids(&[3, 2, 1]));
    assert_eq!(list(SessionQuery { opened_to: ten, ..all.clone() }).await, ids(&[1, 4]));
    let narrow =
        SessionQuery { principal: Some(parsed("alice")), open_from: Some(START.plus_seconds(11)), opened_to: twenty, ..all.clone() };
    assert_eq!(list(narrow).await, ids(&[2]));
    assert_eq!(store.sessions(all).await.unwrap()[0], session_row(3, 20));
}

async fn rows_follow_their_events(store: Arc<dyn Store>) {
    let row = access_row(1, "alice", 10);
    put_rows(&store, vec![Row::Access(row.clone())]).await;
    let ended = AccessRow { state: "released".to_owned(), open: false, ..row };
    put_rows(&store, vec![Row::Access(ended.clone())]).await;
    assert_eq!(store.access_requests(AccessQuery { limit: 9, ..AccessQuery::default() }).await.unwrap(), [ended]);
    // A row alone: no event, so no index is used.
    let next = store.tree_head().await.unwrap().size;
    let append =
        Append { stream: StreamId::Session(session(7)), expected: 0, events: Vec::new(), row: Some(Row::Session(session_row(7, 1))) };
    assert_eq!(store.append(vec![append], START).await.unwrap(), next);
    assert_eq!(store.tree_head().await.unwrap().size, next);
    assert_eq!(store.sessions(SessionQuery { limit: 9, ..SessionQuery::default() }).await.unwrap().len(), 1);
}

fn change(kind: &str, key: &str, value: Option<&[u8]>) -> ValueChange {
    ValueChange { kind: kind.to_owned(), key: key.to_owned(), value: value.map(<[u8]>::to_vec) }
}

async fn values_are_written_and_removed_together(store: Arc<dyn Store>) {
    let changes = vec![change("a", "2", Some(b"two")), change("a", "1", Some(b"\x00\xff")), change("b", "1", Some(b""))];
    store.put_values(changes).await.unwrap();
    assert_eq!(store.value("a", "1").await.unwrap(), Some(b"\x00\xff".to_vec()));
    assert_eq!(store.value("b", "1").await.unwrap(), Some(Vec::new()));
    assert_eq!(store.values("a").await.unwrap(), [("1".to_owned(), b"\x00\xff".to_vec()), ("2".to_owned(), b"two".to_vec())]);
    store.put_values(vec![change("a", "1", None), change("a", "2", Some(b"TWO")), change("a", "9", None)]).await.unwrap();
    assert_eq!(store.values("a").await.unwrap(), [("2".to_owned(), b"TWO".to_vec())]);
    assert_eq!(store.values("c").await.unwrap(), []);
    assert_eq!(store.tree_head().await.unwrap().size, 0, "values are never in the ledger");
}

async fn a_value_is_claimed_once(store: Arc<dyn Store>) {
    let tasks: Vec<_> = (0..16_u8)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { (n, store.put_value_if_absent("claim", "key", vec![n]).await.unwrap()) })
        })
        .collect();
    let mut winners = Vec::new();
    for task in tasks {
        let (n, won) = task.await.unwrap();
        if won {
            winners.push(n);
        }
    }
    assert_eq!(winners.len(), 1);
    assert_eq!(store.value("claim", "key").await.unwrap(), Some(winners));
}

async fn cursors_are_remembered(store: Arc<dyn Store>) {
    store.set_cursor("webhooks", 7).await.unwrap();
    store.set_cursor("push", 3).await.unwrap();
    store.set_cursor("webhooks", 9).await.unwrap();
    assert_eq!((store.cursor("webhooks").await.unwrap(), store.cursor("push").await.unwrap()), (9, 3));
}

async fn events_of_another_sort_are_refused(store: Arc<dyn Store>) {
    let wrong = Append { stream: StreamId::Directory, expected: 0, events: vec![opened().into()], row: None };
    assert!(store.append(vec![wrong], START).await.is_err());
    assert_eq!(store.tree_head().await.unwrap().size, 0);
    assert!(store.load(StreamId::Directory).await.unwrap().is_empty());
}
