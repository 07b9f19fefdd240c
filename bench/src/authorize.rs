//! `authorize` alone, with 1,000 policies and 10,000 live grants: warm (the same statement again), and cold (each text new, the clock moving).

use std::{collections::BTreeMap, fmt::Write as _, net::SocketAddr, time::Instant};

use safeconduct_app::{App, AskedFor, Caller, DoorSession, NewAccessRequest, StatementAsk, Verdict};
use safeconduct_ledger::SignerKey;
use safeconduct_model::{MintingKey, Operation, PrincipalKind, SignInId};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{parsed, ttl, words};

use crate::{
    figures::{head, latencies, percentile, row, sorted},
    node::{person, ports_on, settings},
};

const POLICIES: usize = 1_000;
const GRANTS: usize = 10_000;
/// Nobody may hold more than a hundred grants that nobody approved: eighty each.
const PEOPLE: usize = 125;

pub async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let key = SignerKey::from_seed("safeconduct/ledger", &[7; 32]).unwrap();
    let app = App::start(ports_on(folder.path(), key), settings(), MintingKey::make()).await.unwrap();
    app.operator_policy(&bundle()).await.unwrap();
    let names: Vec<String> = (0..PEOPLE).map(|number| format!("p{number}")).collect();
    app.operator_people(names.iter().map(|name| person(name, "engineers")).collect()).await.unwrap();
    eprintln!("asking for {GRANTS} grants …");
    let mut asks = Vec::with_capacity(GRANTS);
    for number in 0..GRANTS {
        let caller = caller(&names[number % PEOPLE], number as u64);
        let ask = NewAccessRequest {
            resource: parsed(&format!("db{}", number / PEOPLE % 10)),
            what: AskedFor::Window { operations: [Operation::Read].into_iter().collect(), narrow: Default::default() },
            reason: words("measuring"),
            ticket: None,
            duration: ttl(8 * 3600),
            starts_at: None,
        };
        let began = Instant::now();
        app.ask(&caller, ask).await.unwrap();
        asks.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    head(
        &format!("Asking under {POLICIES} policies, the grants growing from none to {GRANTS}: ms"),
        &["requests", "p50", "p90", "p99", "max"],
    );
    row(&std::iter::once(GRANTS.to_string()).chain(latencies(asks)).collect::<Vec<_>>());
    let session = open(&app, &caller("p0", 0)).await;
    head(&format!("authorize with {POLICIES} policies and {GRANTS} live grants: µs"), &["case", "p50", "p99", "max"]);
    case("warm: the same statement again", 200_000, |_| "SELECT v FROM t WHERE id = 1".to_owned(), &session);
    case("one statement with other values each time", 200_000, |n| format!("SELECT v FROM t WHERE id = {n}"), &session);
    case("cold: each text new (parsing included)", 5_000, |n| format!("SELECT v AS c{n} FROM t{n} WHERE id = 1"), &session);
    session.close("measured").await;
    app.shutdown().await;
    drop(app);
    let key = SignerKey::from_seed("safeconduct/ledger", &[7; 32]).unwrap();
    let began = Instant::now();
    let again = App::start(ports_on(folder.path(), key), settings(), MintingKey::make()).await.unwrap();
    let took = began.elapsed().as_secs_f64() * 1000.0;
    head("The same store again", &["what", "ms"]);
    row(&[format!("from opening it to a world with {} live grants", again.status().await.live_grants), format!("{took:.0}")]);
}

fn case(name: &str, times: usize, text: impl Fn(usize) -> String, session: &DoorSession) {
    let mut took = Vec::with_capacity(times);
    for number in 0..times {
        let text = text(number);
        let began = Instant::now();
        let facts = session.facts(&text);
        let verdict = session.authorize(&StatementAsk { facts: &facts, can_hold: true, in_transaction: false });
        took.push(began.elapsed().as_secs_f64() * 1e6);
        assert!(matches!(verdict, Verdict::Permit(_)), "{text}: {verdict:?}");
    }
    let took = sorted(took);
    row(&std::iter::once(name.to_owned())
        .chain([0.5, 0.99, 1.0].map(|share| format!("{:.1}", percentile(&took, share))))
        .collect::<Vec<_>>());
}

async fn open(app: &App, caller: &Caller) -> DoorSession {
    let secret = app.connect(caller, &parsed("db0"), None).await.unwrap();
    let lookup = app.door_lookup(secret.user.as_str(), &secret.dbname);
    app.door_open(lookup, 0, SocketAddr::from(([127, 0, 0, 1], 9))).await.unwrap()
}

pub fn caller(name: &str, number: u64) -> Caller {
    Caller {
        name: parsed(name),
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
    let mut files = BTreeMap::new();
    for number in 0..10 {
        let resource = "kind = \"postgres\"\ndescription = \"one of ten\"\n[postgres]\nhost = \"127.0.0.1\"\ndatabase = \"app\"\n\
             [postgres.tls]\ndanger_disabled = true\n[postgres.credentials]\nuser = \"app\"\npassword = \"env:NOBODY\"\n";
        files.insert(format!("resources/db{number}.toml"), resource.as_bytes().to_vec());
    }
    let mut policies =
        "@id(\"read\") permit (principal in Group::\"engineers\", action == Action::\"read\", resource is Resource);\n".to_owned();
    for number in 1..POLICIES {
        let _ = writeln!(
            policies,
            "@id(\"p{number}\") permit (principal in Group::\"team-{number}\", action == Action::\"write\", resource == Resource::\"db{}\") \
             when {{ context.approvals >= 1 && context.asked.reason like \"*{number}*\" }};",
            number % 10
        );
    }
    files.insert("policies/all.cedar".to_owned(), policies.into_bytes());
    BundleFiles { files }
}
