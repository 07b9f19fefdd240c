//! Spans from steps, and their form on the wire: OTLP's JSON encoding. Ids are derived from ours, so that every process finds the same.

use safeconduct_app::{AccessSteps, SessionSteps};
use safeconduct_model::{AccessRequestId, SessionId, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A stretch of time with a name, in a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span {
    trace: String,
    id: String,
    parent: Option<String>,
    name: &'static str,
    from: i64,
    to: i64,
    attributes: Vec<(&'static str, Value)>,
    links: Vec<(String, String)>,
    failed: bool,
}

/// Ends of the waiting.
const DECIDED: [&str; 5] =
    ["grant_given", "access_request_denied", "access_request_lapsed", "access_request_withdrawn", "access_request_refused"];
/// Ends of a grant.
const OVER: [&str; 5] = ["grant_released", "grant_revoked", "grant_expired", "action_settled", "extension_applied"];

/// True for events after which something is known that was not before.
pub(crate) fn is_told(kind: &str) -> bool {
    DECIDED.contains(&kind) || ends(kind)
}

/// True for the last event of a grant.
pub(crate) fn ends(kind: &str) -> bool {
    kind == "grant_ended"
}

/// What is known after this event: the decision, or the grant with the whole.
pub(crate) fn of_access(id: &AccessRequestId, access: &AccessSteps, kind: &str) -> Vec<Span> {
    let at = |wanted: &[&str]| access.steps.iter().find(|(_, kind)| wanted.contains(kind)).map(|(at, _)| *at);
    let Some(asked) = at(&["access_request_submitted", "access_request_refused"]) else { return Vec::new() };
    let (decided, over) = (at(&DECIDED).unwrap_or(asked), at(&OVER));
    let trace = trace_of(id);
    let span = |name, from: Timestamp, to: Timestamp| Span {
        id: hex8(&format!("{name} {id}")),
        trace: trace.clone(),
        parent: Some(root_of(id)),
        name,
        from: from.micros(),
        to: to.micros(),
        attributes: vec![("safeconduct.access_request", json!(id.as_str())), ("safeconduct.resource", json!(access.resource.as_str()))],
        links: Vec::new(),
        failed: false,
    };
    let mut spans = Vec::new();
    let given = at(&["grant_given"]).is_some();
    if !ends(kind) {
        let mut decision = span("decision", asked, decided);
        decision.attributes.push(("safeconduct.granted", json!(given)));
        spans.push(decision);
    }
    if ends(kind) || !given {
        let ended = at(&["grant_ended"]).or(over).unwrap_or(decided);
        let mut root = Span { id: root_of(id), parent: None, ..span("access request", asked, ended) };
        root.attributes.extend([("safeconduct.state", json!(access.state)), ("safeconduct.exact", json!(access.exact))]);
        spans.push(root);
        if let Some(over) = over.filter(|_| given) {
            spans.push(span("grant", at(&["grant_activated"]).unwrap_or(decided), over));
            spans.push(span("ending", over, ended));
            if let Some(claimed) = at(&["action_claimed"]) {
                spans.push(span("run", claimed, over));
            }
        }
    }
    spans
}

/// A session in the trace of the first grant it was opened under, linked to the others, with its statements.
pub(crate) fn of_session(id: &SessionId, session: &SessionSteps) -> Vec<Span> {
    let requests: Vec<AccessRequestId> = session.grants.iter().map(|grant| grant.access_request()).collect();
    let Some((first, others)) = requests.split_first() else { return Vec::new() };
    let (trace, own) = (trace_of(first), hex8(&format!("session {id}")));
    let mut spans = vec![Span {
        trace: trace.clone(),
        id: own.clone(),
        parent: Some(root_of(first)),
        name: "session",
        from: session.opened.micros(),
        to: session.closed.micros(),
        attributes: vec![
            ("safeconduct.session", json!(id.as_str())),
            ("safeconduct.resource", json!(session.resource.as_str())),
            ("safeconduct.statements", whole(session.statements)),
        ],
        links: others.iter().map(|other| (trace_of(other), root_of(other))).collect(),
        failed: false,
    }];
    for statement in &session.timed {
        let mut attributes =
            vec![("safeconduct.grant", json!(statement.grant.as_str())), ("safeconduct.operations", json!(statement.operations))];
        attributes.extend(statement.rows.map(|rows| ("db.response.returned_rows", whole(rows))));
        attributes.extend(statement.sqlstate.as_ref().map(|state| ("db.response.status_code", json!(state))));
        let from = statement.began.micros();
        spans.push(Span {
            trace: trace.clone(),
            id: hex8(&format!("statement {id} {}", statement.number)),
            parent: Some(own.clone()),
            name: "statement",
            from,
            to: from.saturating_add(i64::try_from(statement.took.as_micros()).unwrap_or(i64::MAX)),
            attributes,
            links: Vec::new(),
            failed: statement.sqlstate.is_some(),
        });
    }
    spans
}

/// The body of an `ExportTraceServiceRequest`.
pub(crate) fn encode(spans: &[Span], gateway: &str) -> Value {
    let resource = [("service.name", json!("safeconduct")), ("service.instance.id", json!(gateway)), ("service.version", json!(VERSION))];
    let spans: Vec<Value> = spans.iter().map(Span::encode).collect();
    let scope = json!({ "name": "safeconduct", "version": VERSION });
    json!({ "resourceSpans": [{
        "resource": { "attributes": attributes(&resource) },
        "scopeSpans": [{ "scope": scope, "spans": spans }],
    }] })
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Span {
    fn encode(&self) -> Value {
        let nanos = |micros: i64| format!("{micros}000");
        let links: Vec<Value> = self.links.iter().map(|(trace, span)| json!({ "traceId": trace, "spanId": span })).collect();
        json!({
            "traceId": self.trace,
            "spanId": self.id,
            "parentSpanId": self.parent.as_deref().unwrap_or_default(),
            "name": self.name,
            // SPAN_KIND_INTERNAL
            "kind": 1,
            "startTimeUnixNano": nanos(self.from),
            // Times of the ledger never go back; a journal's may be older than the last of them.
            "endTimeUnixNano": nanos(self.to.max(self.from)),
            "attributes": attributes(&self.attributes),
            "links": links,
            // STATUS_CODE_ERROR, STATUS_CODE_UNSET
            "status": { "code": if self.failed { 2 } else { 0 } },
        })
    }
}

fn attributes(pairs: &[(&str, Value)]) -> Vec<Value> {
    let value = |value: &Value| match value {
        Value::Bool(truth) => json!({ "boolValue": truth }),
        // 64-bit numbers are texts in JSON.
        Value::Number(number) => json!({ "intValue": number.to_string() }),
        other => json!({ "stringValue": other }),
    };
    pairs.iter().map(|(key, pair)| json!({ "key": key, "value": value(pair) })).collect()
}

fn whole(number: u64) -> Value {
    json!(i64::try_from(number).unwrap_or(i64::MAX))
}

fn trace_of(id: &AccessRequestId) -> String {
    hex(&format!("trace {id}"), 16)
}

fn root_of(id: &AccessRequestId) -> String {
    hex8(&format!("access request {id}"))
}

fn hex8(of: &str) -> String {
    hex(of, 8)
}

fn hex(of: &str, bytes: usize) -> String {
    Sha256::digest(format!("safeconduct {of}")).iter().take(bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use safeconduct_app::StatementStep;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn the_steps_of_a_grant_and_its_session_are_one_trace() {
        let (id, other) = (AccessRequestId::from_bits(1), AccessRequestId::from_bits(2));
        let access = AccessSteps {
            resource: "orders-db".parse().unwrap(),
            exact: false,
            state: "expired",
            steps: vec![
                (at(1), "access_request_submitted"),
                (at(5), "approval_given"),
                (at(5), "grant_given"),
                (at(60), "grant_expired"),
                (at(61), "grant_ended"),
            ],
        };
        let decided = of_access(&id, &access, "grant_given");
        let ended = of_access(&id, &access, "grant_ended");
        let session = SessionSteps {
            resource: access.resource.clone(),
            grants: vec![id.grant(), other.grant()],
            opened: at(10),
            closed: at(60),
            statements: 1,
            timed: vec![StatementStep {
                number: 1,
                began: at(11),
                took: Duration::from_millis(5),
                grant: id.grant(),
                operations: "read".into(),
                rows: Some(3),
                sqlstate: None,
            }],
        };
        let session = of_session(&SessionId::from_bits(3), &session);
        let all = [decided, ended, session].concat();
        let names: Vec<_> = all.iter().map(|span| (span.name, span.to - span.from)).collect();
        let s = 1_000_000;
        let expected =
            [("decision", 4 * s), ("access request", 60 * s), ("grant", 55 * s), ("ending", s), ("session", 50 * s), ("statement", 5000)];
        assert_eq!(names, expected);
        assert!(all.iter().all(|span| span.trace == all[0].trace && span.trace.len() == 32 && span.id.len() == 16));
        let root = &all[1];
        assert!(
            root.parent.is_none()
                && all.iter().filter(|span| span.name != "statement" && *span != root).all(|s| s.parent.as_ref() == Some(&root.id))
        );
        assert_eq!(all[5].parent.as_ref(), Some(&all[4].id));
        assert_eq!(all[4].links, [(trace_of(&other), root_of(&other))]);
    }

    #[test]
    fn a_denial_ends_the_trace_with_the_decision() {
        let id = AccessRequestId::from_bits(1);
        let steps = vec![(at(1), "access_request_submitted"), (at(5), "access_request_denied")];
        let access = AccessSteps { resource: "orders-db".parse().unwrap(), exact: true, state: "denied", steps };
        let names: Vec<_> = of_access(&id, &access, "access_request_denied").iter().map(|span| span.name).collect();
        assert_eq!(names, ["decision", "access request"]);
    }
}
