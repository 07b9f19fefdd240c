//! One statement: decides its operations and what a gate must track about it.

use std::collections::BTreeSet;

use pg_query::protobuf::{DiscardMode, ObjectType, TransactionStmtKind};
use safeconduct_model::Operation;

use crate::{
    catalog::object_type,
    facts::{ObjectUse, StatementFacts, StatementKind, Usage},
    functions::FunctionClasses,
    kinds, settings,
    tree::{Node, Tree},
    walk::Walk,
};

/// Facts about the statement `node`, found at `range` of its text.
pub(crate) fn facts(node: &Node, range: (usize, usize), classes: &FunctionClasses) -> StatementFacts {
    let mut walk = Walk::new(classes);
    let mut command = command(node);
    let kind = match node.kind {
        "TransactionStmt" => {
            let (name, kind) = transaction(node, &mut walk);
            command = name.to_owned();
            kind
        }
        "VariableSetStmt" => {
            if matches!(node.number("kind"), 5 | 6) {
                command = "RESET".to_owned();
            }
            settings::set(node, &mut walk)
        }
        "VariableShowStmt" => StatementKind::Show { name: node.text("name").to_ascii_lowercase() },
        "ExecuteStmt" => StatementKind::Execute { name: node.text("name").to_owned() },
        "DeallocateStmt" => StatementKind::Deallocate { name: (!node.flag("isall")).then(|| node.text("name").to_owned()) },
        "FetchStmt" => {
            if node.flag("ismove") {
                command = "MOVE".to_owned();
            }
            StatementKind::Fetch { name: node.text("portalname").to_owned() }
        }
        "ClosePortalStmt" => {
            let name = node.text("portalname");
            StatementKind::CloseCursor { name: (!name.is_empty()).then(|| name.to_owned()) }
        }
        "DiscardStmt" => discard(node, &mut walk, &mut command),
        "PrepareStmt" => {
            let inner = Box::new(inner(node, range, classes));
            StatementKind::Prepare { name: node.text("name").to_owned(), inner }
        }
        "DeclareCursorStmt" => {
            const HOLD: i64 = 0x20;
            let inner = Box::new(inner(node, range, classes));
            let hold = node.number("options") & HOLD != 0;
            StatementKind::DeclareCursor { name: node.text("portalname").to_owned(), inner, hold }
        }
        "ExplainStmt" => return explain(node, range, classes),
        "CopyStmt" if node.text("filename").is_empty() && !node.flag("is_program") => {
            if node.flag("is_from") {
                StatementKind::CopyFromStdin { binary: is_binary(node) }
            } else {
                StatementKind::CopyToStdout
            }
        }
        _ => StatementKind::Plain,
    };
    walk.statement(node);
    let kind = if walk.creates_temporary && kind == StatementKind::Plain { StatementKind::CreateTemp } else { kind };
    finish(walk, command, kind, range)
}

fn finish(walk: Walk<'_>, command: String, kind: StatementKind, (start_bytes, end_bytes): (usize, usize)) -> StatementFacts {
    let mut operations = walk.operations;
    let mut why = walk.why;
    if operations.is_empty() {
        operations.insert(Operation::Unknown);
        why.push(format!("what {command} does is not understood"));
    }
    StatementFacts {
        start_bytes,
        end_bytes,
        command,
        kind,
        operations,
        objects: walk.objects.into_iter().collect(),
        functions: walk.functions.into_iter().collect(),
        has_where: walk.has_where,
        parameters: walk.parameters,
        why,
    }
}

/// Facts about the statement in `query`.
fn inner(node: &Node, range: (usize, usize), classes: &FunctionClasses) -> StatementFacts {
    match node.node("query") {
        Some(query) => facts(query, range, classes),
        None => finish(Walk::new(classes), "nothing".to_owned(), StatementKind::Plain, range),
    }
}

