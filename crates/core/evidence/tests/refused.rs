//! What must not count, written as the attacker would: each is refused, and says why.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
#[path = "../../../testkit/src/signers.rs"]
mod signers;

use proptest::prelude::*;
use safeconduct_evidence::{Enrolled, Moment, Proved, SignedApproval, Statement, Unproved, Verdict, prove, prove_all};
use safeconduct_model::{Envelope, Level, PrincipalName, Timestamp};
use signers::{BOTH, DOMAIN, FileKey, Passkey, SAID, Said, SecurityKey, at, enrolled, envelope, person, site, statement, words};

const SQL: &str = "update orders set state = 'paid' where id = 4711";

/// Bob's approval, a minute after the asking, at this level.
fn check(envelope: &Envelope, text: &str, signature: &str, keys: &[Enrolled], level: Level, moment: Moment) -> Result<Proved, Unproved> {
    let approval = SignedApproval { approver: &person("bob"), statement: text, signature };
    prove(envelope, Verdict::Approve, &approval, keys, level, &site(), moment)
}

fn signed(envelope: &Envelope, key: &FileKey) -> (String, String) {
    let text = statement(envelope, "bob", at(60)).to_text().unwrap();
    let signature = key.sign(&text);
    (text, signature)
}

fn using(envelope: &Envelope, (text, signature): &(String, String), key: &FileKey, now: i64) -> Result<Proved, Unproved> {
    check(envelope, text, signature, &enrolled(&key.public()), Level::Signed, Moment::Use(at(now)))
}

#[test]
fn f54_an_approval_moved_to_another_access_request_counts_for_nothing() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let evidence = signed(&own, &key);
    using(&own, &evidence, &key, 61).unwrap();
    let other = Envelope { access_request: safeconduct_model::AccessRequestId::from_bits(2), ..own.clone() };
    assert_eq!(using(&other, &evidence, &key, 61).unwrap_err(), Unproved::OtherEnvelope);
    let again = Envelope { nonce: "1".repeat(32), ..own };
    assert_eq!(using(&again, &evidence, &key, 61).unwrap_err(), Unproved::OtherEnvelope);
}

#[test]
fn f20_any_edit_of_the_envelope_voids_its_signatures() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let evidence = signed(&own, &key);
    let edits: [(&str, Envelope); 6] = [
        ("resource", Envelope { resource: "billing-db".parse().unwrap(), ..own.clone() }),
        ("sql", envelope("update orders set state = 'paid' where id = 4712")),
        ("requester", Envelope { requester: person("mallory"), ..own.clone() }),
        ("duration", Envelope { duration: safeconduct_model::Ttl::MAX, ..own.clone() }),
        ("quorum", Envelope { quorum: None, ..own.clone() }),
        ("roster", Envelope { roster_epoch: 8, ..own.clone() }),
    ];
    for (what, edited) in edits {
        assert_eq!(using(&edited, &evidence, &key, 61).unwrap_err(), Unproved::OtherEnvelope, "{what}");
    }
}

#[test]
fn f46_what_looks_like_something_else_is_signed_by_nobody() {
    let key = FileKey::of(1);
    for (sql, odd) in [("update \u{43e}rders set a = 1", '\u{43e}'), ("select 'a\u{202e}b'", '\u{202e}')] {
        let own = envelope(sql);
        let Unproved::NotAsShown(unfit) = using(&own, &signed(&own, &key), &key, 61).unwrap_err() else { panic!("{sql}") };
        assert!(unfit.to_string().contains(&format!("U+{:04X}", u32::from(odd))), "{unfit}");
    }
    let own = envelope(SQL);
    let text = Statement { comment: Some(words("as \u{430}greed")), ..statement(&own, "bob", at(60)) }.to_text().unwrap();
    let evidence = (text.clone(), key.sign(&text));
    assert!(matches!(using(&own, &evidence, &key, 61), Err(Unproved::NotAsShown(_))));
}

#[test]
fn a_denial_is_no_approval_and_one_persons_word_is_not_anothers() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let denial = Statement::about(&own, Verdict::Deny, person("bob"), Some(words("no")), at(60)).unwrap().to_text().unwrap();
    let refused = check(&own, &denial, &key.sign(&denial), &enrolled(&key.public()), Level::Signed, Moment::Use(at(61)));
    assert_eq!(refused.unwrap_err(), Unproved::OtherVerdict);
    let carla = statement(&own, "carla", at(60)).to_text().unwrap();
    let refused = check(&own, &carla, &key.sign(&carla), &enrolled(&key.public()), Level::Signed, Moment::Use(at(61)));
    assert_eq!(refused.unwrap_err(), Unproved::OtherApprover);
}

