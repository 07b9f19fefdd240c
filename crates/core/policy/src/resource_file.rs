//! Resource files: `resources/NAME.toml` becomes a [`Resource`]. Holds references to secrets, never secrets; risky choices say `danger`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZoneDatabase;
use safeconduct_model::{
    Credentials, GroupName, Minted, Operation, Postgres, Resource, ResourceKind, ResourceName, SESSION_ROLE_PREFIX, SecretRef, Sensitivity,
    Ttl, UpstreamTls, Words,
};

use crate::{problem::Problem, reader, reader::Reader};

/// What a session's login role may be made a member for.
const OPERATIONS_WITH_ROLES: [Operation; 8] = [
    Operation::Connect,
    Operation::Read,
    Operation::Write,
    Operation::Ddl,
    Operation::Temp,
    Operation::Admin,
    Operation::Unknown,
    Operation::Unrestricted,
];
/// Longest hold that may be configured.
const MAX_HOLD_SECONDS: u64 = 24 * 3600;

/// Reads one resource file.
pub(crate) fn parse(file: &str, name: ResourceName, text: &str, zones: &TimeZoneDatabase, problems: &mut Vec<Problem>) -> Option<Resource> {
    let before = problems.len();
    let table = reader::read(file, text, problems)?;
    let mut reader = Reader::new(file, text, &table);
    let resource = resource(&mut reader, name, zones, problems);
    if reader.has("name") {
        problems.push(reader.problem(0, "a resource is named by its file").hint("remove `name`; rename the file to rename the resource"));
        reader.value("name");
    }
    reader.finish(problems);
    resource.filter(|_| problems.len() == before)
}

fn resource(reader: &mut Reader<'_, '_>, name: ResourceName, zones: &TimeZoneDatabase, problems: &mut Vec<Problem>) -> Option<Resource> {
    let description = reader.required("description", "\"what it is, for whoever asks for access\"", problems).and_then(|(text, at)| {
        Words::to_be_shown(text).map_err(|error| problems.push(reader.problem(at, format!("`description`: {error}")))).ok()
    });
    let owner = reader.parsed::<GroupName>("owner", problems);
    let sensitivity = match reader.string("sensitivity", problems) {
        None => Some(Sensitivity::default()),
        Some((text, at)) => {
            let found = [Sensitivity::Low, Sensitivity::Medium, Sensitivity::High].into_iter().find(|level| level.name() == text);
            if found.is_none() {
                problems.push(reader.problem(at, "`sensitivity` is low, medium or high"));
            }
            found
        }
    };
    let (time_zone, zone_at) = reader.string("time_zone", problems).unwrap_or(("UTC", 0));
    if zones.get(time_zone).is_err() {
        problems.push(reader.problem(zone_at, "`time_zone` is no IANA time zone").hint("write a name such as `Europe/Prague` or `UTC`"));
    }
    let labels = labels(reader, problems);
    let kind = reader.required("kind", "\"postgres\"", problems);
    let mut section = reader.table("postgres", problems);
    let kind = match kind {
        Some(("postgres", _)) => postgres(&mut section, problems).map(ResourceKind::Postgres),
        Some((_, at)) => {
            problems.push(reader.problem(at, "unknown kind of resource").hint("the kinds are: postgres"));
            None
        }
        None => None,
    };
    section.finish(problems);
    Some(Resource {
        name,
        kind: kind?,
        description: description?.as_str().to_owned(),
        owner,
        labels,
        sensitivity: sensitivity?,
        time_zone: time_zone.to_owned(),
    })
}

