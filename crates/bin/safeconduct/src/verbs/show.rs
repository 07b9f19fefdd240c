//! `show`: one access request as an approver must see it. What the requester said is quoted; what was derived is said to be derived.
//!
//! The digest is worked out here from the envelope, so that what is shown is what the digest is of.

use std::fmt::Write as _;

use safeconduct_api::dto;
use safeconduct_model::{Action, Envelope, Operation, Scope, text};

use super::{Context, access_request_id};
use crate::{
    cli,
    client::Client,
    failure::Failure,
    output::{Output, Tone, count, when},
    waiting,
};

pub async fn show(context: &Context, args: cli::Show) -> Result<(), Failure> {
    let client = context.client()?;
    let id = access_request_id(&args.id)?;
    let mut request: dto::AccessRequest = client.get(&format!("/access-requests/{id}"), &[]).await?;
    if args.wait {
        request = waiting::until_decided(&client, context.output, request, &args.timeout).await?;
    }
    if context.output.json {
        context.output.json(&request)?;
    } else {
        let estimate = estimate(&client, &request).await;
        context.output.safe_line(describe(context.output, &request, estimate.as_deref())?)?;
    }
    if args.wait { waiting::granted(request).map(drop) } else { Ok(()) }
}

/// The envelope, checked to be what its digest says.
pub fn checked_envelope(request: &dto::AccessRequest) -> Result<Envelope, Failure> {
    let envelope: Envelope = serde_json::from_value(request.envelope.clone()).map_err(|error| Failure::nonsense(error.to_string()))?;
    let canonical = safeconduct_model::Digest::of(&request.envelope).map_err(|error| Failure::nonsense(error.to_string()))?;
    let digest = envelope.digest().map_err(|error| Failure::nonsense(error.to_string()))?;
    if digest.to_string() != request.digest || canonical != digest || envelope.access_request.as_str() != request.id {
        return Err(Failure::digest(format!("what the server shows for {} is not what its digest is of", request.id)));
    }
    Ok(envelope)
}

/// How many rows a statement that waits to be approved may touch, in words: the server's statistics, which nobody approves. That they can't be
/// had keeps nobody from looking at the rest.
pub async fn estimate(client: &Client, request: &dto::AccessRequest) -> Option<String> {
    if request.state != "pending" || !request.exact || request.facts.is_none() {
        return None;
    }
    let answer: Result<dto::Estimate, Failure> = client.get(&format!("/access-requests/{}/estimate", request.id), &[]).await;
    Some(match answer {
        Ok(estimate) => {
            let read = estimate.read_at.as_deref().map(|at| format!("\nread {}", when(at))).unwrap_or_default();
            format!("{}{read}", text::printable(&estimate.summary))
        }
        Err(failure) => format!("unknown: {}", text::printable(&failure.message)),
    })
}

/// Everything, for people. `estimate` is how many rows it may touch, as far as somebody said.
pub fn describe(output: Output, request: &dto::AccessRequest, estimate: Option<&str>) -> Result<String, Failure> {
    let envelope = checked_envelope(request)?;
    let mut page = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string can't fail.
        let _ = writeln!(page, "{} {}", output.paint(Tone::Quiet, &format!("{name:<14}")), value.replace('\n', &format!("\n{:15}", "")));
    };
    let shown = |text: &str| text::printable_lines(text);
    row("id", format!("{}  {}", output.paint(Tone::Strong, &request.id), output.state(&request.state)));
    row("state", shown(&stands(request)));
    for line in envelope.rendering() {
        row(&text::printable(&line.label), shown(&line.value));
    }
    row("digest", request.digest.clone());
    for (name, value) in notes(&envelope, request) {
        row(name, output.paint(Tone::Bad, value));
    }
    if let Some(facts) = &request.facts {
        row("derived", facts_text(facts));
    }
    if let Some(estimate) = estimate {
        row("rows", format!("estimated: {estimate}"));
    }
    if let Some(deadline) = &request.deadline {
        row("deadline", when(deadline));
    }
    if let Some(missing) = request.quorum_missing {
        let level = match request.level.as_str() {
            "signed" => ", each with a signature",
            "passkey" => ", each with a signature by a passkey or security key",
            _ => "",
        };
        row("missing", format!("{}{level}", count(u64::from(missing), "approval", "approvals")));
    }
    if !request.eligible.is_empty() {
        row("may approve", shown(&request.eligible.join(", ")));
    }
    for approval in &request.approvals {
        let comment = approval.comment.as_deref().map(|comment| format!(" “{}”", shown(comment))).unwrap_or_default();
        let signed = approval.key.as_deref().map(|key| format!(", signed with {}", shown(key))).unwrap_or_default();
        row("approved by", format!("{} {}{signed}{comment}", shown(&approval.approver), when(&approval.at)));
    }
    let reasons: Vec<String> = request.decision.reasons.iter().map(|reason| shown(&reason.text)).collect();
    row("decision", format!("{}\n{}", shown(&request.decision.outcome.replace('_', " ")), reasons.join("\n")).trim_end().to_owned());
    for line in &request.history {
        row(
            if line.index == request.history.first().map_or(0, |first| first.index) { "history" } else { "" },
            format!("#{} {} {}", line.index, when(&line.at), shown(&line.kind)),
        );
    }
    Ok(page.trim_end().to_owned())
}

