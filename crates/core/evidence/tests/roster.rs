//! Rosters: enough distinct roots, one form, never an older one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
#[path = "../../../testkit/src/signers.rs"]
mod signers;

use safeconduct_evidence::{InvalidRoster, Member, NAMESPACE, ROSTER_NAMESPACE, Roots, Roster};
use safeconduct_model::Digest;
use signers::{FileKey, person};

fn roots(needed: usize) -> Roots {
    Roots { keys: [1, 2, 3].map(|seed| FileKey::of(seed).public()).into(), needed }
}

fn roster(epoch: u64) -> Roster {
    let bob = Member { groups: ["dba".parse().unwrap()].into(), keys: [FileKey::of(9).public().to_string()].into(), manager: None };
    Roster { v: 1, gateway: "test".into(), epoch, policies: [Digest::of_bytes(b"p")].into(), people: [(person("bob"), bob)].into() }
}

fn signed(text: &str, seeds: &[u8]) -> String {
    seeds.iter().map(|seed| FileKey::of(*seed).sign_for(ROSTER_NAMESPACE, text)).collect()
}

#[test]
fn enough_distinct_roots_make_a_roster() {
    let text = roster(4).to_text().unwrap();
    for (seeds, valid) in [(&[][..], 0), (&[1], 1), (&[1, 1, 1], 1), (&[1, 9], 1), (&[1, 2], 2), (&[3, 9, 1, 2], 3)] {
        let proved = Roster::prove(&text, &signed(&text, seeds), &roots(2), "test", 0);
        if valid >= 2 {
            assert_eq!(proved.unwrap(), roster(4), "{seeds:?}");
        } else {
            assert_eq!(proved.unwrap_err(), InvalidRoster::Signatures { valid, needed: 2 }, "{seeds:?}");
        }
    }
    assert!(Roster::prove(&text, "", &roots(0), "test", 0).is_err(), "nobody's signature is never enough");
    let approval: String = [1, 2].iter().map(|seed| FileKey::of(*seed).sign_for(NAMESPACE, &text)).collect();
    assert!(Roster::prove(&text, &approval, &roots(2), "test", 0).is_err(), "signed for another purpose");
}

#[test]
fn f54_a_roster_is_not_changed_rolled_back_or_another_gateways() {
    let text = roster(4).to_text().unwrap();
    let signatures = signed(&text, &[1, 2]);
    for changed in [text.replace("\"dba\"", "\"all\""), text.replace(":4,", ":5,"), format!("{text}\n"), text.replace("{", "{ ")] {
        assert!(changed != text && Roster::prove(&changed, &signatures, &roots(2), "test", 0).is_err(), "{changed}");
    }
    assert!(Roster::prove(&text, &signatures, &roots(2), "test", 4).is_ok(), "the same again");
    assert_eq!(Roster::prove(&text, &signatures, &roots(2), "test", 5).unwrap_err(), InvalidRoster::Rollback { epoch: 4, highest: 5 });
    assert_eq!(Roster::prove(&text, &signatures, &roots(2), "other", 0).unwrap_err(), InvalidRoster::OtherGateway("test".into()));
}

#[test]
fn f29_one_key_is_one_persons() {
    let mut shared = roster(4);
    let member = shared.people[&person("bob")].clone();
    shared.people.insert(person("dora"), member);
    let text = shared.to_text().unwrap();
    let refused = Roster::prove(&text, &signed(&text, &[1, 2]), &roots(2), "test", 0).unwrap_err();
    assert!(matches!(refused, InvalidRoster::SharedKey(_)), "{refused}");
    let mut commented = roster(4);
    commented.people.get_mut(&person("bob")).unwrap().keys = [format!("{} bob", FileKey::of(9).public())].into();
    let text = commented.to_text().unwrap();
    assert_eq!(Roster::prove(&text, &signed(&text, &[1, 2]), &roots(2), "test", 0).unwrap_err(), InvalidRoster::Key(person("bob")));
}