#[test]
fn f23_the_requester_approves_with_no_key() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let text = statement(&own, "ana", at(60)).to_text().unwrap();
    let (ana, signature) = (person("ana"), key.sign(&text));
    let approval = SignedApproval { approver: &ana, statement: &text, signature: &signature };
    let refused = prove(&own, Verdict::Approve, &approval, &enrolled(&key.public()), Level::Signed, &site(), Moment::Use(at(61)));
    assert_eq!(refused.unwrap_err(), Unproved::SelfApproval);
}

#[test]
fn only_keys_count_that_were_enrolled_before_the_asking() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let (text, signature) = signed(&own, &key);
    let with = |keys: &[Enrolled]| check(&own, &text, &signature, keys, Level::Signed, Moment::Use(at(61)));
    assert_eq!(with(&[]).unwrap_err(), Unproved::UnknownKey);
    assert_eq!(with(&enrolled(&FileKey::of(2).public())).unwrap_err(), Unproved::UnknownKey);
    assert_eq!(with(&[Enrolled { key: key.public(), since: at(1) }]).unwrap_err(), Unproved::KeyTooNew);
}

#[test]
fn a_statement_counts_when_it_was_signed_and_while_its_envelope_gives() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let (text, signature) = signed(&own, &key);
    let when = |moment: Moment| check(&own, &text, &signature, &enrolled(&key.public()), Level::Signed, moment).map(drop);
    assert_eq!(when(Moment::Signing(at(60))), Ok(()));
    assert_eq!(when(Moment::Signing(at(361))), Err(Unproved::NotFresh));
    assert_eq!(when(Moment::Signing(at(-241))), Err(Unproved::NotFresh));
    assert_eq!(when(Moment::Use(at(-241))), Err(Unproved::NotFresh));
    // An hour to decide, ten minutes to use.
    assert_eq!(when(Moment::Use(at(4199))), Ok(()));
    assert_eq!(when(Moment::Use(at(4200))), Err(Unproved::Over));
    let mut longer = statement(&own, "bob", at(60));
    longer.counts_until = at(1_000_000);
    let text = longer.to_text().unwrap();
    let late = |moment| check(&own, &text, &key.sign(&text), &enrolled(&key.public()), Level::Signed, moment).map(drop);
    assert_eq!(late(Moment::Use(at(4200))), Err(Unproved::Over), "a statement can't count for more than its envelope");
}

#[test]
fn a_signature_for_another_purpose_or_by_another_key_is_none() {
    let (key, own) = (FileKey::of(1), envelope(SQL));
    let (text, _) = signed(&own, &key);
    for signature in [key.sign_for("git", &text), key.sign_for("safeconduct-roster@v1", &text), key.sign(&format!("{text}\n"))] {
        let refused = using(&own, &(text.clone(), signature), &key, 61).unwrap_err();
        assert!(matches!(refused, Unproved::Signature(_)), "{refused:?}");
    }
    // The same meaning in another text is not what was signed, whoever signed that.
    let spaced = text.replace(':', ": ");
    let signature = key.sign(&spaced);
    assert!(matches!(using(&own, &(spaced, signature), &key, 61).unwrap_err(), Unproved::Statement(_)));
}

#[test]
fn an_authenticator_must_have_seen_its_user_and_at_passkey_level_known_them() {
    let own = envelope(SQL);
    let text = statement(&own, "bob", at(60)).to_text().unwrap();
    let key = SecurityKey::of(2);
    let with = |flags, level| check(&own, &text, &key.sign(&text, flags), &enrolled(&key.public()), level, Moment::Use(at(61))).map(drop);
    assert_eq!(with(0x01, Level::Signed), Ok(()));
    assert_eq!(with(0x00, Level::Signed), Err(Unproved::NotPresent));
    assert_eq!(with(0x04, Level::Passkey), Err(Unproved::NotPresent));
    assert_eq!(with(0x01, Level::Passkey), Err(Unproved::NotVerified));
    assert_eq!(with(BOTH, Level::Passkey), Ok(()));
    let file = FileKey::of(1);
    let refused = check(&own, &text, &file.sign(&text), &enrolled(&file.public()), Level::Passkey, Moment::Use(at(61)));
    assert_eq!(refused.unwrap_err(), Unproved::NoAuthenticator);
}

