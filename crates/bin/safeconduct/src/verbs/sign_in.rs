//! `sign-in`, `sign-out`, `whoami`: the authority and the ledger's key are pinned here and compared ever after.

use safeconduct_api::dto;

use super::Context;
use crate::{
    cli,
    client::Client,
    failure::{Exit, Failure},
    home::Profile,
    output::when,
    prompt,
};

pub async fn sign_in(context: &Context, args: cli::SignIn) -> Result<(), Failure> {
    let (server, ca) = context.home.server(&context.global).map_err(|failure| match failure.code.as_str() {
        "CLI-003" => Failure::usage("which server?").next("`safeconduct sign-in NAME --server URL --ca FILE`"),
        _ => failure,
    })?;
    let server = server.trim_end_matches('/').to_owned();
    let before = context.home.profile()?.filter(|profile| profile.server == server);
    let name = args.name.or_else(|| before.as_ref().map(|profile| profile.name.clone()));
    let name = name.ok_or_else(|| Failure::usage("who signs in?").next("`safeconduct sign-in NAME`"))?;
    let client = Client::new(&server, &ca, None)?;

    if let Some(code) = &args.code_file {
        let code = prompt::secret("one-time code", Some(code))?;
        let password = prompt::secret("new password", args.password_file.as_deref())?;
        let body = dto::ChoosePassword { name: name.clone(), code: dto::Secret(code), password: dto::Secret(password.clone()) };
        client.tell(reqwest::Method::POST, "/passwords", Some(&body)).await?;
        return signed_in(context, &client, &server, &ca, before, name, password).await;
    }
    let password = prompt::secret("password", args.password_file.as_deref())?;
    signed_in(context, &client, &server, &ca, before, name, password).await
}

async fn signed_in(
    context: &Context,
    client: &Client,
    server: &str,
    ca: &str,
    before: Option<Profile>,
    name: String,
    password: zeroize::Zeroizing<String>,
) -> Result<(), Failure> {
    let answer: dto::SignedIn = client.post("/sign-in", &dto::SignIn { name, password: dto::Secret(password) }).await?;
    let key: dto::LedgerKey = client.get("/ledger/key", &[]).await?;
    if let Some(before) = before.filter(|before| before.ledger_key != key.key) {
        return Err(Failure::new("CLI-014", Exit::Error, "the ledger's key is not the one that was pinned")
            .why(format!("pinned: {}; the server says: {}", before.ledger_key, key.key))
            .next("ask whoever runs the gateway; if the change is right, remove `profile.toml` and `checkpoint` and sign in again"));
    }
    let profile = Profile { server: server.to_owned(), name: answer.who.name.clone(), ledger_key: key.key };
    context.home.remember(&profile, ca, &answer.token.0)?;
    if context.output.json {
        return context.output.json(&serde_json::json!({ "server": profile.server, "who": answer.who, "expires_at": answer.expires_at }));
    }
    context.output.line(format!("signed in to {server} as {} until {}", profile.name, when(&answer.expires_at)))
}

pub async fn sign_out(context: &Context) -> Result<(), Failure> {
    let told = context.client()?.tell(reqwest::Method::POST, "/sign-out", None::<&()>).await;
    match told {
        // The server does not know the token any more: it is of no use to anybody.
        Err(failure) if failure.exit != Exit::NotSignedIn => return Err(failure),
        _ => context.home.forget_token()?,
    }
    if context.output.json {
        return context.output.json(&serde_json::json!({ "signed_out": true }));
    }
    context.output.line("signed out; secrets for doors made in this sign-in stopped working")
}

pub async fn whoami(context: &Context) -> Result<(), Failure> {
    let client = context.client()?;
    let who: dto::WhoAmI = client.get("/whoami", &[]).await?;
    if context.output.json {
        return context.output.json(&who);
    }
    let (server, _) = context.home.server(&context.global)?;
    context.output.line(format!("{} ({}) at {server}, signed in with a {} {}", who.name, who.kind, who.method, when(&who.signed_in_at)))
}
