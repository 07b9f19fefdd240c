//! Looks at a resource's server as the gateway's login sees it: does it answer, what may the login do, and what does PUBLIC get.
//!
//! Reads the catalog and changes nothing. Says what it found and what to do; decides nothing.

mod minting;

use std::{error::Error, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use safeconduct_model::{Postgres, Resource, Timestamp, UpstreamTls};
use tokio::{io::AsyncWriteExt, time::timeout};

use crate::{
    Secrets,
    upstream::{self, Login, Upstream},
    wire::{Reader, Report, malformed},
};

/// What was found about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was looked at: one word or two.
    pub about: &'static str,
    pub says: String,
    /// What to do about it.
    pub next: Option<String>,
}

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Ok,
    Warn,
    Fail,
}

impl Finding {
    /// Nothing is wrong with it.
    #[must_use]
    pub fn ok(about: &'static str, says: impl Into<String>) -> Self {
        Self { level: Level::Ok, about, says: says.into(), next: None }
    }

    /// It works, and somebody should look at it.
    #[must_use]
    pub fn warn(about: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Warn, about, says: says.into(), next: Some(next.into()) }
    }

    /// It does not work, or must not be like this.
    #[must_use]
    pub fn fail(about: &'static str, says: impl Into<String>, next: impl Into<String>) -> Self {
        Self { level: Level::Fail, about, says: says.into(), next: Some(next.into()) }
    }
}

/// Major versions that were tried with the door. What functions of later ones do is not known: they are held.
const VERSIONS: std::ops::RangeInclusive<u32> = 13..=18;
/// Largest row taken.
const ROW_BYTES: usize = 1024 * 1024;
/// Most names that one finding lists.
const NAMES: usize = 8;

type Failed = Box<dyn Error + Send + Sync>;

/// Schemas that are the server's own, as a list for SQL.
const OWN: &str = "('pg_catalog', 'information_schema', 'pg_toast')";

/// Looks at everything, in order; what can't be reached ends it. `now` is the gateway's own clock.
pub async fn inspect(resource: &Resource, secrets: &Secrets, now: Timestamp, limit: Duration) -> Vec<Finding> {
    let Some(postgres) = resource.postgres() else { return Vec::new() };
    let mut found = vec![match &postgres.tls {
        UpstreamTls::VerifyFull { .. } => Finding::ok("encryption", "TLS, and the server must prove who it is"),
        UpstreamTls::DangerDisabled => {
            let says = "none: the password and all data cross the network in clear";
            Finding::warn("encryption", says, "remove `danger_disabled` and give `ca_file`")
        }
    }];
    let login = Login::own(resource, &postgres.database, "safeconduct doctor");
    let upstream = match upstream::connect(&login, secrets, limit).await {
        Ok(upstream) => upstream,
        Err(error) => {
            let (mut says, mut cause) = (error.to_string(), error.source());
            while let Some(error) = cause {
                says.push_str(&format!(": {error}"));
                cause = error.source();
            }
            found.push(Finding::fail("connection", says, next_step(&error)));
            return found;
        }
    };
    found.push(Finding::ok("connection", "reached, identity and login accepted, pinned settings kept"));
    let mut server = Server { process: upstream.cancel.process, reader: Reader::from_rest(upstream.rest.clone()), upstream };
    match timeout(limit.saturating_mul(3), look(&mut server, postgres, now, &mut found)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => found.push(Finding::fail("catalog", format!("could not be read: {error}"), "see the server's log")),
        Err(_) => found.push(Finding::fail("catalog", "the server does not answer", "see what blocks it: pg_stat_activity")),
    }
    found.push(Finding::ok(
        "way round",
        "whether anybody can reach the server past the door can't be seen from here: look at its pg_hba.conf and firewall",
    ));
    found
}

