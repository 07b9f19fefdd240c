//! The walk: decides what a statement needs from every node of its parse tree.
//!
//! It enters every field of every node, so nothing is skipped; a node kind it does not know makes the statement `unknown`. It never looks at
//! the text and never asks a database what a name means.

use std::collections::BTreeSet;

use pg_query::protobuf::{AlterTableType, JsonExprOp, ObjectType};
use safeconduct_model::{Operation, OperationSet};

use crate::{
    catalog::{changes_meaning, command_type, is_catalog, is_secret, object_type},
    facts::{ObjectUse, Usage},
    functions::{self, FunctionClasses},
    kinds::{self, Part},
    names::{dotted, is_temporary_schema},
    settings,
    tree::{Node, Tree},
};

/// Most reasons kept about one statement.
const MAX_REASONS: usize = 32;

/// What a table name at some place in the tree stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Read from; may be the name of a WITH query instead of a table.
    Source,
    /// Read from and its rows locked.
    Locked,
    /// The object the statement is about; never a WITH query.
    Target(Usage),
}

/// Collects what the nodes need.
pub(crate) struct Walk<'a> {
    classes: &'a FunctionClasses,
    pub operations: OperationSet,
    pub objects: BTreeSet<ObjectUse>,
    pub functions: BTreeSet<String>,
    pub has_where: Option<bool>,
    pub parameters: u32,
    pub creates_temporary: bool,
    pub why: Vec<String>,
    /// Names of WITH queries in sight, innermost last.
    with_names: Vec<BTreeSet<String>>,
    /// Inside a statement about objects, roles or the server.
    defining: bool,
}

impl<'a> Walk<'a> {
    pub fn new(classes: &'a FunctionClasses) -> Self {
        Self {
            classes,
            operations: OperationSet::new(),
            objects: BTreeSet::new(),
            functions: BTreeSet::new(),
            has_where: None,
            parameters: 0,
            creates_temporary: false,
            why: Vec::new(),
            with_names: Vec::new(),
            defining: false,
        }
    }

    /// Walks one statement with everything in it.
    pub fn statement(&mut self, node: &Node) {
        self.node(node, Place::Source);
    }

    /// Adds an operation and, for people, why.
    pub fn need(&mut self, operation: Operation, why: impl Into<Option<String>>) {
        self.operations.insert(operation);
        self.explain(why.into());
    }

    /// Adds a reason for people, once; of very many only the first.
    fn explain(&mut self, why: Option<String>) {
        if let Some(why) = why
            && self.why.len() < MAX_REASONS
            && !self.why.contains(&why)
        {
            self.why.push(why);
        }
    }

    fn unknown(&mut self, why: impl Into<String>) {
        self.need(Operation::Unknown, why.into());
    }

    fn value(&mut self, value: &Tree, place: Place) {
        match value {
            Tree::Node(node) => self.node(node, place),
            Tree::List(items) => items.iter().for_each(|item| self.value(item, place)),
            Tree::Nothing | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => {}
        }
    }

