//! `user`, `group`, `workload`, `token`, `clock`: every change is asked for and applied when somebody else approves it.

use safeconduct_api::dto::{self, Change};

use super::{Context, access_request_id, show};
use crate::{
    cli::{self, Clock, Group, Token, User, Why, Workload},
    client::encode,
    failure::Failure,
    output::{Tone, cell, when, when_short},
    waiting,
};

pub async fn user(context: &Context, verb: User) -> Result<(), Failure> {
    match verb {
        User::List => principals(context, None).await,
        User::Create(args) => {
            let display_name = args.display_name.unwrap_or_else(|| args.name.clone());
            ask(context, Change::CreatePerson { name: args.name, display_name }, args.why).await
        }
        User::Disable(args) => ask(context, Change::Disable { name: args.name }, args.why).await,
        User::Enable(args) => ask(context, Change::Enable { name: args.name }, args.why).await,
        User::ResetSecret(args) => ask(context, Change::ResetSecret { name: args.name, scopes: None }, args.why).await,
        User::Unlink(args) => {
            let change = Change::UnlinkIdentity { name: args.name, issuer: args.issuer, subject: args.subject };
            ask(context, change, args.why).await
        }
        User::Code(args) => one_time(context, &args).await,
    }
}

pub async fn group(context: &Context, verb: Group) -> Result<(), Failure> {
    match verb {
        Group::List => {
            let groups: Vec<dto::Group> = context.client()?.get("/groups", &[]).await?;
            if context.output.json {
                return context.output.json(&groups);
            }
            let rows = groups.iter().map(|group| vec![cell(&group.name), cell(group.members.join(", "))]).collect::<Vec<_>>();
            context.output.table(&["GROUP", "MEMBERS"], &rows, "no groups")
        }
        Group::Add(args) => ask(context, Change::AddMember { group: args.group, name: args.name }, args.why).await,
        Group::Remove(args) => ask(context, Change::RemoveMember { group: args.group, name: args.name }, args.why).await,
    }
}

pub async fn workload(context: &Context, verb: Workload) -> Result<(), Failure> {
    match verb {
        Workload::List => principals(context, Some("workload")).await,
        Workload::Create(args) => {
            let cli::Create { name, display_name, why } = args.create;
            let display_name = display_name.unwrap_or_else(|| name.clone());
            ask(context, Change::CreateWorkload { name, display_name, scopes: narrowed(args.scopes) }, why).await
        }
        Workload::Disable(args) => ask(context, Change::Disable { name: args.name }, args.why).await,
        Workload::Enable(args) => ask(context, Change::Enable { name: args.name }, args.why).await,
        Workload::ResetSecret(args) => {
            let cli::Named { name, why } = args.named;
            ask(context, Change::ResetSecret { name, scopes: narrowed(args.scopes) }, why).await
        }
        Workload::Token(args) => one_time(context, &args).await,
    }
}

fn narrowed(to: cli::Scopes) -> Option<Vec<String>> {
    (!to.scopes.is_empty()).then_some(to.scopes)
}