fn next_step(error: &upstream::UpstreamError) -> &'static str {
    use upstream::UpstreamError as E;
    match error {
        E::NoLogin { .. } => "see that the reference in `[postgres.credentials]` leads to a file or variable that the gateway may read",
        E::Unreachable { .. } | E::Silent { .. } => "see `host` and `port`, the network between, and whether the server runs",
        E::Untrusted { .. } => "see `ca_file`, `server_name`, and whether the server's certificate is still valid",
        E::LoginRefused { .. } => "see user, password and the server's pg_hba.conf",
        E::Unpinned { .. } => "connect the door to the server itself, not to a pooler",
        _ => "see the server's log",
    }
}

struct Server {
    process: i32,
    upstream: Upstream,
    reader: Reader,
}

type Row = Vec<Option<String>>;

impl Server {
    /// Rows of one statement, in text.
    async fn rows(&mut self, sql: &str) -> Result<Vec<Row>, Failed> {
        let mut request = BytesMut::new();
        frontend::query(sql, &mut request)?;
        self.upstream.stream.write_all(&request).await?;
        self.upstream.stream.flush().await?;
        let (mut rows, mut failed) = (Vec::new(), None);
        loop {
            let message = self.reader.next(&mut self.upstream.stream, ROW_BYTES).await?;
            match message.tag {
                b'D' => rows.push(row(message.whole()?)?),
                b'E' => failed = Some(Report::parse(message.whole()?)?),
                b'Z' => break,
                _ => {}
            }
        }
        match failed {
            Some(report) => Err(format!("{}: {}", report.sqlstate, report.message).into()),
            None => Ok(rows),
        }
    }

    /// The first column of each row.
    async fn names(&mut self, sql: &str) -> Result<Vec<String>, Failed> {
        Ok(self.rows(sql).await?.into_iter().filter_map(|row| row.into_iter().next().flatten()).collect())
    }

    async fn one(&mut self, sql: &str) -> Result<String, Failed> {
        Ok(self.names(sql).await?.into_iter().next().unwrap_or_default())
    }
}

fn row(mut body: Bytes) -> std::io::Result<Row> {
    let short = || malformed("row is cut");
    let columns = body.try_get_i16().map_err(|_| short())?;
    (0..columns)
        .map(|_| {
            let length = body.try_get_i32().map_err(|_| short())?;
            let Ok(length) = usize::try_from(length) else { return Ok(None) };
            if body.len() < length {
                return Err(short());
            }
            Ok(Some(String::from_utf8_lossy(&body.split_to(length)).into_owned()))
        })
        .collect()
}

