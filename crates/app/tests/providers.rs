//! Signing in by a provider whose every word is true: what follows from it here, and what never does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod common;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::House;
use parking_lot::Mutex;
use safeconduct_app::{
    App, Arrived, Caller, CommandLine, Problem, Reach, Returned, SignedIn,
    ports::{Away, Back, BoxFuture, Exchanged, IdentityError, IdentityProviders, LoggedOut, Provider, SaidAbout},
};
use safeconduct_lifecycle::{AccessState, Vouched};
use safeconduct_model::{Change, Digest, GroupName, Operation, Timestamp};
use safeconduct_testkit::parsed;

const ISSUER: &str = "https://idp.example";

#[tokio::test]
async fn f15_who_moves_from_one_group_to_another_keeps_what_both_may_do() {
    let (house, corp) = start().await;
    let may_read = |group: &str| {
        format!(
            "@id(\"{group}\") permit (principal in Group::\"{group}\", action == Action::\"read\", resource == Resource::\"orders-db\");\n"
        )
    };
    house.apply(common::bundle(&(may_read("early") + &may_read("late")))).await;
    corp.owns(&["early", "late"]);
    corp.is_alice(&["early"]);
    corp.sign_in(&house.app).await.unwrap();
    house.advance(1).await;
    let view = house.window("alice", &[Operation::Read], 600).await.unwrap();
    let id = view.access.envelope.access_request;
    corp.is_alice(&["late"]);
    corp.sign_in(&house.app).await.unwrap();
    assert!(matches!(house.state(&id).await, AccessState::Active { .. }), "{:?}", house.state(&id).await);
    corp.is_alice(&[]);
    corp.sign_in(&house.app).await.unwrap();
    assert!(matches!(house.state(&id).await, AccessState::Revoked { .. }), "{:?}", house.state(&id).await);
}

const CLEARED: &str = r#"
@id("cleared")
permit (principal in Group::"engineers", action == Action::"read", resource == Resource::"orders-db")
when { context.asked.claims.contains("clearance=secret") };

@id("held")
permit (principal in Group::"engineers", action == Action::"write", resource == Resource::"orders-db")
when { context.asked.claims.contains("clearance=secret") && context.approvals >= 1 };

@id("approve")
permit (principal in Group::"dba", action == Action::"approve", resource in Resource::"orders-db");
"#;

#[tokio::test]
async fn what_a_provider_says_at_a_sign_in_decides_about_what_is_asked_under_it() {
    let (house, corp) = start().await;
    house.apply(common::bundle(CLEARED)).await;
    let ask = async |caller: &Caller| house.app.ask(caller, common::window(&[Operation::Read], 600)).await;
    corp.is_alice(&[]);
    let plain = corp.sign_in(&house.app).await.unwrap();
    corp.claims("clearance", "none");
    let other = corp.sign_in(&house.app).await.unwrap();
    for caller in [&house.caller("alice"), &plain.caller, &other.caller] {
        assert_eq!(ask(caller).await.unwrap_err().code, "RES-001", "{caller:?}");
    }
    corp.claims("clearance", "secret");
    let cleared = corp.sign_in(&house.app).await.unwrap();
    let caller = house.app.authenticate(&cleared.token, "::1", Reach::EVERY_TOKEN).await.unwrap();
    let view = ask(&caller).await.unwrap();
    assert!(matches!(view.access.state, AccessState::Active { .. }), "{:?}", view.access.state);
    assert_eq!(view.access.envelope.asked.claims["clearance"].as_str(), "secret");
    // What is held in a session is asked under the sign-in whose secret opened it, and under no other's.
    let open = async |caller: &Caller| {
        let secret = house.app.connect(caller, &parsed("orders-db"), None).await.unwrap();
        let lookup = house.app.door_lookup(secret.user.as_str(), &secret.dbname);
        let last = lookup.verifiers().len() - 1;
        house.app.door_open(lookup, last, common::peer()).await.unwrap_or_else(|refused| panic!("{refused}"))
    };
    let text = || safeconduct_testkit::sql("update orders set status = 'x' where id = 1");
    let hold = open(&caller).await.place_hold(text(), false).await.unwrap();
    let held = house.app.access(&house.caller("bob"), &hold.request).await.unwrap().access.envelope.asked.clone();
    assert_eq!((held.sign_in.as_str(), held.claims["clearance"].as_str()), ("door", "secret"));
    assert!(open(&plain.caller).await.place_hold(text(), false).await.is_err());
}

