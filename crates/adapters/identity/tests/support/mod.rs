//! An application in memory, and a provider over TLS that redeems codes as RFC 7636 says and signs whatever a test wants signed.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "each test uses a part; one that can't go on stops")]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use rustls::pki_types::PrivateKeyDer;
use safeconduct_app::{
    App, Arrived, AskedFor, Caller, CommandLine, DoorAddress, Leaving, NewAccessRequest, Person, Ports, Problem, Returned, Settings,
    SignedIn,
};
use safeconduct_identity::OpenIdConnect;
use safeconduct_ledger::SignerKey;
use safeconduct_model::{Change, MintingKey, PrincipalKind, SignInId, Timestamp};
use safeconduct_policy::BundleFiles;
use safeconduct_testkit::{MemoryRecorder, MemoryStore, TestClock, TestEntropy, TestSigner, parsed, ttl, words};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

const SECRET: &str = "s3cret/&+ of the client";

pub struct House {
    pub app: App,
    pub provider: Provider,
    clock: Arc<TestClock>,
    ports: Ports,
    _folder: tempfile::TempDir,
}

impl House {
    pub async fn new(settings: Value) -> Self {
        Self::with(Provider::start().await, settings).await
    }

    pub async fn with(provider: Provider, mut settings: Value) -> Self {
        let clock = Arc::new(TestClock::at(Timestamp::from_micros(provider.now() * 1_000_000 - 1_000_000)));
        let ports = Ports {
            store: Arc::new(MemoryStore::new()),
            recorder: Arc::new(MemoryRecorder::new()),
            clock: clock.clone(),
            entropy: Arc::new(TestEntropy::seeded(1)),
            signer: Arc::new(TestSigner(SignerKey::from_seed("gate.example/ledger", &[7; 32]).unwrap())),
        };
        let node = Settings {
            gateway: "gate.example".into(),
            public_url: "https://gate.example".into(),
            door: DoorAddress { host: "127.0.0.1".into(), port: 6432, ca_pem: String::new() },
            pending: ttl(3600),
            pending_per_principal: 20,
            sign_in: ttl(8 * 3600),
            sign_in_idle: ttl(8 * 3600),
            token_days: 90,
            bundle_watched: false,
            signing_page: None,
            roster: None,
        };
        let app = App::start(ports.clone(), node, MintingKey::make()).await.unwrap();
        let policy = "@id(\"approve\") permit (principal in Group::\"administrators\", action, resource);\n";
        let files = BTreeMap::from([("policies/test.cedar".to_owned(), policy.as_bytes().to_vec())]);
        app.operator_policy(&BundleFiles { files }).await.unwrap();
        let person = |(name, group): (&str, &str)| Person {
            name: parsed(name),
            display_name: name.to_owned(),
            groups: vec![parsed(group)],
            password: None,
            workload: false,
        };
        let mut people: Vec<Person> = [("alice", "engineers"), ("bob", "dba"), ("ann", "administrators")].into_iter().map(person).collect();
        people.push(Person { workload: true, ..person(("deployer", "deployers")) });
        app.operator_people(people).await.unwrap();
        clock.advance(Duration::from_secs(1));
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let given = settings.as_object_mut().unwrap();
        given.insert("issuer".into(), json!(provider.issuer));
        given.insert("client_id".into(), json!("safeconduct"));
        given.insert("client_secret".into(), json!(format!("file:{}", file("secret", SECRET))));
        given.insert("ca_file".into(), json!(file("ca.pem", &provider.ca_pem)));
        given.insert("danger_local".into(), json!(true));
        let checked = safeconduct_identity::check(serde_json::from_value(json!({ "corp": settings })).unwrap()).unwrap();
        app.set_identity_providers(Arc::new(OpenIdConnect::new(checked, "https://gate.example").unwrap()));
        Self { app, provider, clock, ports, _folder: folder }
    }

    pub async fn leave(&self, command_line: Option<CommandLine>) -> Leaving {
        self.app.leave_for_provider("corp", command_line).await.unwrap()
    }

    pub async fn sign_in(&self, subject: &str) -> Result<SignedIn, Problem> {
        let leaving = self.leave(None).await;
        let returned = self.provider.answer(&leaving.url, subject);
        match self.app.return_from_provider(&leaving.ticket, returned, "::1").await? {
            Arrived::SignedIn(signed_in) => Ok(signed_in),
            other => panic!("{other:?}"),
        }
    }

    pub async fn disable(&self, name: &str) {
        self.change(Change::Disable { name: parsed(name) }).await;
        assert!(self.is_disabled(name), "{name}");
    }

    pub async fn enable(&self, name: &str) {
        self.change(Change::Enable { name: parsed(name) }).await;
        assert!(!self.is_disabled(name), "{name}");
    }

    fn is_disabled(&self, name: &str) -> bool {
        self.app.principals(&self.ann()).unwrap().iter().any(|p| p.name.as_str() == name && p.disabled)
    }

