//! The stage of the demonstration: a database, a node, people who are signed in, and a command for each of them.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use safeconduct_app::{OneTime, Person, ports::Entropy as _};
use safeconduct_policy::BundleFiles;
use safeconduct_system::SystemEntropy;
use tokio::sync::watch;
use zeroize::Zeroizing;

use super::postgres::{Postgres, free_port};
use crate::{
    failure::{Exit, Failure},
    serve::{
        Running,
        config::{Config, private_directory},
    },
};

/// Files of the demonstration's bundle.
const BUNDLE: [(&str, &str); 9] = [
    ("resources/orders-db.toml", include_str!("../../../../../demo/bundle/resources/orders-db.toml")),
    ("resources/billing-db.toml", include_str!("../../../../../demo/bundle/resources/billing-db.toml")),
    ("policies/orders.cedar", include_str!("../../../../../demo/bundle/policies/orders.cedar")),
    ("policies/billing.cedar", include_str!("../../../../../demo/bundle/policies/billing.cedar")),
    ("policies/dba.cedar", include_str!("../../../../../demo/bundle/policies/dba.cedar")),
    ("policies/freeze.cedar", include_str!("../../../../../demo/bundle/policies/freeze.cedar")),
    ("tests/orders.toml", include_str!("../../../../../demo/bundle/tests/orders.toml")),
    ("tests/billing.toml", include_str!("../../../../../demo/bundle/tests/billing.toml")),
    ("tests/administration.toml", include_str!("../../../../../demo/bundle/tests/administration.toml")),
];

/// Who plays: name, display name, groups.
pub const PEOPLE: [(&str, &str, &[&str]); 6] = [
    ("alice", "Alice, engineer", &["engineers"]),
    ("bob", "Bob, DBA", &["dba"]),
    ("dora", "Dora, DBA", &["dba"]),
    ("carol", "Carol, auditor", &["auditors"]),
    ("ann", "Ann, administrator", &["administrators"]),
    ("abe", "Abe, administrator", &["administrators"]),
];

/// The workload that plays.
pub const WORKLOAD: (&str, &str, &[&str]) = ("deployer", "Deployment pipeline", &["deployers"]);

/// Everything in place.
pub struct Stage {
    folder: tempfile::TempDir,
    pub postgres: Postgres,
    pub running: Running,
}

impl Stage {
    /// Builds it, which takes a few seconds; none if it was stopped meanwhile. Either way nothing half built is left. Of the settings all
    /// counts but what makes it a stage: name, directories, the door's address, the bundle.
    pub async fn build(settings: Option<Config>, stop: &watch::Receiver<bool>) -> Result<Option<Self>, Failure> {
        let local = |what: &str| {
            let what = what.to_owned();
            move |e: std::io::Error| Failure::local(&what, &e)
        };
        let folder = tempfile::Builder::new().prefix("safeconduct-demo-").tempdir().map_err(local("making a directory"))?;
        // The database's own user passes through; nobody can look around.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).map_err(local("opening the directory"))?;
        let path = folder.path().to_path_buf();
        let postgres = tokio::task::spawn_blocking(move || Postgres::start(&path))
            .await
            .map_err(|e| Failure::new("DEMO-001", Exit::Error, "starting PostgreSQL").why(e.to_string()))??;
        let mut running = None;
        let furnished = Self::furnish(folder.path(), &postgres, settings, &mut running, stop).await;
        match (furnished, running) {
            (Ok(()), Some(running)) if !*stop.borrow() => Ok(Some(Self { folder, postgres, running })),
            (furnished, running) => {
                clear(running, &postgres, folder).await;
                furnished.map(|()| None)
            }
        }
    }

    /// Ends early without an error when it is stopped.
    async fn furnish(
        folder: &Path,
        postgres: &Postgres,
        settings: Option<Config>,
        running: &mut Option<Running>,
        stop: &watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        if *stop.borrow() {
            return Ok(());
        }
        let private = folder.join("node");
        private_directory(&private).map_err(|e| Failure::local("making the node's directory", &e))?;
        let password = random::<24>()?;
        let password_file = private.join("upstream.password");
        std::fs::write(&password_file, password.as_bytes()).map_err(|e| Failure::local("writing the database password", &e))?;
        fill(postgres, &password)?;
        let settings = match settings {
            Some(settings) => settings,
            None => Config {
                api_listen: ([127, 0, 0, 1], 0).into(),
                public_url: "https://localhost:0".to_owned(),
                ..Config::parse(None, |_| None).map_err(|problems| Failure::usage(problems.join("; ")))?
            },
        };
        let config = Config {
            gateway: "safeconduct.demo".to_owned(),
            data: private.join("data"),
            keys: private.join("keys"),
            postgres_listen: ([127, 0, 0, 1], free_port()?).into(),
            bundle: None,
            ..settings
        };
        let running = running.insert(Running::start(config).await?);
        let problem = |p: safeconduct_app::Problem| crate::serve::failed(&p);
        running.app.operator_policy(&bundle(postgres, &password_file)).await.map_err(problem)?;
        make_people(folder, running, stop).await
    }

    /// The directory all of it is in.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where each person's command is.
    pub fn commands(&self) -> PathBuf {
        self.folder.path().join("bin")
    }

    /// What somebody signs in with in a browser.
    pub fn password(&self, who: &str) -> String {
        std::fs::read_to_string(self.folder.path().join("people").join(who).join("password")).unwrap_or_default()
    }

    /// Leaves nothing behind.
    pub async fn strike(self) {
        clear(Some(self.running), &self.postgres, self.folder).await;
    }
}

