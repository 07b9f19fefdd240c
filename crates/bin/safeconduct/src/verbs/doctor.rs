//! `doctor`: looks at this machine's gateway and at the servers behind it, and says what is wrong and what to do. Changes nothing.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use safeconduct_app::ports::Clock as _;
use safeconduct_evidence::Roster;
use safeconduct_gateway_postgres::{Finding, Level, SecretUnavailable, Secrets, inspect};
use safeconduct_policy::Bundle;
use safeconduct_system::SystemClock;

use super::Context;
use crate::{
    failure::{Exit, Failure},
    output::{Output, Tone},
    serve::{bundle, config::Config, roster},
};

/// Arguments of `doctor`.
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Settings of the gateway, as for `serve`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Look at the servers of this policy bundle instead of the one in the settings
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Look at this resource only
    #[arg(long, value_name = "NAME")]
    pub resource: Option<String>,
}

/// How long a server may take to answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Space below which somebody should look, and below which it fails.
const LITTLE_BYTES: u64 = 1 << 30;
const TOO_LITTLE_BYTES: u64 = 100 << 20;
/// A certificate that ends earlier is worth a warning.
const SOON_DAYS: i64 = 21;

pub async fn doctor(context: &Context, args: Doctor) -> Result<(), Failure> {
    let mut found: Vec<(String, Finding)> = Vec::new();
    let config = match Config::read(args.config.as_deref()) {
        Ok(config) => Some(config),
        Err(failure) => {
            let why = failure.why.as_deref().map(|why| why.replace('\n', "; ")).unwrap_or_default();
            gateway(&mut found, Finding::fail("settings", format!("{}: {why}", failure.message), "see docs/errors/SERVE-001.md"));
            None
        }
    };
    let whole = args.resource.is_none();
    if let Some(config) = config.as_ref().filter(|_| whole) {
        gateway(&mut found, Finding::ok("settings", "no mistakes"));
        keys(config, &mut found);
        certificate(config, &mut found);
        store(config, &mut found);
        space(config, &mut found);
        listeners(config, &mut found);
        roster(config, args.bundle.as_deref().or(config.bundle.as_deref()), &mut found);
    }
    let folder = args.bundle.or_else(|| config.and_then(|config| config.bundle));
    match folder {
        Some(folder) => resources(&folder, args.resource.as_deref(), &mut found).await,
        None => gateway(
            &mut found,
            Finding::warn(
                "bundle",
                "no directory holds it: the servers behind the door are not looked at",
                "`--bundle DIR` with the bundle that applies",
            ),
        ),
    }
    print(context.output, &found)
}

fn gateway(found: &mut Vec<(String, Finding)>, finding: Finding) {
    found.push(("gateway".to_owned(), finding));
}

fn print(output: Output, found: &[(String, Finding)]) -> Result<(), Failure> {
    let level = |finding: &Finding| match finding.level {
        Level::Ok => ("ok", Tone::Good),
        Level::Warn => ("warn", Tone::Waiting),
        Level::Fail => ("FAIL", Tone::Bad),
    };
    if output.json {
        let checks: Vec<_> = found
            .iter()
            .map(|(of, f)| serde_json::json!({ "of": of, "about": f.about, "level": level(f).0, "says": f.says, "next": f.next }))
            .collect();
        output.json(&serde_json::json!({ "checks": checks }))?;
    } else {
        for (of, finding) in found {
            let (name, tone) = level(finding);
            let next = finding.next.as_ref().map(|next| format!("; next: {next}")).unwrap_or_default();
            let says = crate::output::cell(format!("{of}, {}: {}{next}", finding.about, finding.says));
            output.safe_line(format!("{}{} {says}", output.paint(tone, name), " ".repeat(4 - name.len())))?;
        }
    }
    let failed = found.iter().filter(|(_, finding)| finding.level == Level::Fail).count();
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new("DOCTOR-001", Exit::Error, "something is wrong")
        .why(format!("{failed} checks failed"))
        .next("see the lines with FAIL"))
}