#[tokio::test]
async fn a_provider_never_takes_the_last_administrator_away() {
    let (house, corp) = start().await;
    corp.owns(&["administrators"]);
    let administrators = || house.app.groups(&house.caller("carol")).unwrap().remove(&parsed::<GroupName>("administrators"));
    corp.is("abe", &[]);
    corp.sign_in(&house.app).await.unwrap();
    assert_eq!(administrators(), Some([parsed("ann")].into()), "one is left");
    corp.is("ann", &[]);
    corp.sign_in(&house.app).await.unwrap();
    assert_eq!(administrators(), Some([parsed("ann")].into()), "the last one stays, and is signed in");
    corp.is("abe", &["administrators"]);
    corp.sign_in(&house.app).await.unwrap();
    corp.is("ann", &[]);
    corp.sign_in(&house.app).await.unwrap();
    assert_eq!(administrators(), Some([parsed("abe")].into()));
}

#[tokio::test]
async fn a_logout_that_comes_while_its_sign_in_is_checked_ends_it() {
    let (house, corp) = start().await;
    let over = |session: Option<&str>, subject: Option<&str>| LoggedOut {
        issuer: ISSUER.to_owned(),
        session: session.map(str::to_owned),
        subject: subject.map(str::to_owned),
    };
    corp.is_alice(&[]);
    for meant in [over(None, Some("idp|alice")), over(Some("s-1"), None), over(Some("s-1"), Some("idp|alice"))] {
        corp.meanwhile(&house.app, meant.clone());
        assert_eq!(corp.sign_in(&house.app).await.map(drop).unwrap_err().code, "SIGN-006", "{meant:?}");
        corp.sign_in(&house.app).await.unwrap_or_else(|problem| panic!("a later one is not meant: {problem:?}"));
    }
    for other in [
        over(None, Some("idp|bob")),
        over(Some("s-2"), Some("idp|alice")),
        LoggedOut { issuer: "x".to_owned(), ..over(None, Some("idp|alice")) },
    ] {
        corp.meanwhile(&house.app, other.clone());
        corp.sign_in(&house.app).await.unwrap_or_else(|problem| panic!("{other:?}: {problem:?}"));
    }
    // A command line does not take over what was over before its browser was back.
    let line = CommandLine { port: 40_000, challenge: "A".repeat(43) };
    corp.meanwhile(&house.app, over(None, Some("idp|alice")));
    assert_eq!(corp.arrive(&house.app, Some(line)).await.map(drop).unwrap_err().code, "SIGN-006");
}

