//! What a server's own statistics say of tables: one fixed query of the catalog, with names as bound values.
//!
//! Nothing of a requester's text is ever part of what is sent. The connection is read only, gives up after a second, and is closed after its
//! answer.

use std::{collections::BTreeSet, io, time::Duration};

use bytes::{Bytes, BytesMut};
use postgres_protocol::{IsNull, message::frontend};
use safeconduct_app::ports::{BoxFuture, Relation, RelationKind, RelationName, Statistics, Unsaid};
use safeconduct_model::{Postgres, Resource};
use tokio::io::AsyncWriteExt;

use crate::{
    Secrets,
    executor::row_values,
    upstream::{self, Login, Upstream},
    wire::{Reader, Report, malformed},
};

/// Asks servers for their statistics, by the login that resource files name.
pub struct PostgresStatistics {
    secrets: Secrets,
}

/// From name look-up to the server's first ReadyForQuery.
const CONNECT: Duration = Duration::from_secs(2);
/// What such a connection is opened with: the server gives up by itself, and waits for no lock that somebody holds on its catalog.
const SETTINGS: [(&str, &str); 2] = [("statement_timeout", "1s"), ("lock_timeout", "500ms")];
/// Largest message taken from the server.
const MESSAGE_BYTES: usize = 16 * 1024;
/// Every name below means the server's own.
const PATH: &str = "SET search_path = pg_catalog, pg_temp";
/// `$1` and `$2`: schemas and names, in pairs; `$3`: the roles whose rights sessions can have. A table that none of them may use in any way is
/// left out. Rows are those of tables that hold some: of a partitioned one its partitions. Before version 14, which counts as -1 what was
/// never counted, a table without a page was counted as empty or not at all.
const QUERY: &str = "\
SELECT asked.place, c.relkind, held.tables, held.uncounted, held.rows
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked(schema, name, place)
JOIN pg_catalog.pg_namespace n ON n.nspname = asked.schema
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = asked.name
CROSS JOIN LATERAL (
  WITH RECURSIVE part(oid) AS (
    SELECT c.oid UNION SELECT i.inhrelid FROM part JOIN pg_catalog.pg_inherits i ON i.inhparent = part.oid
  )
  SELECT count(*) AS tables,
    count(*) FILTER (WHERE t.reltuples < 0 OR t.relpages = 0 AND current_setting('server_version_num')::int < 140000) AS uncounted,
    least(coalesce(sum(greatest(t.reltuples, 0)::float8), 0), 9e18)::bigint AS rows
  FROM part JOIN pg_catalog.pg_class t ON t.oid = part.oid AND t.relkind IN ('r', 'm', 'f')
) held
WHERE EXISTS (
  SELECT FROM pg_catalog.pg_roles r
  WHERE r.rolname = ANY ($3::text[]) AND has_schema_privilege(r.oid, n.oid, 'USAGE')
  AND (has_table_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
    OR has_any_column_privilege(r.oid, c.oid, 'SELECT, INSERT, UPDATE'))
)
ORDER BY asked.place";

impl PostgresStatistics {
    /// Passwords are read with `secrets`.
    #[must_use]
    pub const fn new(secrets: Secrets) -> Self {
        Self { secrets }
    }

    async fn ask(&self, resource: &Resource, database: &str, names: &[RelationName]) -> Result<Vec<Vec<Relation>>, Unsaid> {
        let postgres = resource.postgres().ok_or_else(|| Unsaid("it is no database".to_owned()))?;
        // In pairs; each relation that is found says by its place which name it is for.
        let pairs: Vec<(usize, &str)> =
            names.iter().enumerate().flat_map(|(at, name)| name.schemas.iter().map(move |schema| (at, schema.as_str()))).collect();
        let request = encode(&pairs, names, postgres).map_err(|_| Unsaid("the names can't be put into messages".to_owned()))?;
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let own = Login::own(resource, database, "safeconduct statistics");
        let login = Login { settings: &settings, read_only: true, ..own };
        let upstream = upstream::connect(&login, &self.secrets, CONNECT).await.map_err(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, resource = %resource.name, "no statistics");
            Unsaid(error.to_string())
        })?;
        let lost = |error: io::Error| {
            tracing::debug!(%error, resource = %resource.name, "no statistics");
            Unsaid("the connection to the server was lost".to_owned())
        };
        let rows = rows(upstream, &request).await.map_err(lost)?.map_err(|report| {
            tracing::warn!(resource = %resource.name, sqlstate = report.sqlstate, message = report.message, "no statistics");
            match report.sqlstate.as_str() {
                "57014" | "55P03" => Unsaid("the server took too long".to_owned()),
                sqlstate => Unsaid(format!("the server refused to say ({sqlstate})")),
            }
        })?;
        let mut found = vec![Vec::new(); names.len()];
        for row in rows {
            let read = relation(&row, &pairs).and_then(|(at, relation)| Some((found.get_mut(at)?, relation)));
            let (of_name, relation) = read.ok_or_else(|| Unsaid("the server's answer makes no sense".to_owned()))?;
            of_name.push(relation);
        }
        Ok(found)
    }
}

