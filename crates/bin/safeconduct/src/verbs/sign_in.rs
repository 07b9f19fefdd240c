//! `sign-in`, `sign-out`, `whoami`: the authority and the ledger's key are pinned here and compared ever after.

use safeconduct_api::dto;

use super::{Context, loopback::Loopback};
use crate::{
    cli,
    client::{Client, encode},
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
    // Whom a provider signed in has no password to be asked for.
    let as_before = || before.as_ref().and_then(|profile| profile.provider.clone());
    let says_how = args.name.is_some() || args.password_file.is_some() || args.code_file.is_some();
    if let Some(provider) = args.provider.or_else(|| as_before().filter(|_| !says_how)) {
        let client = Client::new(&server, &ca, None)?;
        let answer = by_provider(context, &client, &server, &provider).await?;
        return remember(context, &client, &server, &ca, before, Some(provider), answer).await;
    }
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
    remember(context, client, server, ca, before, None, answer).await
}

/// The browser brings a code to a port of this machine. Only who holds the verifier can do anything with it.
async fn by_provider(context: &Context, client: &Client, server: &str, provider: &str) -> Result<dto::SignedIn, Failure> {
    let known: Vec<dto::Provider> = client.get("/providers", &[]).await?;
    if !known.iter().any(|known| known.name == provider) {
        let names: Vec<&str> = known.iter().map(|known| known.name.as_str()).collect();
        let names = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        return Err(Failure::usage(format!("the server has no identity provider `{provider}`")).why(names));
    }
    let waiting = Loopback::open().await?;
    let challenge = waiting.challenge();
    let url = format!("{server}/sign-in?provider={}&port={}&challenge={challenge}", encode(provider), waiting.port);
    context.output.note(format!("open this in a browser on this machine:\n\n  {url}\n"));
    let code = waiting.code().await?;
    let body = dto::TakeOver { code: dto::Secret(code), verifier: dto::Secret(waiting.verifier) };
    client.post("/command-line/sign-in", &body).await
}

async fn remember(
    context: &Context,
    client: &Client,
    server: &str,
    ca: &str,
    before: Option<Profile>,
    provider: Option<String>,
    answer: dto::SignedIn,
) -> Result<(), Failure> {
    let key: dto::LedgerKey = client.get("/ledger/key", &[]).await?;
    if let Some(before) = before.filter(|before| before.ledger_key != key.key) {
        return Err(Failure::new("CLI-014", Exit::Error, "the ledger's key is not the one that was pinned")
            .why(format!("pinned: {}; the server says: {}", before.ledger_key, key.key))
            .next("ask whoever runs the gateway; if the change is right, remove `profile.toml` and `checkpoint` and sign in again"));
    }
    let profile = Profile { server: server.to_owned(), name: answer.who.name.clone(), ledger_key: key.key, provider };
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
    let how = how(&who.method);
    context.output.line(format!("{} ({}) at {server}, signed in {how} {}", who.name, who.kind, when(&who.signed_in_at)))
}

/// A way of signing in, in words.
fn how(method: &str) -> String {
    match method {
        "oidc" => "by an identity provider".to_owned(),
        "token-exchange" => "with a token of its platform".to_owned(),
        method => format!("with a {method}"),
    }
}
