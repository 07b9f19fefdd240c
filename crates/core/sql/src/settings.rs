//! Settings: decides what SET, RESET and the modes of a transaction need.
//!
//! An allow-list: a setting that is not known to be harmless may change what later text means or may do, and is `unknown`.

use pg_query::protobuf::VariableSetKind;
use safeconduct_model::Operation;

use crate::{
    facts::StatementKind,
    tree::{Node, Tree},
    walk::Walk,
};

/// Settings that change how answers look, how values in text are read, or how long things may take; see also [`SETTINGS_TO_BIND`].
const HARMLESS: [&str; 24] = [
    // Who a session says it is. The gateway keeps its own name in front.
    "application_name",
    "bytea_output",
    "client_min_messages",
    "datestyle",
    "default_transaction_deferrable",
    "default_transaction_isolation",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "intervalstyle",
    "jit",
    "lc_monetary",
    "lc_numeric",
    "lc_time",
    "lock_timeout",
    "quote_all_identifiers",
    "statement_timeout",
    "synchronize_seqscans",
    "timezone",
    "transaction_deferrable",
    "transaction_isolation",
    "transaction_timeout",
    "xmlbinary",
    "xmloption",
];

/// Harmless settings under which the same text may say something else (`01/02/2026`, a time without a zone): an exact action must be
/// approved together with their values.
pub const SETTINGS_TO_BIND: [&str; 7] = ["datestyle", "intervalstyle", "lc_monetary", "lc_numeric", "lc_time", "timezone", "xmloption"];

/// Why a setting outside the list is refused, for those people ask about.
fn reason(name: &str) -> &'static str {
    match name {
        "search_path" => "it decides what names mean",
        "standard_conforming_strings" | "backslash_quote" | "escape_string_warning" => "it decides where a text's strings end",
        "client_encoding" => "texts are understood as UTF-8",
        "row_security" => "it decides who sees which rows",
        "session_replication_role" => "it switches triggers and rules off",
        "transform_null_equals" => "it changes what `= NULL` means",
        _ => "it is not known to be harmless",
    }
}

/// True for `set_config('NAME', VALUE, …)` that is no more than a harmless SET: drivers switch `jit` like that.
///
/// The name must be written out, the value too or a parameter. Settings under which texts say something else are left to SET, which the
/// gate follows.
pub(crate) fn is_harmless_call(parts: &[&str], arguments: &[Tree]) -> bool {
    let named = matches!(parts, ["set_config"] | ["pg_catalog", "set_config"]) && arguments.len() == 3;
    let name = arguments.first().and_then(written).map(|name| name.to_ascii_lowercase());
    let harmless = name.is_some_and(|name| {
        let name = name.as_str();
        HARMLESS.contains(&name) && !SETTINGS_TO_BIND.contains(&name) && name != "application_name"
    });
    let value = |value: &Tree| written(value).is_some() || value.as_node().is_some_and(|node| node.kind == "ParamRef");
    named && harmless && arguments.get(1).is_some_and(value)
}

/// The text of a plain string literal.
fn written(value: &Tree) -> Option<String> {
    let node = value.as_node().filter(|node| node.kind == "AConst" && !node.flag("isnull"))?;
    let literal = node.field("val").as_node().filter(|literal| literal.kind == "String")?;
    Some(literal.text("sval").to_owned())
}

/// Looks at one SET or RESET, adds what it needs and says what the gate must track.
pub(crate) fn set(node: &Node, walk: &mut Walk<'_>) -> StatementKind {
    let kind = i32::try_from(node.number("kind")).ok().and_then(|number| VariableSetKind::try_from(number).ok());
    // Names of settings are compared without case, also when quoted.
    let name = node.text("name").to_ascii_lowercase();
    let local = node.flag("is_local");
    walk.need(Operation::Connect, None);
    match kind {
        Some(VariableSetKind::VarSetValue) => {
            let value = rendered(node.list("args"));
            single(&name, value.as_deref(), walk);
            StatementKind::Set { name, value: Some(value.unwrap_or_default()), local }
        }
        Some(VariableSetKind::VarSetDefault | VariableSetKind::VarReset) => {
            reset(&name, walk);
            StatementKind::Set { name, value: None, local }
        }
        // Who acts and the modes of the open transaction are the server's exceptions to it.
        Some(VariableSetKind::VarResetAll) => StatementKind::Set { name: "all".to_owned(), value: None, local },
        Some(VariableSetKind::VarSetMulti) => {
            let (modes, _) = modes(node.list("args"), walk);
            let name = match name.as_str() {
                "session characteristics" => "session_characteristics".to_owned(),
                "transaction snapshot" => {
                    walk.need(Operation::Unknown, "SET TRANSACTION SNAPSHOT takes over another session's view".to_owned());
                    "transaction_snapshot".to_owned()
                }
                _ => name,
            };
            let local = name != "session_characteristics";
            StatementKind::Set { name, value: Some(modes), local }
        }
        _ => {
            walk.need(Operation::Unknown, "a form of SET that is not understood".to_owned());
            StatementKind::Set { name, value: None, local }
        }
    }
}

