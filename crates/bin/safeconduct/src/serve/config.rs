//! Settings of a node: a file, then variables, then defaults. Every mistake is reported at once, with its place and the form expected.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    str::FromStr,
};

use super::roster::RosterFiles;
use safeconduct_doorbells::{Doorbells, Settings as DoorbellSettings};
use safeconduct_identity::{Identity, Settings as IdentitySettings};
use safeconduct_model::Ttl;
use safeconduct_scim::{Scim, Settings as ScimSettings};

use crate::failure::{Exit, Failure};

/// Parsed settings. Whatever is here is valid by itself; whether files exist is found out when they are opened.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of this gateway: in every envelope and in the origin of the ledger.
    pub gateway: String,
    /// Where store and recordings are.
    pub data: PathBuf,
    /// Where the checkpoint key and the certificate authority are: apart from the store.
    pub keys: PathBuf,
    pub api_listen: SocketAddr,
    /// Where people and clients find the API.
    pub public_url: String,
    pub postgres_listen: SocketAddr,
    /// Where PostgreSQL clients find the door.
    pub postgres_host: String,
    /// Names and addresses in the certificate that is made here.
    pub tls_names: Vec<String>,
    /// A certificate of one's own: certificate chain, key, authority.
    pub tls_files: Option<TlsFiles>,
    pub pending: Ttl,
    pub pending_per_principal: usize,
    pub sign_in: Ttl,
    /// A person's sign-in that nobody uses for this long is over.
    pub sign_in_idle: Ttl,
    pub token_days: u16,
    pub bundle: Option<PathBuf>,
    /// Where the figures are read, without TLS and without a sign-in; nowhere if it is not set.
    pub metrics_listen: Option<SocketAddr>,
    pub log_format: LogFormat,
    /// Where traces are sent, if they are.
    pub otlp: Option<String>,
    /// Most statements of a session that are in its trace.
    pub traced_statements: usize,
    /// How long sessions may finish what they are doing when the gateway is told to stop.
    pub drain: Ttl,
    /// Who hears of what waits, without looking.
    pub doorbells: Doorbells,
    /// Who says who people are, beside the gateway itself.
    pub identity: Vec<Identity>,
    /// Whose signatures count, signed by the holders of root keys.
    pub roster: Option<RosterFiles>,
    /// Who keeps people and groups here from outside, if anybody does.
    pub scim: Option<Scim>,
}

/// How the log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    /// One object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(()),
        }
    }
}

/// Files of a certificate that was not made here.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub authority: PathBuf,
}

/// The table of the doorbells.
const DOORBELLS: &str = "doorbells";
/// The table of the identity providers.
const IDENTITY: &str = "identity";
/// The table of the source that keeps people and groups.
const SCIM: &str = "scim";

