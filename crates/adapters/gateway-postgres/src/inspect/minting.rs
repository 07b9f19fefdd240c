//! Whether the gateway's own account can make the roles that the resource file speaks of, and whether those are what they should be.

use std::collections::BTreeSet;

use safeconduct_model::{Minted, Operation, SESSION_ROLE_PREFIX, Timestamp};

use super::{Failed, Finding, OWN, Server, list, quoted};

/// More than this between the clocks, in seconds, and `VALID UNTIL` means something else at the server.
const CLOCKS_APART: i64 = 5;
/// From this version on, only who has a role WITH ADMIN OPTION may give it away.
const ADMIN_OPTION_FROM: u32 = 160_000;

pub(super) async fn look(server: &mut Server, minted: &Minted, now: Timestamp, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let may = server.one("SELECT rolcreaterole FROM pg_roles WHERE rolname = current_user").await? == "t";
    found.push(if may {
        Finding::ok("minting", "the account may create roles")
    } else {
        Finding::fail("minting", "the account may not create roles: no session can be opened", "ALTER ROLE … CREATEROLE")
    });
    let groups: BTreeSet<&String> = minted.roles.values().flatten().collect();
    group_roles(server, &groups, found).await?;
    if let Some(readers) = minted.roles.get(&Operation::Read) {
        readers_that_write(server, readers, found).await?;
    }
    owner(server, minted, found).await?;
    clock(server, now, found).await?;
    let sessions =
        server.one(&format!("SELECT count(*) FROM pg_roles WHERE starts_with(rolname::text, {})", quoted(SESSION_ROLE_PREFIX))).await?;
    found.push(Finding::ok("sessions' roles", format!("{sessions} at the server now; the gateway reports those it does not know")));
    Ok(())
}

/// The roles that sessions become members of: there, without powers of their own, and the account's to give.
async fn group_roles(server: &mut Server, groups: &BTreeSet<&String>, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let names = names(groups.iter().copied());
    let missing = server
        .names(&format!("SELECT g FROM unnest({names}) g WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = g) ORDER BY 1"))
        .await?;
    let powers = server
        .names(&format!(
            "SELECT r.rolname || ' (' || string_agg(a.name, ', ' ORDER BY a.name) || ')' FROM pg_roles r, LATERAL (VALUES \
             ('superuser', rolsuper), ('createrole', rolcreaterole), ('createdb', rolcreatedb), ('replication', rolreplication), \
             ('bypassrls', rolbypassrls), ('login', rolcanlogin)) a(name, has) WHERE r.rolname = ANY ({names}) AND a.has GROUP BY r.rolname \
             UNION ALL SELECT r.rolname || ' (member of ' || string_agg(p.rolname, ', ' ORDER BY p.rolname) || ')' FROM pg_roles r JOIN pg_roles p \
             ON p.rolname ~ '^pg_' AND NOT r.rolsuper AND pg_has_role(r.oid, p.oid, 'MEMBER') WHERE r.rolname = ANY ({names}) GROUP BY r.rolname ORDER BY 1"
        ))
        .await?;
    let version: u32 = server.one("SELECT current_setting('server_version_num')").await?.parse()?;
    let ungivable = if version < ADMIN_OPTION_FROM {
        Vec::new()
    } else {
        let not_admin = "NOT pg_has_role(current_user, oid, 'MEMBER WITH ADMIN OPTION')";
        server.names(&format!("SELECT rolname FROM pg_roles WHERE rolname = ANY ({names}) AND {not_admin} ORDER BY 1")).await?
    };
    if !missing.is_empty() {
        let says = format!("there is no {}: grants that need it open no session", list(&missing));
        found.push(Finding::fail("group roles", says, "CREATE ROLE …, or mend `[postgres.credentials.roles]`"));
    }
    if !ungivable.is_empty() {
        let says = format!("the account may not give away {}", list(&ungivable));
        found.push(Finding::fail("group roles", says, "GRANT … TO the account WITH ADMIN OPTION"));
    }
    if !powers.is_empty() {
        let says = format!("sessions get powers with {}", list(&powers));
        found.push(Finding::warn("group roles", says, "ALTER ROLE … NO…, REVOKE what your policies never give"));
    }
    if missing.is_empty() && ungivable.is_empty() && powers.is_empty() {
        found.push(Finding::ok("group roles", format!("{} there, the account's to give, without powers of their own", groups.len())));
    }
    Ok(())
}

async fn readers_that_write(server: &mut Server, readers: &BTreeSet<String>, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let writable = server
        .names(&format!(
            "SELECT DISTINCT r.rolname || ' on ' || c.oid::regclass FROM pg_roles r, pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE r.rolname = ANY ({}) AND n.nspname NOT IN {OWN} AND c.relkind IN ('r', 'p', 'v', 'f') \
             AND has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') ORDER BY 1",
            names(readers.iter())
        ))
        .await?;
    found.push(if writable.is_empty() {
        Finding::ok("reading", "what `read` gives changes no table")
    } else {
        let says = format!("what `read` gives may write: {}; only the session's being read only stands in between", list(&writable));
        Finding::warn("reading", says, "REVOKE INSERT, UPDATE, DELETE, TRUNCATE")
    });
    Ok(())
}

/// Who gets what sessions made: without it a role that owns something can't be dropped.
async fn owner(server: &mut Server, minted: &Minted, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let Some(owner) = &minted.owner else { return Ok(()) };
    let sql = format!("SELECT pg_has_role(current_user, oid, 'MEMBER') FROM pg_roles WHERE rolname = {}", quoted(owner));
    found.push(match server.one(&sql).await?.as_str() {
        "t" => Finding::ok("owner", format!("the account may give `{owner}` what sessions leave")),
        "" => Finding::fail("owner", format!("there is no role `{owner}`: what sessions own can't be given away"), "mend `owner`"),
        _ => Finding::fail("owner", format!("the account is no member of `{owner}`, and can't give it anything"), "GRANT … TO the account"),
    });
    Ok(())
}

async fn clock(server: &mut Server, now: Timestamp, found: &mut Vec<Finding>) -> Result<(), Failed> {
    let theirs: i64 = server.one("SELECT extract(epoch FROM clock_timestamp())::bigint").await?.parse()?;
    let ahead = theirs.saturating_sub(now.micros().div_euclid(1_000_000));
    found.push(if ahead.abs() <= CLOCKS_APART {
        Finding::ok("clock", "the server's clock agrees with the gateway's")
    } else {
        let (by, how) = (ahead.abs(), if ahead > 0 { "ahead of" } else { "behind" });
        let says = format!("the server's clock is {by} s {how} the gateway's: roles stop signing in at the wrong time");
        Finding::warn("clock", says, "synchronise both: chrony, systemd-timesyncd")
    });
    Ok(())
}

/// An array of these names for SQL.
fn names<'n>(names: impl Iterator<Item = &'n String>) -> String {
    format!("ARRAY[{}]::text[]", names.map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
}
