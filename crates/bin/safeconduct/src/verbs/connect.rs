//! `connect`: opens psql through the door. The secret is in a file of its own that ends with the client; never in an argument or a URL.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use safeconduct_api::dto;
use tokio::signal::unix::{SignalKind, signal};

use super::{Context, sessions::why_ended};
use crate::{
    cli,
    client::{Client, encode},
    failure::{Exit, Failure},
    output::when,
};

/// Name of the one service in the file.
const SERVICE: &str = "safeconduct";

pub async fn connect(context: &Context, args: cli::Connect) -> Result<(), Failure> {
    let body = dto::Connect { database: args.database };
    let api = context.client()?;
    let door: dto::Door = api.post(&format!("/resources/{}/connect", encode(&args.resource)), &body).await?;
    let dir = tempfile::Builder::new()
        .prefix("safeconduct-")
        .tempdir_in(runtime_dir())
        .map_err(|error| Failure::local("making a private directory", &error))?;
    let files = Files::write(dir.path(), &door).map_err(|error| Failure::local("writing the connection's files", &error))?;
    if args.print || context.output.json {
        // Kept: whoever asked for the files removes them.
        let dir = dir.keep();
        return print(context, &files, &dir, &door);
    }
    let before = own_sessions(&api, &door.user).await;
    let status = client(&files, &args.arguments).await?;
    drop(dir);
    if let Ok(before) = before
        && let Some(cut) = cut_session(&api, &door.user, &args.resource, &before).await
    {
        let why = cut.closed_why.as_deref().map_or("", why_ended);
        context.output.note(format!("session {} was ended: {why}", cut.id));
        let again = cut.grants.first().map(|grant| format!(" --like {grant}")).unwrap_or_default();
        context.output.note(format!("  next: ask again with `safeconduct request {}{again} --reason \"…\"`", args.resource));
    }
    match status {
        0 => Ok(()),
        // The client said what was wrong; its status is the answer.
        status => std::process::exit(status),
    }
}

/// Sessions of one's own that are known a moment before another opens.
async fn own_sessions(api: &Client, user: &str) -> Result<BTreeSet<String>, Failure> {
    let sessions: Vec<dto::Session> = api.get("/sessions", &[("principal", user.to_owned()), ("limit", "20".to_owned())]).await?;
    Ok(sessions.into_iter().map(|session| session.id).collect())
}

/// The session that has opened since and was not ended by its client. A server that can't say is not asked twice.
async fn cut_session(api: &Client, user: &str, resource: &str, before: &BTreeSet<String>) -> Option<dto::Session> {
    let query = [("principal", user.to_owned()), ("live", "false".to_owned()), ("limit", "20".to_owned())];
    let sessions: Vec<dto::Session> = api.get("/sessions", &query).await.ok()?;
    let by_client = |why: &str| why.starts_with("the client ");
    sessions
        .into_iter()
        .filter(|session| session.resource == resource && !before.contains(&session.id))
        .find(|session| session.closed_why.as_deref().is_some_and(|why| !by_client(why)))
}

/// Where a user's short-lived files belong.
fn runtime_dir() -> PathBuf {
    let private = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    private.unwrap_or_else(std::env::temp_dir)
}

/// What a libpq client reads.
struct Files {
    service: PathBuf,
    pass: PathBuf,
}

impl Files {
    fn write(dir: &Path, door: &dto::Door) -> std::io::Result<Self> {
        let files = Self { service: dir.join("service.conf"), pass: dir.join("pass") };
        let ca = dir.join("ca.pem");
        private(&ca, &door.ca_pem)?;
        private(&files.service, &service_text(door, &ca))?;
        private(&files.pass, &pass_line(door))?;
        Ok(files)
    }