    /// The only administrator: what she asks for is done.
    async fn change(&self, change: Change) {
        let ask = NewAccessRequest {
            resource: parsed("safeconduct"),
            what: AskedFor::Change(change),
            reason: words("as it should be"),
            ticket: None,
            duration: ttl(600),
            starts_at: None,
        };
        self.app.ask(&self.ann(), ask).await.unwrap();
    }

    fn ann(&self) -> Caller {
        Caller {
            name: parsed("ann"),
            kind: PrincipalKind::Person,
            sign_in: SignInId::from_bits(1),
            method: "password".to_owned(),
            source: "::1".to_owned(),
            signed_in_at: self.app.now(),
            authenticated_at: Some(self.app.now()),
            claims: std::collections::BTreeMap::new(),
            scopes: None,
        }
    }

    /// Groups of somebody, by name.
    pub fn groups(&self, name: &str) -> Vec<String> {
        let all = self.app.principals(&self.ann()).unwrap();
        all.iter().find(|p| p.name.as_str() == name).unwrap().groups.keys().map(ToString::to_string).collect()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// What happened so far, by name.
    pub async fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        for stream in [safeconduct_lifecycle::StreamId::Directory, safeconduct_lifecycle::StreamId::SignIns] {
            kinds.extend(self.ports.store.load(stream).await.unwrap().into_iter().filter_map(|stored| Some(stored.event?.kind())));
        }
        kinds
    }
}

struct Code {
    challenge: String,
    nonce: String,
    subject: String,
}

#[derive(Default)]
struct State {
    keys: Vec<(String, EncodingKey)>,
    codes: BTreeMap<String, Code>,
    made: usize,
    claims: Map<String, Value>,
    document: Map<String, Value>,
    forge: Option<&'static str>,
    keys_read: usize,
}

/// A provider.
pub struct Provider {
    pub issuer: String,
    pub ca_pem: String,
    state: Arc<Mutex<State>>,
    now: i64,
}

impl Provider {
    pub async fn start() -> Self {
        Self::with_documents(Map::new()).await
    }

    /// One whose document says something else.
    pub async fn with_document(key: &str, value: Value) -> Self {
        Self::with_documents(Map::from_iter([(key.to_owned(), value)])).await
    }