#[test]
fn f26_a_passkey_counts_from_our_own_page_alone() {
    let own = envelope(SQL);
    let text = statement(&own, "bob", at(60)).to_text().unwrap();
    let key = Passkey::at(DOMAIN);
    let with = |said: &Said<'_>| {
        check(&own, &text, &key.sign(&text, said), &enrolled(&key.public()), Level::Passkey, Moment::Use(at(61))).map(drop)
    };
    assert_eq!(with(&SAID), Ok(()));
    assert_eq!(with(&Said { rest: "}", ..SAID }), Ok(()));
    assert_eq!(with(&Said { origin: "https://gateway.example.evil", ..SAID }), Err(Unproved::ForeignOrigin));
    assert_eq!(with(&Said { origin: "http://gateway.example", ..SAID }), Err(Unproved::ForeignOrigin));
    assert_eq!(with(&Said { rest: ",\"crossOrigin\":true}", ..SAID }), Err(Unproved::CrossOrigin));
    assert_eq!(with(&Said { rest: ",\"topOrigin\":\"https://evil.example\"}", ..SAID }), Err(Unproved::CrossOrigin));
    assert_eq!(with(&Said { flags: 0x01, ..SAID }), Err(Unproved::NotVerified));
    assert_eq!(with(&Said { flags: 0x04, ..SAID }), Err(Unproved::NotPresent));
    // Said twice: which of the two a reader takes is chance.
    let twice = with(&Said { rest: ",\"crossOrigin\":true,\"crossOrigin\":false}", ..SAID });
    assert!(matches!(twice, Err(Unproved::Signature(_))), "{twice:?}");
    let elsewhere = Passkey::at("other.example");
    let refused = check(&own, &text, &elsewhere.sign(&text, &SAID), &enrolled(&elsewhere.public()), Level::Passkey, Moment::Use(at(61)));
    assert_eq!(refused.unwrap_err(), Unproved::OtherApplication);
}

fn all(
    own: &Envelope,
    approvals: &[(&PrincipalName, &(String, String))],
    keys: &[(&str, &FileKey)],
    now: Timestamp,
) -> (usize, Vec<Unproved>) {
    let approvals = approvals.iter().map(|(approver, (statement, signature))| SignedApproval { approver, statement, signature });
    let keys_of =
        |name: &PrincipalName| keys.iter().filter(|(who, _)| *who == name.as_str()).flat_map(|(_, key)| enrolled(&key.public())).collect();
    let (proved, left_out) = prove_all(own, approvals, keys_of, Level::Signed, &site(), now);
    (proved.len(), left_out.into_iter().map(|(_, why)| why).collect())
}

#[test]
fn f29_one_person_with_two_keys_counts_once_and_so_do_two_people_with_one_key() {
    let (own, one, two) = (envelope(SQL), FileKey::of(1), FileKey::of(2));
    let sign = |who: &str, key: &FileKey| {
        let text = statement(&own, who, at(60)).to_text().unwrap();
        let signature = key.sign(&text);
        (text, signature)
    };
    let (bob, carla) = (person("bob"), person("carla"));
    let (first, second) = (sign("bob", &one), sign("bob", &two));
    assert_eq!(all(&own, &[(&bob, &first), (&bob, &second)], &[("bob", &one), ("bob", &two)], at(61)), (1, vec![Unproved::SamePerson]));
    let borrowed = sign("carla", &one);
    assert_eq!(all(&own, &[(&bob, &first), (&carla, &borrowed)], &[("bob", &one), ("carla", &one)], at(61)), (1, vec![Unproved::SameKey]));
    let own_key = sign("carla", &two);
    assert_eq!(all(&own, &[(&bob, &first), (&carla, &own_key)], &[("bob", &one), ("carla", &two)], at(61)), (2, vec![]));
}

#[test]
fn a_right_can_not_be_made_to_begin_later_than_it_was_signed() {
    let (own, key, bob) = (envelope(SQL), FileKey::of(1), person("bob"));
    let evidence = signed(&own, &key);
    // Signed at second 60, ten minutes to use, five for clocks that differ: whatever the record says about its start.
    assert_eq!(all(&own, &[(&bob, &evidence)], &[("bob", &key)], at(959)), (1, vec![]));
    assert_eq!(all(&own, &[(&bob, &evidence)], &[("bob", &key)], at(960)), (0, vec![Unproved::Over]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn one_byte_changed_anywhere_is_refused(place in any::<prop::sample::Index>(), bit in 0_u32..8, which in 0..3) {
        let (own, key) = (envelope(SQL), FileKey::of(1));
        let (text, signature) = signed(&own, &key);
        let flip = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let at = place.index(bytes.len());
            bytes[at] ^= 1 << bit;
            String::from_utf8(bytes).ok()
        };
        let changed = match which {
            0 => flip(&text).map(|text| (own.clone(), text, signature)),
            1 => flip(&signature).map(|signature| (own.clone(), text, signature)),
            _ => flip(SQL).map(|sql| (envelope(&sql), text, signature)),
        };
        if let Some((envelope, text, signature)) = changed {
            // The line break at the very end is no part of the signature, whether it is there or not.
            prop_assert!(check(&envelope, &text, &signature, &enrolled(&key.public()), Level::Signed, Moment::Use(at(61))).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_and_never_more(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let armor = signers::armor(&[b"SSHSIG\0\0\0\x01", &bytes[..]].concat());
        if let Ok(read) = safeconduct_evidence::Signature::from_armor(&armor) {
            prop_assert_eq!(read.to_armor(), armor);
        }
        if let Ok(key) = safeconduct_evidence::PublicKey::from_blob(&bytes) {
            prop_assert_eq!(key.to_blob(), bytes);
        }
    }
}
