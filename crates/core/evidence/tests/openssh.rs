//! OpenSSH and we agree: its test vectors verify here, its signatures count here, and ours are accepted by the stock `ssh-keygen`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "each test uses a part")]
#[path = "../../../testkit/src/signers.rs"]
mod signers;

use std::{fs, path::PathBuf, process::Command};

use safeconduct_evidence::{Moment, NAMESPACE, PublicKey, Signature, SignedApproval, Verdict, prove};
use safeconduct_model::Level;
use signers::{DOMAIN, FileKey, Passkey, SAID, SecurityKey, at, enrolled, envelope, person, site, statement};

fn vector(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/sshsig").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text(name: &str) -> String {
    String::from_utf8(vector(name)).unwrap()
}

const VECTORS: [&str; 5] = ["ed25519", "ed25519_sk", "ecdsa", "ecdsa_sk", "ecdsa_sk_webauthn"];

#[test]
fn signatures_from_openssh_verify_and_read_back_as_they_were() {
    for name in VECTORS {
        let key: PublicKey = text(&format!("{name}.pub")).parse().unwrap();
        let armor = text(&format!("{name}.sig"));
        let signature = Signature::from_armor(&armor).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(*signature.key(), key, "{name}");
        assert_eq!(signature.to_armor(), armor, "{name}");
        let presence = signature.verify(&text("namespace"), &vector("signed-data")).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(presence.present, name.contains("_sk").then_some(true), "{name}");
        let origin = presence.web.map(|page| page.origin);
        assert_eq!(origin.as_deref(), name.contains("webauthn").then_some("https://www.mindrot.org"), "{name}");
    }
}

#[test]
fn one_bit_changed_anywhere_in_a_vector_is_refused() {
    let (namespace, data) = (text("namespace"), vector("signed-data"));
    for name in VECTORS {
        let key: PublicKey = text(&format!("{name}.pub")).parse().unwrap();
        let blob = signers::blob(&text(&format!("{name}.sig")));
        for place in 0..blob.len() {
            for bit in [0x01, 0x10, 0x80] {
                let mut changed = blob.clone();
                changed[place] ^= bit;
                let accepted = Signature::from_armor(&signers::armor(&changed))
                    .is_ok_and(|signature| *signature.key() == key && signature.verify(&namespace, &data).is_ok());
                assert!(!accepted, "{name}: byte {place} of {}", blob.len());
            }
        }
        let armor = text(&format!("{name}.sig"));
        let signature = Signature::from_armor(&armor).unwrap();
        assert!(signature.verify("other", &data).is_err());
        assert!(signature.verify(&namespace, &data[1..]).is_err());
        // Neither another form of the same bytes.
        for other in [armor.replace('\n', "\r\n"), armor.replacen('\n', "\n\n", 2), format!("{armor}\n"), format!(" {armor}")] {
            assert!(Signature::from_armor(&other).is_err(), "{name}");
        }
    }
}

/// Runs `ssh-keygen -Y verify` over a statement, as an auditor would.
fn ssh_keygen_verifies(key: &PublicKey, who: &str, statement: &str, signature: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    fs::write(path("allowed"), format!("{who} namespaces=\"{NAMESPACE}\" {key}\n")).unwrap();
    fs::write(path("signature"), signature).unwrap();
    fs::write(path("statement"), statement).unwrap();
    let output = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-f"])
        .arg(path("allowed"))
        .args(["-I", who, "-n", NAMESPACE, "-s"])
        .arg(path("signature"))
        .stdin(fs::File::open(path("statement")).unwrap())
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn stock_ssh_keygen_accepts_what_we_export() {
    let envelope = envelope("update orders set state = 'paid' where id = 4711");
    let text = statement(&envelope, "bob", at(10)).to_text().unwrap();
    let (file, security, passkey) = (FileKey::of(1), SecurityKey::of(2), Passkey::at(DOMAIN));
    let signed = [
        (file.public(), file.sign(&text)),
        (security.public(), security.sign(&text, signers::BOTH)),
        (passkey.public(), passkey.sign(&text, &SAID)),
    ];
    for (key, signature) in signed {
        let approval = SignedApproval { approver: &person("bob"), statement: &text, signature: &signature };
        prove(&envelope, Verdict::Approve, &approval, &enrolled(&key), Level::Signed, &site(), Moment::Signing(at(10))).unwrap();
        assert!(ssh_keygen_verifies(&key, "bob", &text, &signature), "{}", key.kind());
        assert!(!ssh_keygen_verifies(&key, "bob", &text.replace("approve", "deny"), &signature), "{}", key.kind());
    }
}

#[test]
fn what_stock_ssh_keygen_signs_counts() {
    let envelope = envelope("update orders set state = 'paid' where id = 4711");
    let text = statement(&envelope, "bob", at(10)).to_text().unwrap();
    for kind in ["ed25519", "ecdsa"] {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let run = |args: &[&str]| Command::new("ssh-keygen").current_dir(dir.path()).args(args).output().unwrap();
        assert!(run(&["-q", "-t", kind, "-N", "", "-f", "key"]).status.success());
        fs::write(path("statement"), &text).unwrap();
        let output = run(&["-Y", "sign", "-f", "key", "-n", NAMESPACE, "statement"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let key: PublicKey = fs::read_to_string(path("key.pub")).unwrap().parse().unwrap();
        let signature = fs::read_to_string(path("statement.sig")).unwrap();
        let approval = SignedApproval { approver: &person("bob"), statement: &text, signature: &signature };
        prove(&envelope, Verdict::Approve, &approval, &enrolled(&key), Level::Signed, &site(), Moment::Signing(at(10))).unwrap();
        let printed = String::from_utf8(run(&["-l", "-f", "key.pub"]).stdout).unwrap();
        assert!(printed.contains(&key.fingerprint()), "{printed}");
    }
}

#[test]
fn other_sorts_of_keys_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let made = Command::new("ssh-keygen").current_dir(dir.path()).args(["-q", "-t", "rsa", "-N", "", "-f", "key"]).status().unwrap();
    assert!(made.success());
    let line = fs::read_to_string(dir.path().join("key.pub")).unwrap();
    let refused = line.parse::<PublicKey>().unwrap_err().to_string();
    assert!(refused.contains("`ssh-rsa`") && refused.contains("ed25519"), "{refused}");
    // The neutral element: everybody signs with it.
    let weak = signers::armor(&[]);
    assert!(weak.parse::<PublicKey>().is_err());
    let neutral = [&[0, 0, 0, 11][..], b"ssh-ed25519", &[0, 0, 0, 32, 1], &[0; 31]].concat();
    assert!(PublicKey::from_blob(&neutral).is_err());
}