/// Every key with its variable, and the form it has.
const KEYS: &[(&str, &str, &str)] = &[
    ("gateway", "SAFECONDUCT_GATEWAY", "a name such as `safeconduct.example.com`"),
    ("data", "SAFECONDUCT_DATA", "a directory"),
    ("keys", "SAFECONDUCT_KEYS", "a directory apart from `data`"),
    ("bundle", "SAFECONDUCT_BUNDLE", "a directory"),
    ("api.listen", "SAFECONDUCT_API_LISTEN", "an address such as `127.0.0.1:8443`"),
    ("api.public_url", "SAFECONDUCT_API_PUBLIC_URL", "an https URL"),
    ("postgres.listen", "SAFECONDUCT_POSTGRES_LISTEN", "an address such as `127.0.0.1:6432`"),
    ("postgres.public_host", "SAFECONDUCT_POSTGRES_PUBLIC_HOST", "a host name"),
    ("signatures.roots", "SAFECONDUCT_SIGNATURES_ROOTS", "a file of public keys, one a line"),
    ("signatures.needed", "SAFECONDUCT_SIGNATURES_NEEDED", "how many of them must sign"),
    ("signatures.roster", "SAFECONDUCT_SIGNATURES_ROSTER", "a file, with its signatures beside it in FILE.sig"),
    ("tls.names", "SAFECONDUCT_TLS_NAMES", "host names and addresses, separated by commas"),
    ("tls.certificate", "SAFECONDUCT_TLS_CERTIFICATE", "a PEM file"),
    ("tls.key", "SAFECONDUCT_TLS_KEY", "a PEM file"),
    ("tls.authority", "SAFECONDUCT_TLS_AUTHORITY", "a PEM file"),
    ("metrics.listen", "SAFECONDUCT_METRICS_LISTEN", "an address such as `127.0.0.1:9464`"),
    ("metrics.danger_beyond_loopback", "SAFECONDUCT_METRICS_DANGER_BEYOND_LOOPBACK", "`true` or `false`"),
    ("telemetry.otlp", "SAFECONDUCT_TELEMETRY_OTLP", "a URL such as `http://127.0.0.1:4318`"),
    ("telemetry.statements", "SAFECONDUCT_TELEMETRY_STATEMENTS", "a number from 0 to 1000"),
    ("log.format", "SAFECONDUCT_LOG_FORMAT", "`text` or `json`"),
    ("drain.within", "SAFECONDUCT_DRAIN_WITHIN", "a duration such as `30s`"),
    ("limits.pending", "SAFECONDUCT_LIMITS_PENDING", "a duration such as `8h`"),
    ("limits.pending_per_principal", "SAFECONDUCT_LIMITS_PENDING_PER_PRINCIPAL", "a number from 1 to 1000"),
    ("limits.sign_in", "SAFECONDUCT_LIMITS_SIGN_IN", "a duration such as `12h`"),
    ("limits.sign_in_idle", "SAFECONDUCT_LIMITS_SIGN_IN_IDLE", "a duration such as `2h`"),
    ("limits.token_days", "SAFECONDUCT_LIMITS_TOKEN_DAYS", "a number of days from 1 to 3650"),
];

struct Reader<'a> {
    file: &'a str,
    table: toml::Table,
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: Vec<String>,
}

impl Config {
    /// Reads the settings from this file, variables and defaults.
    ///
    /// # Errors
    /// `SERVE-001` with every mistake.
    pub fn read(file: Option<&Path>) -> Result<Self, Failure> {
        let text = match file {
            Some(path) => Some((
                path.display().to_string(),
                std::fs::read_to_string(path).map_err(|e| Failure::local(&format!("reading {}", path.display()), &e))?,
            )),
            None => None,
        };
        let source = text.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
        Self::parse(source, |name| std::env::var(name).ok()).map_err(|problems| {
            Failure::new("SERVE-001", Exit::Usage, format!("the settings have {} mistakes", problems.len())).why(problems.join("\n"))
        })
    }