    /// Walks the fields of `node`; `place` says what a table name in each stands for.
    fn fields(&mut self, node: &Node, place: impl Fn(&'static str) -> Place) {
        for (name, value) in &node.fields {
            self.value(value, place(name));
        }
    }

    fn node(&mut self, node: &Node, place: Place) {
        if let Some(rule) = kinds::statement(node.kind) {
            for operation in rule.needs {
                let why = (*operation == Operation::Unknown).then(|| format!("what {} runs cannot be told from the text", rule.command));
                self.need(*operation, why);
            }
            return self.statement_node(node, place);
        }
        match kinds::part(node.kind) {
            Part::Plain => {}
            Part::Definition if self.defining => {}
            Part::Calls(name) => self.call(&[name], 0),
            Part::Definition | Part::Unknown => self.unknown(format!("`{}` in a statement is not understood", node.kind)),
        }
        match node.kind {
            "RangeVar" => self.relation(node, place),
            "FuncCall" if settings::is_harmless_call(&node.name_parts("funcname"), node.list("args")) => {
                self.need(Operation::Connect, None);
                self.functions.insert(dotted(&node.name_parts("funcname")));
            }
            "FuncCall" => self.call(&node.name_parts("funcname"), node.list("args").len()),
            "JsonFuncExpr" => self.json_call(node),
            "AExpr" => self.operator(&node.name_parts("name")),
            "SubLink" => self.operator(&node.name_parts("oper_name")),
            "SortBy" => self.operator(&node.name_parts("use_op")),
            "ParamRef" => self.parameters = self.parameters.max(u32::try_from(node.number("number")).unwrap_or(0)),
            "RangeTableSample" => self.sample(&node.name_parts("method")),
            "ReturningClause" => self.need(Operation::Read, None),
            "IntoClause" => {
                self.creates(node.node("rel"));
                return self.fields(node, |name| if name == "rel" { Place::Target(Usage::Ddl) } else { Place::Source });
            }
            "LockingClause" => {
                // Its names are those of the FROM list over again.
                self.need(Operation::Write, "FOR UPDATE or FOR SHARE locks rows".to_owned());
                return;
            }
            "WithClause" => return,
            "CurrentOfExpr" => {}
            "TableLikeClause" | "Constraint" => return self.fields(node, |_| Place::Target(Usage::Read)),
            "AlterTableCmd" => self.alter_table_command(node),
            _ => {}
        }
        self.fields(node, |_| place);
    }

    fn statement_node(&mut self, node: &Node, place: Place) {
        match node.kind {
            "SelectStmt" | "InsertStmt" | "UpdateStmt" | "DeleteStmt" | "MergeStmt" => self.query(node, place),
            "ReturnStmt" | "PrepareStmt" | "DeclareCursorStmt" | "ExplainStmt" | "ExecuteStmt" | "CallStmt" | "VariableShowStmt"
            | "NotifyStmt" | "DoStmt" => self.fields(node, |_| Place::Source),
            "CopyStmt" => self.copy(node),
            "LockStmt" => {
                // 1 is ACCESS SHARE, what every SELECT takes.
                let usage = if node.number("mode") == 1 { Usage::Read } else { Usage::Write };
                self.need(if usage == Usage::Read { Operation::Read } else { Operation::Write }, None);
                self.fields(node, |_| Place::Target(usage));
            }
            "TruncateStmt" | "RefreshMatViewStmt" => self.fields(node, |_| Place::Target(Usage::Write)),
            "VacuumStmt" | "ClusterStmt" | "ReindexStmt" => {
                let outside = std::mem::replace(&mut self.defining, true);
                self.fields(node, |_| Place::Target(Usage::Read));
                self.defining = outside;
            }
            // Inside a definition a SET belongs to the object; alone it is looked at by `settings`.
            "VariableSetStmt" | "TransactionStmt" | "DiscardStmt" | "DeallocateStmt" | "FetchStmt" | "ClosePortalStmt" | "ListenStmt"
            | "UnlistenStmt" | "ConstraintsSetStmt" => self.fields(node, |_| Place::Target(Usage::Read)),
            _ => self.definition(node),
        }
    }

    /// SELECT, INSERT, UPDATE, DELETE, MERGE, with the names of their WITH queries in sight exactly where PostgreSQL sees them.
    fn query(&mut self, node: &Node, place: Place) {
        let depth = self.with_names.len();
        if let Some(with) = node.node("with_clause") {
            self.with(with);
        }
        match node.kind {
            "SelectStmt" => {
                let locked = place == Place::Locked || !node.list("locking_clause").is_empty();
                self.need(Operation::Read, None);
                self.fields(node, |name| if locked && name == "from_clause" { Place::Locked } else { Place::Source });
            }
            "InsertStmt" => {
                for (name, value) in &node.fields {
                    match (*name, value) {
                        ("relation", value) => self.value(value, Place::Target(Usage::Write)),
                        ("select_stmt", Tree::Node(select)) if is_plain_values(select) => self.fields(select, |_| Place::Source),
                        (_, value) => self.value(value, Place::Source),
                    }
                }
            }
            kind => {
                if kind != "MergeStmt" {
                    let here = !node.field("where_clause").is_nothing();
                    self.has_where = Some(self.has_where.unwrap_or(true) && here);
                }
                if ["from_clause", "using_clause"].iter().any(|name| !node.list(name).is_empty()) {
                    self.need(Operation::Read, None);
                }
                if kind == "MergeStmt" && node.node("source_relation").is_some_and(|source| source.kind == "RangeVar") {
                    self.need(Operation::Read, None);
                }
                self.fields(node, |name| if name == "relation" { Place::Target(Usage::Write) } else { Place::Source });
            }
        }
        self.with_names.truncate(depth);
    }

    /// The queries of a WITH clause; their names stay in sight until the caller takes them away.
    fn with(&mut self, with: &Node) {
        let names = || with.list("ctes").iter().filter_map(Tree::as_node).map(|query| query.text("ctename").to_owned());
        let recursive = with.flag("recursive");
        self.with_names.push(if recursive { names().collect() } else { BTreeSet::new() });
        for query in with.list("ctes") {
            self.value(query, Place::Source);
            if let (false, Some(query), Some(scope)) = (recursive, query.as_node(), self.with_names.last_mut()) {
                scope.insert(query.text("ctename").to_owned());
            }
        }
    }

    fn copy(&mut self, node: &Node) {
        let from = node.flag("is_from");
        self.need(if from { Operation::Write } else { Operation::Read }, None);
        if node.flag("is_program") {
            self.need(Operation::Admin, "COPY … PROGRAM runs a program on the server".to_owned());
        } else if !node.text("filename").is_empty() {
            self.need(Operation::Admin, "COPY with a file name works on a file on the server".to_owned());
        }
        let target = Place::Target(if from { Usage::Write } else { Usage::Read });
        self.fields(node, |name| if name == "relation" { target } else { Place::Source });
    }

    /// Statements about objects, roles and the server.
    fn definition(&mut self, node: &Node) {
        let outside = std::mem::replace(&mut self.defining, true);
        match node.kind {
            "CreateStmt" => self.creates(node.node("relation")),
            "ViewStmt" => self.creates(node.node("view")),
            "CreateSeqStmt" => self.creates(node.node("sequence")),
            "CreateTableAsStmt" if node.node("query").is_some_and(|query| query.kind == "ExecuteStmt") => {
                self.unknown("CREATE TABLE AS EXECUTE runs a statement behind a name");
            }
            "CreateSchemaStmt" if !node.field("authrole").is_nothing() => {
                self.need(Operation::Admin, "a schema for another role".to_owned());
            }
            "CreateFunctionStmt" | "AlterFunctionStmt" => self.function_definition(node),
            "DropStmt" | "DefineStmt" | "RenameStmt" | "AlterObjectSchemaStmt" | "CommentStmt" | "AlterObjectDependsStmt" => {
                self.object_statement(node);
            }
            _ => {}
        }
        self.defined_names(node);
        self.fields(node, |_| Place::Target(Usage::Ddl));
        self.defining = outside;
    }

    /// Names of what is made or changed that are not relations: functions, types, schemas.
    fn defined_names(&mut self, node: &Node) {
        if matches!(node.kind, "CreateTrigStmt" | "CreateEventTrigStmt") {
            // Not called now, but whenever the trigger fires.
            self.functions.insert(dotted(&node.name_parts("funcname")));
            return;
        }
        let single = ["schemaname", "extname"].map(|field| node.text(field)).into_iter().filter(|_| node.kind.starts_with("Create"));
        let named = single.filter(|name| !name.is_empty()).map(|name| vec![name]);
        let listed = ["funcname", "defnames", "type_name", "domainname", "func"].map(|field| node.name_parts(field));
        for parts in named.chain(listed).filter(|parts| !parts.is_empty()) {
            if parts.len() > 1 && is_temporary_schema(parts[0]) {
                self.temporary();
            }
            self.objects.insert(ObjectUse { name: dotted(&parts), usage: Usage::Ddl });
        }
    }

    /// A relation that is made: temporary or not.
    fn creates(&mut self, relation: Option<&Node>) {
        match relation {
            Some(relation) if relation.text("relpersistence") == "t" || is_temporary_schema(relation.text("schemaname")) => {
                self.temporary()
            }
            _ => self.need(Operation::Ddl, None),
        }
    }

    fn temporary(&mut self) {
        self.creates_temporary = true;
        self.need(Operation::Temp, None);
    }

    fn function_definition(&mut self, node: &Node) {
        let options = node.list("options").iter().chain(node.list("actions")).filter_map(Tree::as_node);
        for option in options {
            let value = option.node("arg");
            match option.text("defname") {
                "language" if !matches!(value.map(|arg| arg.text("sval")), Some("sql" | "plpgsql")) => {
                    self.need(Operation::Admin, "a function in a language other than SQL or PL/pgSQL".to_owned());
                }
                "security" if value.is_none_or(|arg| arg.flag("boolval")) => {
                    self.need(Operation::Admin, "SECURITY DEFINER acts with the rights of its owner".to_owned());
                }
                "support" | "transform" => self.need(Operation::Admin, "an option of a function that only superusers may set".to_owned()),
                _ => {}
            }
        }
    }

    /// Statements whose kind of object is a field.
    fn object_statement(&mut self, node: &Node) {
        let field = match node.kind {
            "DropStmt" => "remove_type",
            "DefineStmt" => "kind",
            "RenameStmt" => "rename_type",
            "CommentStmt" => "objtype",
            _ => "object_type",
        };
        let object_type = object_type(node, field);
        if changes_meaning(object_type) && node.kind != "CommentStmt" {
            self.need(Operation::Admin, None);
        }
        if node.kind == "DefineStmt"
            && matches!(
                object_type,
                ObjectType::ObjectAggregate | ObjectType::ObjectType | ObjectType::ObjectTsparser | ObjectType::ObjectTstemplate
            )
        {
            self.need(Operation::Admin, None);
        }
        let named = match node.kind {
            "DropStmt" => node.list("objects"),
            _ => std::slice::from_ref(node.field("object")),
        };
        for object in named {
            let mut parts = object.name_parts();
            if matches!(object_type, ObjectType::ObjectCast | ObjectType::ObjectTransform) {
                // Named by types, not by a name of their own.
                continue;
            }
            if matches!(
                object_type,
                ObjectType::ObjectTrigger
                    | ObjectType::ObjectRule
                    | ObjectType::ObjectPolicy
                    | ObjectType::ObjectColumn
                    | ObjectType::ObjectTabconstraint
            ) {
                parts.pop();
            }
            if !parts.is_empty() {
                self.objects.insert(ObjectUse { name: dotted(&parts), usage: Usage::Ddl });
            }
            if parts.len() > 1 && is_temporary_schema(parts[0]) {
                self.temporary();
            }
            if is_catalog(&parts) {
                self.unknown(format!("`{}` is the server's own", dotted(&parts)));
            }
        }
    }

    fn alter_table_command(&mut self, node: &Node) {
        let why = match command_type(node) {
            AlterTableType::AtChangeOwner => "a change of owner",
            AlterTableType::AtEnableRowSecurity
            | AlterTableType::AtDisableRowSecurity
            | AlterTableType::AtForceRowSecurity
            | AlterTableType::AtNoForceRowSecurity => "row security decides who sees which rows",
            AlterTableType::AtAlterColumnGenericOptions | AlterTableType::AtGenericOptions => "options of foreign data",
            AlterTableType::Undefined => return self.unknown("a part of ALTER is not understood"),
            _ => return,
        };
        self.need(Operation::Admin, why.to_owned());
    }

    /// A table, view, sequence or index by name.
    fn relation(&mut self, node: &Node, place: Place) {
        let (catalog, schema, name) = (node.text("catalogname"), node.text("schemaname"), node.text("relname"));
        let is_source = matches!(place, Place::Source | Place::Locked);
        if is_source && schema.is_empty() && self.with_names.iter().any(|names| names.contains(name)) {
            return;
        }
        let parts: Vec<&str> = [catalog, schema, name].into_iter().filter(|part| !part.is_empty()).collect();
        let written = dotted(&parts);
        let usage = match place {
            Place::Source => Usage::Read,
            Place::Locked => Usage::Write,
            Place::Target(usage) => usage,
        };
        if !catalog.is_empty() {
            self.unknown(format!("`{written}` names a database"));
        }
        let local = &parts[parts.len().saturating_sub(2)..];
        if is_secret(local) {
            self.need(Operation::Admin, format!("`{written}` holds secrets or data of others"));
        }
        if usage != Usage::Read && place != Place::Locked && is_catalog(local) {
            self.unknown(format!("`{written}` is the server's own; changing it can change settings or rights"));
        }
        if place == Place::Target(Usage::Ddl) && is_temporary_schema(schema) {
            self.temporary();
        }
        self.objects.insert(ObjectUse { name: written, usage });
    }

    fn call(&mut self, parts: &[&str], arguments: usize) {
        let written = dotted(parts);
        let needs = functions::call(parts, &written, arguments, self.classes);
        self.operations.extend(&needs.operations);
        self.explain(needs.why);
        self.functions.insert(written);
    }

    fn json_call(&mut self, node: &Node) {
        match i32::try_from(node.number("op")).ok().and_then(|op| JsonExprOp::try_from(op).ok()) {
            Some(JsonExprOp::JsonExistsOp) => self.call(&["json_exists"], 0),
            Some(JsonExprOp::JsonQueryOp) => self.call(&["json_query"], 0),
            Some(JsonExprOp::JsonValueOp) => self.call(&["json_value"], 0),
            _ => self.unknown("an SQL/JSON call is not understood"),
        }
    }

    fn operator(&mut self, parts: &[&str]) {
        if !parts.is_empty() && !functions::is_built_in_operator(parts) {
            self.unknown(format!("operator `{}` is not built in: it calls a function that the text does not show", parts.join(".")));
        }
    }

    fn sample(&mut self, method: &[&str]) {
        if !matches!(method, [name] | ["pg_catalog", name] if matches!(*name, "bernoulli" | "system")) {
            self.unknown(format!("sampling method `{}` is not built in", dotted(method)));
        }
    }
}

/// VALUES lists and nothing else: what INSERT writes is in the text, no table is read.
fn is_plain_values(select: &Node) -> bool {
    select.kind == "SelectStmt"
        && !select.list("values_lists").is_empty()
        && select.fields.iter().all(|(name, value)| {
            *name == "values_lists" || !matches!(value, Tree::Node(_)) && !matches!(value, Tree::List(items) if !items.is_empty())
        })
}
