//! `demo`: a throwaway gateway in front of a throwaway PostgreSQL, with people to play. Loopback only; leaves nothing behind.

mod actors;
mod postgres;
mod script;
mod stage;

use self::stage::Stage;
use crate::{failure::Failure, serve::stop_signal};

/// Arguments of `demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Play the whole story by itself, check every step, and fail if one fails
    #[arg(long)]
    pub script: bool,
}

/// Runs the demonstration until it is told to stop, or its script to the end.
pub async fn run(args: Args) -> Result<(), Failure> {
    eprintln!("setting the stage: a PostgreSQL with 40,000 orders, a gateway, six people and a workload …");
    let stage = tokio::select! {
        stage = Stage::build() => stage?,
        () = stop_signal() => return Ok(()),
    };
    let outcome = if args.script {
        tokio::select! {
            outcome = script::play(&stage) => outcome,
            () = stop_signal() => Err(Failure::usage("interrupted")),
        }
    } else {
        println!("{}", page(&stage));
        stop_signal().await;
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
Safeconduct is running: PostgreSQL door on localhost:{door}, API on {api}.
Nobody can do anything yet. Everybody below is signed in; each has a command of their own:

    export PATH={bin}:$PATH

  alice   engineer                      bob, dora   DBAs, who approve
  carol   auditor                       ann, abe    administrators
  deployer  a workload

Try this, in two terminals (alice in one, bob in the other; the export in both):

  Locked by default, then a read that policy allows at once
    alice connect orders-db                    # refused: no grant
    alice resources
    alice request orders-db --operation read --for 15m --reason "look into order 4711"
    alice connect orders-db                    # psql, through the door
      select status, count(*) from orders group by 1;

  A write is held in the open psql until somebody else approves exactly it
      update orders set status = 'returned' where id = 4711;     -- waits; Ctrl-C takes it back
    bob requests --to-approve
    bob approve rq-…                           # shows the statement, then asks

  One exact action, run once by the gateway
    alice run orders-db --reason "ticket 812" -- "delete from order_items where order_id = 4711 and product_id = 78"
    bob approve rq-…

  Ending it
    bob revoke gr-… --reason "enough"          # alice's psql is cut at once
    carol sessions ; carol replay se-…         # what happened in it
    carol ledger tail ; carol ledger verify    # what happened at all, proved

  Nobody changes the gateway alone
    ann group add dba alice --reason "joins the DBAs"
    abe requests --to-approve

Ctrl-C ends it and leaves nothing behind. `safeconduct demo --script` plays the story by itself.
"#,
        door = stage.running.door.port(),
        api = stage.running.config.public_url,
    )
}
