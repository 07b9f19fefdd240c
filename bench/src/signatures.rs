//! Signed approvals: what checking one costs, by kind of key, and what signing in with a passkey does on a store that is on disk.

use std::time::Instant;

use safeconduct_app::{App, PasskeyAnswer};
use safeconduct_evidence::{Moment, SignedApproval, Verdict, prove};
use safeconduct_ledger::SignerKey;
use safeconduct_model::{Change, Level, MintingKey};
use safeconduct_testkit::{
    parsed,
    signers::{self, FileKey, Passkey, SAID, Said, SecurityKey, at, enrolled, envelope, person, site, statement},
    words,
};

use crate::{
    figures::{head, percentile, row, sorted},
    node::{person as somebody, ports_on, settings},
};

const TIMES: usize = 20_000;
const SIGN_INS: usize = 500;

pub async fn measure() {
    head("Checking one signed approval: µs", &["key", "p50", "p99", "max"]);
    let envelope = envelope("update orders set state = 'paid' where id = 4711");
    let text = statement(&envelope, "bob", at(10)).to_text().unwrap();
    let (file, security, passkey) = (FileKey::of(1), SecurityKey::of(2), Passkey::at(signers::DOMAIN));
    let signed = [
        ("ed25519, in a file", file.public(), file.sign(&text)),
        ("ed25519, in a security key", security.public(), security.sign(&text, signers::BOTH)),
        ("P-256, a passkey in a browser", passkey.public(), passkey.sign(&text, &SAID)),
    ];
    for (name, key, signature) in signed {
        let (keys, site, approver) = (enrolled(&key), site(), person("bob"));
        let approval = SignedApproval { approver: &approver, statement: &text, signature: &signature };
        let took = (0..TIMES).map(|_| {
            let began = Instant::now();
            prove(&envelope, Verdict::Approve, &approval, &keys, Level::Signed, &site, Moment::Use(at(20))).unwrap();
            began.elapsed().as_secs_f64() * 1e6
        });
        case(name, took.collect());
    }
    passkeys().await;
}

fn case(name: &str, took: Vec<f64>) {
    let took = sorted(took);
    let figure = |share| format!("{:.1}", percentile(&took, share));
    row(&[name.to_owned(), figure(0.5), figure(0.99), figure(1.0)]);
}

async fn passkeys() {
    let folder = tempfile::tempdir().unwrap();
    let key = SignerKey::from_seed("safeconduct/ledger", &[7; 32]).unwrap();
    let settings = settings();
    let (origin, domain) = (settings.public_url.clone(), "localhost");
    let app = App::start(ports_on(folder.path(), key), settings, MintingKey::make()).await.unwrap();
    app.operator_people(vec![somebody("bob", "dba"), somebody("ann", "administrators")]).await.unwrap();
    let passkey = Passkey::at(domain);
    let ann = crate::authorize::caller("ann", 1);
    // The only administrator's change needs nobody else.
    let change = Change::EnrolKey { name: parsed("bob"), key: passkey.public().to_string() };
    app.change(&ann, change, words("measuring")).await.unwrap();
    let said = Said { origin: &origin, ..SAID };
    let mut took = Vec::with_capacity(SIGN_INS);
    for _ in 0..SIGN_INS {
        let began = Instant::now();
        let challenge = app.passkey_challenge().unwrap();
        let asked = began.elapsed();
        // What the authenticator does is not the gateway's time.
        let (authenticator_data, client_data, signature) = passkey.answer("safeconduct-sign-in@v1", &challenge, &said);
        let answer = PasskeyAnswer { challenge, name: "bob".to_owned(), authenticator_data, client_data, signature };
        let began = Instant::now();
        app.sign_in_with_passkey(answer, "127.0.0.1").await.unwrap();
        took.push((asked + began.elapsed()).as_secs_f64() * 1000.0);
    }
    head("Signing in with a passkey, recorded on disk: ms of the gateway", &["what", "p50", "p99", "max"]);
    case("challenge and sign-in", took);
    app.shutdown().await;
}
