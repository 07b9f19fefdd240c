//! Streams and the events in them: the record from which everything else is made.

use std::{fmt, str::FromStr};

use safeconduct_model::{AccessRequestId, SessionId};

use crate::{AccessEvent, DirectoryEvent, NodeEvent, PolicyEvent, SessionEvent, SignInEvent};

/// Which sequence of events something belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamId {
    Access(AccessRequestId),
    Session(SessionId),
    Directory,
    SignIns,
    Policy,
    Node,
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Access(id) => f.write_str(id.as_str()),
            Self::Session(id) => f.write_str(id.as_str()),
            Self::Directory => f.write_str("directory"),
            Self::SignIns => f.write_str("sign-ins"),
            Self::Policy => f.write_str("policy"),
            Self::Node => f.write_str("node"),
        }
    }
}

/// A text that names no stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a stream")]
pub struct InvalidStream(pub String);

impl FromStr for StreamId {
    type Err = InvalidStream;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "directory" => Ok(Self::Directory),
            "sign-ins" => Ok(Self::SignIns),
            "policy" => Ok(Self::Policy),
            "node" => Ok(Self::Node),
            _ => text.parse().map(Self::Access).or_else(|_| text.parse().map(Self::Session)).map_err(|_| InvalidStream(text.to_owned())),
        }
    }
}

/// Any event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Access(Box<AccessEvent>),
    Session(SessionEvent),
    Directory(DirectoryEvent),
    SignIn(SignInEvent),
    Policy(PolicyEvent),
    Node(NodeEvent),
}

/// A stored body that is no event of its stream.
#[derive(Debug, thiserror::Error)]
#[error("stored event of stream `{stream}` can't be read")]
pub struct UnreadableEvent {
    /// Where it is stored.
    pub stream: String,
    #[source]
    source: serde_json::Error,
}

impl Event {
    /// The event's name in the ledger.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Access(event) => event.kind(),
            Self::Session(event) => event.kind(),
            Self::Directory(event) => event.kind(),
            Self::SignIn(event) => event.kind(),
            Self::Policy(event) => event.kind(),
            Self::Node(event) => event.kind(),
        }
    }

    /// The event's body as JSON: what the ledger entry commits to.
    ///
    /// # Errors
    /// Never for events made here.
    pub fn to_body(&self) -> Result<String, serde_json::Error> {
        match self {
            Self::Access(event) => serde_json::to_string(event),
            Self::Session(event) => serde_json::to_string(event),
            Self::Directory(event) => serde_json::to_string(event),
            Self::SignIn(event) => serde_json::to_string(event),
            Self::Policy(event) => serde_json::to_string(event),
            Self::Node(event) => serde_json::to_string(event),
        }
    }

    /// Reads a body back.
    ///
    /// # Errors
    /// [`UnreadableEvent`] if the body is no event of that stream.
    pub fn from_body(stream: &StreamId, body: &str) -> Result<Self, UnreadableEvent> {
        let event = match stream {
            StreamId::Access(_) => serde_json::from_str(body).map(|e| Self::Access(Box::new(e))),
            StreamId::Session(_) => serde_json::from_str(body).map(Self::Session),
            StreamId::Directory => serde_json::from_str(body).map(Self::Directory),
            StreamId::SignIns => serde_json::from_str(body).map(Self::SignIn),
            StreamId::Policy => serde_json::from_str(body).map(Self::Policy),
            StreamId::Node => serde_json::from_str(body).map(Self::Node),
        };
        event.map_err(|source| UnreadableEvent { stream: stream.to_string(), source })
    }
}

impl From<AccessEvent> for Event {
    fn from(event: AccessEvent) -> Self {
        Self::Access(Box::new(event))
    }
}

macro_rules! from_event {
    ($($inner:ident => $variant:ident),*) => {
        $(impl From<$inner> for Event {
            fn from(event: $inner) -> Self {
                Self::$variant(event)
            }
        })*
    };
}

from_event!(SessionEvent => Session, DirectoryEvent => Directory, SignInEvent => SignIn, PolicyEvent => Policy, NodeEvent => Node);