fn transaction(node: &Node, walk: &mut Walk<'_>) -> (&'static str, StatementKind) {
    use TransactionStmtKind as Kind;
    let chain = node.flag("chain");
    let name = node.text("savepoint_name").to_owned();
    let kind = i32::try_from(node.number("kind")).ok().and_then(|number| Kind::try_from(number).ok()).unwrap_or(Kind::Undefined);
    if !matches!(kind, Kind::Undefined | Kind::TransStmtPrepare | Kind::TransStmtCommitPrepared | Kind::TransStmtRollbackPrepared) {
        walk.need(Operation::Connect, None);
    }
    let outlives = "a prepared transaction outlives its session and every grant in it";
    match kind {
        Kind::TransStmtBegin | Kind::TransStmtStart => {
            let (_, read_write) = settings::modes(node.list("options"), walk);
            ("BEGIN", StatementKind::Begin { read_write })
        }
        Kind::TransStmtCommit => ("COMMIT", StatementKind::Commit { chain }),
        Kind::TransStmtRollback => ("ROLLBACK", StatementKind::Rollback { chain }),
        Kind::TransStmtSavepoint => ("SAVEPOINT", StatementKind::Savepoint { name }),
        Kind::TransStmtRelease => ("RELEASE", StatementKind::ReleaseSavepoint { name }),
        Kind::TransStmtRollbackTo => ("ROLLBACK TO", StatementKind::RollbackTo { name }),
        Kind::TransStmtPrepare => {
            walk.need(Operation::Unknown, outlives.to_owned());
            ("PREPARE TRANSACTION", StatementKind::Plain)
        }
        Kind::TransStmtCommitPrepared => {
            walk.need(Operation::Unknown, outlives.to_owned());
            ("COMMIT PREPARED", StatementKind::Plain)
        }
        Kind::TransStmtRollbackPrepared => {
            walk.need(Operation::Unknown, outlives.to_owned());
            ("ROLLBACK PREPARED", StatementKind::Plain)
        }
        Kind::Undefined => {
            walk.need(Operation::Unknown, "a transaction command that is not understood".to_owned());
            ("TRANSACTION", StatementKind::Plain)
        }
    }
}

/// True if a COPY's data is in the binary format.
fn is_binary(copy: &Node) -> bool {
    copy.list("options").iter().filter_map(Tree::as_node).any(|option| {
        let value = option.node("arg").map(|value| value.text("sval"));
        option.text("defname") == "format" && value.is_some_and(|value| value.eq_ignore_ascii_case("binary"))
    })
}

fn discard(node: &Node, walk: &mut Walk<'_>, command: &mut String) -> StatementKind {
    let target =
        i32::try_from(node.number("target")).ok().and_then(|number| DiscardMode::try_from(number).ok()).unwrap_or(DiscardMode::Undefined);
    let (what, needs) = match target {
        // Ends what a session gathered: cursors, prepared statements, its own temporary objects and locks. Settings go back to those of the
        // startup packet, in which the gateway pins what it owns.
        DiscardMode::DiscardAll => ("ALL", Operation::Connect),
        DiscardMode::DiscardPlans => ("PLANS", Operation::Connect),
        DiscardMode::DiscardSequences => ("SEQUENCES", Operation::Connect),
        DiscardMode::DiscardTemp => ("TEMP", Operation::Temp),
        DiscardMode::Undefined => ("", Operation::Unknown),
    };
    walk.need(needs, None);
    *command = format!("DISCARD {what}").trim_end().to_owned();
    StatementKind::Discard { all: target == DiscardMode::DiscardAll, plans: target == DiscardMode::DiscardPlans }
}

