//! `grants`, `release`, `revoke`, `extend`: what is held, and how it ends or lasts longer.

use safeconduct_api::dto;

use super::{Context, access_request_id, grant_id, show};
use crate::{
    cli,
    failure::Failure,
    output::{cell, when_short},
    waiting,
};

pub async fn list(context: &Context, args: cli::Grants) -> Result<(), Failure> {
    let mut query = vec![("all", args.all.to_string()), ("ended", args.ended.to_string()), ("limit", args.page.limit.to_string())];
    query.extend(args.page.before.as_deref().map(access_request_id).transpose()?.map(|before| ("before", before)));
    let grants: Vec<dto::AccessRequest> = context.client()?.get("/grants", &query).await?;
    if context.output.json {
        return context.output.json(&grants);
    }
    if args.page.ids {
        return context.output.ids(grants.iter().map(|grant| grant.grant.as_str()));
    }
    let rows = grants
        .iter()
        .map(|grant| {
            vec![
                cell(&grant.grant),
                context.output.state(&grant.state),
                cell(&grant.requester),
                cell(&grant.resource),
                cell(show::what_line(grant)),
                grant.deadline.as_deref().map_or_else(|| "-".to_owned(), when_short),
            ]
        })
        .collect::<Vec<_>>();
    context.output.table(&["GRANT", "STATE", "WHO", "RESOURCE", "WHAT", "ENDS"], &rows, "no grants")
}

pub async fn release(context: &Context, args: cli::Id) -> Result<(), Failure> {
    let path = format!("/grants/{}/release", grant_id(&args.id)?);
    ended(context, context.client()?.post(&path, &serde_json::json!({})).await?)
}

pub async fn revoke(context: &Context, args: cli::WithReason) -> Result<(), Failure> {
    let path = format!("/grants/{}/revoke", grant_id(&args.id)?);
    ended(context, context.client()?.post(&path, &dto::End { reason: args.reason }).await?)
}

fn ended(context: &Context, grant: dto::AccessRequest) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(&grant);
    }
    context.output.line(format!("{}: {}", grant.grant, show::stands(&grant)))
}

pub async fn extend(context: &Context, args: cli::Extend) -> Result<(), Failure> {
    let client = context.client()?;
    let path = format!("/grants/{}/extend", grant_id(&args.id)?);
    let asked: dto::AccessRequest = client.post(&path, &dto::Extend { by: args.by, reason: args.reason }).await?;
    let asked = if args.wait { waiting::until_decided(&client, context.output, asked, &args.timeout).await? } else { asked };
    let granted = waiting::granted(asked)?;
    if context.output.json { context.output.json(&granted) } else { show::brief(context.output, &granted) }
}