    /// Variables that make any libpq client use them.
    fn variables(&self) -> [(&'static str, OsString); 3] {
        [("PGSERVICEFILE", self.service.clone().into()), ("PGSERVICE", SERVICE.into()), ("PGPASSFILE", self.pass.clone().into())]
    }
}

fn private(path: &Path, text: &str) -> std::io::Result<()> {
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

fn service_text(door: &dto::Door, ca: &Path) -> String {
    format!(
        "[{SERVICE}]\nhost={}\nport={}\nuser={}\ndbname={}\nsslmode=verify-full\nsslrootcert={}\ngssencmode=disable\n",
        door.host,
        door.port,
        door.user,
        door.dbname,
        ca.display()
    )
}

/// `host:port:database:user:password`, with `:` and `\` escaped.
fn pass_line(door: &dto::Door) -> String {
    let escape = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
    format!("{}:{}:{}:{}:{}\n", escape(&door.host), door.port, escape(&door.dbname), escape(&door.user), escape(&door.password.0))
}

fn print(context: &Context, files: &Files, dir: &Path, door: &dto::Door) -> Result<(), Failure> {
    if context.output.json {
        let variables: serde_json::Map<String, serde_json::Value> =
            files.variables().into_iter().map(|(name, value)| (name.to_owned(), value.to_string_lossy().into_owned().into())).collect();
        return context.output.json(&serde_json::json!({
            "host": door.host, "port": door.port, "user": door.user, "dbname": door.dbname, "valid_until": door.valid_until,
            "directory": dir, "environment": variables,
        }));
    }
    for (name, value) in files.variables() {
        context.output.line(format!("export {name}={}", quoted(&value.to_string_lossy())))?;
    }
    let until = door.valid_until.as_deref().map(|at| format!(" until {}", when(at))).unwrap_or_default();
    context.output.note(format!("any libpq client now connects as {}{until}; remove {} when done", door.user, dir.display()));
    Ok(())
}

/// Quoted for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Runs psql and gives its status. Ctrl-C is psql's to handle: it cancels the statement there.
async fn client(files: &Files, arguments: &[OsString]) -> Result<i32, Failure> {
    let no_signals = |error: std::io::Error| Failure::local("listening for signals", &error);
    let (mut interrupt, mut terminate, mut hang_up) = (
        signal(SignalKind::interrupt()).map_err(no_signals)?,
        signal(SignalKind::terminate()).map_err(no_signals)?,
        signal(SignalKind::hangup()).map_err(no_signals)?,
    );
    let mut child = tokio::process::Command::new("psql")
        .args(arguments)
        .envs(files.variables())
        .env_remove("PGPASSWORD")
        .env_remove("PGHOSTADDR")
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| {
            Failure::local("starting psql", &error).next("install PostgreSQL's client, or use `--print` with another libpq client")
        })?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|error| Failure::local("waiting for psql", &error))?;
                return Ok(status.code().unwrap_or(Exit::Error as i32));
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => return Ok(Exit::Error as i32),
            _ = hang_up.recv() => return Ok(Exit::Error as i32),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn f47_the_secret_is_in_one_private_file_and_nowhere_else() {
        let dir = tempfile::tempdir().unwrap();
        let door = dto::Door {
            host: "127.0.0.1".into(),
            port: 6432,
            user: "alice".into(),
            password: dto::Secret::from("s3:cr\\et".to_owned()),
            dbname: "orders-db/shop".into(),
            ca_pem: "PEM".into(),
            valid_until: None,
        };
        let files = Files::write(dir.path(), &door).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            let file = file.unwrap();
            assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(std::fs::read_to_string(file.path()).unwrap().contains("s3"), file.path() == files.pass);
        }
        assert_eq!(std::fs::read_to_string(&files.pass).unwrap(), "127.0.0.1:6432:orders-db/shop:alice:s3\\:cr\\\\et\n");
        assert!(std::fs::read_to_string(&files.service).unwrap().contains("sslmode=verify-full"));
        assert!(!format!("{door:?}").contains("s3"));
    }
}
