//! `key`, and signing with one: what is signed is worked out here, from the envelope that was shown, never taken from the server.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use safeconduct_api::dto;
use safeconduct_evidence::{Member, NAMESPACE, PublicKey, ROSTER_NAMESPACE, Roster, Signature, Statement, Verdict};
use safeconduct_model::{Envelope, Timestamp, Words};

use super::{Context, administration::ask};
use crate::{
    cli::{self, Key},
    client::{Client, encode},
    failure::Failure,
    output::{cell, when},
};

pub async fn key(context: &Context, verb: Key) -> Result<(), Failure> {
    match verb {
        Key::List { name } => {
            let client = context.client()?;
            let keys = keys_of(&client, name).await?;
            if context.output.json {
                return context.output.json(&keys);
            }
            let row = |key: &dto::Key| vec![cell(&key.fingerprint), cell(kind(&key.key)), when(&key.enrolled_at)];
            context.output.table(&["FINGERPRINT", "TYPE", "COUNTS SINCE"], &keys.iter().map(row).collect::<Vec<_>>(), "no keys")
        }
        Key::Enrol(args) => {
            let key = read_public(&args.file)?;
            context.output.note(format!("{} {}", key.kind(), key.fingerprint()));
            ask(context, dto::Change::EnrolKey { name: args.name, key: key.to_string() }, args.why).await
        }
        Key::Roster(args) => draft(context, &args).await,
        Key::Remove(args) => {
            let keys = keys_of(&context.client()?, Some(args.name.clone())).await?;
            let found = keys.into_iter().find(|key| key.fingerprint == args.fingerprint);
            let missing = || Failure::usage(format!("`{}` has no key {}", args.name, args.fingerprint)).next("`key list NAME` lists them");
            let key = found.ok_or_else(missing)?.key;
            ask(context, dto::Change::RemoveKey { name: args.name, key }, args.why).await
        }
    }
}

/// What is printed is the text itself, without a line break: it is signed as it is.
async fn draft(context: &Context, args: &cli::DraftRoster) -> Result<(), Failure> {
    let client = context.client()?;
    let status: dto::Status = client.get("/status", &[]).await?;
    let nonsense = |what: &str| Failure::nonsense(format!("{what} can't be read"));
    let mut policies = std::collections::BTreeSet::from([status.policy.parse().map_err(|_| nonsense("the policy's hash"))?]);
    for policy in &args.policy {
        policies.insert(policy.parse().map_err(|_| Failure::usage(format!("`{policy}` is no hash of a policy")))?);
    }
    let mut people = std::collections::BTreeMap::new();
    let all: Vec<dto::Principal> = client.get("/principals", &[]).await?;
    for person in all.into_iter().filter(|principal| principal.kind == "person" && !principal.disabled) {
        let keys = keys_of(&client, Some(person.name.clone())).await?;
        if keys.is_empty() && person.manager.is_none() {
            continue;
        }
        let manager = person.manager.map(|name| name.parse()).transpose().map_err(|_| nonsense("a manager"))?;
        let groups = person.groups.iter().map(|group| group.parse()).collect::<Result<_, _>>().map_err(|_| nonsense("a group"))?;
        let member = Member { groups, keys: keys.into_iter().map(|key| key.key).collect(), manager };
        people.insert(person.name.parse().map_err(|_| nonsense("a name"))?, member);
    }
    let count = people.len();
    let roster = Roster { v: 1, gateway: status.gateway, epoch: args.epoch, policies, people };
    let text = roster.to_text().map_err(|_| nonsense("the roster"))?;
    context.output.note(format!(
        "{count} people who sign or answer to somebody; look at it, then each holder of a root key: `ssh-keygen -Y sign -n {ROSTER_NAMESPACE} -f KEY FILE`"
    ));
    context.output.bytes(text.as_bytes())
}

async fn keys_of(client: &Client, name: Option<String>) -> Result<Vec<dto::Key>, Failure> {
    let name = match name {
        Some(name) => name,
        None => client.get::<dto::WhoAmI>("/whoami", &[]).await?.name,
    };
    client.get(&format!("/keys/{}", encode(&name)), &[]).await
}

fn kind(line: &str) -> &str {
    line.split_once(' ').map_or(line, |(kind, _)| kind)
}

fn read_public(file: &Path) -> Result<PublicKey, Failure> {
    let line = std::fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    line.parse().map_err(|invalid: safeconduct_evidence::InvalidKey| {
        Failure::usage(format!("{}: {invalid}", file.display())).next("name the public key: the file that ends in `.pub`")
    })
}

/// Signs a verdict on the envelope that was shown. `ssh-keygen` asks for a passphrase, a PIN or a touch by itself.
pub async fn sign(
    client: &Client,
    request: &dto::AccessRequest,
    verdict: Verdict,
    comment: Option<&str>,
    key: &Path,
) -> Result<dto::Signed, Failure> {
    let statement = statement(client, request, verdict, comment).await?;
    let signature = ssh_keygen(key, &statement)?;
    // Found out here, where the key is at hand, and not by the gateway's refusal.
    let verified = Signature::from_armor(&signature).and_then(|read| read.verify(NAMESPACE, statement.as_bytes()));
    verified.map_err(|invalid| Failure::usage(format!("{}: {invalid}", key.display())))?;
    Ok(dto::Signed { statement, signature })
}

/// What is to be signed: the caller's verdict on the envelope that was shown.
pub async fn statement(client: &Client, request: &dto::AccessRequest, verdict: Verdict, comment: Option<&str>) -> Result<String, Failure> {
    let broken = |what: &str| Failure::digest(format!("{}: {what}", request.id)).next("look again with `safeconduct show`");
    let envelope: Envelope = serde_json::from_value(request.envelope.clone()).map_err(|_| broken("the envelope can't be read"))?;
    if envelope.digest().map(|digest| digest.to_string()).ok().as_deref() != Some(request.digest.as_str()) {
        return Err(broken("the envelope does not have the digest that was shown"));
    }
    let approver = client.get::<dto::WhoAmI>("/whoami", &[]).await?.name;
    let approver = approver.parse().map_err(|_| broken("the gateway does not say who is signed in"))?;
    let comment = comment.map(Words::new).transpose().map_err(|unfit| Failure::usage(format!("the comment: {unfit}")))?;
    let statement = Statement::about(&envelope, verdict, approver, comment, now()).and_then(|statement| statement.to_text());
    statement.map_err(|_| broken("it has no canonical form"))
}

fn ssh_keygen(key: &Path, statement: &str) -> Result<String, Failure> {
    let failed = |what: String| Failure::usage(format!("nothing was signed: {what}"));
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-n", NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("`ssh-keygen` can't be run: {error}")).next("install OpenSSH's client"))?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(statement.as_bytes()).map_err(|error| failed(error.to_string()))?;
    }
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!("`ssh-keygen` ended with {}", output.status))
            .next("name a private key, or the `.pub` file of one that an agent or a security key holds"));
    }
    String::from_utf8(output.stdout).map_err(|_| failed("`ssh-keygen` did not write a signature".to_owned()))
}

fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
