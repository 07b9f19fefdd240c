//! F53: whatever is done to a log, the verifier names the first bad place.
//!
//! Decides nothing; damages a small log in every way that the failure case lists, at every byte.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod common;

use common::{Files, Log, STREAMS, keys, signer};
use safeconduct_ledger::tile::{decode_bundle, encode_bundle};
use safeconduct_ledger::{BadPlace, Checkpoint, EntryProof, Report, StoredBody, TilePath, verify_log};

const MASKS: [u8; 3] = [0x01, 0x20, 0x80];

fn verify(files: &Files, remembered: &[Checkpoint]) -> Result<Report, BadPlace> {
    verify_log(&mut files.clone(), &keys(), remembered)
}

fn bad(files: &Files, remembered: &[Checkpoint]) -> BadPlace {
    verify(files, remembered).unwrap_err()
}

fn without_bodies(mut files: Files) -> Files {
    files.0.retain(|path, _| !path.starts_with("bodies/"));
    files
}

#[test]
fn good_logs_of_many_sizes_hold() {
    let log = Log::of(600);
    for size in [0, 1, 2, 3, 12, 255, 256, 257, 300, 511, 512, 513, 600] {
        let files = log.files_at(size);
        let remembered: Vec<_> = [0, 1, 2, 256, 300, size].into_iter().filter(|n| *n <= size).map(|n| log.checkpoint(n)).collect();
        let report = verify(&files, &remembered).unwrap();
        assert_eq!((report.entries, report.uncovered, report.streams), (size, 0, size.min(3)), "size {size}");
        assert_eq!(report.root, log.checkpoint(size).root);
        assert_eq!(report.remembered.len(), remembered.len());
        assert_eq!(report.bodies.map_or(0, |bodies| bodies.present), size);
        assert_eq!(report.signed_by, signer().verifier().label());
    }
}

#[test]
fn f53_every_edited_byte_of_every_file_is_found() {
    let files = without_bodies(Log::of(8).files());
    assert_eq!(files.0.keys().map(String::as_str).collect::<Vec<_>>(), ["checkpoint", "tile/0/000.p/8", "tile/entries/000.p/8"]);
    let places: Vec<u64> = (0..8u64)
        .zip(decode_bundle(&files.0["tile/entries/000.p/8"], 8).unwrap())
        .flat_map(|(index, leaf)| std::iter::repeat_n(index, 2 + leaf.len()))
        .collect();
    for (path, bytes) in &files.0 {
        let expected: Vec<Option<u64>> = match path.as_str() {
            "checkpoint" => vec![None; bytes.len()],
            "tile/0/000.p/8" => (0..bytes.len() as u64).map(|at| Some(at / 32)).collect(),
            _ => places.iter().copied().map(Some).collect(),
        };
        assert_eq!(expected.len(), bytes.len());
        for (at, expected) in expected.into_iter().enumerate() {
            for mask in MASKS {
                let mut edited = files.clone();
                edited.0.get_mut(path).unwrap()[at] ^= mask;
                let found = bad(&edited, &[]);
                assert_eq!(found.index, expected, "byte {at} of {path}: {found}");
                assert!(found.path.is_some());
            }
        }
    }
}

#[test]
fn f53_every_deleted_or_added_byte_is_found() {
    let files = without_bodies(Log::of(5).files());
    for (path, bytes) in &files.0 {
        for at in 0..=bytes.len() {
            let mut longer = files.clone();
            longer.0.get_mut(path).unwrap().insert(at, b'0');
            bad(&longer, &[]);
            let mut shorter = files.clone();
            if at < bytes.len() {
                shorter.0.get_mut(path).unwrap().remove(at);
                bad(&shorter, &[]);
                shorter = files.clone();
                shorter.0.get_mut(path).unwrap().truncate(at);
                bad(&shorter, &[]);
            }
        }
    }
}