    /// Parses the settings.
    ///
    /// # Errors
    /// Every mistake, each naming its file or variable, its key and the form expected.
    pub fn parse(file: Option<(&str, &str)>, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<String>> {
        let (name, text) = file.unwrap_or(("", ""));
        let table = text.parse::<toml::Table>().map_err(|e| vec![format!("{name}: {}", e.message())])?;
        let mut reader = Reader { file: name, table, variable: &variable, problems: Vec::new() };
        reader.refuse_unknown();
        let gateway = reader.text("gateway").unwrap_or_else(|| "safeconduct".to_owned());
        if gateway.is_empty() || !gateway.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
            reader.expected("gateway");
        }
        let data: PathBuf = reader.text("data").unwrap_or_else(|| "/var/lib/safeconduct".to_owned()).into();
        let keys: PathBuf = reader.text("keys").unwrap_or_else(|| "/etc/safeconduct/keys".to_owned()).into();
        if keys.starts_with(&data) {
            reader.problems.push(format!(
                "keys: `{}` is inside `data`: who gets hold of the store would get the key that signs the ledger",
                keys.display()
            ));
        }
        let api_listen = reader.parsed("api.listen", SocketAddr::from(([127, 0, 0, 1], 8443)));
        let postgres_listen = reader.parsed("postgres.listen", SocketAddr::from(([127, 0, 0, 1], 6432)));
        let public_url = reader.text("api.public_url").unwrap_or_else(|| format!("https://localhost:{}", api_listen.port()));
        if !public_url.starts_with("https://") || public_url.contains(char::is_whitespace) {
            reader.expected("api.public_url");
        }
        let postgres_host = reader.text("postgres.public_host").unwrap_or_else(|| "localhost".to_owned());
        let names = reader.text("tls.names").unwrap_or_else(|| "localhost,127.0.0.1,::1".to_owned());
        let tls_files = match (reader.text("tls.certificate"), reader.text("tls.key"), reader.text("tls.authority")) {
            (None, None, None) => None,
            (Some(certificate), Some(key), Some(authority)) => {
                Some(TlsFiles { certificate: certificate.into(), key: key.into(), authority: authority.into() })
            }
            _ => {
                reader.problems.push("tls: `certificate`, `key` and `authority` come together".to_owned());
                None
            }
        };
        let metrics_listen: Option<SocketAddr> = reader.optional("metrics.listen");
        if metrics_listen.is_some_and(|at| !at.ip().is_loopback()) && !reader.parsed("metrics.danger_beyond_loopback", false) {
            reader.problems.push(
                "metrics.listen: not on loopback; whoever reaches it reads the figures without a sign-in: say `danger_beyond_loopback = true` if that is meant"
                    .to_owned(),
            );
        }
        let otlp = reader.text("telemetry.otlp");
        if otlp.as_ref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            reader.expected("telemetry.otlp");
        }
        let traced_statements = reader.parsed("telemetry.statements", 0);
        if traced_statements > 1000 {
            reader.expected("telemetry.statements");
        }
        let roster = match (reader.text("signatures.roots"), reader.text("signatures.roster")) {
            (None, None) => None,
            (Some(roots), Some(roster)) => {
                Some(RosterFiles { roots: roots.into(), needed: reader.optional("signatures.needed"), roster: roster.into() })
            }
            _ => {
                reader.problems.push("signatures: `roots` and `roster` come together".to_owned());
                None
            }
        };
        let doorbells = reader.doorbells();
        let identity = reader.identity();
        let scim = reader.scim(&identity);
        let config = Self {
            gateway,
            data,
            keys,
            api_listen,
            public_url: public_url.trim_end_matches('/').to_owned(),
            postgres_listen,
            postgres_host,
            tls_names: names.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect(),
            tls_files,
            pending: reader.parsed("limits.pending", hours(8)),
            pending_per_principal: reader.number("limits.pending_per_principal", 20, 1000),
            sign_in: reader.parsed("limits.sign_in", hours(12)),
            sign_in_idle: reader.parsed("limits.sign_in_idle", hours(2)),
            token_days: u16::try_from(reader.number("limits.token_days", 90, 3650)).unwrap_or(90),
            bundle: reader.text("bundle").map(PathBuf::from),
            metrics_listen,
            otlp: otlp.map(|url| url.trim_end_matches('/').to_owned()),
            traced_statements,
            log_format: reader.parsed("log.format", LogFormat::Text),
            drain: reader.parsed("drain.within", Ttl::from_seconds(30).unwrap_or(Ttl::MINUTE)),
            doorbells,
            identity,
            roster,
            scim,
        };
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }

    /// File of the store.
    pub fn store_file(&self) -> PathBuf {
        self.data.join("safeconduct.db")
    }

    /// Directory of the recordings.
    pub fn recordings(&self) -> PathBuf {
        self.data.join("recordings")
    }
}

fn hours(hours: u64) -> Ttl {
    Ttl::from_seconds(hours * 3600).unwrap_or(Ttl::MAX)
}

