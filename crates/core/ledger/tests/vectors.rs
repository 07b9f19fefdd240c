//! The public test vectors: RFC 8785, RFC 6962 proofs, and a whole C2SP log made by another implementation.
//!
//! Decides nothing; shows that we read what others write and refuse what they refuse.
#![allow(clippy::unwrap_used, reason = "a test that fails says where")]
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use safeconduct_ledger::tile::{decode_bundle, decode_hashes, encode_bundle, tiles_for};
use safeconduct_ledger::{
    Checkpoint, Frontier, TileKind, TreeHash, VerifierKey, canonical, consistency_proof, frontier, inclusion_proof, leaf_hash, root,
    verify_consistency, verify_inclusion,
};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

fn vectors(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors").join(folder)
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

#[test]
fn canonical_json() {
    let mut seen = 0;
    for input in files_below(&vectors("jcs/input")) {
        let name = input.file_name().unwrap();
        let expected = fs::read(vectors("jcs/output").join(name)).unwrap();
        let hex = fs::read_to_string(vectors("jcs/outhex").join(name).with_extension("txt")).unwrap();
        let bytes: Vec<u8> = hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
        assert_eq!(bytes, expected, "{name:?}");
        // The encoder as it is, without our profile: some vectors hold fractions.
        let value: serde_json::Value = serde_json::from_slice(&fs::read(&input).unwrap()).unwrap();
        assert_eq!(serde_json_canonicalizer::to_vec(&value).unwrap(), expected, "{name:?}");
        match canonical::canonicalize(&fs::read(&input).unwrap()) {
            Ok(ours) => assert_eq!(ours, expected, "{name:?}"),
            Err(refused) => assert!(matches!(refused, canonical::CanonicalError::Number(_)), "{name:?}: {refused}"),
        }
        seen += 1;
    }
    assert_eq!(seen, 6);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inclusion {
    leaf_idx: u64,
    tree_size: u64,
    root: Option<String>,
    leaf_hash: Option<String>,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Consistency {
    size1: u64,
    size2: u64,
    root1: Option<String>,
    root2: Option<String>,
    proof: Option<Vec<String>>,
    desc: String,
    want_err: bool,
}

/// A hash that is not 32 bytes cannot even be written down with our types: refused.
fn hash(base64: Option<&String>) -> Option<TreeHash> {
    TreeHash::from_slice(&STANDARD.decode(base64?).unwrap())
}

fn hashes(proof: Option<&Vec<String>>) -> Option<Vec<TreeHash>> {
    proof.map_or(Some(Vec::new()), |proof| proof.iter().map(|text| hash(Some(text))).collect())
}

#[test]
fn inclusion_proofs() {
    let mut seen = 0;
    for path in files_below(&vectors("merkle/inclusion")) {
        let case: Inclusion = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let accepted = (|| {
            let (leaf, root, proof) = (hash(case.leaf_hash.as_ref())?, hash(case.root.as_ref())?, hashes(case.proof.as_ref())?);
            verify_inclusion(&leaf, case.leaf_idx, case.tree_size, &proof, &root).ok()
        })();
        assert_eq!(accepted.is_none(), case.want_err, "{path:?}: {}", case.desc);
        seen += 1;
    }
    assert_eq!(seen, 53);
}

#[test]
fn consistency_proofs() {
    let mut seen = 0;
    for path in files_below(&vectors("merkle/consistency")) {
        let case: Consistency = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let accepted = (|| {
            let (old, new, proof) = (hash(case.root1.as_ref())?, hash(case.root2.as_ref())?, hashes(case.proof.as_ref())?);
            verify_consistency(case.size1, &old, case.size2, &new, &proof).ok()
        })();
        assert_eq!(accepted.is_none(), case.want_err, "{path:?}: {}", case.desc);
        seen += 1;
    }
    assert_eq!(seen, 43);
}

#[test]
fn golden_log_of_another_implementation() {
    let log = vectors("tlog-golden");
    let key = VerifierKey::parse(fs::read_to_string(log.join("log.vkey")).unwrap().trim()).unwrap();
    let keys = [key];
    let checkpoints: Vec<Checkpoint> = (0..=15)
        .map(|size| Checkpoint::open(&fs::read(log.join(format!("checkpoint.{size}"))).unwrap(), &keys).unwrap().checkpoint)
        .collect();
    let newest = Checkpoint::open(&fs::read(log.join("checkpoint")).unwrap(), &keys).unwrap();
    assert_eq!(newest.checkpoint, checkpoints[15]);
    assert_eq!(newest.note.to_string().as_bytes(), fs::read(log.join("checkpoint")).unwrap());

    let mut tree = Frontier::new();
    let mut leaf_hashes = Vec::new();
    for (size, checkpoint) in (0u64..).zip(&checkpoints) {
        assert_eq!((checkpoint.size, checkpoint.origin.as_str()), (size, "example.com/log/testdata"));
        let mut leaves = Vec::new();
        for tile in tiles_for(size) {
            let bytes = fs::read(log.join(tile.to_string())).unwrap();
            match tile.kind() {
                TileKind::Hashes { level } => {
                    assert_eq!(level, 0);
                    leaf_hashes = decode_hashes(&bytes, tile.width()).unwrap();
                }
                TileKind::Entries => {
                    leaves = decode_bundle(&bytes, tile.width()).unwrap().into_iter().map(<[u8]>::to_vec).collect();
                    assert_eq!(encode_bundle(&leaves).unwrap(), bytes);
                }
            }
        }
        assert_eq!(leaves.iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>(), leaf_hashes);
        if let Some(last) = leaf_hashes.last() {
            tree.append(*last);
        }
        assert_eq!(tree.root(), checkpoint.root, "size {size}");
        let stored = [leaf_hashes.clone()];
        let stored = stored.as_slice();
        assert_eq!(root(stored, size).unwrap(), checkpoint.root);
        assert_eq!(frontier(stored, size).unwrap(), tree);
        for index in 0..size {
            let proof = inclusion_proof(stored, index, size).unwrap();
            verify_inclusion(&leaf_hashes[index as usize], index, size, &proof, &checkpoint.root).unwrap();
        }
        for older in &checkpoints[..size as usize] {
            let proof = if older.size == 0 { Vec::new() } else { consistency_proof(stored, older.size, size).unwrap() };
            checkpoint.check_extends(older, &proof).unwrap();
        }
    }
}
