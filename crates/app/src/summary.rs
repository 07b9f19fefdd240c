//! One line about a ledger entry, for lists: who acted, on what, in the gateway's words. The entry's body remains what counts.

use safeconduct_lifecycle::{
    AccessEvent, Actor, DirectoryEvent, Event, ExactOutcome, LeftOut, NodeEvent, PolicyEvent, SessionEvent, SignInEvent,
};
use safeconduct_model::{Action, Envelope, PrincipalName, ResourceName, Scope};

/// Longest summary, in characters; what is longer ends in `…`.
const MAX_CHARS: usize = 240;

/// An event in one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Who did it; `None` if the gateway did by itself.
    pub(crate) who: Option<PrincipalName>,
    /// Whom it is about, as far as the event itself says.
    pub(crate) about: Option<PrincipalName>,
    /// What it is about, as far as the event itself says.
    pub(crate) resource: Option<ResourceName>,
    pub(crate) line: String,
}

impl Summary {
    /// Reads an event.
    pub(crate) fn of(event: &Event) -> Self {
        let mut summary = match event {
            Event::Access(event) => of_access(event),
            Event::Session(event) => of_session(event),
            Event::Directory(event) => of_directory(event),
            Event::SignIn(event) => of_sign_in(event),
            Event::Policy(PolicyEvent::RosterApplied { epoch, .. }) => by_gateway(format!("roster {epoch} is in force")),
            Event::Policy(PolicyEvent::BundleApplied { hash, by, standing_privilege, .. }) => {
                let alone = standing_privilege.as_ref().map_or(String::new(), |why| format!("; standing privilege: {why}"));
                by_actor(by, format!("policy {hash} applies{alone}"))
            }
            Event::Node(event) => of_node(event),
        };
        summary.line = one_line(&summary.line);
        summary
    }
}

fn by(who: &PrincipalName, line: impl Into<String>) -> Summary {
    Summary { who: Some(who.clone()), line: line.into(), ..Summary::default() }
}

fn by_gateway(line: impl Into<String>) -> Summary {
    Summary { line: line.into(), ..Summary::default() }
}

/// The gateway's own doing names its cause.
fn by_actor(actor: &Actor, line: String) -> Summary {
    match actor {
        Actor::Principal { name } => by(name, line),
        Actor::Gateway { cause } => by_gateway(format!("{line} (the gateway: {cause})")),
    }
}

fn of_access(event: &AccessEvent) -> Summary {
    match event {
        AccessEvent::Submitted { envelope, .. } => {
            Summary { resource: Some(envelope.resource.clone()), ..by(&envelope.requester, asked(envelope)) }
        }
        AccessEvent::RefusedByPolicy { .. } => by_gateway("refused by policy"),
        AccessEvent::Approved { approval } => by(&approval.approver, said("approved", approval.comment.as_ref().map(ToString::to_string))),
        AccessEvent::ApprovalLapsed { approver, why, .. } => {
            Summary { about: Some(approver.clone()), ..by_gateway(format!("the approval of {approver} stopped counting: {why}")) }
        }
        AccessEvent::Denied { by: who, comment, .. } => by(who, said("denied", Some(comment.to_string()))),
        AccessEvent::Withdrawn { by: who, why, .. } => by_actor(who, format!("withdrawn: {}", name_of(why))),
        AccessEvent::Lapsed { .. } => by_gateway("nobody decided in time"),
        AccessEvent::ApprovalsVoided { .. } => by_gateway("policy changed: approvals are void"),
        AccessEvent::Rejudged { .. } => by_gateway("policy changed: the same answer"),
        AccessEvent::Granted { grant, .. } => by_gateway(format!("granted as {grant}")),
        AccessEvent::Activated { until, .. } => by_gateway(format!("started, until {until}")),
        AccessEvent::Extended { until, by, .. } => by_gateway(format!("made longer by {by}, until {until}")),
        AccessEvent::Applied { .. } => by_gateway("made a grant longer"),
        AccessEvent::Released { by: who, .. } => by(who, "given back"),
        AccessEvent::Revoked { by: who, reason, .. } => by_actor(who, said("revoked", Some(reason.clone()))),
        AccessEvent::Expired { .. } => by_gateway("ended on time"),
        AccessEvent::Claimed { .. } => by_gateway("taken up to run, once"),
        AccessEvent::StopRequested { by: who, reason, .. } => by_actor(who, said("stop asked for", Some(reason.clone()))),
        AccessEvent::Settled { outcome, .. } => by_gateway(settled(outcome)),
        AccessEvent::Ended { .. } => by_gateway("over: sessions cut, nothing it gave is left"),
    }
}

