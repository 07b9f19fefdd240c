//! The statements that make, change and retire roles. Every name is quoted; no password is ever in one.

use std::{collections::BTreeSet, fmt::Write as _};

use safeconduct_app::ports::{Object, Privilege, Rights, Role};
use safeconduct_protocol::postgres::scram::Verifier;

/// Connections a role may have: its session's.
const CONNECTIONS: u32 = 1;

/// Makes a role with these rights, in one transaction. It need not survive a crash of the server, which ends its session anyway.
pub(super) fn make(role: &Role, rights: &Rights, verifier: &Verifier) -> String {
    let mut sql = format!(
        "SET LOCAL synchronous_commit TO off;\
         CREATE ROLE {} LOGIN INHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT {CONNECTIONS} \
         PASSWORD {} VALID UNTIL {}",
        name(&role.name),
        text(&verifier.encode()),
        text(&rights.until.to_string()),
    );
    let given = change(role, &Rights { until: rights.until, ..Rights::default() }, rights);
    if !given.is_empty() {
        sql.push(';');
        sql.push_str(&given);
    }
    sql
}

/// Takes away what is only in `from`, then gives what is only in `to`. Empty if nothing is to be done.
pub(super) fn change(role: &Role, from: &Rights, to: &Rights) -> String {
    let grantee = name(&role.name);
    let mut parts = Vec::new();
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).map(|role| name(role)).collect::<Vec<_>>().join(", ");
    let (gone, new) = (only(&from.roles, &to.roles), only(&to.roles, &from.roles));
    if !gone.is_empty() {
        parts.push(format!("REVOKE {gone} FROM {grantee}"));
    }
    let mut objects = String::new();
    for (verb, preposition, one, other) in [("REVOKE", "FROM", from, to), ("GRANT", "TO", to, from)] {
        for (object, privileges) in &one.objects {
            let kept = other.objects.get(object);
            let only: Vec<&str> = privileges.iter().filter(|p| kept.is_none_or(|kept| !kept.contains(p))).map(|p| word(*p)).collect();
            if !only.is_empty() {
                let (there, on) = place(object);
                // What is not there is passed over: the other rights stand.
                let _ = write!(objects, " IF {there} IS NOT NULL THEN {verb} {} ON {on} {preposition} {grantee}; END IF;", only.join(", "));
            }
        }
    }
    if !objects.is_empty() {
        parts.push(format!("DO {}", text(&format!("BEGIN{objects} END"))));
    }
    if !new.is_empty() {
        parts.push(format!("GRANT {new} TO {grantee}"));
    }
    if from.until != to.until {
        parts.push(format!("ALTER ROLE {grantee} VALID UNTIL {}", text(&to.until.to_string())));
    }
    parts.join(";")
}

/// The role's object id, if there is such a role.
pub(super) fn oid(role: &str) -> String {
    format!("SELECT oid FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) {}", text(role))
}

/// Ends sign-in, and lets the gateway's own account act on what is the role's. With a verifier the role gets that password.
pub(super) fn close(role: &str, verifier: Option<&Verifier>) -> String {
    let role = name(role);
    let password = verifier.map(|verifier| format!(" PASSWORD {}", text(&verifier.encode()))).unwrap_or_default();
    format!("ALTER ROLE {role} NOLOGIN{password};GRANT {role} TO CURRENT_USER")
}

/// Ends the role's connections and waits for each, then says in which databases something depends on the role (null: in none).
pub(super) fn end_and_look(oid: &str) -> String {
    let oid: String = oid.chars().filter(char::is_ascii_digit).collect();
    format!(
        "SELECT pg_catalog.pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity WHERE usesysid OPERATOR(pg_catalog.=) {oid};\
         SELECT DISTINCT d.datname FROM pg_catalog.pg_shdepend s LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.dbid \
         WHERE s.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid OPERATOR(pg_catalog.=) {oid}"
    )
}

/// Gives away what the role owns in this database and drops its rights there.
pub(super) fn clear(role: &str, owner: Option<&str>) -> String {
    let role = name(role);
    let owner = owner.map_or_else(|| "CURRENT_USER".to_owned(), name);
    format!("REASSIGN OWNED BY {role} TO {owner};DROP OWNED BY {role}")
}

pub(super) fn drop(role: &str) -> String {
    format!("DROP ROLE IF EXISTS {}", name(role))
}

/// All roles whose names begin like this.
pub(super) fn named_like(prefix: &str) -> String {
    format!("SELECT rolname FROM pg_catalog.pg_roles WHERE pg_catalog.starts_with(rolname::pg_catalog.text, {})", text(prefix))
}

