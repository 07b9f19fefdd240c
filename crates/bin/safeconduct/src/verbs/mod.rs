//! What the verbs do. Each asks the server, shows its answer and says what can be done next.

mod administration;
mod ask;
mod connect;
mod decide;
pub mod doctor;
mod grants;
pub mod keys;
mod ledger;
mod ledger_remote;
mod local;
mod loopback;
mod policy;
mod receipt;
mod run;
mod sessions;
mod show;
mod sign_in;

use clap::CommandFactory as _;

use crate::{
    cli::{Cli, Global, Verb},
    client::Client,
    failure::Failure,
    home::Home,
    output::Output,
};

/// What a verb works with.
pub struct Context {
    pub global: Global,
    pub home: Home,
    pub output: Output,
}

impl Context {
    fn client(&self) -> Result<Client, Failure> {
        Client::signed_in(&self.home, &self.global)
    }
}

/// Does what the command line says.
pub async fn run(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Serve(args) => crate::serve::run(args).await,
        Verb::Demo(args) => crate::demo::run(args).await,
        Verb::SignIn(args) => sign_in::sign_in(context, args).await,
        Verb::SignOut => sign_in::sign_out(context).await,
        Verb::Whoami => sign_in::whoami(context).await,
        Verb::Resources => ask::resources(context).await,
        Verb::Request(args) => ask::request(context, args).await,
        Verb::Run(args) => run::run(context, args).await,
        Verb::Requests(args) => ask::requests(context, args).await,
        Verb::Show(args) => show::show(context, args).await,
        Verb::Approve(args) => decide::approve(context, args).await,
        Verb::Deny(args) => decide::deny(context, args).await,
        Verb::Cancel(args) => decide::cancel(context, args).await,
        Verb::Grants(args) => grants::list(context, args).await,
        Verb::Release(args) => grants::release(context, args).await,
        Verb::Revoke(args) => grants::revoke(context, args).await,
        Verb::Extend(args) => grants::extend(context, args).await,
        Verb::Connect(args) => connect::connect(context, args).await,
        Verb::Sessions(args) => sessions::list(context, args).await,
        Verb::Kill(args) => sessions::kill(context, args).await,
        Verb::Replay(args) => sessions::replay(context, args).await,
        Verb::Receipt(args) => receipt::receipt(context, args).await,
        Verb::Ledger(verb) => ledger::run(context, verb).await,
        Verb::Policy(verb) => policy::run(context, verb).await,
        Verb::User(verb) => administration::user(context, verb).await,
        Verb::Group(verb) => administration::group(context, verb).await,
        Verb::Workload(verb) => administration::workload(context, verb).await,
        Verb::Token(verb) => administration::token(context, verb).await,
        Verb::Key(verb) => keys::key(context, verb).await,
        Verb::Clock(verb) => administration::clock(context, verb).await,
        Verb::Status => sessions::status(context).await,
        Verb::Doctor(args) => doctor::doctor(context, args).await,
        Verb::Backup(args) => crate::serve::backup::back_up(context.output, &args),
        Verb::Restore(args) => crate::serve::backup::restore(context.output, &args),
        Verb::Completions(args) => {
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "safeconduct", &mut script);
            context.output.bytes(&script)
        }
        Verb::Version if context.output.json => context.output.json(&serde_json::json!({ "version": env!("CARGO_PKG_VERSION") })),
        Verb::Version => context.output.line(concat!("safeconduct ", env!("CARGO_PKG_VERSION"))),
    }
}

/// The session that is meant.
fn session_id(id: &str) -> Result<String, Failure> {
    id.parse::<safeconduct_model::SessionId>().map(|id| id.to_string()).map_err(|error| Failure::usage(error.to_string()))
}

/// The access request that a grant or access request id names.
fn access_request_id(id: &str) -> Result<String, Failure> {
    if let Ok(grant) = id.parse::<safeconduct_model::GrantId>() {
        return Ok(grant.access_request().to_string());
    }
    id.parse::<safeconduct_model::AccessRequestId>().map(|id| id.to_string()).map_err(|error| Failure::usage(error.to_string()))
}

/// The grant that a grant or access request id names.
fn grant_id(id: &str) -> Result<String, Failure> {
    if let Ok(request) = id.parse::<safeconduct_model::AccessRequestId>() {
        return Ok(request.grant().to_string());
    }
    id.parse::<safeconduct_model::GrantId>().map(|id| id.to_string()).map_err(|error| Failure::usage(error.to_string()))
}