impl Statistics for PostgresStatistics {
    fn sizes<'a>(
        &'a self,
        resource: &'a Resource,
        database: &'a str,
        names: &'a [RelationName],
    ) -> BoxFuture<'a, Result<Vec<Vec<Relation>>, Unsaid>> {
        Box::pin(self.ask(resource, database, names))
    }
}

fn encode(pairs: &[(usize, &str)], names: &[RelationName], postgres: &Postgres) -> io::Result<BytesMut> {
    let schemas = array(pairs.iter().map(|(_, schema)| *schema));
    let tables = array(pairs.iter().filter_map(|(at, _)| names.get(*at)).map(|name| name.name.as_str()));
    let (user, _) = postgres.credentials.stored();
    let groups = postgres.credentials.minted().into_iter().flat_map(|minted| minted.roles.values().flatten());
    let roles: BTreeSet<&str> = std::iter::once(user).chain(groups).map(String::as_str).collect();
    let values = [schemas, tables, array(roles.into_iter())];
    let mut out = BytesMut::new();
    frontend::query(PATH, &mut out)?;
    frontend::parse("", QUERY, std::iter::empty(), &mut out)?;
    let value = |value: String, out: &mut BytesMut| {
        out.extend_from_slice(value.as_bytes());
        Ok(IsNull::No)
    };
    frontend::bind("", "", std::iter::empty(), values, value, Some(0), &mut out).map_err(|_| malformed("names can't be sent"))?;
    frontend::execute("", 0, &mut out)?;
    frontend::sync(&mut out);
    Ok(out)
}

/// An array's text, each element in quotes.
fn array<'t>(elements: impl Iterator<Item = &'t str>) -> String {
    let quoted = elements.map(|element| format!("\"{}\"", element.replace('\\', "\\\\").replace('"', "\\\"")));
    format!("{{{}}}", quoted.collect::<Vec<_>>().join(","))
}

/// Rows of the last statement. Both end with a ReadyForQuery.
async fn rows(mut upstream: Upstream, request: &[u8]) -> io::Result<Result<Vec<Vec<Option<String>>>, Report>> {
    let mut reader = Reader::from_rest(std::mem::take(&mut upstream.rest));
    upstream.stream.write_all(request).await?;
    upstream.stream.flush().await?;
    let (mut rows, mut failed, mut left) = (Vec::new(), None, 2);
    while left > 0 {
        let message = reader.next(&mut upstream.stream, MESSAGE_BYTES).await?;
        let tag = message.tag;
        let body: Bytes = message.whole()?;
        match tag {
            b'D' => rows.push(row_values(body)?),
            b'E' => {
                let report = Report::parse(body)?;
                if matches!(report.severity.as_str(), "FATAL" | "PANIC") {
                    return Err(io::Error::other(report.message));
                }
                failed = Some(report);
            }
            b'Z' => left -= 1,
            _ => {}
        }
    }
    let mut goodbye = BytesMut::new();
    frontend::terminate(&mut goodbye);
    // Everything was said; what the server makes of this does not matter.
    let _ = upstream.stream.write_all(&goodbye).await;
    let _ = upstream.stream.shutdown().await;
    Ok(failed.map_or(Ok(rows), Err))
}

/// A row of [`QUERY`]: which name it is for, and what was found.
fn relation(row: &[Option<String>], pairs: &[(usize, &str)]) -> Option<(usize, Relation)> {
    let [Some(place), Some(kind), Some(tables), Some(uncounted), Some(rows)] = row else { return None };
    let (at, schema) = pairs.get(place.parse::<usize>().ok()?.checked_sub(1)?)?;
    let kind = match kind.as_str() {
        "r" | "p" | "m" | "f" => RelationKind::Table,
        "v" => RelationKind::View,
        _ => RelationKind::Other,
    };
    let (tables, uncounted, rows) = (tables.parse().ok()?, uncounted.parse().ok()?, rows.parse().ok()?);
    Some((*at, Relation { schema: (*schema).to_owned(), kind, tables, uncounted, rows }))
}
