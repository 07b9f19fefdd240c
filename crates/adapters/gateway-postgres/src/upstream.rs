//! Connections of our own to a resource's server: sign-in and pinned settings.
//!
//! Passwords go out as SCRAM-SHA-256 proofs. MD5 and cleartext are answered only inside verified TLS, and nothing is answered that the
//! server did not ask for first. A server that does not take the pinned settings is not used.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::{
    authentication::{md5_hash, sasl::SCRAM_SHA_256},
    message::frontend,
};
use safeconduct_app::ports::Login as Minted;
use safeconduct_model::{Postgres, Resource, SecretRef};
use safeconduct_protocol::postgres::scram_client::{Challenge, client_first};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};
use zeroize::Zeroizing;

use crate::{
    scram,
    stream::UpstreamStream,
    transport::{CancelTarget, Tls, encrypt},
    wire::{Reader, Report, malformed, take_text},
};

/// Reads the secret behind a reference.
pub type Secrets = Arc<dyn Fn(&SecretRef) -> Result<Zeroizing<String>, SecretUnavailable> + Send + Sync>;

/// A secret could not be read. Which one and why is for the gateway's log, not for clients.
#[derive(Clone, Debug, thiserror::Error)]
#[error("secret is unavailable: {0}")]
pub struct SecretUnavailable(pub String);

/// Largest message taken from a server during sign-in.
const SIGN_IN_MESSAGE_BYTES: usize = 64 * 1024;
/// Most rounds of messages a server may take to let us in: settings and notices included.
const SIGN_IN_MESSAGES: usize = 500;

/// What a connection is for.
pub(crate) struct Login<'a> {
    pub resource: &'a Resource,
    pub database: &'a str,
    /// Ends up as the server's `application_name`.
    pub application_name: &'a str,
    /// Settings the client asked for and may have.
    pub settings: &'a [(String, String)],
    /// The login made for the session; without one the stored login is used.
    pub minted: Option<&'a Minted>,
    /// Transactions are read only unless they say otherwise.
    pub read_only: bool,
    /// A refusal of the login is what is hoped for, and no news.
    pub expects_refusal: bool,
}

impl<'a> Login<'a> {
    /// The gateway's own errands.
    pub(crate) const fn own(resource: &'a Resource, database: &'a str, application_name: &'a str) -> Self {
        Self { resource, database, application_name, settings: &[], minted: None, read_only: false, expects_refusal: false }
    }
}

/// A connection that is signed in and idle.
pub(crate) struct Upstream {
    pub stream: UpstreamStream,
    /// Bytes of the server that followed its first ReadyForQuery.
    pub rest: BytesMut,
    /// The settings it reported, in its order.
    pub parameters: Vec<(String, String)>,
    pub cancel: CancelTarget,
}

/// Why there is no connection. `Display` is fit for clients.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("resource `{resource}` is no PostgreSQL server")]
    NotPostgres { resource: String },
    #[error("the gateway has no login for `{resource}`")]
    NoLogin {
        resource: String,
        #[source]
        source: SecretUnavailable,
    },
    #[error("the server of `{resource}` can't be reached")]
    Unreachable {
        resource: String,
        #[source]
        source: io::Error,
    },
    #[error("the server of `{resource}` does not answer")]
    Silent { resource: String },
    #[error("the server of `{resource}` could not prove its identity")]
    Untrusted {
        resource: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the server of `{resource}` did not accept the gateway's login")]
    LoginRefused { resource: String, sqlstate: String },
    /// The server's own words, where they concern what the client asked for.
    #[error("{message}")]
    Refused { sqlstate: String, message: String },
    #[error("the server of `{resource}` does not keep the settings the gateway depends on")]
    Unpinned { resource: String },
    #[error("the server of `{resource}` asks for a sign-in the gateway does not do")]
    UnsafeSignIn { resource: String },
}