/// Stops what runs, then removes what is left.
async fn clear(running: Option<Running>, postgres: &Postgres, folder: tempfile::TempDir) {
    if let Some(running) = running {
        running.stop().await;
    }
    postgres.stop();
    if let Err(error) = folder.close() {
        eprintln!("the demonstration's directory is still there: {error}");
    }
}

fn fill(postgres: &Postgres, password: &str) -> Result<(), Failure> {
    // The password is made of characters that need no quoting.
    postgres.sql(
        "postgres",
        &format!("create role safeconduct login password '{password}'; create database orders; create database billing;"),
    )?;
    for (database, data) in
        [("orders", include_str!("../../../../../demo/data/orders.sql")), ("billing", include_str!("../../../../../demo/data/billing.sql"))]
    {
        postgres.sql(database, data)?;
        postgres.sql(
            database,
            "grant usage, create on schema public to safeconduct;
             do $$ declare name regclass; begin
               for name in select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' loop
                 execute format('alter table %s owner to safeconduct', name);
               end loop;
             end $$;",
        )?;
    }
    Ok(())
}

/// The bundle with this demonstration's addresses in it.
fn bundle(postgres: &Postgres, password_file: &Path) -> BundleFiles {
    let files = BUNDLE.map(|(path, text)| {
        let text = text
            .replace("port = 5432", &format!("port = {}", postgres.port))
            .replace("/run/safeconduct/upstream-ca.pem", &postgres.ca_file.display().to_string())
            .replace("/run/safeconduct/orders-db.password", &password_file.display().to_string())
            .replace("/run/safeconduct/billing-db.password", &password_file.display().to_string());
        (path.to_owned(), text.into_bytes())
    });
    BundleFiles { files: files.into_iter().collect() }
}

async fn make_people(folder: &Path, running: &Running, stop: &watch::Receiver<bool>) -> Result<(), Failure> {
    let invalid = |e: safeconduct_model::InvalidId| Failure::usage(e.to_string());
    let mut people = Vec::new();
    let mut passwords = Vec::new();
    for ((name, display_name, groups), workload) in PEOPLE.map(|p| (p, false)).into_iter().chain([(WORKLOAD, true)]) {
        // Short enough to be typed on a telephone.
        let password = random::<9>()?;
        people.push(Person {
            name: name.parse().map_err(invalid)?,
            display_name: display_name.to_owned(),
            groups: groups.iter().map(|g| g.parse().map_err(invalid)).collect::<Result<_, _>>()?,
            password: (!workload).then(|| password.clone()),
            workload,
        });
        passwords.push((name, password));
    }
    let handed_out = running.app.operator_people(people).await.map_err(|p| crate::serve::failed(&p))?;
    let commands = folder.join("bin");
    for directory in [&commands, &folder.join("people")] {
        std::fs::create_dir_all(directory).map_err(|e| Failure::local("making a directory", &e))?;
    }
    let program = std::env::current_exe().map_err(|e| Failure::local("finding this program", &e))?;
    for ((name, password), one_time) in passwords.into_iter().zip(handed_out) {
        if *stop.borrow() {
            return Ok(());
        }
        let home = folder.join("people").join(name);
        private_directory(&home).map_err(|e| Failure::local("making a home", &e))?;
        // What clients leave for a moment belongs to the stage, too, and goes with it.
        let mut variables = format!("export SAFECONDUCT_HOME='{}' XDG_RUNTIME_DIR='{}'\n", home.display(), home.display());
        if let Some(OneTime::Token { token, .. }) = one_time {
            let file = home.join("workload.token");
            write_private(&file, token.as_bytes())?;
            variables.push_str(&format!(
                "export SAFECONDUCT_TOKEN_FILE='{}' SAFECONDUCT_SERVER='{}' SAFECONDUCT_CA='{}'\n",
                file.display(),
                running.config.public_url,
                running.keys.ca_file.display()
            ));
        }
        let command = commands.join(name);
        let script = format!("#!/bin/sh\n{variables}exec '{}' \"$@\"\n", program.display());
        std::fs::write(&command, script).map_err(|e| Failure::local("writing a command", &e))?;
        std::fs::set_permissions(&command, std::fs::Permissions::from_mode(0o755)).map_err(|e| Failure::local("writing a command", &e))?;
        if name != WORKLOAD.0 {
            let password_file = home.join("password");
            write_private(&password_file, password.as_bytes())?;
            sign_in(&command, name, running, &password_file).await?;
        }
    }
    Ok(())
}

async fn sign_in(command: &Path, name: &str, running: &Running, password_file: &Path) -> Result<(), Failure> {
    let mut call = Command::new(command);
    call.args(["sign-in", name, "--server", &running.config.public_url, "--ca"])
        .arg(&running.keys.ca_file)
        .arg("--password-file")
        .arg(password_file)
        .stdin(Stdio::null())
        // Not of the terminal's group: Ctrl-C is the stage's to handle.
        .process_group(0);
    let output = tokio::task::spawn_blocking(move || call.output())
        .await
        .map_err(|e| Failure::new("DEMO-001", Exit::Error, "signing in").why(e.to_string()))?
        .map_err(|e| Failure::local("signing in", &e))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Failure::new("DEMO-001", Exit::Error, format!("{name} could not sign in"))
            .why(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let failed = |e: std::io::Error| Failure::local(&format!("writing {}", path.display()), &e);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)
}

fn random<const BYTES: usize>() -> Result<Zeroizing<String>, Failure> {
    let mut bytes = Zeroizing::new([0_u8; BYTES]);
    SystemEntropy.fill(&mut *bytes).map_err(|e| Failure::new("DEMO-001", Exit::Error, e.to_string()))?;
    Ok(Zeroizing::new(URL_SAFE_NO_PAD.encode(*bytes)))
}