#[test]
fn f53_every_deleted_entry_is_named() {
    let log = Log::of(12);
    for gone in 0..12u64 {
        let mut leaves = log.leaves.clone();
        leaves.remove(gone as usize);
        let mut files = without_bodies(log.files());
        *files.bundle() = encode_bundle(&leaves).unwrap();
        let found = bad(&files, &[]);
        assert_eq!(found.index, Some(gone), "{found}");
        let what = if gone == 11 { "missing".to_owned() } else { format!("entry {} stands in its place", gone + 1) };
        assert_eq!(found.what, what);
    }
}

#[test]
fn f53_an_entry_deleted_and_the_rest_renumbered_is_named() {
    let log = Log::of(12);
    for gone in 0..12usize {
        // Whoever deletes an entry and rewrites all that follow, tiles included, still lacks the signature.
        let mut forged = Log::default();
        let mut versions = [0; 3];
        for index in (0..12).filter(|index| *index != gone) {
            versions[index % 3] += 1;
            forged.push(STREAMS[index % 3], versions[index % 3], format!("{{\"n\":{index}}}"));
        }
        let mut files = forged.files();
        files.0.insert("checkpoint".into(), log.files().0["checkpoint"].clone());
        let found = bad(&files, &[]);
        assert_eq!(found.index, Some(0), "{found}");
        assert_eq!(found.what, "missing");
        // With the signature, only those who remember notice.
        let files = forged.files();
        assert!(verify(&files, &[]).is_ok());
        let found = bad(&files, &[log.checkpoint(12)]);
        assert_eq!(found.index, Some(11), "{found}");
    }
}

#[test]
fn f53_entries_swapped_or_repeated_are_named() {
    let log = Log::of(12);
    let mut files = without_bodies(log.files());
    let mut leaves = log.leaves.clone();
    leaves.swap(4, 7);
    *files.bundle() = encode_bundle(&leaves).unwrap();
    assert_eq!(bad(&files, &[]).index, Some(4));
    let mut leaves = log.leaves.clone();
    leaves.insert(5, leaves[4].clone());
    *files.bundle() = encode_bundle(&leaves).unwrap();
    assert_eq!(bad(&files, &[]).index, Some(5));
    let mut leaves = log.leaves.clone();
    leaves.push(b"{}".to_vec());
    *files.bundle() = encode_bundle(&leaves).unwrap();
    assert_eq!(bad(&files, &[]).index, Some(12));
}

#[test]
fn f53_a_cut_tail_is_named() {
    let log = Log::of(300);
    let whole = log.files();
    for size in [0, 1, 100, 255, 256, 257, 299] {
        // Entries and tiles cut, the checkpoint left.
        let mut files = without_bodies(log.files_at(size));
        files.0.insert("checkpoint".into(), whole.0["checkpoint"].clone());
        let found = bad(&files, &[]);
        let first_file_missing = if size >= 256 { 256 } else { 0 };
        assert_eq!(found.index, Some(first_file_missing), "{size}: {found}");
        // The same, but under the names of the files that are missing.
        let mut files = without_bodies(whole.clone());
        let path = if size >= 256 { "tile/entries/001.p/44" } else { "tile/entries/000" };
        let kept = &log.leaves[if size >= 256 { 256 } else { 0 }..size as usize];
        files.0.insert(path.into(), encode_bundle(kept).unwrap());
        let found = bad(&files, &[]);
        assert_eq!((found.index, found.what.as_str()), (Some(size), "missing"));
        // An older checkpoint put back as well: only a remembered one shows it.
        let files = log.files_at(size);
        assert!(verify(&files, &[]).is_ok());
        let found = bad(&files, &[log.checkpoint(300)]);
        assert_eq!((found.index, found.path.as_deref()), (Some(size), Some("checkpoint")));
    }
}

#[test]
fn f53_every_missing_file_is_named() {
    let files = without_bodies(Log::of(600).files());
    assert_eq!(files.0.len(), 8);
    for path in files.0.keys() {
        let mut fewer = files.clone();
        fewer.0.remove(path);
        let found = bad(&fewer, &[]);
        assert_eq!((found.path.as_ref(), found.what.as_str()), (Some(path), "missing"));
    }
}