/// Private, and there, if there is a store.
fn keys(config: &Config, found: &mut Vec<(String, Finding)>) {
    let key = config.keys.join("checkpoint.key");
    gateway(
        found,
        match std::fs::metadata(&key) {
            Ok(file) if file.permissions().mode() & 0o077 == 0 => Finding::ok("keys", "the checkpoint key is there and private"),
            Ok(_) => Finding::fail("keys", format!("others may read `{}`", key.display()), format!("chmod 600 {}", key.display())),
            Err(_) if config.store_file().exists() => {
                let says = format!("`{}` is not there or not readable, and there is a store", key.display());
                Finding::fail("keys", says, "put the key back, or run this as the user that the gateway runs as")
            }
            Err(_) => Finding::ok("keys", "none yet: the first start makes them"),
        },
    );
}

/// How long the listeners' certificate is good for.
fn certificate(config: &Config, found: &mut Vec<(String, Finding)>) {
    let (file, made_here) = match &config.tls_files {
        Some(files) => (files.certificate.clone(), false),
        None => (config.keys.join("ca.pem"), true),
    };
    if made_here && !file.exists() {
        return gateway(found, Finding::ok("certificate", "none yet: the first start makes an authority"));
    }
    let mend = if made_here { "move `ca.pem` and `ca.key` away and start: clients must then trust the new authority" } else { "renew it" };
    let read = CertificateDer::from_pem_file(&file).map_err(|error| error.to_string());
    let ends = read.and_then(|der| {
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        Ok(certificate.validity().not_after.timestamp())
    });
    gateway(
        found,
        match ends.map(|ends| (ends - SystemClock.now().micros() / 1_000_000) / 86_400) {
            Err(why) => Finding::fail("certificate", format!("`{}` can't be read: {why}", file.display()), "see `tls.certificate`"),
            Ok(days) if days < 0 => Finding::fail("certificate", format!("`{}` has ended", file.display()), mend),
            Ok(days) if days < SOON_DAYS => Finding::warn("certificate", format!("`{}` ends in {days} days", file.display()), mend),
            Ok(_) => Finding::ok("certificate", format!("good for more than {SOON_DAYS} days")),
        },
    );
}

/// Whole, and not from a future that the clock has not reached.
fn store(config: &Config, found: &mut Vec<(String, Finding)>) {
    let file = config.store_file();
    if !file.exists() {
        return gateway(found, Finding::ok("store", "none yet: the first start makes it"));
    }
    let contents = match safeconduct_store_sqlite::contents(&file) {
        Ok(contents) => contents,
        Err(error) => {
            let says = format!("`{}` can't be read: {}", file.display(), safeconduct_ledger::explain(&error));
            return gateway(found, Finding::fail("store", says, "see its owner, mode and disk; else restore a backup"));
        }
    };
    gateway(found, Finding::ok("store", format!("whole, {} entries in the ledger", contents.head.size)));
    let behind = contents.high_water.map_or(0, |mark| (mark.micros() - SystemClock.now().micros()) / 1_000_000);
    gateway(
        found,
        if behind > 60 {
            let says = format!("{behind} s behind the latest time in the store: at the next start no grant would be live");
            Finding::fail("clock", says, "set the clock right (`timedatectl`)")
        } else {
            Finding::ok("clock", "not behind the store")
        },
    );
}

fn space(config: &Config, found: &mut Vec<(String, Finding)>) {
    // The nearest directory that is there: the rest will be made on its disk.
    let there = config.data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let mend = "make room: what can't be recorded is not done";
    gateway(
        found,
        match safeconduct_system::space(there) {
            Err(error) => Finding::warn("space", format!("not known: {error}"), "see `data`"),
            Ok((free, _)) if free < TOO_LITTLE_BYTES => Finding::fail("space", format!("{} MiB are left for data", free >> 20), mend),
            Ok((free, _)) if free < LITTLE_BYTES => Finding::warn("space", format!("{} MiB are left for data", free >> 20), mend),
            Ok(_) => Finding::ok("space", "more than 1 GiB is left for data"),
        },
    );
}

