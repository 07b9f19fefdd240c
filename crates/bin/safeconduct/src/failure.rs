//! Failures as people see them: what, why, what next, and the exit status. Shows nothing unprintable and no secret.

use std::fmt;

use safeconduct_api::dto;
use safeconduct_model::text::{printable, printable_lines};

/// Exit statuses that scripts can rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Error = 1,
    Usage = 2,
    Denied = 3,
    Expired = 4,
    NotSignedIn = 5,
    Unreachable = 6,
}

/// Why a verb did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub code: String,
    pub message: String,
    pub why: Option<String>,
    pub next: Option<String>,
    pub exit: Exit,
}

impl Failure {
    pub fn new(code: &str, exit: Exit, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into(), why: None, next: None, exit }
    }

    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Something on this machine could not be read or written.
    pub fn local(what: &str, error: &std::io::Error) -> Self {
        Self::new("CLI-001", Exit::Error, format!("{what} failed")).why(error.to_string())
    }

    /// The arguments make no sense together.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new("CLI-002", Exit::Usage, message)
    }

    /// There is no token to be had.
    pub fn not_signed_in() -> Self {
        Self::new("CLI-003", Exit::NotSignedIn, "not signed in").next("`safeconduct sign-in NAME --server URL --ca FILE`")
    }

    /// The server can't be reached, or is not the one whose authority was pinned.
    pub fn unreachable(server: &str, why: String) -> Self {
        Self::new("CLI-004", Exit::Unreachable, format!("`{server}` can't be reached"))
            .why(why)
            .next("check the address, that the node runs, and that `--ca` is its authority")
    }

    /// The server sent something that makes no sense.
    pub fn nonsense(what: impl Into<String>) -> Self {
        Self::new("CLI-005", Exit::Error, format!("the server's answer makes no sense: {}", what.into()))
            .next("check that client and server have the same version")
    }

    /// It was not decided while we waited.
    pub fn waited(id: &str) -> Self {
        Self::new("CLI-006", Exit::Expired, format!("{id} is still undecided"))
            .next(format!("`safeconduct show {id} --wait` waits on; `safeconduct cancel {id}` takes it back"))
    }

    /// What was shown is not what has the digest.
    pub fn digest(message: impl Into<String>) -> Self {
        Self::new("CLI-007", Exit::Error, message).next("do not approve it; tell whoever runs the gateway")
    }

    /// The ledger does not hold.
    pub fn ledger(what: impl fmt::Display) -> Self {
        Self::new("CLI-008", Exit::Error, format!("the ledger does not verify: {what}"))
            .next("keep the ledger as it is and compare it with exports and checkpoints of others")
    }

    /// Nothing was approved because nobody said yes.
    pub fn unconfirmed(message: impl Into<String>) -> Self {
        Self::new("CLI-009", Exit::Error, message)
    }

    /// The bundle is not fit.
    pub fn bundle(problems: usize) -> Self {
        let what = if problems == 1 { "1 mistake".to_owned() } else { format!("{problems} mistakes") };
        Self::new("CLI-010", Exit::Error, format!("the bundle has {what}")).next("mend them and run `policy check` again")
    }
}

impl From<dto::Problem> for Failure {
    fn from(problem: dto::Problem) -> Self {
        let exit = match problem.status {
            // Something that was typed is not what it should be; the API's own document is of no use to who types.
            400 if problem.code == "API-001" => {
                return Self { code: problem.code, message: problem.detail, why: problem.why, next: None, exit: Exit::Usage };
            }
            401 => Exit::NotSignedIn,
            403 => Exit::Denied,
            410 | 504 => Exit::Expired,
            _ => Exit::Error,
        };
        Self { code: problem.code, message: problem.detail, why: problem.why, next: problem.next, exit }
    }
}

impl fmt::Display for Failure {
    /// `error[CODE]: message`, then `why:` and `next:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error[{}]: {}", printable(&self.code), printable_lines(&self.message).replace('\n', "\n  "))?;
        for (word, text) in [("why: ", &self.why), ("next:", &self.next)] {
            if let Some(text) = text {
                write!(f, "\n  {word} {}", printable_lines(text).replace('\n', "\n        "))?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

/// The same for machines.
pub fn to_json(failure: &Failure) -> serde_json::Value {
    serde_json::json!({
        "error": { "code": failure.code, "message": failure.message, "why": failure.why, "next": failure.next, "exit": failure.exit as u8 }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f46_an_error_of_the_server_can_not_move_the_cursor() {
        let problem = dto::Problem {
            kind: String::new(),
            title: String::new(),
            status: 403,
            detail: "no\u{1b}[2J\u{202e}pe\u{9b}1m".into(),
            code: "X\r1".into(),
            why: Some("a\u{200b}b".into()),
            next: None,
        };
        let text = Failure::from(problem).to_string();
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}' || c == '\u{200b}'), "{text:?}");
        insta::assert_snapshot!(text, @r"
        error[X\r1]: no\u{1b}[2J\u{202e}pe\u{9b}1m
          why:  a\u{200b}b
        ");
    }
}