impl Reader<'_> {
    fn refuse_unknown(&mut self) {
        let known = |key: &str| KEYS.iter().any(|(known, _, _)| *known == key);
        let mut unknown = Vec::new();
        for (key, value) in self.table.iter().filter(|(key, _)| *key != DOORBELLS && *key != IDENTITY && *key != SCIM) {
            match value {
                toml::Value::Table(inner) => unknown.extend(inner.keys().map(|k| format!("{key}.{k}")).filter(|k| !known(k))),
                _ if known(key) => {}
                _ => unknown.push(key.clone()),
            }
        }
        for key in unknown {
            self.problems.push(format!("{}: unknown key `{key}`", self.file));
        }
    }

    /// Tables with names of the operator's own: they have no variables.
    fn doorbells(&mut self) -> Doorbells {
        let Some(table) = self.table.remove(DOORBELLS) else { return Doorbells::default() };
        let place = if self.file.is_empty() { String::new() } else { format!("{}: ", self.file) };
        let checked = match table.try_into::<DoorbellSettings>() {
            Ok(settings) => settings.check(),
            Err(error) => Err(vec![format!("`{DOORBELLS}`: {}", error.message())]),
        };
        checked.unwrap_or_else(|problems| {
            self.problems.extend(problems.into_iter().map(|problem| format!("{place}{problem}")));
            Doorbells::default()
        })
    }

    fn identity(&mut self) -> Vec<Identity> {
        let Some(table) = self.table.remove(IDENTITY) else { return Vec::new() };
        let place = if self.file.is_empty() { String::new() } else { format!("{}: ", self.file) };
        let checked = match table.try_into::<BTreeMap<String, IdentitySettings>>() {
            Ok(settings) => safeconduct_identity::check(settings),
            Err(error) => Err(vec![format!("`{IDENTITY}`: {}", error.message())]),
        };
        checked.unwrap_or_else(|problems| {
            self.problems.extend(problems.into_iter().map(|problem| format!("{place}{problem}")));
            Vec::new()
        })
    }

    fn scim(&mut self, identity: &[Identity]) -> Option<Scim> {
        let table = self.table.remove(SCIM)?;
        let place = if self.file.is_empty() { String::new() } else { format!("{}: ", self.file) };
        let checked = match table.try_into::<ScimSettings>() {
            Ok(settings) => {
                let issuers = identity.iter().map(|one| (one.name().to_owned(), one.issuer().to_owned())).collect();
                settings.check(&issuers, &identity.iter().flat_map(Identity::owned_groups).cloned().collect())
            }
            Err(error) => Err(vec![format!("`{SCIM}`: {}", error.message())]),
        };
        checked.map_err(|problems| self.problems.extend(problems.into_iter().map(|problem| format!("{place}{problem}")))).ok()
    }

    /// The variable wins over the file.
    fn text(&mut self, key: &str) -> Option<String> {
        let (_, variable, _) = KEYS.iter().find(|(known, _, _)| *known == key)?;
        if let Some(value) = (self.variable)(variable).filter(|value| !value.is_empty()) {
            return Some(value);
        }
        let value = match key.split_once('.') {
            Some((table, inner)) => self.table.get(table)?.as_table()?.get(inner)?.clone(),
            None => self.table.get(key)?.clone(),
        };
        match value {
            toml::Value::String(text) => Some(text),
            toml::Value::Integer(number) => Some(number.to_string()),
            toml::Value::Boolean(truth) => Some(truth.to_string()),
            toml::Value::Array(items) => Some(items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")),
            _ => {
                self.expected(key);
                None
            }
        }
    }

    fn parsed<T: FromStr>(&mut self, key: &str, default: T) -> T {
        let Some(text) = self.text(key) else { return default };
        text.parse().unwrap_or_else(|_| {
            self.expected(key);
            default
        })
    }

    fn optional<T: FromStr>(&mut self, key: &str) -> Option<T> {
        let parsed = self.text(key)?.parse();
        if parsed.is_err() {
            self.expected(key);
        }
        parsed.ok()
    }

    fn number(&mut self, key: &str, default: usize, most: usize) -> usize {
        let number = self.parsed(key, default);
        if (1..=most).contains(&number) {
            return number;
        }
        self.expected(key);
        default
    }

    fn expected(&mut self, key: &str) {
        let Some((_, variable, form)) = KEYS.iter().find(|(known, _, _)| *known == key) else { return };
        let place = if self.file.is_empty() { String::new() } else { format!("{}: ", self.file) };
        self.problems.push(format!("{place}`{key}` (or {variable}) must be {form}"));
    }
}