/// What the lines of the envelope don't say by themselves: who keeps its bounds is the gateway's word.
fn notes(envelope: &Envelope, request: &dto::AccessRequest) -> Vec<(&'static str, &'static str)> {
    let mut notes = Vec::new();
    let Scope::Window { operations, narrow } = &envelope.scope else { return notes };
    if operations.contains(Operation::Unrestricted) {
        notes.push(("warning", "unrestricted: everything passes, understood or not"));
    }
    if !narrow.schemas.is_empty() || !narrow.tables.is_empty() {
        // A view or a function of the database can reach beyond what a text names.
        notes.push((
            "bounds",
            if request.second_lock {
                "kept twice: by reading statements, and by rights on nothing else in the database"
            } else {
                "gateway only: kept by reading statements, not by rights in the database"
            },
        ));
    }
    notes
}

fn facts_text(facts: &dto::Facts) -> String {
    let mut lines = vec![facts.summary.clone()];
    for statement in &facts.statements {
        if !statement.objects.is_empty() {
            lines.push(format!("touches {}", statement.objects.join(", ")));
        }
        if !statement.functions.is_empty() {
            lines.push(format!("calls {}", statement.functions.join(", ")));
        }
        if statement.has_where == Some(false) {
            lines.push("changes every row: there is no WHERE".to_owned());
        }
        lines.extend(statement.why.iter().cloned());
    }
    text::printable_lines(&lines.join("\n"))
}

/// How an exact action ended.
pub fn outcome_text(outcome: &dto::Outcome) -> String {
    let text = match outcome {
        dto::Outcome::Executed { command, rows, transaction } => {
            // Most commands say themselves how many: `UPDATE 3`.
            let rows = rows.filter(|rows| !command.ends_with(&format!(" {rows}")));
            let rows = rows.map(|rows| format!(", {}", count(rows, "row", "rows"))).unwrap_or_default();
            format!("executed: {command}{rows}, {}", transaction.replace('_', " "))
        }
        dto::Outcome::Failed { sqlstate, message } => format!("failed: {message} ({sqlstate})"),
        dto::Outcome::RefusedNotRun { why } => format!("refused, not run: {why}"),
        dto::Outcome::Unknown { why } => format!("outcome unknown: {why}"),
    };
    text::printable(&text)
}

/// Operations in short: every grant holds `connect`, so it is named only where there is nothing else.
fn operations(request: &dto::AccessRequest) -> String {
    let others: Vec<&str> = request.operations.iter().map(String::as_str).filter(|operation| *operation != "connect").collect();
    if others.is_empty() { request.operations.join("+") } else { others.join("+") }
}

/// What is asked for, in a line.
pub fn what_line(request: &dto::AccessRequest) -> String {
    let pointer = |path: &str| request.envelope.pointer(path).and_then(|value| value.as_str()).map(ToOwned::to_owned);
    if !request.exact {
        let narrow = request.envelope.pointer("/scope/narrow").and_then(|narrow| narrow.as_object());
        let parts: Vec<&str> = narrow
            .into_iter()
            .flat_map(|narrow| narrow.values())
            .filter_map(|part| part.as_array())
            .flatten()
            .filter_map(|p| p.as_str())
            .collect();
        let within = if parts.is_empty() { String::new() } else { format!(" within {}", parts.join(", ")) };
        return format!("{} for {}{within}", operations(request), request.duration);
    }
    if let Some(sql) = pointer("/scope/action/text") {
        let line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
        return if line.chars().count() > 60 { format!("{}…", line.chars().take(60).collect::<String>()) } else { line };
    }
    let change = request.envelope.pointer("/scope/action").cloned().unwrap_or_default();
    serde_json::from_value::<Action>(change).map_or_else(
        |_| request.operations.join("+"),
        |action| match action {
            Action::Administration(change) => change.to_string(),
            Action::Sql(sql) => sql.text,
        },
    )
}

/// Where it stands, in words, with times as people say them.
pub fn stands(request: &dto::AccessRequest) -> String {
    match (request.state.as_str(), request.deadline.as_deref().map(when)) {
        ("active", Some(deadline)) => format!("active, ends {deadline}"),
        ("ready", Some(deadline)) => format!("approved; lapses {deadline} unless it runs"),
        ("scheduled", Some(start)) => format!("approved, starts {start}"),
        ("settled", _) => request.outcome.as_ref().map_or_else(|| request.state_text.clone(), outcome_text),
        _ => request.state_text.clone(),
    }
}

