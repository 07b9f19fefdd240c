//! The example at the top of `docs/specs/ledger.md` is what this crate writes.
//!
//! Decides nothing; keeps the page true.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
mod common;

use common::{ORIGIN, keys, signer};
use safeconduct_ledger::{Checkpoint, Entry, EntryProof, Frontier, StoredBody, commit_body, leaf_hash};

const SPEC: &str = include_str!("../../../../docs/specs/ledger.md");

#[test]
fn the_example_is_real() {
    let key = std::array::from_fn(|n| n as u8 + 32);
    let body = r#"{"access_request":"rq-4m2k9x7d1c0a","approver":"bob","comment":"ok for INC-812","digest":"sha256:9f2c"}"#;
    let entry = Entry {
        index: 0,
        at_micros: 1_795_312_345_678_901,
        stream: "rq-4m2k9x7d1c0a".into(),
        version: 1,
        kind: "approval_given".into(),
        body: commit_body(&key, body.as_bytes()),
    };
    let leaf = entry.to_leaf().unwrap();
    let mut tree = Frontier::new();
    tree.append(leaf_hash(&leaf));
    let note = Checkpoint { origin: ORIGIN.into(), size: 1, root: tree.root() }.sign(&signer()).unwrap().to_string();
    let signed = Checkpoint::open(note.as_bytes(), &keys()).unwrap();
    let stored = [vec![leaf_hash(&leaf)]];
    let proof = EntryProof::prove(stored.as_slice(), 0, &leaf, &signed).unwrap();
    proof.verify(&keys()).unwrap();
    let line = StoredBody { index: 0, key, body: body.into() }.to_line().unwrap();
    let vkey = keys()[0].to_string();
    let shown = [String::from_utf8(leaf).unwrap(), body.into(), vkey, note, proof.to_string(), line];
    for text in shown {
        assert!(SPEC.contains(text.trim_end()), "docs/specs/ledger.md lacks:\n{text}");
    }
}