/// Makes a directory that only its owner may enter.
pub fn private_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_reported_at_once() {
        let text = "gateway = 'a b'\ncolour = 'red'\ndata = '/d'\nkeys = '/d/keys'\n[api]\nlisten = 'here'\nport = 1\n[tls]\nkey = 'k.pem'\n[limits]\npending = '0s'\ntoken_days = 0";
        let problems = Config::parse(Some(("safeconduct.toml", text)), |_| None).unwrap_err();
        for word in ["gateway", "colour", "inside `data`", "api.listen", "api.port", "come together", "limits.pending", "token_days"] {
            assert!(problems.iter().any(|p| p.contains(word)), "{word}: {problems:#?}");
        }
    }

    #[test]
    fn doorbells_are_checked_as_a_whole() {
        let parse = |text: &str| Config::parse(Some(("f", text)), |_| None);
        assert!(parse(
            "[doorbells.webhooks.chat]\nurl = 'https://chat.example.com/hook'\nsecret = 'file:/run/chat'\n\
             [doorbells.mail]\nhost = 'mail.example.com'\nfrom = 'Safeconduct <gate@example.com>'\n[doorbells.mail.to]\ndba = 'dba@example.com'"
        )
        .is_ok());
        let problems = parse(
            "[doorbells.webhooks.one]\nurl = 'http://chat.example.com'\nsecret = 'whsec_secret'\n\
             [doorbells.webhooks.two]\nurl = 'https://169.254.169.254/'\nsecret = 'env:TWO'\n\
             [doorbells.webhooks.three]\nurl = 'https://user:pw@chat.example.com/'\nsecret = 'env:THREE'\n\
             [doorbells.mail]\nhost = ''\nfrom = 'nobody'\nuser = 'u'\n[doorbells.mail.to]\n",
        )
        .unwrap_err();
        for word in ["one.url", "one.secret", "two.url", "danger_local", "three.url", "mail.host", "mail.from", "come together", "mail.to"]
        {
            assert!(problems.iter().any(|p| p.contains(word)), "{word}: {problems:#?}");
        }
        assert!(parse("[doorbells.webhooks.one]\ncolour = 'red'").unwrap_err()[0].contains("colour"));
    }

    #[test]
    fn figures_are_read_on_loopback_unless_said_otherwise() {
        let parse = |text: &str| Config::parse(Some(("f", text)), |_| None);
        assert_eq!(parse("").unwrap().metrics_listen, None);
        assert!(parse("[metrics]\nlisten = '127.0.0.1:9464'").unwrap().metrics_listen.is_some());
        assert!(parse("[metrics]\nlisten = '0.0.0.0:9464'").unwrap_err()[0].contains("danger_beyond_loopback"));
        assert!(parse("[metrics]\nlisten = '0.0.0.0:9464'\ndanger_beyond_loopback = true").unwrap().metrics_listen.is_some());
    }

    #[test]
    fn variables_win_over_the_file_and_defaults_listen_on_loopback() {
        let config =
            Config::parse(Some(("f", "gateway = 'one'")), |name| (name == "SAFECONDUCT_GATEWAY").then(|| "two".to_owned())).unwrap();
        assert_eq!(config.gateway, "two");
        assert!(config.api_listen.ip().is_loopback() && config.postgres_listen.ip().is_loopback());
    }
}