impl UpstreamError {
    /// The error code a client is told.
    pub(crate) fn sqlstate(&self) -> &str {
        match self {
            Self::Refused { sqlstate, .. } => sqlstate,
            Self::NotPostgres { .. } => "28000",
            _ => "08006",
        }
    }
}

/// A server that proved its identity and waits for a sign-in.
pub(crate) struct Reached {
    stream: UpstreamStream,
    tls: Option<Tls>,
    address: SocketAddr,
}

/// Opens a connection and signs in, all within `limit`.
pub(crate) async fn connect(login: &Login<'_>, secrets: &Secrets, limit: Duration) -> Result<Upstream, UpstreamError> {
    within(limit, login.resource, async { sign_in_over(open(login.resource).await?, login, secrets).await }).await
}

/// Opens a connection within `limit`: nobody is signed in yet.
pub(crate) async fn reach(resource: &Resource, limit: Duration) -> Result<Reached, UpstreamError> {
    within(limit, resource, open(resource)).await
}

/// Signs in within `limit` where [`reach`] led.
pub(crate) async fn sign_in(reached: Reached, login: &Login<'_>, secrets: &Secrets, limit: Duration) -> Result<Upstream, UpstreamError> {
    within(limit, login.resource, sign_in_over(reached, login, secrets)).await
}

async fn within<T>(limit: Duration, resource: &Resource, work: impl Future<Output = Result<T, UpstreamError>>) -> Result<T, UpstreamError> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(UpstreamError::Silent { resource: resource.name.to_string() }))
}

fn settings_of(resource: &Resource) -> Result<&Postgres, UpstreamError> {
    resource.postgres().ok_or_else(|| UpstreamError::NotPostgres { resource: resource.name.to_string() })
}

async fn open(resource: &Resource) -> Result<Reached, UpstreamError> {
    let (postgres, resource) = (settings_of(resource)?, resource.name.as_str());
    let unreachable = |source| UpstreamError::Unreachable { resource: resource.to_owned(), source };
    let tls = Tls::of(postgres, resource)?;
    let tcp = TcpStream::connect((postgres.host.as_str(), postgres.port)).await.map_err(unreachable)?;
    let address = tcp.peer_addr().map_err(unreachable)?;
    let stream = encrypt(tcp, tls.as_ref()).await.map_err(|error| classify_tls(error, resource))?;
    Ok(Reached { stream, tls, address })
}

async fn sign_in_over(reached: Reached, login: &Login<'_>, secrets: &Secrets) -> Result<Upstream, UpstreamError> {
    let (postgres, resource) = (settings_of(login.resource)?, login.resource.name.as_str());
    let Reached { stream, tls, address } = reached;
    let no_login = |source| UpstreamError::NoLogin { resource: resource.to_owned(), source };
    let (user, password) = match login.minted {
        Some(minted) => (&minted.role, minted.password.clone()),
        None => {
            let (user, password) = postgres.credentials.stored();
            (user, secrets(password).map_err(no_login)?)
        }
    };
    let mut sign_in =
        SignIn { stream, reader: Reader::default(), resource, user, password: &password, expects_refusal: login.expects_refusal };
    sign_in.start(login, postgres).await?;
    sign_in.authenticate().await?;
    let (parameters, process, secret) = sign_in.settle().await?;
    require_pins(&parameters, resource)?;
    Ok(Upstream {
        stream: sign_in.stream,
        rest: sign_in.reader.into_rest(),
        parameters,
        cancel: CancelTarget { address, tls, process, secret },
    })
}

fn classify_tls(error: io::Error, resource: &str) -> UpstreamError {
    let resource = resource.to_owned();
    if error.kind() == io::ErrorKind::InvalidData {
        UpstreamError::Untrusted { resource, source: error.into() }
    } else {
        UpstreamError::Unreachable { resource, source: error }
    }
}

