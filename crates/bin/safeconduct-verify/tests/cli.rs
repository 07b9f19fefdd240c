//! The program as people run it: a ledger in a directory, what it prints, how it exits.
//!
//! Decides nothing; damages real files.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
#[path = "../../../core/ledger/tests/common/mod.rs"]
mod common;

use common::{Files, Log, keys, signer};
use safeconduct_ledger::{Checkpoint, EntryProof, StoredBody};
use std::fs;
use std::path::Path;
use std::process::Command;

fn write(files: &Files, root: &Path) {
    for (path, bytes) in &files.0 {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

/// Standard output, standard error, exit status.
fn run(arguments: &[&str]) -> (String, String, i32) {
    let output = Command::new(env!("CARGO_BIN_EXE_safeconduct-verify")).args(arguments).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap(), output.status.code().unwrap())
}

fn verify(root: &Path, more: &[&str]) -> (String, String, i32) {
    let vkey = keys()[0].to_string();
    run(&[&[root.to_str().unwrap(), "--vkey", &vkey], more].concat())
}

fn label() -> String {
    signer().verifier().label()
}

#[test]
fn a_good_ledger() {
    let (log, root) = (Log::of(412), tempfile::tempdir().unwrap());
    write(&log.files(), root.path());
    let older = root.path().join("older");
    fs::write(&older, &log.files_at(300).0["checkpoint"]).unwrap();
    let (out, err, status) = verify(root.path(), &["--checkpoint", older.to_str().unwrap()]);
    let expected = format!(
        "ledger ok: 412 entries, checkpoint 412 signed by {}\n  bodies: 412 present and as committed, 0 erased\n  extends the remembered checkpoint of 300\n",
        label()
    );
    assert_eq!((out, err, status), (expected, String::new(), 0));
}

#[test]
fn a_good_ledger_without_bodies_or_memory_and_with_a_tail() {
    let (log, root) = (Log::of(5), tempfile::tempdir().unwrap());
    let mut files = log.files_at(4);
    files.0.extend(log.files().0.into_iter().filter(|(path, _)| path.starts_with("tile/entries/")));
    files.0.retain(|path, _| !path.starts_with("bodies/"));
    write(&files, root.path());
    let (out, _, status) = verify(root.path(), &[]);
    let expected = format!(
        "ledger ok: 4 entries, checkpoint 4 signed by {}\n  1 entry after the checkpoint: not covered by any signature yet\n  \
         bodies: not here, not checked\n  no earlier checkpoint was given: whether history was rewritten and signed again cannot be seen\n",
        label()
    );
    assert_eq!((out, status), (expected, 0));
}

#[test]
fn f53_an_edited_entry_is_named() {
    let (log, root) = (Log::of(300), tempfile::tempdir().unwrap());
    let mut files = log.files();
    let bundle = files.0.get_mut("tile/entries/000").unwrap();
    let at = bundle.windows(9).position(|text| text == b"index\":57").unwrap() - 20;
    bundle[at] = if bundle[at] == b'0' { b'1' } else { b'0' };
    write(&files, root.path());
    let (out, err, status) = verify(root.path(), &[]);
    assert_eq!((out.as_str(), err.as_str(), status), ("ledger BROKEN at entry 57: leaf hash does not match (tile/0/000)\n", "", 1));
    let (out, err, status) = verify(root.path(), &["--json"]);
    let expected = "{\"bad_place\":{\"index\":57,\"path\":\"tile/0/000\",\"what\":\"leaf hash does not match\"},\"ok\":false}\n";
    assert_eq!((out.as_str(), err.as_str(), status), (expected, "", 1));
}

#[test]
fn f53_a_ledger_that_was_cut_is_refused_by_who_remembers() {
    let (log, root) = (Log::of(12), tempfile::tempdir().unwrap());
    write(&log.files_at(9), root.path());
    let older = root.path().join("remembered");
    fs::write(&older, &log.files().0["checkpoint"]).unwrap();
    let (out, _, status) = verify(root.path(), &["--checkpoint", older.to_str().unwrap()]);
    let expected = "ledger BROKEN at entry 9: missing: a remembered checkpoint covers 12 entries, this one 9 only (checkpoint)\n";
    assert_eq!((out.as_str(), status), (expected, 1));
}

#[test]
fn f53_every_edited_byte_of_the_bodies_is_found() {
    let (log, root) = (Log::of(3), tempfile::tempdir().unwrap());
    let files = log.files();
    write(&files, root.path());
    let path = root.path().join("bodies/000");
    let bytes = &files.0["bodies/000"];
    for at in 0..bytes.len() {
        let mut edited = bytes.clone();
        edited[at] ^= 0x01;
        fs::write(&path, &edited).unwrap();
        let (out, err, status) = verify(root.path(), &[]);
        assert_eq!(status, 1, "byte {at}: {out}{err}");
        assert!(out.contains("bodies/000"), "{out}");
    }
    fs::write(&path, bytes).unwrap();
    assert_eq!(verify(root.path(), &[]).2, 0);
}

#[test]
fn bodies_that_are_erased_superfluous_or_out_of_order() {
    let (log, root) = (Log::of(300), tempfile::tempdir().unwrap());
    write(&log.files(), root.path());
    let path = root.path().join("bodies/001");
    let lines = |bodies: &[&StoredBody]| bodies.iter().map(|body| body.to_line().unwrap() + "\n").collect::<String>();
    let check = |text: &str, expected: &str| {
        fs::write(&path, text).unwrap();
        let (out, _, _) = verify(root.path(), &[]);
        assert!(out.contains(expected), "{out}");
    };
    let b = &log.bodies;
    check("", "bodies: 256 present and as committed, 44 erased");
    check(&lines(&[&b[256], &b[299]]), "258 present and as committed, 42 erased");
    check(&lines(&[&b[257], &b[256]]), "entry 258: the body of entry 256 is out of order or stands twice (bodies/001)");
    check(&lines(&[&b[256], &b[256]]), "entry 257: the body of entry 256 is out of order or stands twice (bodies/001)");
    check(&lines(&[&b[255]]), "entry 256: the body of entry 255 is out of order");
    let beyond = StoredBody { index: 300, ..b[0].clone() };
    check(&lines(&[&b[256], &beyond]), "bodies/001: holds a body of entry 300, which is not an entry of this file");
    check(lines(&[&b[256]]).trim_end(), "entry 256: ends in the middle of a line");
    check("{}\n", "entry 256: not a line of `body`, `index` and `key` (bodies/001)");
}

#[test]
fn a_proof_is_shown_and_a_forged_one_is_not() {
    let (log, root) = (Log::of(5), tempfile::tempdir().unwrap());
    let signed = Checkpoint::open(&log.files().0["checkpoint"], &keys()).unwrap();
    let proof = EntryProof::prove(log.hashes(5).as_slice(), 3, &log.leaves[3], &signed).unwrap().to_string();
    let (path, vkey) = (root.path().join("a.tlog-proof"), root.path().join("vkey"));
    fs::write(&path, &proof).unwrap();
    fs::write(&vkey, format!("# the ledger's key\n{}\n", keys()[0])).unwrap();
    let arguments = ["--proof", path.to_str().unwrap(), "--vkey-file", vkey.to_str().unwrap()];
    let expected = format!(
        "entry ok: 3 of `{}` is version 2 of `{}`, type `approval_given`, under checkpoint 5 signed by {}\n",
        common::ORIGIN,
        common::STREAMS[0],
        label()
    );
    assert_eq!(run(&arguments), (expected, String::new(), 0));
    let json = run(&[&arguments[..], &["--json"]].concat());
    let leaf = String::from_utf8(log.leaves[3].clone()).unwrap();
    assert_eq!(json, (format!("{{\"entry\":{leaf},\"ok\":true}}\n"), String::new(), 0));
    fs::write(&path, proof.replace("index 3", "index 2")).unwrap();
    assert_eq!(run(&arguments), ("proof BROKEN: speaks of entry 2 but carries entry 3\n".into(), String::new(), 1));
}

#[test]
fn mistakes_are_explained() {
    let root = tempfile::tempdir().unwrap();
    let (out, err, status) = run(&[root.path().to_str().unwrap()]);
    assert_eq!((out.as_str(), status), ("", 2));
    assert!(err.starts_with("error: whose ledger is it?"), "{err}");
    let (out, _, status) = run(&["--help"]);
    assert!(out.contains("usage: safeconduct-verify DIR") && status == 0);
    let (out, _, status) = verify(root.path(), &[]);
    assert_eq!((out.as_str(), status), ("ledger BROKEN at checkpoint: missing\n", 1));
    let (_, err, status) = verify(&root.path().join("nowhere"), &[]);
    assert!(err.contains("is not a directory") && status == 1, "{err}");
    let (_, err, status) = run(&[root.path().to_str().unwrap(), "--vkey", "a+b"]);
    assert_eq!((err.as_str(), status), ("error: `--vkey`: a key has the form `name+<8 hex digits>+<base64>`\n", 1));
}

#[test]
fn text_from_a_log_does_not_steer_the_terminal() {
    let (log, root) = (Log::of(1), tempfile::tempdir().unwrap());
    let mut files = log.files();
    *files.bundle() = b"\0\x0d{\"\x1b[2J\xe2\x80\xae\":1}".to_vec();
    write(&files, root.path());
    let (out, _, status) = verify(root.path(), &[]);
    assert!(status == 1 && !out.contains('\u{1b}') && !out.contains('\u{202e}'), "{out:?}");
}

#[test]
fn receipts_with_and_without_root_keys() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/receipts");
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (vkey, roots) = (file("ledger.vkey"), file("roots.pub"));
    let verify = |name: &str, more: &[&str]| run(&[&["receipt", &file(name), "--vkey-file", &vkey], more].concat());
    let rooted = ["--roots", roots.as_str()];

    let (out, _, status) = verify("enrolled.json", &[]);
    assert!(status == 0 && out.contains(", enrolled in entry ") && !out.contains("roster"), "{out}");
    let (out, _, status) = verify("enrolled.json", &rooted);
    assert!(status == 1 && out.starts_with("receipt BROKEN") && out.contains("names no roster"), "{out}");

    let (out, _, status) = verify("listed.json", &[]);
    assert!(status == 0 && out.contains(", of the roster of epoch 3 (entry "), "{out}");
    assert!(out.contains("its own signatures (2) were not checked against root keys, none were given"), "{out}");
    let (out, _, status) = verify("listed.json", &rooted);
    assert!(status == 0 && out.contains(": signed by 2 of 3 root keys, 2 must"), "{out}");
    let (out, _, status) = verify("listed.json", &[&rooted[..], &["--json"]].concat());
    assert!(status == 0 && out.contains(r#""roots":{"keys":3,"needed":2,"signed":2}"#), "{out}");
    let (out, _, status) = verify("listed.json", &[&rooted[..], &["--needed", "3"]].concat());
    assert!(status == 1 && out.contains("2 of the root keys signed it, 3 must"), "{out}");
    let (_, err, status) = verify("listed.json", &[&rooted[..], &["--needed", "4"]].concat());
    assert!(status == 1 && err.contains("4 of 3 root keys can't sign"), "{err}");
    let (_, err, status) = verify("listed.json", &["--roots", &vkey]);
    assert!(status == 1 && err.contains("ledger.vkey"), "{err}");
}
