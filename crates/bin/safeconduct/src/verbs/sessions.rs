//! `sessions`, `kill`, `replay`, `status`: who is connected, what they did, and how the gateway stands.

use safeconduct_api::dto;
use serde_json::Value;

use super::{Context, session_id};
use crate::{
    cli,
    failure::Failure,
    output::{Tone, cell, count, when_short},
};

/// Records per call.
const RECORDS: u64 = 200;

pub async fn list(context: &Context, args: cli::Sessions) -> Result<(), Failure> {
    let mut query = vec![("limit", args.page.limit.to_string())];
    query.extend(args.live.then(|| ("live", "true".to_owned())));
    query.extend(args.principal.map(|name| ("principal", name)));
    query.extend(args.page.before.map(|before| ("before", before)));
    let sessions: Vec<dto::Session> = context.client()?.get("/sessions", &query).await?;
    if context.output.json {
        return context.output.json(&sessions);
    }
    if args.page.ids {
        return context.output.ids(sessions.iter().map(|session| session.id.as_str()));
    }
    let rows = sessions
        .iter()
        .map(|session| {
            let live = || context.output.paint(Tone::Good, "live");
            vec![
                cell(&session.id),
                cell(&session.principal),
                cell(&session.resource),
                when_short(&session.opened_at),
                session.closed_at.as_deref().map_or_else(live, when_short),
                cell(session.closed_why.as_deref().map_or("-", why_ended)),
            ]
        })
        .collect::<Vec<_>>();
    context.output.table(&["SESSION", "WHO", "RESOURCE", "OPENED", "ENDED", "WHY"], &rows, "no sessions")
}

/// Why a session ended, without the words that every driver knows it by.
pub fn why_ended(text: &str) -> &str {
    text.strip_prefix("terminating connection: ").unwrap_or(text)
}

pub async fn kill(context: &Context, args: cli::WithReason) -> Result<(), Failure> {
    let path = format!("/sessions/{}/kill", session_id(&args.id)?);
    context.client()?.tell(reqwest::Method::POST, &path, Some(&dto::End { reason: args.reason })).await?;
    if context.output.json {
        return context.output.json(&serde_json::json!({ "killed": args.id }));
    }
    context.output.line(format!("{} is ended", args.id))
}

pub async fn replay(context: &Context, args: cli::Replay) -> Result<(), Failure> {
    let client = context.client()?;
    let path = format!("/sessions/{}/recording", session_id(&args.id)?);
    let mut from = 1;
    let mut all: Vec<Value> = Vec::new();
    loop {
        let part: dto::Recording = client.get(&path, &[("from", from.to_string()), ("limit", RECORDS.to_string())]).await?;
        let (count, last) = (part.records.len(), part.records.last().and_then(|record| record["n"].as_u64()));
        if context.output.json {
            all.extend(part.records);
        } else {
            part.records.iter().try_for_each(|record| context.output.line(record_text(record)))?;
        }
        if let Some(last) = last.filter(|last| count as u64 >= RECORDS && *last >= from) {
            from = last + 1;
            continue;
        }
        if context.output.json {
            return context.output.json(&serde_json::json!({ "session": part.session, "records": all, "chunks": part.chunks }));
        }
        return proof(context, &part.chunks);
    }
}

/// Whether what was shown is what the ledger says was recorded.
fn proof(context: &Context, chunks: &[dto::Chunk]) -> Result<(), Failure> {
    if let Some(bad) = chunks.iter().find(|chunk| !chunk.intact) {
        return Err(Failure::ledger(format_args!("part {} of the recording is not what was recorded", bad.number)));
    }
    match chunks.len() {
        0 => context.output.note("no part of this recording is sealed yet: nothing in the ledger speaks for it"),
        1 => context.output.note("1 sealed part, with the digest that is in the ledger"),
        many => context.output.note(format!("{many} sealed parts, each with the digest that is in the ledger")),
    }
    for chunk in chunks.iter().filter(|chunk| chunk.recovered) {
        context.output.note(format!("part {} was recovered after a crash: its end may be missing", chunk.number));
    }
    Ok(())
}