#[tokio::test]
async fn f23_a_second_account_of_a_providers_making_neither_asks_nor_approves_before_an_administrator_lets_it_in() {
    let (house, corp) = start().await;
    corp.owns(&["dba"]);
    // Whoever has an account here and another name at the provider: as `alice` she asks, as the other she would approve, or the other way.
    corp.is("alice.two", &["dba"]);
    {
        let mut says = corp.says.lock();
        let says = says.as_mut().unwrap();
        (says.person, says.creates) = (None, true);
    }
    for _ in 0..2 {
        assert_eq!(corp.sign_in(&house.app).await.map(drop).unwrap_err().code, "SIGN-007");
    }
    let line = CommandLine { port: 40_000, challenge: "A".repeat(43) };
    assert_eq!(corp.arrive(&house.app, Some(line)).await.map(drop).unwrap_err().code, "SIGN-007");
    let all = house.app.principals(&house.caller("carol")).unwrap();
    let second = all.iter().find(|p| p.name.as_str() == "alice.two").unwrap();
    assert!(second.disabled && second.groups.is_empty(), "{second:?}");
    assert_eq!(house.app.waiting(&house.caller("carol")).unwrap(), BTreeSet::from([parsed("alice.two")]));
    assert!(house.app.waiting(&house.caller("alice")).is_err());
    house.advance(1).await;
    let view = house.window("alice", &[Operation::Write], 600).await.unwrap();
    assert!(!view.eligible.iter().any(|name| name.as_str() == "alice.two"), "{:?}", view.eligible);
    assert!(house.approve("alice.two", &view).await.is_err());
    house.advance(1).await;
    // An administrator, and another one who approves it, say that this is somebody else.
    house.changed(Change::Enable { name: parsed("alice.two") }).await;
    assert!(house.app.waiting(&house.caller("carol")).unwrap().is_empty());
    assert_eq!(corp.sign_in(&house.app).await.unwrap().caller.name.as_str(), "alice.two");
    let groups = house.app.groups(&house.caller("carol")).unwrap();
    assert!(groups[&parsed::<GroupName>("dba")].contains(&parsed("alice.two")));
    assert_eq!(house.approve("alice.two", &view).await.unwrap_err().code, "REQ-008", "in no group when it was asked");
    assert_eq!(house.state(&view.access.envelope.access_request).await, AccessState::Pending);
}

#[tokio::test]
async fn logouts_are_checked_a_few_at_a_time_and_a_flood_is_sent_away() {
    let (house, corp) = start().await;
    let over = LoggedOut { issuer: ISSUER.to_owned(), session: None, subject: Some("idp|alice".to_owned()) };
    *corp.logged_out.lock() = Some(over);
    corp.slow.store(true, Relaxed);
    let mut checks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let app = house.app.clone();
        checks.spawn(async move { app.provider_logout("corp", "a token").await.map_err(|problem| problem.code) });
    }
    let sent_away = async { while checks.join_next().await.unwrap().unwrap() != Err("SIGN-005") {} };
    tokio::time::timeout(std::time::Duration::from_secs(20), sent_away).await.expect("not all of them wait");
    assert!(corp.checking.load(Relaxed) <= 8, "{}", corp.checking.load(Relaxed));
}

