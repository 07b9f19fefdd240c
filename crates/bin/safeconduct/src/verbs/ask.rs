//! `resources`, `request`, `requests`: what may be asked for, asking for it, and what was asked.

use std::collections::BTreeSet;

use safeconduct_api::dto;
use safeconduct_model::Operation;

use super::{Context, access_request_id, show};
use crate::{
    cli,
    client::Client,
    failure::Failure,
    output::{Tone, cell, when_short},
    waiting,
};

/// When neither `--for` nor `--like` says how long.
const USUAL: &str = "30m";

pub async fn resources(context: &Context) -> Result<(), Failure> {
    let resources: Vec<dto::Resource> = context.client()?.get("/resources", &[]).await?;
    if context.output.json {
        return context.output.json(&resources);
    }
    let mut rows = Vec::new();
    for resource in &resources {
        for (operation, how) in operations(resource) {
            let takes = match operation.outcome.as_str() {
                "allow" => "no approval".to_owned(),
                "need_approval" => operation.quorum.clone().unwrap_or_else(|| "approval".to_owned()),
                other => other.to_owned(),
            };
            let most = operation.max_duration.as_deref().unwrap_or("-");
            rows.push(vec![cell(&resource.name), cell(&operation.operation), how.to_owned(), cell(most), cell(takes)]);
        }
    }
    let headings = ["RESOURCE", "OPERATION", "HOW", "AT MOST", "TAKES"];
    context.output.table(&headings, &rows, "there is nothing you may ask for; an administrator changes that by policy")?;
    for resource in &resources {
        let about = format!("{}: {} ({}, {})", resource.name, resource.description, resource.kind, resource.sensitivity);
        context.output.note_safe(&context.output.paint_note(Tone::Quiet, &about));
    }
    if !resources.is_empty() {
        context.output.note("time: `request RESOURCE -o OPERATION --for 15m`; exact, run once: `run RESOURCE -- 'SQL'`");
    }
    Ok(())
}

/// Operations with how they may be held; one line where a time and one action get the same answer.
fn operations(resource: &dto::Resource) -> Vec<(&dto::ResourceOperation, &'static str)> {
    let twin = |of: &dto::ResourceOperation, exact: bool| {
        resource.operations.iter().any(|other| {
            other.exact == exact
                && (&other.operation, &other.outcome, &other.quorum, &other.max_duration)
                    == (&of.operation, &of.outcome, &of.quorum, &of.max_duration)
        })
    };
    let line = |operation: &&dto::ResourceOperation| !(operation.exact && twin(operation, false));
    let how = |operation: &dto::ResourceOperation| match (operation.exact, twin(operation, true)) {
        (true, _) => "exact",
        (false, true) => "time or exact",
        (false, false) => "time",
    };
    resource.operations.iter().filter(line).map(|operation| (operation, how(operation))).collect()
}

pub async fn request(context: &Context, args: cli::Request) -> Result<(), Failure> {
    let client = context.client()?;
    let ask = asking(&client, &args).await?;
    if args.preview {
        let answer: dto::PreviewAnswer = client.post("/access-requests/preview", &ask).await?;
        return show::preview(context.output, &answer);
    }
    let asked: dto::AccessRequest = client.post("/access-requests", &ask).await?;
    if asked.merged {
        context.output.note(format!("the same is asked for already: {}", asked.id));
    }
    let asked = if args.wait { waiting::until_decided(&client, context.output, asked, &args.timeout).await? } else { asked };
    let granted = waiting::granted(asked)?;
    if context.output.json {
        return context.output.json(&granted);
    }
    show::brief(context.output, &granted)
}