/// The meaning of texts depends on these; the gateway reads texts as they say.
fn require_pins(parameters: &[(String, String)], resource: &str) -> Result<(), UpstreamError> {
    let reported = |name: &str| parameters.iter().rev().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
    if reported("standard_conforming_strings") == Some("on") && reported("client_encoding") == Some("UTF8") {
        Ok(())
    } else {
        Err(UpstreamError::Unpinned { resource: resource.to_owned() })
    }
}

/// The schemas in which names are looked up, quoted, temporary objects last.
pub(crate) fn search_path(postgres: &Postgres) -> String {
    let mut path = String::new();
    for schema in postgres.search_path.iter().filter(|schema| *schema != "pg_temp") {
        path.push('"');
        path.push_str(&schema.replace('"', "\"\""));
        path.push_str("\", ");
    }
    path.push_str("pg_temp");
    path
}

/// 18 random bytes in base 64.
fn nonce() -> io::Result<String> {
    let mut bytes = [0_u8; 18];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(STANDARD.encode(bytes))
}

struct SignIn<'a> {
    stream: UpstreamStream,
    reader: Reader,
    resource: &'a str,
    user: &'a str,
    password: &'a str,
    expects_refusal: bool,
}

impl SignIn<'_> {
    fn unreachable(&self, source: io::Error) -> UpstreamError {
        UpstreamError::Unreachable { resource: self.resource.to_owned(), source }
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut) -> io::Result<()>) -> Result<(), UpstreamError> {
        let mut out = BytesMut::new();
        write(&mut out).map_err(|error| self.unreachable(error))?;
        let sent = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| self.unreachable(error))
    }

    async fn start(&mut self, login: &Login<'_>, postgres: &Postgres) -> Result<(), UpstreamError> {
        let path = search_path(postgres);
        let mut pinned = vec![
            ("user", self.user),
            ("database", login.database),
            ("application_name", login.application_name),
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
            ("search_path", &path),
        ];
        if login.read_only {
            pinned.push(("default_transaction_read_only", "on"));
        }
        let asked = login.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let asked = asked.filter(|(name, _)| !pinned.iter().any(|(pin, _)| pin.eq_ignore_ascii_case(name)));
        let parameters: Vec<(&str, &str)> = pinned.iter().copied().chain(asked).collect();
        self.send(|out| frontend::startup_message(parameters, out)).await
    }

    /// The next message, errors taken care of.
    async fn next(&mut self) -> Result<(u8, Bytes), UpstreamError> {
        loop {
            let message = self.reader.next(&mut self.stream, SIGN_IN_MESSAGE_BYTES).await;
            let message = message.map_err(|error| self.unreachable(error))?;
            let tag = message.tag;
            let body = message.whole().map_err(|error| self.unreachable(error))?;
            match tag {
                b'E' => return Err(self.refused(&Report::parse(body).map_err(|error| self.unreachable(error))?)),
                b'N' => {}
                _ => return Ok((tag, body)),
            }
        }
    }

    /// What a client hears when the server turns us away: its own words only about the database and how busy it is.
    fn refused(&self, report: &Report) -> UpstreamError {
        let resource = self.resource.to_owned();
        if !self.expects_refusal {
            tracing::warn!(%resource, sqlstate = report.sqlstate, message = report.message, "server refused the gateway");
        }
        match report.sqlstate.as_str() {
            "3D000" | "53300" | "57P03" | "55000" | "22023" | "42704" => {
                UpstreamError::Refused { sqlstate: report.sqlstate.clone(), message: report.message.clone() }
            }
            _ => UpstreamError::LoginRefused { resource, sqlstate: report.sqlstate.clone() },
        }
    }

    async fn authenticate(&mut self) -> Result<(), UpstreamError> {
        let unsafe_sign_in = || UpstreamError::UnsafeSignIn { resource: self.resource.to_owned() };
        let (safe, refused) = (self.stream.is_encrypted(), unsafe_sign_in());
        let (tag, mut body) = self.next().await?;
        if tag != b'R' || body.len() < 4 {
            return Err(self.unreachable(malformed("server did not begin with authentication")));
        }
        match body.get_u32() {
            0 => return Ok(()),
            3 if safe => {
                let password = self.password.as_bytes();
                self.send(|out| frontend::password_message(password, out)).await?;
            }
            5 if safe && body.len() >= 4 => {
                let mut salt = [0; 4];
                body.copy_to_slice(&mut salt);
                let hash = Zeroizing::new(md5_hash(self.user.as_bytes(), self.password.as_bytes(), salt));
                self.send(|out| frontend::password_message(hash.as_bytes(), out)).await?;
            }
            10 => self.scram(body).await?,
            _ => return Err(refused),
        }
        match self.next().await? {
            (b'R', body) if body.as_ref() == [0; 4] => Ok(()),
            _ => Err(self.unreachable(malformed("server did not end authentication"))),
        }
    }

    async fn scram(&mut self, mut mechanisms: Bytes) -> Result<(), UpstreamError> {
        let mut offered = false;
        loop {
            let name = take_text(&mut mechanisms).map_err(|error| self.unreachable(error))?;
            if name.is_empty() {
                break;
            }
            offered |= name == SCRAM_SHA_256;
        }
        if !offered {
            return Err(UpstreamError::UnsafeSignIn { resource: self.resource.to_owned() });
        }
        let nonce = nonce().map_err(|error| self.unreachable(error))?;
        self.send(|out| frontend::sasl_initial_response(SCRAM_SHA_256, client_first(&nonce).as_bytes(), out)).await?;
        let challenge = self.expect_authentication(11).await?;
        let challenge = Challenge::read(&nonce, &challenge).map_err(|error| self.unreachable(io::Error::other(error)))?;
        let keys = scram::keys(self.password, challenge.salting.clone()).await;
        let (proof, awaiting) = challenge.prove(&keys);
        self.send(|out| frontend::sasl_response(proof.as_bytes(), out)).await?;
        let verdict = self.expect_authentication(12).await?;
        // A server that does not know the password can't answer this: it is the second proof of its identity.
        awaiting.check(&verdict).map_err(|error| UpstreamError::Untrusted { resource: self.resource.to_owned(), source: error.into() })
    }

    async fn expect_authentication(&mut self, step: u32) -> Result<Bytes, UpstreamError> {
        let (tag, mut body) = self.next().await?;
        if tag == b'R' && body.len() >= 4 && body.get_u32() == step {
            Ok(body)
        } else {
            Err(self.unreachable(malformed("server broke off authentication")))
        }
    }

    /// Reads up to the first ReadyForQuery: settings and cancel key.
    async fn settle(&mut self) -> Result<(Vec<(String, String)>, i32, i32), UpstreamError> {
        let (mut parameters, mut process, mut secret) = (Vec::new(), 0, 0);
        for _ in 0..SIGN_IN_MESSAGES {
            let (tag, mut body) = self.next().await?;
            match tag {
                b'S' => {
                    let name = take_text(&mut body).map_err(|error| self.unreachable(error))?;
                    let value = take_text(&mut body).map_err(|error| self.unreachable(error))?;
                    parameters.push((name, value));
                }
                b'K' if body.len() == 8 => (process, secret) = (body.get_i32(), body.get_i32()),
                b'Z' => return Ok((parameters, process, secret)),
                _ => return Err(self.unreachable(malformed("unexpected message from the server"))),
            }
        }
        Err(self.unreachable(malformed("server talks without end")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use safeconduct_model::{Credentials, Ttl, UpstreamTls};
    use tokio::io::AsyncReadExt;

    use super::*;

    fn postgres(search_path: &[&str]) -> Postgres {
        Postgres {
            host: "localhost".into(),
            port: 5432,
            database: "orders".into(),
            databases: BTreeSet::new(),
            tls: UpstreamTls::DangerDisabled,
            credentials: Credentials::Static { user: "gateway".into(), password: SecretRef::Env("PW".into()) },
            search_path: search_path.iter().map(|schema| (*schema).to_owned()).collect(),
            functions: BTreeMap::new(),
            danger_unrestricted: false,
            hold: Ttl::from_seconds(900).unwrap(),
            hold_in_transaction: Ttl::from_seconds(60).unwrap(),
        }
    }

    #[test]
    fn f32_f44_schemas_are_quoted_and_temporary_objects_come_last() {
        assert_eq!(search_path(&postgres(&["public"])), "\"public\", pg_temp");
        assert_eq!(search_path(&postgres(&["pg_temp", "a\", b", "$user"])), "\"a\"\", b\", \"$user\", pg_temp");
        assert_eq!(search_path(&postgres(&[])), "pg_temp");
    }

    #[test]
    fn f35_a_server_that_reads_strings_otherwise_is_not_used() {
        let pins = |strings: &str, encoding: &str| {
            let parameters = [("standard_conforming_strings", strings), ("client_encoding", encoding)];
            require_pins(&parameters.map(|(name, value)| (name.to_owned(), value.to_owned())), "orders").is_ok()
        };
        assert!(pins("on", "UTF8"));
        assert!(!pins("off", "UTF8"));
        assert!(!pins("on", "SJIS"));
        assert!(require_pins(&[], "orders").is_err());
    }

    /// A server that says what it is told to say.
    async fn answer(script: &'static [&'static [u8]]) -> Result<Upstream, UpstreamError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = postgres(&["public"]);
        server.host = "127.0.0.1".into();
        server.port = listener.local_addr().unwrap().port();
        let resource = Resource {
            name: "orders".parse().unwrap(),
            kind: safeconduct_model::ResourceKind::Postgres(server),
            description: String::new(),
            owner: None,
            labels: BTreeMap::new(),
            sensitivity: safeconduct_model::Sensitivity::Low,
            time_zone: "UTC".into(),
        };
        let secrets: Secrets = Arc::new(|_| Ok(Zeroizing::new("secret".to_owned())));
        let login = Login::own(&resource, "orders", "test");
        let serve = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut startup = [0; 512];
            let _ = stream.read(&mut startup).await;
            for part in script {
                let _ = stream.write_all(part).await;
            }
            let mut told = Vec::new();
            let _ = stream.shutdown().await;
            let _ = stream.read_to_end(&mut told).await;
            assert!(!told.windows(6).any(|window| window == b"secret"), "the password went out in the clear");
        };
        let (answer, ()) = tokio::join!(connect(&login, &secrets, Duration::from_secs(20)), serve);
        answer
    }

    #[tokio::test]
    async fn a_hostile_server_gets_no_password_and_a_typed_error() {
        assert!(matches!(answer(&[b"R\0\0\0\x08\0\0\0\x03"]).await, Err(UpstreamError::UnsafeSignIn { .. })));
        assert!(matches!(answer(&[b"R\0\0\0\x0c\0\0\0\x05salt"]).await, Err(UpstreamError::UnsafeSignIn { .. })));
        assert!(matches!(answer(&[b"R\0\0\0\x0e\0\0\0\x0aPLAIN\0\0"]).await, Err(UpstreamError::Unreachable { .. })));
        assert!(matches!(answer(&[b"HTTP/1.1 400 Bad Request\r\n"]).await, Err(UpstreamError::Unreachable { .. })));
        assert!(matches!(answer(&[]).await, Err(UpstreamError::Unreachable { .. })));
        let refused = answer(&[b"E\0\0\0\x28SFATAL\0C28P01\0Mpassword for gateway\0\0"]).await;
        assert!(refused.err().is_some_and(|error| !error.to_string().contains("gateway\"")));
        // Signed in, but with strings read the old way.
        let unpinned = answer(&[b"R\0\0\0\x08\0\0\0\0", b"S\0\0\0\x24standard_conforming_strings\0off\0", b"Z\0\0\0\x05I"]).await;
        assert!(matches!(unpinned, Err(UpstreamError::Unpinned { .. })));
    }
}