/// Where it stands and what can be done next.
pub fn brief(output: Output, request: &dto::AccessRequest) -> Result<(), Failure> {
    let tail = match request.state.as_str() {
        "active" => {
            format!(": {} on {}, ends {}", operations(request), request.resource, request.deadline.as_deref().map(when).unwrap_or_default())
        }
        "pending" => format!(": takes {}", request.quorum.as_deref().unwrap_or("approval")),
        _ => format!(": {}", stands(request)),
    };
    output.safe_line(format!("{}  {}{}", output.paint(Tone::Strong, &request.id), output.state(&request.state), text::printable(&tail)))?;
    match request.state.as_str() {
        "active"
            if request
                .operations
                .iter()
                .all(|operation| operation.parse::<safeconduct_model::Operation>().is_ok_and(|op| !op.is_administration())) =>
        {
            output.note(format!(
                "next: `safeconduct connect {}`; give it back with `safeconduct release {}`",
                request.resource, request.grant
            ));
        }
        "pending" => {
            if !request.eligible.is_empty() {
                output.note(format!("{} may approve: `safeconduct approve {}`", request.eligible.join(", "), request.id));
            }
            output.note(format!("next: `safeconduct show {} --wait`", request.id));
        }
        _ => {}
    }
    Ok(())
}

/// What policy would say.
pub fn preview(output: Output, answer: &dto::PreviewAnswer) -> Result<(), Failure> {
    if output.json {
        return output.json(answer);
    }
    let quorum = answer.quorum.as_deref().map(|quorum| format!(": {quorum}")).unwrap_or_default();
    output.line(format!("{}{quorum}", answer.decision.outcome.replace('_', " ")))?;
    for reason in &answer.decision.reasons {
        output.line(format!("  {}", reason.text))?;
    }
    if let Some(facts) = &answer.facts {
        output.line(format!("  {}", facts.summary))?;
    }
    match answer.sign_in_again.as_deref() {
        Some("passkey") => output.line("  policy wants a sign-in with a passkey for this: in a browser")?,
        Some(_) => output.line("  policy wants a newer sign-in for this: `sign-in`, then ask again")?,
        None => {}
    }
    if answer.decision.outcome == "need_approval" && !answer.eligible.is_empty() {
        output.line(format!("  may approve: {}", answer.eligible.join(", ")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(envelope: &Value, digest: &Value) -> dto::AccessRequest {
        let request = json!({
            "id": envelope["access_request"], "grant": "gr-000000000001", "state": "pending", "state_text": "waits for approval", "ended": false,
            "digest": digest, "envelope": envelope, "requester": envelope["requester"], "resource": envelope["resource"], "exact": true,
            "operations": [], "reason": "", "duration": "", "asked_at": "", "decision": { "outcome": "need_approval", "reasons": [], "policy": "" },
            "approvals": [], "eligible": [], "may_approve": true, "history": [], "merged": false,
        });
        serde_json::from_value(request).unwrap()
    }

    /// The vectors are shared with the page that signs (web/src/request/rendering.test.ts).
    #[test]
    fn f54_everything_that_is_signed_is_shown_as_the_vectors_say() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/vectors/envelope");
        for file in std::fs::read_dir(folder).unwrap() {
            let vector: Value = serde_json::from_slice(&std::fs::read(file.unwrap().path()).unwrap()).unwrap();
            let page = describe(Output::default(), &request(&vector["envelope"], &vector["digest"]), None).unwrap();
            let mut rest = page.as_str();
            for line in vector["lines"].as_array().unwrap() {
                let (label, value) = (line[0].as_str().unwrap(), line[1].as_str().unwrap());
                let row = format!("\n{label:<14} {}", value.replace('\n', &format!("\n{:15}", "")));
                let at = rest.find(&row).unwrap_or_else(|| panic!("{row} is not shown in its place:\n{page}"));
                rest = &rest[at + row.len()..];
            }
            assert!(rest.starts_with(&format!("\n{:<14} {}", "digest", vector["digest"].as_str().unwrap())), "{page}");
        }
    }

    #[test]
    fn what_is_not_what_its_digest_is_of_is_not_shown() {
        let vector = include_str!("../../../../../tests/vectors/envelope/exact.json");
        let vector: Value = serde_json::from_str(vector).unwrap();
        let mut other = vector["envelope"].clone();
        other["scope"]["action"]["text"] = json!("select 1");
        assert!(describe(Output::default(), &request(&other, &vector["digest"]), None).is_err());
    }

    #[test]
    fn a_narrowed_window_shows_who_keeps_its_bounds() {
        let vector: Value = serde_json::from_str(include_str!("../../../../../tests/vectors/envelope/window-narrowed.json")).unwrap();
        for (second_lock, kept) in [(false, "gateway only"), (true, "kept twice")] {
            let request = dto::AccessRequest { second_lock, ..request(&vector["envelope"], &vector["digest"]) };
            assert!(describe(Output::default(), &request, None).unwrap().contains(&format!("\nbounds         {kept}")));
        }
    }
}
