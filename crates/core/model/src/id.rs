//! Typed identifiers and names. A name is canonical when it exists: lower case, no blanks, no look-alikes.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// A text that is no such identifier or name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {wanted}")]
pub struct InvalidId {
    /// What was given.
    pub text: String,
    /// What it should have been.
    pub wanted: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// What every such identifier begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an identifier of 60 of the given bits, in Crockford base 32.
            #[must_use]
            pub fn from_bits(bits: u64) -> Self {
                const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
                let mut text = String::from($prefix);
                for place in (0..12).rev() {
                    let digit = usize::try_from((bits >> (place * 5)) & 31).unwrap_or(0);
                    text.push(char::from(DIGITS.get(digit).copied().unwrap_or(b'0')));
                }
                Self(text.into())
            }

            /// The text of the identifier.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let valid = text.strip_prefix($prefix).is_some_and(|rest| {
                    rest.len() == 12 && rest.bytes().all(|b| b.is_ascii_digit() || (b.is_ascii_lowercase() && !b"ilou".contains(&b)))
                });
                if valid { Ok(Self(text.into())) } else { Err(InvalidId { text: shorten(text), wanted: $wanted }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

id!(
    /// One asking for a grant.
    AccessRequestId, "rq-", "an access request id (`rq-` and 12 characters)"
);
id!(
    /// One approved authority. A grant has the digits of the access request it came from.
    GrantId, "gr-", "a grant id (`gr-` and 12 characters)"
);
id!(
    /// One proxied connection.
    SessionId, "se-", "a session id (`se-` and 12 characters)"
);
id!(
    /// One sign-in or token.
    SignInId, "si-", "a sign-in id (`si-` and 12 characters)"
);

impl AccessRequestId {
    /// The grant this access request leads to if it is approved.
    #[must_use]
    pub fn grant(&self) -> GrantId {
        GrantId(format!("{}{}", GrantId::PREFIX, self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)).into())
    }
}

impl GrantId {
    /// The access request this grant came from.
    #[must_use]
    pub fn access_request(&self) -> AccessRequestId {
        AccessRequestId(format!("{}{}", AccessRequestId::PREFIX, self.0.strip_prefix(Self::PREFIX).unwrap_or(&self.0)).into())
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if is_canonical_name(text) { Ok(Self(text.into())) } else { Err(InvalidId { text: shorten(text), wanted: $wanted }) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// Who acts: the name of a person or workload.
    PrincipalName, "a name (1 to 63 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit)"
);
name!(
    /// What is protected.
    ResourceName, "a resource name (1 to 63 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit)"
);
name!(
    /// A group of people.
    GroupName, "a group name (1 to 63 of a-z, 0-9, `-`, `_`, `.`, beginning with a letter or digit)"
);

/// One spelling per name: what is not canonical is refused, never folded.
fn is_canonical_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && !text.contains("..")
}

/// Keeps error messages short and on one line.
fn shorten(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_back_and_pair_up() {
        let id = AccessRequestId::from_bits(0x0123_4567_89ab_cdef);
        assert_eq!(id.as_str().parse::<AccessRequestId>().unwrap(), id);
        assert_eq!(id.grant().access_request(), id);
        for bad in ["", "rq-", "gr-000000000000", "rq-00000000000", "rq-00000000000u", "rq-00000000000A", "rq-0000000000000"] {
            assert!(bad.parse::<AccessRequestId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn f43_only_canonical_names_exist() {
        assert!("orders-db".parse::<ResourceName>().is_ok());
        for bad in ["", "Orders", "orders db", "orders/", "../orders", "or..ders", "-x", "ordér", "orders\u{200b}", &"a".repeat(64)] {
            assert!(bad.parse::<ResourceName>().is_err(), "{bad}");
        }
    }
}