/// A list that fits in a line.
fn list(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES { format!("{shown} and {} more", names.len() - NAMES) } else { shown }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

async fn look(server: &mut Server, postgres: &Postgres, now: Timestamp, found: &mut Vec<Finding>) -> Result<(), Failed> {
    server.rows("SET statement_timeout = '10s'; SET default_transaction_read_only = on; SET search_path = pg_catalog").await?;
    version(server, found).await?;
    pooler(server, found).await?;
    login(server, postgres, found).await?;
    if let Some(minted) = postgres.credentials.minted() {
        minting::look(server, minted, now, found).await?;
    }
    public(server, found).await?;
    shadows(server, postgres, found).await?;
    settings(server, found).await
}

async fn version(server: &mut Server, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let number: u32 = server.one("SELECT current_setting('server_version_num')").await?.parse()?;
    let major = number / 10_000;
    found.push(if VERSIONS.contains(&major) {
        Finding::ok("version", format!("PostgreSQL {major}"))
    } else {
        let says = format!("PostgreSQL {major}; the door is made for {} to {}", VERSIONS.start(), VERSIONS.end());
        Finding::warn("version", says, "try what you need before people depend on it")
    });
    Ok(())
}

async fn pooler(server: &mut Server, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let process = server.one("SELECT pg_backend_pid()").await?;
    found.push(if process == server.process.to_string() {
        Finding::ok("pooler", "none between the door and the server")
    } else {
        Finding::fail(
            "pooler",
            "something between the door and the server answers in its name: sessions can't be ended, and settings may be another's",
            "connect the door to the server itself",
        )
    });
    Ok(())
}

/// What the gateway's own login may do. Where it is every session's, no session has more.
async fn login(server: &mut Server, postgres: &Postgres, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let attributes = "SELECT a.name FROM pg_roles r, LATERAL (VALUES ('superuser', rolsuper), ('createrole', rolcreaterole), \
        ('createdb', rolcreatedb), ('replication', rolreplication), ('bypassrls', rolbypassrls)) a(name, has) \
        WHERE r.rolname = current_user AND a.has";
    let mints = postgres.credentials.minted().is_some();
    let mut attributes = server.names(attributes).await?;
    attributes.retain(|name| !(mints && name == "createrole"));
    let superuser = attributes.iter().any(|name| name == "superuser");
    found.push(if superuser {
        Finding::fail("login", "it is a superuser: it may do what no policy of yours can give", "make another login, without any attribute")
    } else if attributes.is_empty() && mints {
        Finding::ok("login", "no superuser, and no attribute but createrole")
    } else if attributes.is_empty() {
        Finding::ok("login", "no superuser, and no other attribute")
    } else {
        Finding::warn("login", format!("it has {}", list(&attributes)), "take away what your policies never give: ALTER ROLE … NO…")
    });
    if superuser {
        return Ok(());
    }
    let powerful = server
        .names(
            "SELECT rolname FROM pg_roles WHERE rolname ~ '^pg_' AND rolname NOT IN ('pg_monitor', 'pg_read_all_settings', 'pg_read_all_stats') \
             AND pg_has_role(current_user, oid, 'MEMBER') ORDER BY 1",
        )
        .await?;
    let dangerous = ["pg_execute_server_program", "pg_read_server_files", "pg_write_server_files"];
    found.push(if powerful.iter().any(|role| dangerous.contains(&role.as_str())) {
        Finding::fail(
            "roles",
            format!("it is a member of {}: files and programs of the server's machine", list(&powerful)),
            "REVOKE these roles from it",
        )
    } else if powerful.is_empty() {
        Finding::ok("roles", "member of none of the server's powerful roles")
    } else {
        Finding::warn("roles", format!("it is a member of {}", list(&powerful)), "REVOKE what your policies never give")
    });
    let owned = server
        .names(&format!(
            "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT IN {OWN} \
             AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND pg_has_role(current_user, c.relowner, 'USAGE') ORDER BY 1"
        ))
        .await?;
    found.push(if owned.is_empty() {
        Finding::ok("ownership", "it owns no table")
    } else if mints {
        // Sessions have rights of their own: the account may own what it gives away.
        Finding::ok("ownership", format!("the account owns {}; sessions do not", list(&owned)))
    } else {
        Finding::warn(
            "ownership",
            format!("it owns {}: an owner may alter, drop and grant", list(&owned)),
            "let another role own them, and GRANT what policies give at most",
        )
    });
    Ok(())
}

/// What everybody gets who can connect.
async fn public(server: &mut Server, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let definers = server
        .names(&format!(
            "SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef AND n.nspname NOT IN {OWN} \
             AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE') ORDER BY 1"
        ))
        .await?;
    found.push(if definers.is_empty() {
        Finding::ok("PUBLIC functions", "no SECURITY DEFINER function may be run by everybody")
    } else {
        Finding::warn(
            "PUBLIC functions",
            format!("everybody may run, with their owner's rights: {}", list(&definers)),
            "REVOKE EXECUTE ON FUNCTION … FROM PUBLIC",
        )
    });
    let database = server
        .names(
            "SELECT a.privilege_type FROM pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a \
             WHERE d.datname = current_database() AND a.grantee = 0 AND a.privilege_type IN ('CREATE', 'TEMPORARY') ORDER BY 1",
        )
        .await?;
    found.push(if database.is_empty() {
        Finding::ok("PUBLIC database", "neither CREATE nor TEMPORARY for everybody")
    } else {
        Finding::warn(
            "PUBLIC database",
            format!("everybody has {} on it", list(&database)),
            format!("REVOKE {} ON DATABASE … FROM PUBLIC", list(&database)),
        )
    });
    let schemas = server
        .names(
            "SELECT quote_ident(n.nspname) FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a \
             WHERE a.grantee = 0 AND a.privilege_type = 'CREATE' ORDER BY 1",
        )
        .await?;
    found.push(if schemas.is_empty() {
        Finding::ok("PUBLIC schemas", "nobody may create objects in a schema by being nobody in particular")
    } else {
        let says = format!("everybody may create objects in {}: functions that take the place of others", list(&schemas));
        Finding::fail("PUBLIC schemas", says, "REVOKE CREATE ON SCHEMA … FROM PUBLIC")
    });
    let languages =
        server.names("SELECT lanname FROM pg_language WHERE NOT lanpltrusted AND lanname NOT IN ('internal', 'c') ORDER BY 1").await?;
    let extensions = server
        .names("SELECT extname FROM pg_extension WHERE extname IN ('dblink', 'postgres_fdw', 'file_fdw', 'adminpack', 'lo', 'pg_cron', 'http') ORDER BY 1")
        .await?;
    found.push(if languages.is_empty() && extensions.is_empty() {
        Finding::ok("ways out", "no untrusted language, and no extension that reaches other servers or files")
    } else {
        let both = [languages, extensions].concat();
        Finding::warn(
            "ways out",
            format!("there is a way beyond this database: {}", list(&both)),
            "DROP what nobody needs; let only its owner use the rest",
        )
    });
    let large = server
        .names(
            "SELECT o.oid::text FROM pg_largeobject_metadata o, aclexplode(o.lomacl) a WHERE a.grantee = 0 \
             UNION ALL SELECT 'all (lo_compat_privileges)' WHERE current_setting('lo_compat_privileges') = 'on'",
        )
        .await?;
    found.push(if large.is_empty() {
        Finding::ok("large objects", "none is everybody's")
    } else {
        Finding::warn(
            "large objects",
            format!("everybody may use {}", list(&large)),
            "REVOKE ALL ON LARGE OBJECT … FROM PUBLIC; lo_compat_privileges = off",
        )
    });
    Ok(())
}

/// Names that mean something else than the server's own: a better match by argument types is taken even behind `pg_catalog`.
async fn shadows(server: &mut Server, postgres: &Postgres, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let path = postgres.search_path.iter().map(|schema| quoted(schema)).collect::<Vec<_>>().join(", ");
    let path = if path.is_empty() { "''".to_owned() } else { path };
    let names = server
        .names(&format!(
            "SELECT 'function ' || p.oid::regprocedure FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ({path}) \
             AND EXISTS (SELECT FROM pg_proc own WHERE own.proname = p.proname AND own.pronamespace = 'pg_catalog'::regnamespace) \
             UNION ALL SELECT 'operator ' || o.oid::regoperator FROM pg_operator o JOIN pg_namespace n ON n.oid = o.oprnamespace WHERE n.nspname IN ({path}) \
             UNION ALL SELECT 'cast ' || c.castsource::regtype || ' as ' || c.casttarget::regtype FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc \
             WHERE p.pronamespace <> 'pg_catalog'::regnamespace AND c.castcontext IN ('i', 'a') ORDER BY 1"
        ))
        .await?;
    found.push(if names.is_empty() {
        Finding::ok("shadows", "nothing in the search path stands for one of the server's own functions, operators or casts")
    } else {
        Finding::warn(
            "shadows",
            format!("a statement that reads harmless may run {}", list(&names)),
            "see that you trust who wrote them, or take their schema out of the resource's `search_path`",
        )
    });
    Ok(())
}

async fn settings(server: &mut Server, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let encryption = server.one("SELECT current_setting('password_encryption')").await?;
    found.push(if encryption == "scram-sha-256" {
        Finding::ok("passwords", "new ones are kept as SCRAM-SHA-256")
    } else {
        Finding::warn(
            "passwords",
            format!("new ones are kept as {encryption}"),
            "password_encryption = 'scram-sha-256', then set the login's password again",
        )
    });
    let logged = server.one("SELECT current_setting('log_statement')").await?;
    found.push(Finding::ok(
        "server's log",
        format!("log_statement is `{logged}`: such statements and their parameters are in the server's log too"),
    ));
    Ok(())
}