    async fn with_documents(document: Map<String, Value>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let state = Arc::new(Mutex::new(State { keys: vec![new_key("k1")], document, ..State::default() }));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let provider = Self { issuer, ca_pem: made.cert.pem(), state, now: i64::try_from(now).unwrap() };
        let (acceptor, served) = (TlsAcceptor::from(Arc::new(config)), provider.shared());
        tokio::spawn(async move {
            loop {
                let Ok(stream) = acceptor.accept(listener.accept().await.unwrap().0).await else { continue };
                let mut stream = BufReader::new(stream);
                let (mut first, mut line, mut length, mut authorization) = (String::new(), String::new(), 0, String::new());
                stream.read_line(&mut first).await.unwrap();
                while stream.read_line(&mut line).await.unwrap() > 2 {
                    if let Some((name, value)) = line.trim_end().split_once(": ") {
                        match name.to_ascii_lowercase().as_str() {
                            "content-length" => length = value.parse().unwrap(),
                            "authorization" => authorization = value.to_owned(),
                            _ => {}
                        }
                    }
                    line.clear();
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await.unwrap();
                let path = first.split(' ').nth(1).unwrap_or_default();
                let (status, answer) = served.serve(path, &authorization, &String::from_utf8(body).unwrap());
                let answer = answer.to_string();
                let head = format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", answer.len());
                stream.write_all(format!("{head}{answer}").as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        provider
    }

    fn shared(&self) -> Self {
        Self { issuer: self.issuer.clone(), ca_pem: String::new(), state: Arc::clone(&self.state), now: self.now }
    }

    /// Seconds since 1970 when it was started: its clock stands.
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Says this in every token from now on; `null` leaves the claim out.
    pub fn claim(&self, name: &str, value: Value) {
        self.state.lock().unwrap().claims.insert(name.to_owned(), value);
    }

    pub fn forget_claim(&self, name: &str) {
        self.state.lock().unwrap().claims.remove(name);
    }

    pub fn forge(&self, how: Option<&'static str>) {
        self.state.lock().unwrap().forge = how;
    }

    /// Signs with a new key; the one before is not its own any more.
    pub fn rotate(&self) {
        let mut state = self.state.lock().unwrap();
        let key = new_key(&format!("k{}", state.keys.len() + 1));
        state.keys.push(key);
    }

    pub fn times_keys_were_read(&self) -> usize {
        self.state.lock().unwrap().keys_read
    }

    /// What a browser brings back after this person signed in at the address it was sent to.
    pub fn answer(&self, url: &str, subject: &str) -> Returned {
        assert!(url.starts_with(&format!("{}/authorize?", self.issuer)), "{url}");
        assert_eq!(query(url, "code_challenge_method"), "S256");
        assert_eq!(query(url, "redirect_uri"), "https%3A%2F%2Fgate.example%2Fsign-in");
        let mut state = self.state.lock().unwrap();
        state.made += 1;
        let code = format!("code-{}", state.made);
        let kept = Code { challenge: query(url, "code_challenge"), nonce: query(url, "nonce"), subject: subject.to_owned() };
        state.codes.insert(code.clone(), kept);
        Returned { code: Some(code), state: query(url, "state"), issuer: Some(self.issuer.clone()), error: None }
    }

    /// Any token that it signs; a claim that is null is left out.
    pub fn token(&self, claims: &Value) -> String {
        let mut all = json!({ "iss": self.issuer, "aud": "gate", "iat": self.now, "exp": self.now + 300 });
        let all = all.as_object_mut().unwrap();
        all.extend(claims.as_object().unwrap().clone());
        all.retain(|_, value| !value.is_null());
        sign(&self.state.lock().unwrap(), all)
    }

    pub fn logout_token(&self, claims: &Value) -> String {
        let mut all = json!({ "iss": self.issuer, "aud": "safeconduct", "iat": self.now, "exp": self.now + 120, "jti": "1" });
        all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
        sign(&self.state.lock().unwrap(), all.as_object().unwrap())
    }

    fn serve(&self, path: &str, authorization: &str, body: &str) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        match path {
            "/.well-known/openid-configuration" => {
                let mut document = json!({
                    "issuer": self.issuer, "authorization_endpoint": format!("{}/authorize", self.issuer),
                    "token_endpoint": format!("{}/token", self.issuer), "jwks_uri": format!("{}/keys", self.issuer),
                    "code_challenge_methods_supported": ["S256"], "authorization_response_iss_parameter_supported": true,
                });
                document.as_object_mut().unwrap().extend(state.document.clone());
                (200, document)
            }
            "/keys" => {
                state.keys_read += 1;
                (200, json!({ "keys": [public(state.keys.last().unwrap()), { "kty": "of tomorrow" }] }))
            }
            "/token" => {
                let field = |name: &str| query(&format!("?{body}"), name);
                let basic = "safeconduct:s3cret%2F%26%2B%20of%20the%20client";
                let expected = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(basic));
                let Some(code) = state.codes.remove(&field("code")) else { return (400, json!({ "error": "invalid_grant" })) };
                if authorization != expected || challenge(&field("code_verifier")) != code.challenge {
                    return (400, json!({ "error": "invalid_grant" }));
                }
                let mut claims = json!({
                    "iss": self.issuer, "aud": "safeconduct", "sub": code.subject, "nonce": code.nonce,
                    "iat": self.now, "exp": self.now + 300,
                });
                let all = claims.as_object_mut().unwrap();
                all.extend(state.claims.clone());
                all.retain(|_, value| !value.is_null());
                (200, json!({ "token_type": "Bearer", "access_token": "a", "id_token": sign(&state, all) }))
            }
            _ => (404, json!({})),
        }
    }
}

fn sign(state: &State, claims: &Map<String, Value>) -> String {
    let (kid, key) = state.keys.last().unwrap();
    let header = |alg: Algorithm| Header { kid: Some(kid.clone()), ..Header::new(alg) };
    let good = encode(&header(Algorithm::ES256), claims, key).unwrap();
    let body = good.split('.').nth(1).unwrap();
    let (without, _) = good.rsplit_once('.').unwrap();
    match state.forge {
        None => good,
        Some("none") => format!("{}.{body}.", URL_SAFE_NO_PAD.encode(json!({ "alg": "none", "kid": kid }).to_string())),
        Some("hs256 with the public key") => {
            let public = public(&(kid.clone(), key.clone())).to_string();
            encode(&header(Algorithm::HS256), claims, &EncodingKey::from_secret(public.as_bytes())).unwrap()
        }
        Some("hs256 with the secret") => encode(&header(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap(),
        Some("cut") => format!("{without}."),
        Some("another key of that name") => encode(&header(Algorithm::ES256), claims, &new_key(kid).1).unwrap(),
        Some("changed") => {
            let mut claims = claims.clone();
            claims.insert("sub".to_owned(), json!("somebody else"));
            let body = URL_SAFE_NO_PAD.encode(Value::Object(claims).to_string());
            let parts: Vec<&str> = good.split('.').collect();
            format!("{}.{body}.{}", parts[0], parts[2])
        }
        Some("the old key") => {
            let (kid, key) = &state.keys[state.keys.len() - 2];
            encode(&Header { kid: Some(kid.clone()), ..Header::new(Algorithm::ES256) }, claims, key).unwrap()
        }
        Some(other) => panic!("{other}"),
    }
}

fn new_key(kid: &str) -> (String, EncodingKey) {
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    (kid.to_owned(), EncodingKey::from_ec_der(&pair.serialize_der()))
}

fn public((kid, key): &(String, EncodingKey)) -> Value {
    let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(kid.clone());
    serde_json::to_value(jwk).unwrap()
}

/// The S256 challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

/// A parameter of an address, as it is written.
pub fn query(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let pair = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    pair.unwrap_or_default().to_owned()
}