fn labels(reader: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::new();
    for (key, (value, at)) in reader.map("labels", problems) {
        let fits = |text: &str| {
            (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_./".contains(&b))
        };
        if !fits(&key) || !fits(value) {
            problems.push(reader.problem(at, "a label's key and value are 1 to 63 of a-z, 0-9, `-`, `_`, `.` and `/`"));
        }
        labels.insert(key, value.to_owned());
    }
    labels
}

fn postgres(reader: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> Option<Postgres> {
    let host = reader.required("host", "\"db.example.com\"", problems).and_then(|(text, at)| {
        let fits = (1..=253).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(&b));
        if !fits {
            problems.push(
                reader.problem(at, "`postgres.host` is a host name or address, without port").hint("the port has its own key, `port`"),
            );
        }
        fits.then(|| text.to_owned())
    });
    let port = reader.integer("port", 1, 65_535, problems).and_then(|port| u16::try_from(port).ok());
    let database =
        reader.required("database", "\"orders\"", problems).and_then(|found| identifier(reader, "postgres.database", found, problems));
    let databases = reader.strings("databases", problems).unwrap_or_default();
    let databases: BTreeSet<String> =
        databases.into_iter().filter_map(|found| identifier(reader, "postgres.databases", found, problems)).collect();
    let schemas = reader.strings("search_path", problems).unwrap_or_else(|| vec![("public", 0)]);
    let search_path: Vec<String> = schemas.into_iter().filter_map(|found| schema(reader, found, problems)).collect();
    let functions = functions(reader, problems);
    let danger_unrestricted = reader.boolean("danger_unrestricted", problems).unwrap_or(false);
    if reader.has("unrestricted") {
        reader.value("unrestricted");
        problems.push(reader.problem(reader.place(), "unknown key `postgres.unrestricted`").hint("it is spelled `danger_unrestricted`"));
    }
    let hold = hold_of(reader, "hold", 15 * 60, problems);
    let hold_in_transaction = hold_of(reader, "hold_in_transaction", 60, problems);
    let tls = tls(reader, problems);
    let credentials = credentials(reader, problems);
    Some(Postgres {
        host: host?,
        port: port.unwrap_or(5432),
        database: database?,
        databases,
        tls: tls?,
        credentials: credentials?,
        search_path,
        functions,
        danger_unrestricted,
        hold: hold?,
        hold_in_transaction: hold_in_transaction?,
    })
}

fn hold_of(reader: &mut Reader<'_, '_>, key: &'static str, default_seconds: u64, problems: &mut Vec<Problem>) -> Option<Ttl> {
    let Some((text, at)) = reader.string(key, problems) else { return Ttl::from_seconds(default_seconds).ok() };
    let ttl = text.parse::<Ttl>().ok().filter(|ttl| ttl.seconds() <= MAX_HOLD_SECONDS);
    if ttl.is_none() {
        problems.push(reader.problem(at, format!("`postgres.{key}` is a duration between 1 second and 1 day; write it as 60s or 15m")));
    }
    ttl
}

/// A name as PostgreSQL stores it: what the gateway quotes must be what was meant.
fn identifier(reader: &Reader<'_, '_>, key: &str, (text, at): (&str, usize), problems: &mut Vec<Problem>) -> Option<String> {
    let fits =
        (1..=63).contains(&text.len()) && safeconduct_model::text::check_value(text).is_ok() && !text.contains(['\n', '\r', '\t', '/']);
    if !fits {
        problems.push(reader.problem(
            at,
            format!("`{key}`: not a PostgreSQL name of 1 to 63 bytes without `/`, control characters and letters that pass for others"),
        ));
    }
    fits.then(|| text.to_owned())
}

fn schema(reader: &Reader<'_, '_>, found: (&str, usize), problems: &mut Vec<Problem>) -> Option<String> {
    let name = identifier(reader, "postgres.search_path", found, problems)?;
    if name.starts_with("pg_temp") || name == "$user" {
        let problem = reader.problem(found.1, format!("`postgres.search_path` may not hold `{name}`"));
        problems.push(problem.hint("name fixed schemas only; the gateway adds `pg_temp` last by itself"));
        return None;
    }
    Some(name)
}

fn functions(reader: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> BTreeMap<String, Operation> {
    let mut functions = BTreeMap::new();
    for (name, (class, at)) in reader.map("functions", problems) {
        let bare = name.split_once('(').map_or(name.as_str(), |(bare, _)| bare);
        let closed = !name.contains('(') || name.ends_with(')');
        if !closed || bare.split('.').filter(|part| !part.is_empty()).count() != 2 || bare.matches('.').count() != 1 {
            let problem = reader.problem(at, format!("`{}` names no function", safeconduct_model::text::printable(&name)));
            problems.push(problem.hint("write `\"schema.name\"` or `\"schema.name(integer, text)\"`"));
        }
        match class.parse() {
            Ok(class @ (Operation::Connect | Operation::Read | Operation::Write | Operation::Ddl | Operation::Temp | Operation::Admin)) => {
                functions.insert(name, class);
            }
            _ => problems.push(reader.problem(at, "a function's class is connect, read, write, ddl, temp or admin")),
        }
    }
    functions
}

fn tls(reader: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> Option<UpstreamTls> {
    let mut tls = reader.table("tls", problems);
    let ca_file = tls.string("ca_file", problems);
    let server_name = tls.string("server_name", problems);
    let disabled = tls.boolean("danger_disabled", problems).unwrap_or(false);
    let place = tls.place();
    if let Some((path, at)) = ca_file
        && !path.starts_with('/')
    {
        problems.push(tls.problem(at, "`postgres.tls.ca_file` is an absolute path to PEM certificates"));
    }
    let answer = match (ca_file, disabled) {
        (Some((ca_file, _)), false) => {
            Some(UpstreamTls::VerifyFull { ca_file: ca_file.to_owned(), server_name: server_name.map(|(name, _)| name.to_owned()) })
        }
        (None, true) if server_name.is_none() => Some(UpstreamTls::DangerDisabled),
        (_, true) => {
            problems.push(tls.problem(place, "`postgres.tls` asks for TLS and disables it").hint("remove `danger_disabled`"));
            None
        }
        (None, false) => {
            let hint =
                "write `[postgres.tls]` with `ca_file = \"/etc/…/ca.pem\"`, or `danger_disabled = true` to send everything in the clear";
            problems.push(tls.problem(place, "`postgres.tls` does not say how the server is verified").hint(hint));
            None
        }
    };
    tls.finish(problems);
    answer
}

fn credentials(reader: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> Option<Credentials> {
    let mut section = reader.table("credentials", problems);
    let user = section.required("user", "\"safeconduct\"", problems);
    let user = user.and_then(|found| identifier(&section, "postgres.credentials.user", found, problems));
    let password = section.required("password", "\"file:/run/safeconduct/NAME.password\"", problems).and_then(|(text, at)| {
        text.parse::<SecretRef>()
            .map_err(|error| {
                // The text may be the secret itself: it is not repeated.
                let hint = "put the secret into a file or the environment and name that; change the password if this file was shared";
                problems.push(section.problem(at, format!("`postgres.credentials.password`: {error}")).hint(hint));
            })
            .ok()
    });
    let credentials = match section.string("kind", problems) {
        None | Some(("static", _)) => user.zip(password).map(|(user, password)| Credentials::Static { user, password }),
        Some(("minted", _)) => {
            let owner = section.string("owner", problems);
            let owner = owner.and_then(|found| identifier(&section, "postgres.credentials.owner", found, problems));
            let place = section.place();
            let roles = roles(&mut section, problems);
            if user.as_ref().is_some_and(|user| roles.values().any(|names| names.contains(user))) {
                problems.push(section.problem(place, "`postgres.credentials.roles` names the gateway's own account"));
            }
            user.zip(password).map(|(user, password)| Credentials::Minted(Minted { user, password, roles, owner }))
        }
        Some((_, at)) => {
            problems.push(section.problem(at, "`postgres.credentials.kind` is static or minted"));
            None
        }
    };
    section.finish(problems);
    credentials
}

/// The group roles that each operation stands for.
fn roles(section: &mut Reader<'_, '_>, problems: &mut Vec<Problem>) -> BTreeMap<Operation, BTreeSet<String>> {
    let mut table = section.table("roles", problems);
    let mut roles = BTreeMap::new();
    for operation in OPERATIONS_WITH_ROLES {
        let Some(found) = table.strings(operation.name(), problems) else { continue };
        let names = found.into_iter().filter_map(|found| {
            let name = identifier(&table, "postgres.credentials.roles", found, problems)?;
            if name.starts_with(SESSION_ROLE_PREFIX) {
                let problem = table.problem(found.1, "a group role can't be named like the roles of sessions");
                problems.push(problem.hint(format!("choose a name that does not begin with `{SESSION_ROLE_PREFIX}`")));
                return None;
            }
            Some(name)
        });
        let names: BTreeSet<String> = names.collect();
        roles.insert(operation, names);
    }
    if roles.is_empty() {
        let hint = "write `[postgres.credentials.roles]` with `read = [\"orders_read\"]`: an operation that is not named gives nothing";
        problems.push(table.problem(table.place(), "`postgres.credentials.roles` names no role: sessions could do nothing").hint(hint));
    }
    table.finish(problems);
    roles
}

/// The resource that stands for the gateway itself: in every bundle, described by none.
pub(crate) fn gateway(name: ResourceName) -> Resource {
    Resource {
        name,
        kind: ResourceKind::Safeconduct,
        description: "the gateway itself: people, groups, workloads and policy".to_owned(),
        owner: "administrators".parse().ok(),
        labels: BTreeMap::new(),
        sensitivity: Sensitivity::High,
        time_zone: "UTC".to_owned(),
    }
}