/// An expression that is null if the object is not there, and the object as GRANT names it.
fn place(object: &Object) -> (String, String) {
    let schema_there = |schema: &str| format!("pg_catalog.to_regnamespace({})", text(&name(schema)));
    match object {
        Object::Table { schema, name: table } => {
            let table = schema.as_ref().map_or_else(|| name(table), |schema| format!("{}.{}", name(schema), name(table)));
            (format!("pg_catalog.to_regclass({})", text(&table)), format!("TABLE {table}"))
        }
        Object::TablesIn { schema } => (schema_there(schema), format!("ALL TABLES IN SCHEMA {}", name(schema))),
        Object::Schema { name: schema } => (schema_there(schema), format!("SCHEMA {}", name(schema))),
    }
}

const fn word(privilege: Privilege) -> &'static str {
    match privilege {
        Privilege::Usage => "USAGE",
        Privilege::Create => "CREATE",
        Privilege::Select => "SELECT",
        Privilege::Insert => "INSERT",
        Privilege::Update => "UPDATE",
        Privilege::Delete => "DELETE",
    }
}

/// A quoted identifier. A zero byte can't be in one and would end the text.
fn name(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('\0', "").replace('"', "\"\""))
}

/// A quoted literal: strings conform to the standard on every connection of the gateway's.
fn text(literal: &str) -> String {
    format!("'{}'", literal.replace('\0', "").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use safeconduct_model::Timestamp;
    use safeconduct_testkit::postgres_resource;

    use super::*;

    fn role(name: &str) -> Role {
        Role { name: name.to_owned(), resource: Arc::new(postgres_resource("orders-db")), database: "app".to_owned() }
    }

    fn rights(roles: &[&str], objects: &[(Object, &[Privilege])]) -> Rights {
        let objects = objects.iter().map(|(object, privileges)| (object.clone(), privileges.iter().copied().collect()));
        Rights {
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            objects: objects.collect::<BTreeMap<_, _>>(),
            until: Timestamp::default(),
        }
    }

    #[test]
    fn f44_every_name_is_quoted() {
        let hostile = "x\"; DROP ROLE a; --'$$\\";
        let quoted = "\"x\"\"; DROP ROLE a; --'$$\\\"";
        let table = Object::Table { schema: Some(hostile.to_owned()), name: hostile.to_owned() };
        let given = rights(&[hostile], &[(table, &[Privilege::Select])]);
        let verifier = Verifier::derive("secret", b"salt", 1).unwrap_or_else(|error| panic!("{error}"));
        let all = [
            make(&role(hostile), &given, &verifier),
            change(&role(hostile), &given, &Rights::default()),
            close(hostile, None),
            clear(hostile, Some(hostile)),
            drop(hostile),
        ];
        // As a name, and as a name within a text.
        let within = quoted.replace('\'', "''");
        for sql in all {
            let rest = sql.replace(&within.replace('\'', "''"), "NAME").replace(&within, "NAME").replace(quoted, "NAME");
            assert!(rest.contains("NAME") && !rest.contains("DROP ROLE a") && !rest.contains("--"), "{sql}\n{rest}");
        }
        assert_eq!(oid("a'b"), "SELECT oid FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) 'a''b'");
        assert!(!end_and_look("1; DROP").contains("DROP"));
    }

    #[test]
    fn f47_no_password_is_in_a_statement() {
        let verifier = Verifier::derive("the secret itself", b"salt", 1).unwrap_or_else(|error| panic!("{error}"));
        let sql = make(&role("r"), &rights(&[], &[]), &verifier);
        assert!(sql.contains("PASSWORD 'SCRAM-SHA-256$1:") && !sql.contains("the secret"), "{sql}");
    }

    #[test]
    fn only_what_differs_is_changed_and_what_goes_goes_first() {
        let table = Object::Table { schema: None, name: "t".to_owned() };
        let from = rights(&["a", "b"], &[(table.clone(), &[Privilege::Select, Privilege::Insert])]);
        let to = rights(&["b", "c"], &[(table, &[Privilege::Select]), (Object::Schema { name: "s".to_owned() }, &[Privilege::Usage])]);
        assert_eq!(
            change(&role("r"), &from, &to),
            "REVOKE \"a\" FROM \"r\";DO 'BEGIN IF pg_catalog.to_regclass(''\"t\"'') IS NOT NULL THEN REVOKE INSERT ON TABLE \"t\" FROM \"r\"; \
             END IF; IF pg_catalog.to_regnamespace(''\"s\"'') IS NOT NULL THEN GRANT USAGE ON SCHEMA \"s\" TO \"r\"; END IF; END';\
             GRANT \"c\" TO \"r\""
        );
        assert_eq!(change(&role("r"), &to, &to), "");
    }
}