fn asked(envelope: &Envelope) -> String {
    let operations = |of: &safeconduct_model::OperationSet| of.iter().map(|operation| operation.to_string()).collect::<Vec<_>>().join(", ");
    let what = match &envelope.scope {
        Scope::Exact { action: Action::Sql(sql), .. } => format!("to run, once: {}", sql.text),
        Scope::Exact { action: Action::Administration(_), needs } => format!("to change the gateway: {}", operations(needs)),
        Scope::Window { operations: of, .. } => format!("to {} for {}", operations(of), envelope.duration),
    };
    format!("asked {what}")
}

fn settled(outcome: &ExactOutcome) -> String {
    match outcome {
        ExactOutcome::Executed { command, rows, transaction } => {
            let rows = rows.map_or(String::new(), |rows| format!(", {rows} rows"));
            format!("ran: {command}{rows}, {}", name_of(transaction))
        }
        ExactOutcome::Failed { sqlstate, message } => format!("failed in the database: {sqlstate} {message}"),
        ExactOutcome::RefusedNotRun { why } => format!("refused, not run: {why}"),
        ExactOutcome::Unknown { why } => format!("outcome unknown: {why}"),
    }
}

fn of_session(event: &SessionEvent) -> Summary {
    match event {
        SessionEvent::Opened { principal, resource, database, source, .. } => {
            Summary { resource: Some(resource.clone()), ..by(principal, format!("connected to {database} from {source}")) }
        }
        SessionEvent::GrantsJoined { grants, .. } => {
            let grants: Vec<String> = grants.iter().map(ToString::to_string).collect();
            by_gateway(format!("the session acts under {} too", grants.join(", ")))
        }
        SessionEvent::ActionRefused { why, .. } => by_gateway(format!("an action was refused: {why}")),
        SessionEvent::ChunkSealed { chunk, .. } => {
            by_gateway(format!("recording, part {}: {} records sealed", chunk.number, chunk.records))
        }
        SessionEvent::RecordingLost { why, .. } => by_gateway(format!("recording lost: {why}")),
        SessionEvent::CredentialIntended { role, .. } => by_gateway(format!("login role {role} is about to be made")),
        SessionEvent::CredentialMinted { role, .. } => by_gateway(format!("login role {role} was made")),
        SessionEvent::CredentialRetired { role, .. } => by_gateway(format!("login role {role} is proved to be retired")),
        SessionEvent::Closed { why, statements, .. } => by_gateway(format!("closed after {statements} statements: {why}")),
    }
}

fn of_directory(event: &DirectoryEvent) -> Summary {
    let (about, who, line) = match event {
        DirectoryEvent::PersonCreated { name, by, .. } => (name, by, format!("person {name} was created")),
        DirectoryEvent::WorkloadCreated { name, by, .. } => (name, by, format!("workload {name} was created")),
        DirectoryEvent::PrincipalDisabled { name, by, .. } => (name, by, format!("{name} was disabled")),
        DirectoryEvent::PrincipalEnabled { name, by, .. } => (name, by, format!("{name} was enabled")),
        DirectoryEvent::MemberAdded { group, name, by, .. } => (name, by, format!("{name} was added to {group}")),
        DirectoryEvent::MemberRemoved { group, name, by, .. } => (name, by, format!("{name} was removed from {group}")),
        DirectoryEvent::KeyEnrolled { name, by, .. } => (name, by, format!("{name} may sign approvals with another key")),
        DirectoryEvent::KeyRemoved { name, by, .. } => (name, by, format!("a key of {name} signs approvals no longer")),
        DirectoryEvent::SecretReset { name, by, .. } => (name, by, format!("{name} was given a one-time code")),
        DirectoryEvent::IdentityLinked { name, issuer, by, .. } => (name, by, format!("{name} was linked to an identity at {issuer}")),
        DirectoryEvent::IdentityUnlinked { name, issuer, by, .. } => {
            (name, by, format!("{name} was unlinked from an identity at {issuer}"))
        }
        DirectoryEvent::PersonDescribed { name, description, by, .. } => {
            (name, by, format!("{name} was {} by {}", if description.removed { "given up" } else { "described" }, description.source))
        }
        DirectoryEvent::GroupDescribed { group, description, by, .. } => {
            let what = if description.removed { "given up" } else { "described" };
            return by_actor(by, format!("group {group} was {what} by {}", description.source));
        }
    };
    Summary { about: Some(about.clone()), ..by_actor(who, line) }
}

