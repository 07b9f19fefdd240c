//! Rosters: enough distinct roots, one form, never an older one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
#[path = "../../../testkit/src/signers.rs"]
mod signers;

use safeconduct_evidence::{InvalidRoots, InvalidRoster, Member, NAMESPACE, ROSTER_NAMESPACE, Roots, Roster};
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

#[test]
fn roots_are_lines_of_keys_more_than_half_of_which_sign() {
    let line = |seed: u8| FileKey::of(seed).public().to_string();
    let text = format!("# ours\n\n{} ann\n  {}\n{}\n", line(1), line(2), line(3));
    assert_eq!(Roots::read(&text, None).unwrap(), roots(2));
    assert_eq!(Roots::read(&text, Some(3)).unwrap(), roots(3));
    for (text, needed, why) in [
        (text.as_str(), Some(0), InvalidRoots::Needed { needed: 0, keys: 3 }),
        (text.as_str(), Some(4), InvalidRoots::Needed { needed: 4, keys: 3 }),
        ("# none\n", None, InvalidRoots::Needed { needed: 1, keys: 0 }),
        (&format!("{}\n{} again\n", line(1), line(1)), None, InvalidRoots::Twice),
    ] {
        assert_eq!(Roots::read(text, needed).unwrap_err(), why);
    }
    assert!(matches!(Roots::read("a key of mine\n", None).unwrap_err(), InvalidRoots::Key(_)));
}

#[test]
fn who_signed_is_told_without_knowing_whose_keys_they_are() {
    let text = roster(4).to_text().unwrap();
    let told = Roster::signers(&text, &signed(&text, &[9, 1, 9]));
    assert_eq!(told, [9, 1].map(|seed| FileKey::of(seed).public()), "each once");
    assert!(Roster::signers(&format!("{text}\n"), &signed(&text, &[1])).is_empty());
    assert_eq!(Roster::read(&text, "test").unwrap(), roster(4));
    assert_eq!(Roster::read(&text, "other").unwrap_err(), InvalidRoster::OtherGateway("test".into()));
    assert_eq!(Roster::read(&format!("{text}\n"), "test").unwrap_err(), InvalidRoster::Form);
}