#[tokio::test]
async fn a_link_that_is_undone_ends_what_it_began_and_nothing_else() {
    let (house, corp) = start().await;
    corp.is_alice(&[]);
    let alice = corp.sign_in(&house.app).await.unwrap();
    house.grant("alice", &[Operation::Read], 600).await;
    let secret = house.app.connect(&alice.caller, &parsed("orders-db"), None).await.unwrap();
    let works = || house.app.door_resource(&house.app.door_lookup(secret.user.as_str(), &secret.dbname)).is_some();
    assert!(works());
    corp.is("bob", &[]);
    let bob = corp.sign_in(&house.app).await.unwrap();
    corp.is_alice(&[]);
    let line = CommandLine { port: 40_000, challenge: URL_SAFE_NO_PAD.encode(Digest::of_bytes(b"my verifier").as_bytes()) };
    let Arrived::HandOver { url } = corp.arrive(&house.app, Some(line)).await.unwrap() else { panic!("a command line asked") };
    let (_, code) = url.split_once("code=").unwrap();
    let unlink = |subject: &str| Change::UnlinkIdentity { name: parsed("alice"), issuer: ISSUER.to_owned(), subject: subject.to_owned() };
    assert_eq!(house.change("ann", unlink("idp|bob")).await.unwrap_err().code, "ADMIN-001", "not hers");
    assert!(house.change("bob", unlink("idp|alice")).await.is_err(), "administrators ask for it");
    house.changed(unlink("idp|alice")).await;
    assert!(house.app.authenticate(&alice.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    assert!(house.app.authenticate(&bob.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_ok());
    assert!(house.app.take_over_sign_in(code, "my verifier", "::1").await.is_err(), "it was begun by the link");
    assert!(!works(), "door secrets of such a sign-in end with it");
    let house = house.crash().await;
    assert!(house.app.authenticate(&alice.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_err());
    assert!(house.app.authenticate(&bob.token, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_ok());
    // Whom the settings do not name is nobody.
    house.app.set_identity_providers(Arc::clone(&corp) as _);
    corp.says.lock().as_mut().unwrap().person = None;
    assert_eq!(corp.sign_in(&house.app).await.map(drop).unwrap_err().code, "SIGN-007");
}

#[tokio::test]
async fn f21_a_sign_in_of_unknown_age_is_old_to_policy() {
    let (house, corp) = start().await;
    let fresh = r#"@id("fresh") permit (principal, action == Action::"read", resource == Resource::"orders-db")
        when { context.asked.sign_in_age < duration("36500d") };"#;
    house.apply(common::bundle(fresh)).await;
    house.advance(1).await;
    corp.is_alice(&[]);
    let known = corp.sign_in(&house.app).await.unwrap();
    let ask = || common::window(&[Operation::Read], 600);
    let view = house.app.ask(&known.caller, ask()).await.unwrap();
    assert!(matches!(view.access.state, AccessState::Active { .. }), "{:?}", view.access.state);
    corp.says.lock().as_mut().unwrap().vouched.authenticated_at = None;
    let unknown = corp.sign_in(&house.app).await.unwrap();
    assert!(house.app.ask(&unknown.caller, ask()).await.is_err(), "nobody says that it was within a century");
}

#[tokio::test]
async fn f27_a_browsers_half_of_a_command_lines_sign_in_opens_nothing_and_is_finished_by_nobody_else() {
    let (house, corp) = start().await;
    corp.is_alice(&[]);
    let sign_ins = async |name: &str| house.app.tokens(&house.caller("ann"), &parsed(name)).await.unwrap().len();
    let line =
        |verifier: &str| CommandLine { port: 40_000, challenge: URL_SAFE_NO_PAD.encode(Digest::of_bytes(verifier.as_bytes()).as_bytes()) };
    let bring = async |verifier: &str| match corp.arrive(&house.app, Some(line(verifier))).await.unwrap() {
        Arrived::HandOver { url } => url.split_once("code=").unwrap().1.to_owned(),
        other => panic!("{other:?}"),
    };
    // Left, and not come back; come back, and not taken over.
    house.app.leave_for_provider("corp", Some(line("hers"))).await.unwrap();
    let code = bring("hers").await;
    assert_eq!(sign_ins("alice").await, 0);
    assert!(house.app.authenticate(&code, "::1", safeconduct_app::Reach::EVERY_TOKEN).await.is_err(), "a code is no token");
    // The second half of somebody else uses it up, and is no sign-in of theirs either.
    assert_eq!(house.app.take_over_sign_in(&code, "mallory's", "::1").await.unwrap_err().code, "SIGN-006");
    assert_eq!(house.app.take_over_sign_in(&code, "hers", "::1").await.unwrap_err().code, "SIGN-006");
    // A browser that was led to go on with another's ticket, or with a state that is not its own.
    let (hers, his) =
        (house.app.leave_for_provider("corp", None).await.unwrap(), house.app.leave_for_provider("corp", None).await.unwrap());
    let returned = Returned { code: Some("code".to_owned()), state: corp.state.lock().clone(), ..Returned::default() };
    assert_eq!(house.app.return_from_provider(&hers.ticket, returned.clone(), "::1").await.unwrap_err().code, "SIGN-006");
    assert_eq!((sign_ins("alice").await, sign_ins("mallory").await), (0, 0));
    house.app.return_from_provider(&his.ticket, returned, "::1").await.unwrap();
    assert_eq!(sign_ins("alice").await, 1, "both halves of one");
}

async fn start() -> (House, Arc<Corp>) {
    let house = House::new().await;
    let corp = Arc::new(Corp::default());
    house.app.set_identity_providers(Arc::clone(&corp) as _);
    (house, corp)
}

/// A provider: says what a test wants said, of who comes back next.
#[derive(Default)]
struct Corp {
    owned: Mutex<BTreeSet<GroupName>>,
    says: Mutex<Option<SaidAbout>>,
    state: Mutex<String>,
    /// What the provider calls over while it is asked.
    over: Mutex<Option<(App, LoggedOut)>>,
    logged_out: Mutex<Option<LoggedOut>>,
    /// Never answers whether somebody signed out.
    slow: AtomicBool,
    checking: AtomicUsize,
}

impl Corp {
    fn owns(&self, groups: &[&str]) {
        *self.owned.lock() = groups.iter().map(|group| parsed(group)).collect();
    }

    fn is_alice(&self, groups: &[&str]) {
        self.is("alice", groups);
    }

    /// Who comes back next is this person of the settings, in these groups.
    fn is(&self, name: &str, groups: &[&str]) {
        *self.says.lock() = Some(SaidAbout {
            vouched: Vouched {
                provider: "corp".to_owned(),
                issuer: ISSUER.to_owned(),
                subject: format!("idp|{name}"),
                session: Some("s-1".to_owned()),
                authenticated_at: Some(safeconduct_testkit::START),
                methods: Vec::new(),
                claims: std::collections::BTreeMap::new(),
            },
            name: Some(name.to_owned()),
            display_name: None,
            owned: self.owned.lock().clone(),
            groups: groups.iter().map(|group| parsed(group)).collect(),
            person: Some(parsed(name)),
            creates: false,
        });
    }

    /// Of who comes back next it says this, too, and the settings keep it.
    fn claims(&self, name: &str, value: &str) {
        let claims = [(name.to_owned(), safeconduct_testkit::words(value))].into();
        self.says.lock().as_mut().unwrap().vouched.claims = claims;
    }

    /// The next time it is asked who came back, this is over before it has answered.
    fn meanwhile(&self, app: &App, over: LoggedOut) {
        *self.over.lock() = Some((app.clone(), over));
    }

    async fn logout(&self, app: &App, over: LoggedOut) {
        *self.logged_out.lock() = Some(over);
        app.provider_logout("corp", "a token").await.unwrap();
    }

    async fn arrive(&self, app: &App, line: Option<CommandLine>) -> Result<Arrived, Problem> {
        let leaving = app.leave_for_provider("corp", line).await.unwrap();
        let returned = Returned { code: Some("code".to_owned()), state: self.state.lock().clone(), ..Returned::default() };
        app.return_from_provider(&leaving.ticket, returned, "::1").await
    }

    async fn sign_in(&self, app: &App) -> Result<SignedIn, Problem> {
        match self.arrive(app, None).await? {
            Arrived::SignedIn(signed_in) => Ok(signed_in),
            other @ Arrived::HandOver { .. } => panic!("{other:?}"),
        }
    }
}

impl IdentityProviders for Corp {
    fn all(&self) -> Vec<Provider> {
        vec![Provider { name: "corp".to_owned(), title: "Corp".to_owned() }]
    }

    fn leave<'a>(&'a self, _: &'a str, away: &'a Away) -> BoxFuture<'a, Result<String, IdentityError>> {
        *self.state.lock() = away.state.clone();
        Box::pin(async { Ok(ISSUER.to_owned()) })
    }

    fn redeem<'a>(&'a self, _: &'a str, _: &'a Back, _: Timestamp) -> BoxFuture<'a, Result<SaidAbout, IdentityError>> {
        Box::pin(async {
            let over = self.over.lock().take();
            if let Some((app, over)) = over {
                self.logout(&app, over).await;
            }
            Ok(self.says.lock().clone().unwrap())
        })
    }

    fn workload<'a>(&'a self, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<Exchanged, IdentityError>> {
        Box::pin(async { Err(IdentityError::Unknown) })
    }

    fn logged_out<'a>(&'a self, _: &'a str, _: &'a str, _: Timestamp) -> BoxFuture<'a, Result<LoggedOut, IdentityError>> {
        Box::pin(async {
            self.checking.fetch_add(1, Relaxed);
            if self.slow.load(Relaxed) {
                std::future::pending::<()>().await;
            }
            Ok(self.logged_out.lock().clone().unwrap())
        })
    }
}
