//! `show`: one access request as an approver must see it. What the requester said is quoted; what was derived is said to be derived.
//!
//! The digest is worked out here from the envelope, so that what is shown is what the digest is of.

use std::fmt::Write as _;

use safeconduct_api::dto;
use safeconduct_model::{Action, Envelope, Origin, PrincipalKind, Scope, text};

use super::{Context, access_request_id};
use crate::{
    cli,
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
        context.output.safe_line(describe(context.output, &request)?)?;
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

/// Everything, for people.
pub fn describe(output: Output, request: &dto::AccessRequest) -> Result<String, Failure> {
    let envelope = checked_envelope(request)?;
    let mut page = String::new();
    let mut row = |name: &str, value: String| {
        // Writing to a string can't fail.
        let _ = writeln!(page, "{} {}", output.paint(Tone::Quiet, &format!("{name:<12}")), value.replace('\n', &format!("\n{:13}", "")));
    };
    let shown = |text: &str| text::printable_lines(text);
    row("id", format!("{}  {}", output.paint(Tone::Strong, &request.id), output.state(&request.state)));
    row("state", shown(&stands(request)));
    row("who", format!("{} ({})", shown(&request.requester), kind(&envelope)));
    row("resource", format!("{} at {}", output.paint(Tone::Strong, &request.resource), shown(&envelope.gateway)));
    for (name, value) in what(&envelope, request.second_lock) {
        row(name, value);
    }
    if request.operations.iter().any(|operation| operation == "unrestricted") {
        row("warning", output.paint(Tone::Bad, "unrestricted: everything passes, understood or not"));
    }
    if let Some(duration) = duration(&envelope, &request.state) {
        row("for", duration);
    }
    if let Some(facts) = &request.facts {
        row("derived", facts_text(facts));
    }
    row("their words", format!("“{}”", shown(&request.reason)));
    if let Some(ticket) = &request.ticket {
        row("ticket", format!("“{}”", shown(ticket)));
    }
    row(
        "asked",
        format!("{} from {}, signed in by {}", when(&request.asked_at), shown(&envelope.asked.source), shown(&envelope.asked.sign_in)),
    );
    if !envelope.asked.claims.is_empty() {
        let claims = envelope.asked.claims.iter().map(|(name, value)| format!("{name}={}", value.as_str()));
        let whose = if envelope.requester_kind == PrincipalKind::Person { "sign-in says" } else { "its token says" };
        row(whose, shown(&claims.collect::<Vec<_>>().join(", ")).to_string());
    }
    match &envelope.origin {
        Origin::Asked => {}
        Origin::Held { session, in_transaction } => {
            let inside = if *in_transaction { ", inside a transaction" } else { "" };
            row("held in", format!("session {session}{inside}: approval is for that session only"));
        }
        Origin::Extension { of } => row("extends", of.to_string()),
    }
    if let Some(deadline) = &request.deadline {
        row("deadline", when(deadline));
    }
    if let Some(quorum) = &request.quorum {
        let missing = request.quorum_missing.map(|missing| format!("; {missing} missing")).unwrap_or_default();
        let level = match request.level.as_str() {
            "signed" => ", each with a signature",
            "passkey" => ", each with a signature by a passkey or security key",
            _ => "",
        };
        row("takes", format!("{}{level}{missing}", shown(quorum)));
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
    row("policy", format!("{}\n{}", shown(&request.decision.outcome.replace('_', " ")), reasons.join("\n")).trim_end().to_owned());
    row("digest", request.digest.clone());
    for line in &request.history {
        row(
            if line.index == request.history.first().map_or(0, |first| first.index) { "history" } else { "" },
            format!("#{} {} {}", line.index, when(&line.at), shown(&line.kind)),
        );
    }
    Ok(page.trim_end().to_owned())
}

/// How long it lasts, as far as that means anything: what is held lasts as long as its hold, and a change stays.
fn duration(envelope: &Envelope, state: &str) -> Option<String> {
    let start = envelope.starts_at.map(|at| format!(", not before {}", when(&at.to_string()))).unwrap_or_default();
    match (&envelope.origin, &envelope.scope) {
        (Origin::Extension { .. }, _) => Some(format!("{} longer", envelope.duration)),
        (_, Scope::Window { .. }) => Some(format!("{} once it starts{start}", envelope.duration)),
        (Origin::Asked, Scope::Exact { action: Action::Sql(_), .. }) if matches!(state, "pending" | "scheduled" | "ready") => {
            Some(format!("one run, within {} of its approval{start}", envelope.duration))
        }
        _ => None,
    }
}

fn kind(envelope: &Envelope) -> &'static str {
    match envelope.requester_kind {
        safeconduct_model::PrincipalKind::Person => "person",
        safeconduct_model::PrincipalKind::Workload => "workload",
    }
}

/// The canonical action or scope, from the envelope itself. Who keeps its bounds is the gateway's word.
fn what(envelope: &Envelope, second_lock: bool) -> Vec<(&'static str, String)> {
    match &envelope.scope {
        Scope::Window { operations, narrow } => {
            let mut rows = vec![("operations", operations.to_string())];
            for (name, set) in [("databases", &narrow.databases), ("schemas", &narrow.schemas), ("tables", &narrow.tables)] {
                if !set.is_empty() {
                    rows.push((name, text::printable(&set.iter().cloned().collect::<Vec<_>>().join(", "))));
                }
            }
            if !narrow.schemas.is_empty() || !narrow.tables.is_empty() {
                // A view or a function of the database can reach beyond what a text names.
                let kept = if second_lock {
                    "kept twice: by reading statements, and by rights on nothing else in the database"
                } else {
                    "gateway only: kept by reading statements, not by rights in the database"
                };
                rows.push(("", kept.to_owned()));
            }
            rows
        }
        Scope::Exact { action: Action::Sql(sql), needs } => {
            let mut rows = vec![("database", text::printable(&sql.database)), ("statement", text::printable_lines(&sql.text))];
            for (place, parameter) in sql.parameters.iter().enumerate() {
                rows.push((
                    "parameter",
                    format!("${} = {}", place + 1, parameter.shown.as_deref().map_or("NULL".to_owned(), text::printable)),
                ));
            }
            if let Some(data) = &sql.copy_data {
                rows.push(("copies", data.to_string()));
                for line in &data.first_lines {
                    rows.push(("", format!("| {}", text::printable_lines(line))));
                }
                if data.lines_left() > 0 {
                    rows.push(("", format!("and {} more, not shown", data.lines_left())));
                }
            }
            for (name, value) in &sql.settings {
                rows.push(("setting", format!("{} = {}", text::printable(name), text::printable(value))));
            }
            rows.push(("needs", needs.to_string()));
            rows
        }
        Scope::Exact { action: Action::Administration(change), needs } => {
            vec![("change", text::printable(&change.to_string())), ("needs", needs.to_string())]
        }
    }
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
    use safeconduct_model::{AccessRequestId, CopyData, SqlAction};
    use safeconduct_testkit as testkit;

    use super::*;

    #[test]
    fn f46_what_is_copied_is_shown_as_data_with_its_digest_and_settings_beside_it() {
        let data = CopyData::of(format!("1,\u{1b}[2Jone\n{}", "2,two\n".repeat(11)).as_bytes());
        let sql = SqlAction {
            settings: [("datestyle".to_owned(), "ISO, DMY".to_owned())].into(),
            copy_data: Some(data.clone()),
            ..testkit::sql("copy orders from stdin csv")
        };
        let envelope = testkit::envelope(AccessRequestId::from_bits(1), testkit::parsed("alice"), testkit::parsed("orders-db"));
        let scope = Scope::Exact { action: Action::Sql(sql), needs: [safeconduct_model::Operation::Write].into_iter().collect() };
        let rows = what(&Envelope { scope, ..envelope }, false);
        let values: Vec<&str> = rows.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values[1..4], ["copy orders from stdin csv", &format!("12 lines, 76 bytes, {}", data.digest), "| 1,\\u{1b}[2Jone"]);
        assert_eq!(values[12..], ["| 2,two", "and 2 more, not shown", "datestyle = ISO, DMY", "write"]);
    }

    #[test]
    fn a_narrowed_window_shows_its_bounds_and_who_keeps_them() {
        let narrow = safeconduct_model::Narrowing { tables: ["public.products".to_owned()].into(), ..Default::default() };
        let scope = Scope::Window { operations: [safeconduct_model::Operation::Read].into_iter().collect(), narrow };
        let envelope = testkit::envelope(AccessRequestId::from_bits(1), testkit::parsed("alice"), testkit::parsed("orders-db"));
        for (second_lock, kept) in [(false, "gateway only"), (true, "kept twice")] {
            let rows = what(&Envelope { scope: scope.clone(), ..envelope.clone() }, second_lock);
            assert_eq!(rows[1], ("tables", "public.products".to_owned()));
            assert!(rows[2].1.starts_with(kept), "{rows:?}");
        }
        let whole = Scope::Window { operations: [safeconduct_model::Operation::Read].into_iter().collect(), narrow: Default::default() };
        assert_eq!(what(&Envelope { scope: whole, ..envelope }, true).len(), 1);
    }
}