/// Free, or taken by a gateway that runs.
fn listeners(config: &Config, found: &mut Vec<(String, Finding)>) {
    let places = [
        ("api.listen", Some(config.api_listen)),
        ("postgres.listen", Some(config.postgres_listen)),
        ("metrics.listen", config.metrics_listen),
    ];
    for (key, at) in places.into_iter().filter_map(|(key, at)| at.map(|at| (key, at))) {
        gateway(found, listener(key, at));
    }
}

fn listener(key: &str, at: SocketAddr) -> Finding {
    match TcpListener::bind(at) {
        Ok(_) => Finding::ok("listener", format!("{key}: {at} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let here = if at.ip().is_unspecified() { SocketAddr::from(([127, 0, 0, 1], at.port())) } else { at };
            if TcpStream::connect_timeout(&here, LIMIT).is_ok() {
                Finding::ok("listener", format!("{key}: something answers at {at}, a gateway that runs if there is one"))
            } else {
                Finding::fail("listener", format!("{key}: {at} is taken and does not answer"), "see who has it: `ss -ltnp`")
            }
        }
        Err(error) => Finding::fail(
            "listener",
            format!("{key}: {at} can't be listened on: {error}"),
            "see that this machine has the address, and the port's number",
        ),
    }
}

/// What a start or a reload would make of the roster, before it is tried.
fn roster(config: &Config, folder: Option<&Path>, found: &mut Vec<(String, Finding)>) {
    let signed = match roster::read(config) {
        Ok(None) => return,
        Ok(Some(signed)) => signed,
        Err(failure) => {
            let why = failure.why.unwrap_or(failure.message);
            return gateway(found, Finding::fail("roster", why, "see the operating guide, \"Root keys and the roster\""));
        }
    };
    let read = Roster::prove(&signed.text, &signed.signatures, &signed.roots, &config.gateway, signed.highest_epoch);
    let read = match read {
        Ok(read) => read,
        Err(invalid) => {
            let next = "have it signed; until then the one in force stays, and no start succeeds";
            return gateway(found, Finding::fail("roster", invalid.to_string(), next));
        }
    };
    let (people, policies, needed, keys) = (read.people.len(), read.policies.len(), signed.roots.needed, signed.roots.keys.len());
    let says = format!("epoch {}, people: {people}, policies: {policies}; signed, as {needed} of {keys} root keys must", read.epoch);
    gateway(found, Finding::ok("roster", says));
    let bundle = folder.and_then(|folder| Bundle::parse(&bundle::read(folder).ok()?).ok());
    if let Some(bundle) = bundle.filter(|bundle| !read.policies.contains(&bundle.hash)) {
        let says = format!("it does not name this bundle, {}: under it nothing but administration is allowed", bundle.hash);
        gateway(found, Finding::fail("roster", says, format!("`key roster --epoch {} --policy {}`", read.epoch + 1, bundle.hash)));
    }
}

async fn resources(folder: &Path, only: Option<&str>, found: &mut Vec<(String, Finding)>) {
    let parsed = bundle::read(folder).map_err(|failure| failure.message).and_then(|files| {
        Bundle::parse(&files).map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    });
    let parsed = match parsed {
        Ok(parsed) => parsed,
        Err(why) => return gateway(found, Finding::fail("bundle", why, format!("safeconduct policy check {}", folder.display()))),
    };
    gateway(found, Finding::ok("bundle", "no mistakes"));
    let secrets: Secrets = Arc::new(|reference| safeconduct_app::read_secret(reference).map_err(|e| SecretUnavailable(e.to_string())));
    let mut looked = false;
    for (name, resource) in
        parsed.resources.iter().filter(|(name, resource)| resource.postgres().is_some() && only.is_none_or(|only| only == name.as_str()))
    {
        looked = true;
        found.extend(inspect(resource, &secrets, SystemClock.now(), LIMIT).await.into_iter().map(|finding| (name.to_string(), finding)));
    }
    if let Some(only) = only.filter(|_| !looked) {
        gateway(found, Finding::fail("bundle", format!("it has no resource `{only}`"), "see its `resources` directory"));
    }
}
