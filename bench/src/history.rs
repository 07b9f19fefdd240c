//! A gateway with a long past: 10,000 access requests and a ledger of 1,000,000 entries. How soon the API answers what its pages ask, and, with
//! `--then`, what a browser makes of it.

use std::{collections::BTreeMap, process::Command};

use safeconduct_app::{
    App, AskedFor, Caller, NewAccessRequest,
    ports::{Append, Store},
};
use safeconduct_lifecycle::{SignInEvent, StreamId};
use safeconduct_model::{Operation, PrincipalKind, SignInId, Timestamp};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{parsed, ttl, words};

use crate::{
    Args,
    figures::{head, latencies, median, row},
    node::{Node, PASSWORD},
};

const REQUESTS: u64 = 10_000;
const ENTRIES: u64 = 1_000_000;
const PEOPLE: u64 = 20;
const BATCH: u64 = 5_000;
const TIMES: usize = 20;

const POLICY: &str = r#"
@id("read") permit (principal in Group::"engineers", action == Action::"read", resource is Resource);
@id("write") permit (principal in Group::"engineers", action == Action::"write", resource is Resource) when { context.approvals >= 1 };
@id("approve") permit (principal in Group::"dba", action == Action::"approve", resource);
"#;

pub async fn measure(args: &Args) {
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("p{number}")).collect();
    let mut people: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "engineers")).collect();
    people.extend([("bob", "dba"), ("carol", "auditors"), ("ann", "administrators")]);
    eprintln!("making {REQUESTS} access requests and {ENTRIES} entries …");
    let mut node = Node::start_with(&args.program, &bundle(), &people, past).await;
    head(
        &format!("What pages ask of a gateway with {REQUESTS} access requests and {ENTRIES} entries, over HTTPS: ms"),
        &["question", "p50", "p90", "p99", "max"],
    );
    let (newest, _) = node.get("carol", "/access-requests?list=all&limit=50").await;
    let oldest_of_page = newest[49]["id"].as_str().unwrap().to_owned();
    let half = ENTRIES / 2;
    let questions = [
        ("access requests, the newest 50", "p1", "/access-requests?list=mine&limit=50".to_owned()),
        ("everybody's access requests, the newest 50", "carol", "/access-requests?list=all&limit=50".to_owned()),
        ("the next 50", "carol", format!("/access-requests?list=all&limit=50&before={oldest_of_page}")),
        ("what waits for an approver", "bob", "/access-requests?list=to-approve&limit=200".to_owned()),
        ("insights of 30 days", "carol", "/insights?limit=50".to_owned()),
        ("ledger, the newest 50", "carol", "/ledger/search?limit=50".to_owned()),
        ("ledger, 50 from the middle on", "carol", format!("/ledger/search?limit=50&before={half}")),
        ("ledger, one person's, as far as one call looks", "carol", format!("/ledger/search?limit=50&person=p7&before={half}")),
        ("a proof from the middle", "carol", format!("/ledger/proof/{half}")),
    ];
    for (name, who, path) in &questions {
        let mut took = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            took.push(node.get(who, path).await.1);
        }
        row(&std::iter::once((*name).to_owned()).chain(latencies(took)).collect::<Vec<_>>());
    }
    if let Some(then) = &args.then {
        let at = format!("https://localhost:{}", node.api.port());
        let status =
            Command::new("sh").args(["-c", then]).env("SAFECONDUCT_AT", at).env("SAFECONDUCT_PASSWORD", PASSWORD).status().unwrap();
        assert!(status.success(), "{then}: {status}");
    }
    let starts: Vec<f64> = (0..3).map(|_| node.restart().as_secs_f64() * 1000.0).collect();
    head("Starting on it", &["what", "ms"]);
    row(&["from start to listening".to_owned(), format!("{:.0}", median(&starts))]);
}

/// Access requests that were used and given back, a tenth of them writes that were taken back undecided; then sign-ins, straight into the store.
async fn past(app: &App, store: &dyn Store) {
    for number in 0..REQUESTS {
        let caller = caller(number % PEOPLE);
        let write = number % 10 == 0;
        let operation = if write { Operation::Write } else { Operation::Read };
        let ask = NewAccessRequest {
            resource: parsed(&format!("db{}", number % 7)),
            what: AskedFor::Window { operations: [operation].into_iter().collect(), narrow: Default::default() },
            reason: words(&format!("ticket {number}: look into it")),
            ticket: None,
            duration: ttl(1800),
            starts_at: None,
        };
        let asked = app.ask(&caller, ask).await.unwrap().access;
        if write {
            app.cancel(&caller, &asked.envelope.access_request).await.unwrap();
        } else {
            app.release(&caller, &asked.grant()).await.unwrap();
        }
    }
    let mut size = store.tree_head().await.unwrap().size;
    let mut expected = store.version(StreamId::SignIns).await.unwrap();
    let now = app.now();
    while size < ENTRIES {
        let count = BATCH.min(ENTRIES - size);
        let events = (0..count).map(|each| sign_in(size + each, now).into()).collect();
        store.append(vec![Append { stream: StreamId::SignIns, expected, events, row: None }], now).await.unwrap();
        expected += count;
        size += count;
    }
}

fn sign_in(number: u64, at: Timestamp) -> SignInEvent {
    let name = parsed(&format!("p{}", number % PEOPLE));
    let (sign_in, method, source) = (SignInId::from_bits(number), "password".to_owned(), "127.0.0.1".to_owned());
    SignInEvent::SignedIn { sign_in, name, method, source, vouched: None, scopes: None, at }
}

fn caller(number: u64) -> Caller {
    Caller {
        name: parsed(&format!("p{number}")),
        kind: PrincipalKind::Person,
        sign_in: SignInId::from_bits(number),
        method: "password".to_owned(),
        source: "127.0.0.1".to_owned(),
        signed_in_at: safeconduct_testkit::START,
        authenticated_at: Some(safeconduct_testkit::START),
        claims: std::collections::BTreeMap::new(),
        scopes: None,
    }
}

fn bundle() -> BundleFiles {
    let resource = "kind = \"postgres\"\ndescription = \"one of seven\"\n[postgres]\nhost = \"127.0.0.1\"\ndatabase = \"app\"\n\
         [postgres.tls]\ndanger_disabled = true\n[postgres.credentials]\nuser = \"app\"\npassword = \"env:NOBODY\"\n";
    let mut files: BTreeMap<_, _> = (0..7).map(|number| (format!("resources/db{number}.toml"), resource.as_bytes().to_vec())).collect();
    files.insert("policies/all.cedar".to_owned(), POLICY.as_bytes().to_vec());
    BundleFiles { files }
}