/// Back to how the session began. What the gateway owns it sends in the startup packet, whose values RESET restores: nothing to hold back,
/// but who acts, and the mode of a transaction that is open.
fn reset(name: &str, walk: &mut Walk<'_>) {
    if matches!(name, "role" | "session_authorization" | "transaction_read_only") {
        single(name, None, walk);
    }
}

/// One setting; `None` as value means one that is not written out.
fn single(name: &str, value: Option<&str>, walk: &mut Walk<'_>) {
    let word = value.map(str::to_ascii_lowercase);
    let on = matches!(word.as_deref(), Some("on" | "true" | "yes" | "1"));
    match name {
        _ if HARMLESS.contains(&name) => {}
        "role" | "session_authorization" => walk.need(Operation::Admin, format!("SET `{name}`: it changes who acts")),
        "default_transaction_read_only" | "transaction_read_only" if on => {}
        "default_transaction_read_only" | "transaction_read_only" => {
            walk.need(Operation::Write, format!("SET `{name}`: it lets transactions write"));
        }
        "standard_conforming_strings" if on => {}
        "client_encoding" if word.as_deref().is_some_and(is_utf8) => {}
        _ => walk.need(Operation::Unknown, format!("SET `{name}`: {}", reason(name))),
    }
}

/// PostgreSQL compares encoding names by their letters and digits.
fn is_utf8(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    matches!(plain.as_str(), "utf8" | "unicode")
}

/// The modes of BEGIN or SET TRANSACTION in words, and whether READ WRITE (true) or READ ONLY (false) is among them.
pub(crate) fn modes(options: &[Tree], walk: &mut Walk<'_>) -> (String, Option<bool>) {
    let mut words = Vec::new();
    let mut read_write = None;
    for option in options {
        let Some(mode) = option.as_node().filter(|node| node.kind == "DefElem") else {
            if let Some(text) = constant(option) {
                words.push(text);
            }
            continue;
        };
        let value = constant(mode.field("arg")).unwrap_or_default();
        match mode.text("defname") {
            "transaction_isolation" => words.push(format!("isolation level {value}")),
            "transaction_read_only" if value == "1" => {
                read_write = read_write.or(Some(false));
                words.push("read only".to_owned());
            }
            "transaction_read_only" => {
                read_write = Some(true);
                words.push("read write".to_owned());
                walk.need(Operation::Write, "READ WRITE lets the transaction write".to_owned());
            }
            "transaction_deferrable" => words.push(if value == "1" { "deferrable" } else { "not deferrable" }.to_owned()),
            other => walk.need(Operation::Unknown, format!("transaction mode `{other}` is not understood")),
        }
    }
    (words.join(", "), read_write)
}

/// The value of SET as text; parts of a list are joined by `, `.
fn rendered(args: &[Tree]) -> Option<String> {
    let parts: Option<Vec<String>> = args.iter().map(constant).collect();
    parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join(", "))
}

/// The text of a constant, also under a cast (`INTERVAL '2' HOUR`).
pub(crate) fn constant(value: &Tree) -> Option<String> {
    let node = value.as_node()?;
    match node.kind {
        "AConst" if node.flag("isnull") => None,
        // Zero and the empty string are what the wire format leaves out.
        "AConst" => constant(node.field("val")),
        "TypeCast" => constant(node.field("arg")),
        "Integer" => Some(node.number("ival").to_string()),
        "Float" => Some(node.text("fval").to_owned()),
        "Boolean" => Some(node.flag("boolval").to_string()),
        "String" => Some(node.text("sval").to_owned()),
        "BitString" => Some(node.text("bsval").to_owned()),
        _ => None,
    }
}
