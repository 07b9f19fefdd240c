//! `approve`, `deny`, `cancel`: nobody approves what they were not shown. Without a terminal an approval must name its digest.

use safeconduct_api::dto;
use safeconduct_evidence::Verdict;

use super::{Context, access_request_id, keys::sign, show};
use crate::{cli, failure::Failure, prompt};

pub async fn approve(context: &Context, args: cli::Approve) -> Result<(), Failure> {
    let client = context.client()?;
    let id = access_request_id(&args.id)?;
    if args.digest.is_none() && !prompt::can_ask() {
        return Err(Failure::unconfirmed("nobody is here to look at what is approved")
            .next(format!("look with `safeconduct show {id}`, then `safeconduct approve {id} --yes --digest sha256:…`")));
    }
    let request: dto::AccessRequest = client.get(&format!("/access-requests/{id}"), &[]).await?;
    // Only somebody who looks is told; a script named the digest and decided before.
    let estimate = if args.yes { None } else { show::estimate(&client, &request).await };
    let page = show::describe(context.output, &request, estimate.as_deref())?;
    if let Some(wanted) = args.digest.as_deref().filter(|wanted| *wanted != request.digest) {
        return Err(Failure::digest(format!("{id} has another digest"))
            .why(format!("named: {wanted}; it has {}", request.digest))
            .next(format!("look again with `safeconduct show {id}`")));
    }
    if !args.yes {
        if !prompt::can_ask() {
            return Err(Failure::unconfirmed("nobody is here to say yes").next("add `--yes`"));
        }
        context.output.note_safe(&page);
        if !prompt::confirm("approve exactly this?")? {
            return Err(Failure::unconfirmed(format!("{id} was not approved"))
                .next(format!("it still waits; `safeconduct deny {id} --comment \"…\"` says no")));
        }
    }
    // The digest that was shown, so that anything changed meanwhile is refused.
    let signed = match &args.key {
        Some(key) => Some(sign(&client, &request, Verdict::Approve, args.comment.as_deref(), key).await?),
        None => None,
    };
    let body = dto::Approve { digest: request.digest, comment: args.comment, signed };
    let after: dto::AccessRequest = client.post(&format!("/access-requests/{id}/approve"), &body).await?;
    done(context, &after)
}

pub async fn deny(context: &Context, args: cli::Deny) -> Result<(), Failure> {
    let id = access_request_id(&args.id)?;
    let client = context.client()?;
    let signed = match &args.key {
        Some(key) => {
            let request: dto::AccessRequest = client.get(&format!("/access-requests/{id}"), &[]).await?;
            Some(sign(&client, &request, Verdict::Deny, Some(&args.comment), key).await?)
        }
        None => None,
    };
    let body = dto::Deny { comment: args.comment, signed };
    let after: dto::AccessRequest = client.post(&format!("/access-requests/{id}/deny"), &body).await?;
    done(context, &after)
}

pub async fn cancel(context: &Context, args: cli::Id) -> Result<(), Failure> {
    let id = access_request_id(&args.id)?;
    let after: dto::AccessRequest = context.client()?.post(&format!("/access-requests/{id}/cancel"), &serde_json::json!({})).await?;
    done(context, &after)
}

fn done(context: &Context, after: &dto::AccessRequest) -> Result<(), Failure> {
    if context.output.json {
        return context.output.json(after);
    }
    let missing = after.quorum_missing.filter(|missing| after.state == "pending" && *missing > 0);
    let missing = missing.map(|missing| format!(" ({missing} more must approve)")).unwrap_or_default();
    context.output.line(format!("{}: {}{missing}", after.id, show::stands(after)))
}