/// EXPLAIN runs its statement only with ANALYZE; without, planning may still run functions, and the plan shows what the tables hold.
fn explain(node: &Node, range: (usize, usize), classes: &FunctionClasses) -> StatementFacts {
    let analyze = node.list("options").iter().filter_map(Tree::as_node).any(is_analyze);
    let mut explained = inner(node, range, classes);
    explained.command = format!("EXPLAIN {}{}", if analyze { "ANALYZE " } else { "" }, explained.command);
    if !analyze {
        explained.operations = explained
            .operations
            .iter()
            .filter(|operation| !matches!(operation, Operation::Write | Operation::Ddl | Operation::Temp))
            .collect();
        let read = explained.objects.into_iter().map(|object| ObjectUse { usage: Usage::Read, ..object });
        explained.objects = read.collect::<BTreeSet<_>>().into_iter().collect();
    }
    explained.operations.insert(Operation::Read);
    if !matches!(explained.kind, StatementKind::Execute { .. }) {
        let makes_temporary = analyze && explained.kind == StatementKind::CreateTemp;
        explained.kind = if makes_temporary { StatementKind::CreateTemp } else { StatementKind::Plain };
    }
    explained
}

/// `ANALYZE`, unless it says a plain no. Options that take a form this does not know count as yes.
fn is_analyze(option: &Node) -> bool {
    option.text("defname").eq_ignore_ascii_case("analyze")
        && !settings::constant(option.field("arg"))
            .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "false" | "off" | "0"))
}

/// The command's name as people say it.
fn command(node: &Node) -> String {
    let Some(rule) = kinds::statement(node.kind) else {
        return "UNKNOWN".to_owned();
    };
    let of_kind = |verb: &str, field: &str| format!("{verb} {}", object_words(object_type(node, field)));
    match node.kind {
        "SelectStmt" if has_into(node) => "SELECT INTO".to_owned(),
        "SelectStmt" if node.list("target_list").is_empty() && !node.list("values_lists").is_empty() => "VALUES".to_owned(),
        "CopyStmt" => {
            let direction = if node.flag("is_from") { "FROM" } else { "TO" };
            let other_end = match (node.flag("is_program"), node.text("filename").is_empty(), node.flag("is_from")) {
                (true, ..) => "PROGRAM",
                (_, false, _) => "FILE",
                (_, _, true) => "STDIN",
                (_, _, false) => "STDOUT",
            };
            format!("COPY {direction} {other_end}")
        }
        "DropStmt" => of_kind("DROP", "remove_type"),
        "DefineStmt" => of_kind("CREATE", "kind"),
        "CreateTableAsStmt" if object_type(node, "objtype") == ObjectType::ObjectMatview => "CREATE MATERIALIZED VIEW".to_owned(),
        "AlterTableStmt" => of_kind("ALTER", "objtype"),
        "CreateFunctionStmt" if node.flag("is_procedure") => "CREATE PROCEDURE".to_owned(),
        "GrantStmt" | "GrantRoleStmt" if !node.flag("is_grant") => "REVOKE".to_owned(),
        "VacuumStmt" if !node.flag("is_vacuumcmd") => "ANALYZE".to_owned(),
        _ => rule.command.to_owned(),
    }
}

/// INTO is on the leftmost SELECT of a UNION.
fn has_into(select: &Node) -> bool {
    !select.field("into_clause").is_nothing() || select.node("larg").is_some_and(has_into)
}

fn object_words(object_type: ObjectType) -> String {
    match object_type {
        ObjectType::ObjectMatview => "MATERIALIZED VIEW".to_owned(),
        ObjectType::ObjectFdw => "FOREIGN DATA WRAPPER".to_owned(),
        ObjectType::ObjectForeignServer => "SERVER".to_owned(),
        ObjectType::ObjectOpclass => "OPERATOR CLASS".to_owned(),
        ObjectType::ObjectOpfamily => "OPERATOR FAMILY".to_owned(),
        ObjectType::ObjectStatisticExt => "STATISTICS".to_owned(),
        ObjectType::ObjectTsconfiguration => "TEXT SEARCH CONFIGURATION".to_owned(),
        ObjectType::ObjectTsdictionary => "TEXT SEARCH DICTIONARY".to_owned(),
        ObjectType::ObjectTsparser => "TEXT SEARCH PARSER".to_owned(),
        ObjectType::ObjectTstemplate => "TEXT SEARCH TEMPLATE".to_owned(),
        other => other.as_str_name().trim_start_matches("OBJECT_").replace('_', " "),
    }
}
