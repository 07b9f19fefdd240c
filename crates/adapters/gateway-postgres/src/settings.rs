//! Startup parameters: what a client may set by naming it at sign-in.
//!
//! Each is decided like `SET name = value`, by the same facts. What would need more than `connect` refuses the session, and so does
//! anything in `options` but settings: nothing is dropped in silence.

use safeconduct_protocol::postgres::startup::OpenSession;

/// Longest `application_name` a server keeps.
const NAME_BYTES: usize = 63;

/// What a client asked for at sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub user: String,
    /// `RESOURCE` or `RESOURCE/DATABASE`.
    pub database: String,
    pub application_name: Option<String>,
    /// To be decided like `SET`, in order.
    pub settings: Vec<(String, String)>,
}

/// Why a session can't be opened as asked. `Display` is for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    #[error("no user name specified in startup packet")]
    NoUser,
    #[error("replication connections are not passed")]
    Replication,
    #[error("`{0}` in the connection options is not a setting of the form `-c name=value`")]
    Option(String),
    #[error("`{0}` is not the name of a setting")]
    Name(String),
    #[error("setting `{0}` is given more than once")]
    Repeated(String),
}

impl Wishes {
    /// Reads a startup message.
    ///
    /// # Errors
    /// [`Unfit`] for what is never passed.
    pub(crate) fn read(open: &OpenSession) -> Result<Self, Unfit> {
        if open.is_replication() {
            return Err(Unfit::Replication);
        }
        let user = open.parameter("user").filter(|user| !user.is_empty()).ok_or(Unfit::NoUser)?.to_owned();
        let database = open.parameter("database").filter(|name| !name.is_empty()).unwrap_or(&user).to_owned();
        let mut wishes = Self { user, database, application_name: None, settings: Vec::new() };
        for (name, value) in &open.parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => {
                    for (name, value) in read_options(value)? {
                        wishes.add(&name, value)?;
                    }
                }
                name => wishes.add(name, value.clone())?,
            }
        }
        Ok(wishes)
    }

    fn add(&mut self, name: &str, value: String) -> Result<(), Unfit> {
        let name = name.to_ascii_lowercase();
        let known = name.split('.').all(|part| {
            part.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        });
        if !known {
            return Err(Unfit::Name(name.chars().take(NAME_BYTES).collect()));
        }
        let repeated = self.settings.iter().any(|(found, _)| *found == name);
        match name.as_str() {
            // The server is told a name that carries the session's id; the client's own follows it.
            "application_name" if self.application_name.is_none() => self.application_name = Some(value),
            // Texts are read as UTF-8 and the session is pinned to it; a client that wants another encoding is told so by ParameterStatus.
            "client_encoding" => {}
            "application_name" => return Err(Unfit::Repeated(name)),
            _ if repeated => return Err(Unfit::Repeated(name)),
            _ => self.settings.push((name, value)),
        }
        Ok(())
    }

    /// True if the client asked for this setting.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.settings.iter().any(|(wished, _)| wished.eq_ignore_ascii_case(name))
    }

    /// What the server shows as the session's name: ours first, the client's after it.
    pub(crate) fn upstream_name(&self, session: &str) -> String {
        let mut name = format!("safeconduct {session}");
        for c in self.application_name.iter().flat_map(|own| std::iter::once(' ').chain(own.chars())) {
            if name.len() >= NAME_BYTES {
                break;
            }
            name.push(if c.is_ascii_graphic() || c == ' ' { c } else { '?' });
        }
        name
    }
}

/// The statement that would set the same.
pub(crate) fn as_statement(name: &str, value: &str) -> String {
    let name: Vec<String> = name.split('.').map(|part| format!("\"{part}\"")).collect();
    format!("SET {} = '{}'", name.join("."), value.replace('\'', "''"))
}

/// Splits `options` as the server does: at blanks, where a backslash keeps the next character.
fn read_options(text: &str) -> Result<Vec<(String, String)>, Unfit> {
    let (mut words, mut word, mut kept, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in text.chars() {
        if escaped {
            word.push(c);
            escaped = false;
        } else if c == '\\' {
            (escaped, kept) = (true, true);
        } else if c.is_ascii_whitespace() || c == '\u{b}' {
            if kept {
                words.push(std::mem::take(&mut word));
                kept = false;
            }
        } else {
            word.push(c);
            kept = true;
        }
    }
    if kept {
        words.push(word);
    }
    let mut settings = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let unfit = || Unfit::Option(word.chars().take(NAME_BYTES).collect());
        let setting = match word.as_str() {
            "-c" => words.next().ok_or_else(unfit)?,
            _ => word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).ok_or_else(unfit)?.to_owned(),
        };
        let (name, value) = setting.split_once('=').ok_or_else(unfit)?;
        settings.push((name.replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Wishes, Unfit> {
        let parameters = parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Wishes::read(&OpenSession { minor: 0, parameters, protocol_options: Vec::new() })
    }

    #[test]
    fn what_drivers_send_is_read_and_the_database_defaults_to_the_user() {
        let wishes =
            read(&[("user", "alice"), ("DateStyle", "ISO"), ("client_encoding", "LATIN1"), ("application_name", "psql\n")]).unwrap();
        assert_eq!((wishes.database.as_str(), wishes.settings), ("alice", vec![("datestyle".to_owned(), "ISO".to_owned())]));
        let wishes = read(&[("user", "alice"), ("database", "orders-db/orders"), ("application_name", "psql\n")]).unwrap();
        assert_eq!(wishes.upstream_name("se-0123456789ab"), "safeconduct se-0123456789ab psql?");
        let long = read(&[("user", "a"), ("application_name", &"é".repeat(100))]).unwrap().upstream_name("se-0123456789ab");
        assert_eq!(long.len(), NAME_BYTES);
    }

    #[test]
    fn f33_options_are_settings_or_nothing() {
        let options = |text: &str| read_options(text);
        let pairs = |pairs: &[(&str, &str)]| Ok(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>());
        assert_eq!(options(" -c a=1  --b-c=2 -cd=3 "), pairs(&[("a", "1"), ("b_c", "2"), ("d", "3")]));
        assert_eq!(options(r"-c a=x\ y\\z"), pairs(&[("a", r"x y\z")]));
        for bad in ["-c", "-c a", "--a", "-d 5", "-W 3", "-p 1", "a=b", "-", "--", "-f s", "-c a=1 x"] {
            assert!(options(bad).is_err(), "{bad}");
        }
        assert_eq!(read(&[("user", "a"), ("options", "-c X=1 -c x=2")]), Err(Unfit::Repeated("x".into())));
        assert_eq!(read(&[("user", "a"), ("x", "1"), ("options", "-c x=2")]), Err(Unfit::Repeated("x".into())));
    }

    #[test]
    fn f33_names_are_names_and_values_stay_values() {
        for bad in ["a b", "a;b", "a\"b", "", "a..b", ".a", "1a", "a=b", "é"] {
            assert!(read(&[("user", "a"), (bad, "x")]).is_err(), "{bad}");
        }
        assert_eq!(as_statement("my.setting", "it's; DROP"), "SET \"my\".\"setting\" = 'it''s; DROP'");
        assert_eq!(read(&[("user", "a"), ("replication", "database")]), Err(Unfit::Replication));
        assert_eq!(read(&[("database", "x")]), Err(Unfit::NoUser));
    }
}
