//! What a token is for: scopes that narrow what it may call. They give nothing; whoever holds it may do no more than its principal may.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A kind of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenScope {
    /// Looking at what its principal may see, the ledger apart.
    Read,
    /// Asking, running what was approved, connecting, giving back; and looking at what that takes.
    Request,
    /// Reading and proving the ledger.
    Ledger,
}

/// The scopes of a token: one at least. A token without any is not narrowed and has `None` in their place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<TokenScope>", into = "BTreeSet<TokenScope>")]
pub struct TokenScopes(BTreeSet<TokenScope>);

impl TokenScope {
    /// Every scope, in order.
    pub const ALL: [Self; 3] = [Self::Read, Self::Request, Self::Ledger];

    /// The name used in CLI and API.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Request => "request",
            Self::Ledger => "ledger",
        }
    }
}

impl TokenScopes {
    /// True if one of these is among them.
    #[must_use]
    pub fn reach(&self, any_of: &[TokenScope]) -> bool {
        any_of.iter().any(|scope| self.0.contains(scope))
    }

    /// Those in both; `None` if there is none.
    #[must_use]
    pub fn and(&self, other: &Self) -> Option<Self> {
        Self::try_from(self.0.intersection(&other.0).copied().collect::<BTreeSet<_>>()).ok()
    }

    /// Each, in order.
    pub fn iter(&self) -> impl Iterator<Item = TokenScope> {
        self.0.iter().copied()
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// As RFC 6749 writes scopes: separated by blanks.
impl fmt::Display for TokenScopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, scope) in self.0.iter().enumerate() {
            write!(f, "{}{scope}", if at == 0 { "" } else { " " })?;
        }
        Ok(())
    }
}

/// What is no scope, or no scope at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTokenScope {
    #[error("unknown scope `{0}`; scopes of tokens are read, request, ledger")]
    Unknown(String),
    #[error("a token is narrowed to one scope at least; scopes of tokens are read, request, ledger")]
    None,
}

impl FromStr for TokenScope {
    type Err = InvalidTokenScope;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.name() == text).ok_or_else(|| InvalidTokenScope::Unknown(text.to_owned()))
    }
}

/// From the form that `Display` gives.
impl FromStr for TokenScopes {
    type Err = InvalidTokenScope;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_ascii_whitespace().map(str::parse).collect::<Result<BTreeSet<_>, _>>()?.try_into()
    }
}

impl TryFrom<BTreeSet<TokenScope>> for TokenScopes {
    type Error = InvalidTokenScope;
    fn try_from(scopes: BTreeSet<TokenScope>) -> Result<Self, Self::Error> {
        if scopes.is_empty() { Err(InvalidTokenScope::None) } else { Ok(Self(scopes)) }
    }
}

impl From<TokenScopes> for BTreeSet<TokenScope> {
    fn from(scopes: TokenScopes) -> Self {
        scopes.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_written_as_they_are_read_and_never_none() {
        let scopes: TokenScopes = "request  read read".parse().unwrap();
        assert_eq!(scopes.to_string(), "read request");
        assert_eq!(serde_json::to_string(&scopes).unwrap(), r#"["read","request"]"#);
        assert_eq!(serde_json::from_str::<TokenScopes>(r#"["read","request"]"#).unwrap(), scopes);
        assert!(serde_json::from_str::<TokenScopes>("[]").is_err());
        assert_eq!("".parse::<TokenScopes>(), Err(InvalidTokenScope::None));
        assert_eq!("read all".parse::<TokenScopes>(), Err(InvalidTokenScope::Unknown("all".into())));
    }

    #[test]
    fn two_sets_of_scopes_leave_what_both_have() {
        let (both, read, ledger): (TokenScopes, TokenScopes, TokenScopes) =
            ("read request".parse().unwrap(), "read".parse().unwrap(), "ledger".parse().unwrap());
        assert_eq!(both.and(&read), Some(read.clone()));
        assert_eq!(both.and(&ledger), None);
        assert!(both.reach(&[TokenScope::Ledger, TokenScope::Read]) && !both.reach(&[TokenScope::Ledger]) && !both.reach(&[]));
    }
}