/// The asking, with what it takes over from an earlier one.
async fn asking(client: &Client, args: &cli::Request) -> Result<dto::Ask, Failure> {
    let mut operations: BTreeSet<String> = args.operations.iter().cloned().collect();
    let [mut databases, mut schemas, mut tables] = narrowing(&args.narrow)?;
    let mut duration = args.duration.clone();
    if let Some(like) = &args.like {
        let earlier: dto::AccessRequest = client.get(&format!("/access-requests/{}", access_request_id(like)?), &[]).await?;
        if earlier.exact {
            return Err(Failure::usage(format!("{like} was for one exact action")).next("ask for it again with `run`"));
        }
        if operations.is_empty() {
            operations = earlier.operations.into_iter().collect();
        }
        let bounds = |part: &str| -> BTreeSet<String> {
            let list = earlier.envelope.pointer(&format!("/scope/narrow/{part}")).and_then(|list| list.as_array());
            list.into_iter().flatten().filter_map(|item| item.as_str().map(ToOwned::to_owned)).collect()
        };
        if args.narrow.is_empty() {
            (databases, schemas, tables) = (bounds("databases"), bounds("schemas"), bounds("tables"));
        }
        duration = duration.or(Some(earlier.duration));
    }
    if operations.is_empty() {
        let all: Vec<&str> = Operation::ALL.into_iter().filter(|op| !op.is_administration()).map(Operation::name).collect();
        return Err(Failure::usage("which operations?").why(format!("operations are {}", all.join(", "))).next("add `--operation read`"));
    }
    Ok(dto::Ask {
        resource: args.resource.clone(),
        what: dto::What::Window { operations, databases, schemas, tables },
        reason: args.reason.clone(),
        ticket: args.ticket.clone(),
        duration: duration.unwrap_or_else(|| USUAL.to_owned()),
        starts_at: args.starts_at.clone(),
    })
}

/// Databases, schemas and tables of `--narrow`.
fn narrowing(pairs: &[String]) -> Result<[BTreeSet<String>; 3], Failure> {
    let [mut databases, mut schemas, mut tables] = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for pair in pairs {
        match pair.split_once('=') {
            Some((_, "")) | None => return Err(Failure::usage(format!("`--narrow {pair}`: write it as KEY=VALUE"))),
            Some(("database", value)) => databases.insert(value.to_owned()),
            Some(("schema", value)) => schemas.insert(value.to_owned()),
            Some(("table", value)) => tables.insert(value.to_owned()),
            Some((key, _)) => return Err(Failure::usage(format!("`--narrow {key}=…`: keys are database, schema and table"))),
        };
    }
    Ok([databases, schemas, tables])
}

pub async fn requests(context: &Context, args: cli::Requests) -> Result<(), Failure> {
    let list = match (args.to_approve, args.all) {
        (true, _) => "to-approve",
        (_, true) => "all",
        _ => "mine",
    };
    let mut query = vec![("list", list.to_owned()), ("limit", args.page.limit.to_string())];
    query.extend(args.state.map(|state| ("state", state)));
    query.extend(args.page.before.as_deref().map(access_request_id).transpose()?.map(|before| ("before", before)));
    let requests: Vec<dto::AccessRequest> = context.client()?.get("/access-requests", &query).await?;
    if context.output.json {
        return context.output.json(&requests);
    }
    if args.page.ids {
        return context.output.ids(requests.iter().map(|request| request.id.as_str()));
    }
    let rows = requests
        .iter()
        .map(|request| {
            vec![
                cell(&request.id),
                context.output.state(&request.state),
                cell(&request.requester),
                cell(&request.resource),
                cell(show::what_line(request)),
                when_short(&request.asked_at),
                cell(&request.reason),
            ]
        })
        .collect::<Vec<_>>();
    let nothing = if list == "to-approve" { "nothing waits for you" } else { "no access requests" };
    context.output.table(&["ID", "STATE", "WHO", "RESOURCE", "WHAT", "ASKED", "THEIR WORDS"], &rows, nothing)?;
    if list == "to-approve" && !requests.is_empty() {
        context.output.note("look closely with `safeconduct show ID`, then `approve ID` or `deny ID --comment \"…\"`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrowing_knows_its_keys() {
        let [databases, schemas, tables] =
            narrowing(&["database=a".into(), "schema=b".into(), "table=b.c".into(), "table=b.d".into()]).unwrap();
        assert_eq!((databases.len(), schemas.len(), tables.len()), (1, 1, 2));
        for bad in ["database", "database=", "host=a"] {
            assert!(narrowing(&[bad.into()]).is_err(), "{bad}");
        }
    }
}
