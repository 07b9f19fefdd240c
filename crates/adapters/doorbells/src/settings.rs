//! What an operator sets: `[doorbells.webhooks.NAME]` and `[doorbells.mail]`. Checked as a whole: what is wrong is said all at once.

use std::{collections::BTreeMap, net::IpAddr, path::PathBuf};

use lettre::message::Mailbox;
use safeconduct_model::SecretRef;
use serde::Deserialize;

/// Doorbells as they are written down.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    webhooks: BTreeMap<String, WebhookSettings>,
    mail: Option<MailSettings>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookSettings {
    url: String,
    secret: String,
    ca_file: Option<PathBuf>,
    #[serde(default)]
    danger_local: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MailSettings {
    host: String,
    port: Option<u16>,
    #[serde(default)]
    encryption: Encryption,
    user: Option<String>,
    password: Option<String>,
    ca_file: Option<PathBuf>,
    from: String,
    to: BTreeMap<String, String>,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encryption {
    /// TLS from the first byte, port 465.
    #[default]
    Tls,
    /// TLS after `STARTTLS`, which the server must offer, port 587.
    Starttls,
    /// None, port 25: for a relay on the same machine.
    DangerNone,
}

/// Doorbells that make sense.
#[derive(Clone, Debug, Default)]
pub struct Doorbells {
    pub(crate) webhooks: Vec<Webhook>,
    pub(crate) mail: Option<Mail>,
}

#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub name: String,
    pub url: reqwest::Url,
    /// Holds one `whsec_…`, or several with blanks between while they are exchanged.
    pub secret: SecretRef,
    pub ca_file: Option<PathBuf>,
    /// May lead to this machine or what is only reached from it.
    pub local: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    pub login: Option<(String, SecretRef)>,
    pub ca_file: Option<PathBuf>,
    pub from: Mailbox,
    /// Where people and groups are written to.
    pub to: BTreeMap<String, Mailbox>,
}

impl Settings {
    /// Checks everything.
    ///
    /// # Errors
    /// Every mistake, with its key.
    pub fn check(self) -> Result<Doorbells, Vec<String>> {
        let mut problems = Vec::new();
        let webhooks = self.webhooks.into_iter().filter_map(|(name, webhook)| webhook.check(name, &mut problems)).collect();
        let mail = self.mail.and_then(|mail| mail.check(&mut problems));
        if problems.is_empty() { Ok(Doorbells { webhooks, mail }) } else { Err(problems) }
    }
}

impl WebhookSettings {
    fn check(self, name: String, problems: &mut Vec<String>) -> Option<Webhook> {
        let at = |key: &str| format!("doorbells.webhooks.{name}.{key}");
        let before = problems.len();
        let url = self.url.parse::<reqwest::Url>().ok().filter(|url| url.scheme() == "https" && url.host_str().is_some());
        match &url {
            None => problems.push(format!("`{}` must be an https URL", at("url"))),
            // Never in a URL: it would be in logs.
            Some(url) if !url.username().is_empty() || url.password().is_some() => {
                problems.push(format!("`{}` must hold no user and no password", at("url")));
            }
            Some(url) => {
                let host = url.host_str().unwrap_or_default();
                let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
                if !self.danger_local && (literal.is_some_and(|address| !safeconduct_app::may_reach(address)) || host == "localhost") {
                    problems.push(format!(
                        "`{}` leads to this machine or its own network: say `danger_local = true` if that is meant",
                        at("url")
                    ));
                }
            }
        }
        let secret = self.secret.parse().map_err(|error| problems.push(format!("`{}`: {error}", at("secret")))).ok();
        if problems.len() > before {
            return None;
        }
        Some(Webhook { name, url: url?, secret: secret?, ca_file: self.ca_file, local: self.danger_local })
    }
}

impl MailSettings {
    fn check(self, problems: &mut Vec<String>) -> Option<Mail> {
        let before = problems.len();
        let mut mailbox = |key: &str, text: &str| match text.parse::<Mailbox>() {
            Ok(mailbox) => Some(mailbox),
            Err(error) => {
                problems.push(format!("`doorbells.mail.{key}` must be an address such as `Team <team@example.com>`: {error}"));
                None
            }
        };
        let from = mailbox("from", &self.from);
        let to: BTreeMap<String, Mailbox> =
            self.to.iter().filter_map(|(name, text)| Some((name.clone(), mailbox(&format!("to.{name}"), text)?))).collect();
        if self.to.is_empty() {
            problems.push("`doorbells.mail.to` must give an address for at least one group or person".to_owned());
        }
        if self.host.is_empty() || self.host.contains(char::is_whitespace) {
            problems.push("`doorbells.mail.host` must be a host name".to_owned());
        }
        let login = match (self.user, self.password) {
            (None, None) => None,
            (Some(user), Some(password)) => match password.parse() {
                Ok(password) => Some((user, password)),
                Err(error) => {
                    problems.push(format!("`doorbells.mail.password`: {error}"));
                    None
                }
            },
            _ => {
                problems.push("doorbells.mail: `user` and `password` come together".to_owned());
                None
            }
        };
        if login.is_some() && self.encryption == Encryption::DangerNone {
            problems.push("doorbells.mail: a password does not go over a connection without encryption".to_owned());
        }
        if problems.len() > before {
            return None;
        }
        let port = self.port.unwrap_or(match self.encryption {
            Encryption::Tls => 465,
            Encryption::Starttls => 587,
            Encryption::DangerNone => 25,
        });
        Some(Mail { host: self.host, port, encryption: self.encryption, login, ca_file: self.ca_file, from: from?, to })
    }
}
