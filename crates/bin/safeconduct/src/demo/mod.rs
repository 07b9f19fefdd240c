//! `demo`: a throwaway gateway in front of a throwaway PostgreSQL, with people to play. Loopback only, unless given settings say otherwise;
//! leaves nothing behind.

mod actors;
mod phone;
mod postgres;
mod script;
mod stage;

use std::path::PathBuf;

use tokio::sync::watch;

use self::stage::Stage;
use crate::{
    failure::{Exit, Failure},
    serve::{config::Config, log_to_stderr, stop_signal},
};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play the whole story by itself, check every step, and fail if one fails
    #[arg(long)]
    pub script: bool,
    /// Try settings such as an identity provider: a file as for `serve`. Name, directories, door and bundle stay the demonstration's own
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Runs the demonstration until it is told to stop, or its script to the end.
pub async fn run(args: Args) -> Result<(), Failure> {
    let settings = args.config.as_deref().map(|file| Config::read(Some(file))).transpose()?;
    // Whoever tries settings looks for the reasons in the log.
    let _log = settings.as_ref().map(|settings| log_to_stderr(settings.log_format));
    eprintln!("setting the stage: PostgreSQL with 40,000 orders, a gateway, six people …");
    // One listener from beginning to end: a second Ctrl-C never stops the clearing up.
    let (send, mut stop) = watch::channel(false);
    tokio::spawn(async move {
        loop {
            stop_signal().await;
            send.send_replace(true);
        }
    });
    let Some(stage) = Stage::build(settings, &stop).await? else {
        eprintln!("interrupted; nothing is left behind");
        return Ok(());
    };
    let outcome = if args.script {
        tokio::select! {
            outcome = script::play(&stage) => outcome,
            _ = stop.wait_for(|stop| *stop) => Err(Failure::new("DEMO-003", Exit::Error, "the story was interrupted")),
        }
    } else {
        println!("{}", page(&stage));
        let _ = stop.wait_for(|stop| *stop).await;
        eprintln!("\nstriking the stage …");
        Ok(())
    };
    stage.strike().await;
    outcome
}

/// Commands that work when pasted.
fn page(stage: &Stage) -> String {
    let bin = stage.commands().display().to_string();
    format!(
        r#"
Safeconduct is running.
  PostgreSQL door  localhost:{door}
  API and web app  {api}

Nobody can do anything yet. Everybody is signed in and has a command of their
own; paste this into two terminals, alice's and everybody else's:

    export PATH={bin}:$PATH

  alice     engineer               bob, dora  DBAs, who approve
  carol     auditor                ann, abe   administrators
  deployer  a workload

In a browser, at the address of the web app, everybody has a password; the
browser warns because the certificate is this demonstration's own:

{passwords}

1. Locked by default; then a read that policy allows at once

    alice connect orders-db
    alice resources
    alice request orders-db -o read --for 15m --reason "look into order 4711"
    alice connect orders-db

   The last opens psql, through the door. In it:

    select status, count(*) from orders group by 1;

2. A write is held in the open psql until somebody else approves exactly it
   (Ctrl-C there takes it back). In alice's psql, then in the other terminal:

    update orders set status = 'returned' where id = 4711;

    bob requests --to-approve
    bob approve $(bob requests --to-approve --ids -n 1)

3. One exact action, run once by the gateway. In a third terminal, or after \q:

    alice run orders-db --reason "ticket 812" -- \
      "update products set stock = stock - 1 where id = 42 returning id, stock"

    bob approve $(bob requests --to-approve --ids -n 1)

4. Ending it: alice's psql is cut at once. Then what happened, and the proof

    bob revoke $(bob grants --all --ids -n 1) --reason "enough"
    carol sessions
    carol replay $(carol sessions --ids -n 1)
    carol ledger tail
    carol ledger verify

5. Nobody changes the gateway alone

    ann group add dba alice --reason "joins the DBAs"
    abe requests --to-approve
    abe approve $(abe requests --to-approve --ids -n 1)

Ctrl-C ends it and leaves nothing behind.
`safeconduct demo --script` plays the story by itself.
"#,
        door = stage.running.door.port(),
        api = stage.running.config.public_url,
        passwords = passwords(stage),
    )
}

/// Two people to a line.
fn passwords(stage: &Stage) -> String {
    let people: Vec<String> = stage::PEOPLE.iter().map(|(name, _, _)| format!("    {name:<8} {:<16}", stage.password(name))).collect();
    people.chunks(2).map(|line| line.concat().trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