fn record_text(record: &Value) -> String {
    let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
    let time = record["at"].as_str().and_then(|at| at.get(11..23)).unwrap_or_default();
    let indented = |text: String| text.replace('\n', "\n                  ");
    let what = match record["what"].as_str().unwrap_or_default() {
        "opened" => format!("opened by {} from {} to {}/{}", text("principal"), text("source"), text("resource"), text("database")),
        "intent" => {
            let parameters: Vec<String> =
                record["parameters"].as_array().into_iter().flatten().map(|p| p["shown"].as_str().unwrap_or("NULL").to_owned()).collect();
            let parameters = if parameters.is_empty() { String::new() } else { format!("  [{}]", parameters.join(", ")) };
            let behind = |named: &serde_json::Value| {
                let text = named["text"].as_str().unwrap_or("nothing certain").to_owned();
                format!("\n                  {} is {}", named["name"].as_str().unwrap_or_default(), indented(text))
            };
            let names: String = record["names"].as_array().into_iter().flatten().map(behind).collect();
            format!(
                "{:>4} > {}{parameters}  ({}, {}){names}",
                record["statement"],
                indented(text("text")),
                text("operations"),
                text("grant")
            )
        }
        "outcome" => {
            let micros = record["duration_micros"].as_u64().unwrap_or(0);
            let took = format!("{}.{:03} ms", micros / 1000, micros % 1000);
            match record["sqlstate"].as_str() {
                Some(sqlstate) => format!("{:>4} ! {sqlstate} {} ({took})", record["statement"], text("message")),
                None => {
                    let (command, rows) = (text("command"), record["rows"].as_u64().map(|rows| format!(" {rows}")));
                    // Most commands say themselves how many: `UPDATE 3`.
                    let rows = rows.filter(|rows| !command.ends_with(rows)).unwrap_or_default();
                    format!("{:>4} < {command}{rows} ({took})", record["statement"])
                }
            }
        }
        "refused" => format!("     x {}  refused: {}", indented(text("text")), text("why")),
        "held" => format!("     ~ {}  held as {}", indented(text("text")), text("access_request")),
        "hold_ended" => format!("     ~ {}: {}", text("access_request"), text("how")),
        "cancel_requested" => "cancel requested".to_owned(),
        "closed" => format!("closed: {}", text("why")),
        _ => record.to_string(),
    };
    format!("{time}  {what}")
}

pub async fn status(context: &Context) -> Result<(), Failure> {
    let status: dto::Status = context.client()?.get("/status", &[]).await?;
    if context.output.json {
        return context.output.json(&status);
    }
    let output = context.output;
    output.line(format!("gateway              {} ({})", status.gateway, status.version))?;
    if let Some(frozen) = &status.frozen {
        output.safe_line(format!("frozen               {}", output.paint(Tone::Bad, frozen)))?;
    }
    if let Some(problem) = &status.bundle_problem {
        output.safe_line(format!("bundle not applied   {}", output.paint(Tone::Bad, problem)))?;
    }
    if status.draining {
        output.line("stopping             no session opens any more")?;
    }
    match status.standing_privilege.as_slice() {
        [] => output.safe_line(format!("standing privilege   {}", output.paint(Tone::Good, "none")))?,
        some => {
            output.safe_line(format!("standing privilege   {}", output.paint(Tone::Bad, &some.len().to_string())))?;
            some.iter().try_for_each(|why| output.line(format!("                     {why}")))?;
        }
    }
    output.line(format!("policy               {}", status.policy))?;
    if let Some(page) = &status.signing_page {
        output.line(format!("signing page         {page}"))?;
    }
    let (grants, sessions) = (count(status.live_grants, "grant", "grants"), count(status.live_sessions, "session", "sessions"));
    output.line(format!("live                 {grants}, {sessions}"))?;
    output.line(format!("waiting              {}", count(status.pending, "access request", "access requests")))?;
    if status.unretired_roles > 0 {
        let roles = count(status.unretired_roles, "role is", "roles are");
        let why = format!("{roles} still at their servers; tried again until they are gone");
        output.safe_line(format!("not retired          {}", output.paint(Tone::Bad, &why)))?;
    }
    for role in &status.unknown_roles {
        output.line(format!("unknown role         {role}: named like the gateway's, and not its own"))?;
    }
    let sequenced = status.ledger_size.map_or_else(|| "unreadable".to_owned(), |size| size.to_string());
    output.line(format!("ledger               {sequenced} entries, {} under a signed checkpoint", status.checkpoint_size))
}