#[test]
fn f53_an_edited_upper_tile_is_named() {
    let files = without_bodies(Log::of(600).files());
    for at in 0..64 {
        let mut edited = files.clone();
        edited.0.get_mut("tile/1/000.p/2").unwrap()[at] ^= 1;
        let found = bad(&edited, &[]);
        assert_eq!(found.to_string(), format!("tile/1/000.p/2: hash {} is not the root of the tile below", at / 32));
    }
}

#[test]
fn f53_a_forked_log_is_refused_and_narrowed_down() {
    let log = Log::of(300);
    for changed in [0, 99, 100, 149, 150, 255, 256, 299] {
        let forged = Log::with(300, |index| format!("{{\"n\":{}}}", if index == changed { 1_000 } else { index }));
        let files = forged.files();
        assert!(verify(&files, &[]).is_ok(), "with the signing key, nothing but memory helps");
        let found = bad(&files, &[log.checkpoint(150), log.checkpoint(300), log.checkpoint(100)]);
        let expected = match changed {
            0..100 => "the first 100 entries are not those of a remembered checkpoint",
            100..150 => "the first 150 entries are not those of a remembered checkpoint; the first 100 are",
            _ => "the first 300 entries are not those of a remembered checkpoint; the first 150 are",
        };
        assert_eq!(found.to_string(), expected);
    }
}

#[test]
fn f53_a_rewritten_entry_with_its_tiles_does_not_fit_the_signed_root() {
    let log = Log::of(12);
    let mut files = Log::with(12, |index| format!("{{\"n\":{}}}", index / 2)).files();
    files.0.insert("checkpoint".into(), log.files().0["checkpoint"].clone());
    let found = bad(&files, &[]);
    assert_eq!((found.index, found.path.as_deref()), (None, Some("checkpoint")));
    assert!(found.what.starts_with("the root over its 12 entries is "), "{found}");
}

#[test]
fn rules_between_entries_hold_even_under_a_good_signature() {
    let check = |break_rule: fn(&mut safeconduct_ledger::Entry), what: &str| {
        let mut log = Log::of(12);
        let mut entry = safeconduct_ledger::Entry::parse(&log.leaves[7]).unwrap();
        break_rule(&mut entry);
        log.leaves[7] = entry.to_leaf().unwrap();
        let found = bad(&without_bodies(log.files()), &[]);
        assert_eq!((found.index, found.what.as_str()), (Some(7), what));
    };
    check(|entry| entry.index = 8, "entry 8 stands in its place");
    check(|entry| entry.at_micros -= 1_001, "its time is before that of the entry before");
    check(|entry| entry.version = 4, "version 4 of stream `gr-8p1d700000bb` where version 3 belongs");
    check(|entry| entry.stream = "new".into(), "version 3 of stream `new` where version 1 belongs");
}

#[test]
fn another_log_or_another_key_is_refused() {
    let log = Log::of(3);
    let files = log.files();
    let elsewhere = Checkpoint { origin: "elsewhere".into(), ..log.checkpoint(3) };
    assert_eq!(bad(&files, &[elsewhere]).path.as_deref(), Some("checkpoint"));
    let stranger = safeconduct_ledger::SignerKey::from_seed(common::ORIGIN, &[0; 32]).unwrap();
    let found = verify_log(&mut files.clone(), &[stranger.verifier().clone()], &[]).unwrap_err();
    assert_eq!(found.to_string(), "checkpoint: not a note that we believe: no key that we know has signed it");
    assert!(verify_log(&mut files.clone(), &[], &[]).is_err());
}

#[test]
fn entries_without_a_checkpoint_are_counted_and_checked() {
    let log = Log::of(600);
    for (covered, total) in [(0, 5), (3, 9), (250, 256), (250, 257), (256, 300), (100, 600)] {
        let mut files = log.files_at(total);
        for (path, bytes) in log.files_at(covered).0 {
            files.0.insert(path, bytes);
        }
        files.0.extend(log.files_at(total).0.into_iter().filter(|(path, _)| path.starts_with("bodies/")));
        let report = verify(&files, &[]).unwrap();
        assert_eq!((report.entries, report.uncovered), (covered, total - covered));
        assert_eq!(report.bodies.unwrap().present, total);
        // Their form is checked although nobody has signed them.
        let last = TilePath::entries((total - 1) / 256, total).unwrap().to_string();
        *files.0.get_mut(&last).unwrap().last_mut().unwrap() ^= 1;
        assert_eq!(bad(&files, &[]).index, Some(total - 1));
    }
}