fn of_sign_in(event: &SignInEvent) -> Summary {
    match event {
        SignInEvent::SignedIn { name, method, source, vouched, scopes, .. } => {
            let whose = vouched.as_ref().map_or_else(String::new, |vouched| format!(" of {}", vouched.provider));
            let narrowed = scopes.as_ref().map_or_else(String::new, |scopes| format!(", for {scopes} alone"));
            by(name, format!("signed in by {method}{whose} from {source}{narrowed}"))
        }
        SignInEvent::SignedOut { name, by: who, .. } => {
            Summary { about: Some(name.clone()), ..by_actor(who, format!("{name} was signed out")) }
        }
        // Whoever failed is not known to be the one whose name was given.
        SignInEvent::SignInFailed { name, source, .. } => {
            let whose = name.as_ref().map_or("an unknown name".to_owned(), ToString::to_string);
            Summary { about: name.clone(), ..by_gateway(format!("signing in as {whose} failed, from {source}")) }
        }
        SignInEvent::PasswordChosen { name, .. } => by(name, "chose a password"),
    }
}

fn of_node(event: &NodeEvent) -> Summary {
    match event {
        NodeEvent::Started { version, gateway, .. } => by_gateway(format!("{gateway} started, version {version}")),
        NodeEvent::Stopped { .. } => by_gateway("stopped in order"),
        NodeEvent::CrashFound { last_seen, .. } => by_gateway(format!("had not stopped in order; last seen {last_seen}")),
        NodeEvent::ClockBehind { seconds, .. } => by_gateway(format!("the clock is {seconds} seconds behind; nothing is live")),
        NodeEvent::ClockConfirmed { by: who, .. } => by_actor(who, "the clock was confirmed".to_owned()),
        NodeEvent::Restored { why, .. } => by_gateway(format!("the store was put back: {why}")),
        NodeEvent::RecordsLeftOut { what: LeftOut::FailedSignIns, count, .. } => by_gateway(format!("{count} more failed sign-ins")),
        NodeEvent::RecordsLeftOut { what: LeftOut::DeniedAsks { principal }, count, .. } => {
            Summary { about: Some(principal.clone()), ..by_gateway(format!("{count} more askings of {principal} were refused")) }
        }
        NodeEvent::RecordingWithoutSession { session, .. } => by_gateway(format!("a recording was found of {session}, which is not known")),
        NodeEvent::UnknownRoles { resource, roles, .. } => {
            Summary { resource: Some(resource.clone()), ..by_gateway(format!("roles that no session accounts for: {}", roles.join(", "))) }
        }
    }
}

fn said(what: &str, words: Option<String>) -> String {
    match words {
        Some(words) if !words.is_empty() => format!("{what}: {words}"),
        _ => what.to_owned(),
    }
}

/// The name of a plain variant as the ledger has it, in words.
fn name_of(of: &impl serde::Serialize) -> String {
    match serde_json::to_value(of) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        _ => String::new(),
    }
}

/// Runs of white space are one space, and what is too long is cut and says so.
fn one_line(text: &str) -> String {
    let mut line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((cut, _)) = line.char_indices().nth(MAX_CHARS) {
        line.truncate(cut);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_is_one_line_that_says_when_it_is_cut() {
        assert_eq!(one_line("update orders\n  set status = 'sent'\t;"), "update orders set status = 'sent' ;");
        let long = one_line(&"é".repeat(MAX_CHARS + 1));
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_CHARS + 1, true));
        assert!(!one_line(&"é".repeat(MAX_CHARS)).ends_with('…'));
    }
}