pub async fn token(context: &Context, verb: Token) -> Result<(), Failure> {
    let client = context.client()?;
    match verb {
        Token::List { name } => {
            let name = match name {
                Some(name) => name,
                None => client.get::<dto::WhoAmI>("/whoami", &[]).await?.name,
            };
            let tokens: Vec<dto::Token> = client.get(&format!("/tokens/{}", encode(&name)), &[]).await?;
            if context.output.json {
                return context.output.json(&tokens);
            }
            let row = |token: &dto::Token| {
                vec![
                    cell(&token.sign_in),
                    cell(token.provider.as_ref().unwrap_or(&token.method)),
                    token.scopes.as_ref().map_or_else(|| "everything".to_owned(), |scopes| cell(scopes.join(", "))),
                    when(&token.created_at),
                    token.expires_at.as_deref().map_or_else(|| "-".to_owned(), when),
                    cell(&token.source),
                    token.last_used_at.as_deref().map_or_else(|| "never".to_owned(), when_short),
                    cell(token.last_used_from.as_deref().unwrap_or("-")),
                ]
            };
            let columns = ["SIGN-IN", "BY", "FOR", "MADE", "ENDS", "FROM", "LAST USED", "THEN FROM"];
            context.output.table(&columns, &tokens.iter().map(row).collect::<Vec<_>>(), "no sign-ins")
        }
        Token::Revoke { name, sign_in, all: _ } => {
            let one = sign_in.as_deref().map_or_else(String::new, |sign_in| format!("/{}", encode(sign_in)));
            client.tell(reqwest::Method::DELETE, &format!("/tokens/{}{one}", encode(&name)), None::<&()>).await?;
            if context.output.json {
                return context.output.json(&serde_json::json!({ "revoked": sign_in.as_deref().unwrap_or("all") }));
            }
            match sign_in {
                Some(sign_in) => context.output.line(format!("{sign_in} is ended")),
                None => context.output.line(format!("sign-ins and tokens of {name} are ended; the one you use now stays")),
            }
        }
    }
}

pub async fn clock(context: &Context, verb: Clock) -> Result<(), Failure> {
    match verb {
        Clock::Confirm(why) => ask(context, Change::ConfirmClock, why).await,
    }
}

pub async fn ask(context: &Context, change: Change, why: Why) -> Result<(), Failure> {
    let client = context.client()?;
    let secret = matches!(change, Change::CreatePerson { .. } | Change::CreateWorkload { .. } | Change::ResetSecret { .. });
    let workload = matches!(change, Change::CreateWorkload { .. });
    let asked: dto::AccessRequest = client.post("/changes", &dto::AskChange { change, reason: why.reason }).await?;
    let asked = if why.wait { waiting::until_decided(&client, context.output, asked, &why.timeout).await? } else { asked };
    let asked = waiting::granted(asked)?;
    if context.output.json {
        return context.output.json(&asked);
    }
    show::brief(context.output, &asked)?;
    if secret {
        let verb = if workload { "workload token" } else { "user code" };
        context.output.note(format!("once approved, fetch its one-time secret: `safeconduct {verb} {}`", asked.id));
    }
    Ok(())
}

/// Prints the secret alone on standard output, so that it can be piped; what it is goes to standard error.
async fn one_time(context: &Context, args: &cli::Approved) -> Result<(), Failure> {
    let path = format!("/access-requests/{}/one-time", access_request_id(&args.id)?);
    let secret: dto::OneTime = context.client()?.post(&path, &serde_json::json!({})).await?;
    if context.output.json {
        return context.output.json(&secret);
    }
    let what = if secret.kind == "token" { "token" } else { "one-time code; `sign-in --code-file -` chooses a password with it" };
    context.output.note(format!("for {}, until {}: {what}. It is shown this once.", secret.name, when(&secret.valid_until)));
    context.output.line(secret.secret.0.as_str())
}

async fn principals(context: &Context, kind: Option<&str>) -> Result<(), Failure> {
    let mut all: Vec<dto::Principal> = context.client()?.get("/principals", &[]).await?;
    all.retain(|principal| kind.is_none_or(|kind| principal.kind == kind));
    if context.output.json {
        return context.output.json(&all);
    }
    let row = |principal: &dto::Principal| {
        let state = match (principal.waits, principal.disabled) {
            (true, _) => context.output.paint(Tone::Bad, "waits"),
            (false, true) => context.output.paint(Tone::Bad, "disabled"),
            (false, false) => "enabled".to_owned(),
        };
        vec![
            cell(&principal.name),
            cell(&principal.kind),
            cell(&principal.display_name),
            state,
            cell(principal.groups.join(", ")),
            when_short(&principal.created_at),
        ]
    };
    context.output.table(&["NAME", "KIND", "CALLED", "STATE", "GROUPS", "SINCE"], &all.iter().map(row).collect::<Vec<_>>(), "nobody")
}