#[test]
fn a_wider_bundle_must_agree_with_the_covered_one() {
    let log = Log::of(9);
    let mut files = without_bodies(log.files_at(3));
    let mut leaves = Log::with(9, |index| format!("{{\"n\":{}}}", index + 1)).leaves;
    files.0.insert("tile/entries/000.p/9".into(), encode_bundle(&log.leaves).unwrap());
    assert_eq!(verify(&files, &[]).unwrap().uncovered, 6);
    leaves[1] = log.leaves[1].clone();
    leaves[0] = log.leaves[0].clone();
    files.0.insert("tile/entries/000.p/9".into(), encode_bundle(&leaves).unwrap());
    assert_eq!(bad(&files, &[]).to_string(), "entry 2: is not the entry that the checkpoint covers (tile/entries/000.p/9)");
}

#[test]
fn a_full_tile_stands_in_for_a_partial_one() {
    let log = Log::of(300);
    let mut files = without_bodies(log.files_at(256));
    files.0.remove("tile/1/000.p/1");
    files.0.insert("checkpoint".into(), log.files_at(200).0["checkpoint"].clone());
    let report = verify(&files, &[]).unwrap();
    assert_eq!((report.entries, report.uncovered), (200, 56));
}

#[test]
fn erased_bodies_are_counted_and_wrong_ones_are_named() {
    let log = Log::of(12);
    let mut files = log.files();
    let lines =
        |bodies: &[StoredBody]| -> Vec<u8> { bodies.iter().flat_map(|body| (body.to_line().unwrap() + "\n").into_bytes()).collect() };
    files.0.insert("bodies/000".into(), lines(&[&log.bodies[..3], &log.bodies[5..]].concat()));
    let bodies = verify(&files, &[]).unwrap().bodies.unwrap();
    assert_eq!((bodies.present, bodies.erased), (10, 2));
    let mut edited = log.bodies.clone();
    edited[4].body = "{\"n\":5}".into();
    files.0.insert("bodies/000".into(), lines(&edited));
    assert_eq!(bad(&files, &[]).to_string(), "entry 4: its body is not the one that was committed to (bodies/000)");
}

#[test]
fn proofs_hold_for_every_entry_and_for_nothing_else() {
    let log = Log::of(12);
    let signed = Checkpoint::open(&log.files().0["checkpoint"], &keys()).unwrap();
    let hashes = log.hashes(12);
    for index in 0..12u64 {
        let proof = EntryProof::prove(hashes.as_slice(), index, &log.leaves[index as usize], &signed).unwrap();
        let text = proof.to_string();
        let parsed = EntryProof::parse(text.as_bytes()).unwrap();
        assert_eq!(parsed, proof);
        let proved = parsed.verify(&keys()).unwrap();
        assert_eq!((proved.entry.index, &proved.checkpoint), (index, &signed));
        let wrong = EntryProof::prove(hashes.as_slice(), index, &log.leaves[(index as usize + 1) % 12], &signed).unwrap();
        assert!(wrong.verify(&keys()).is_err());
    }
    assert!(EntryProof::prove(hashes.as_slice(), 12, &log.leaves[0], &signed).is_err());
}

#[test]
fn f53_every_edited_byte_of_a_proof_is_found() {
    let log = Log::of(5);
    let signed = Checkpoint::open(&log.files().0["checkpoint"], &keys()).unwrap();
    let proof = EntryProof::prove(log.hashes(5).as_slice(), 2, &log.leaves[2], &signed).unwrap().to_string();
    for at in 0..proof.len() {
        for mask in MASKS {
            let mut edited = proof.clone().into_bytes();
            edited[at] ^= mask;
            assert!(EntryProof::parse(&edited).and_then(|proof| proof.verify(&keys())).is_err(), "byte {at}");
        }
        assert!(EntryProof::parse(&proof.as_bytes()[..at]).and_then(|proof| proof.verify(&keys())).is_err(), "cut at {at}");
    }
}
