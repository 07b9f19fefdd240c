//! The allow-list: which kinds of parse node are understood, and what each statement needs by its kind alone.
//!
//! A kind that is in no list here makes its statement `unknown`. Nodes that exist only after parse analysis are not listed: a raw parse has none.

use safeconduct_model::Operation::{self, Admin, Connect, Ddl, Read, Unknown, Write};

/// What a statement kind is called and what it needs before its parts are looked at.
pub(crate) struct StatementRule {
    pub kind: &'static str,
    pub command: &'static str,
    pub needs: &'static [Operation],
}

const fn rule(kind: &'static str, command: &'static str, needs: &'static [Operation]) -> StatementRule {
    StatementRule { kind, command, needs }
}

/// The statement kinds. Those with an empty `needs` are decided by `walk`, part by part.
pub(crate) static STATEMENTS: &[StatementRule] = &[
    rule("SelectStmt", "SELECT", &[]),
    rule("InsertStmt", "INSERT", &[Write]),
    rule("UpdateStmt", "UPDATE", &[Write]),
    rule("DeleteStmt", "DELETE", &[Write]),
    rule("MergeStmt", "MERGE", &[Write]),
    rule("CopyStmt", "COPY", &[]),
    rule("TruncateStmt", "TRUNCATE", &[Ddl, Write]),
    // Transactions, settings, names: `statement` looks at what they say.
    rule("TransactionStmt", "TRANSACTION", &[]),
    rule("VariableSetStmt", "SET", &[]),
    rule("VariableShowStmt", "SHOW", &[Connect]),
    rule("ConstraintsSetStmt", "SET CONSTRAINTS", &[Write]),
    rule("PrepareStmt", "PREPARE", &[Connect]),
    rule("ExecuteStmt", "EXECUTE", &[Connect]),
    rule("DeallocateStmt", "DEALLOCATE", &[Connect]),
    rule("DeclareCursorStmt", "DECLARE CURSOR", &[Connect]),
    rule("FetchStmt", "FETCH", &[Connect]),
    rule("ClosePortalStmt", "CLOSE", &[Connect]),
    rule("DiscardStmt", "DISCARD", &[]),
    rule("ExplainStmt", "EXPLAIN", &[Read]),
    rule("LockStmt", "LOCK", &[]),
    // Listening shows what others say; telling is an effect on them.
    rule("ListenStmt", "LISTEN", &[Read]),
    rule("UnlistenStmt", "UNLISTEN", &[Connect]),
    rule("NotifyStmt", "NOTIFY", &[Write]),
    // Code that is not SQL, or is behind a name.
    rule("DoStmt", "DO", &[Unknown]),
    rule("CallStmt", "CALL", &[]),
    // Objects.
    rule("CreateStmt", "CREATE TABLE", &[]),
    rule("CreateTableAsStmt", "CREATE TABLE AS", &[]),
    rule("ViewStmt", "CREATE VIEW", &[]),
    rule("CreateSeqStmt", "CREATE SEQUENCE", &[]),
    rule("AlterSeqStmt", "ALTER SEQUENCE", &[Ddl]),
    rule("IndexStmt", "CREATE INDEX", &[Ddl]),
    rule("AlterTableStmt", "ALTER TABLE", &[Ddl]),
    rule("AlterTableMoveAllStmt", "ALTER TABLE ALL IN TABLESPACE", &[Ddl, Admin]),
    rule("ReplicaIdentityStmt", "ALTER TABLE", &[Ddl]),
    rule("RefreshMatViewStmt", "REFRESH MATERIALIZED VIEW", &[Write]),
    rule("DropStmt", "DROP", &[Ddl]),
    rule("RenameStmt", "ALTER … RENAME", &[Ddl]),
    rule("CommentStmt", "COMMENT", &[Ddl]),
    rule("CreateSchemaStmt", "CREATE SCHEMA", &[Ddl]),
    rule("AlterObjectSchemaStmt", "ALTER … SET SCHEMA", &[Ddl]),
    rule("AlterObjectDependsStmt", "ALTER … DEPENDS ON EXTENSION", &[Ddl]),
    rule("AlterOwnerStmt", "ALTER … OWNER", &[Ddl, Admin]),
    rule("CompositeTypeStmt", "CREATE TYPE", &[Ddl]),
    rule("CreateEnumStmt", "CREATE TYPE", &[Ddl]),
    rule("CreateRangeStmt", "CREATE TYPE", &[Ddl]),
    rule("AlterEnumStmt", "ALTER TYPE", &[Ddl]),
    rule("AlterTypeStmt", "ALTER TYPE", &[Ddl, Admin]),
    rule("CreateDomainStmt", "CREATE DOMAIN", &[Ddl]),
    rule("AlterDomainStmt", "ALTER DOMAIN", &[Ddl]),
    rule("CreateStatsStmt", "CREATE STATISTICS", &[Ddl]),
    rule("AlterStatsStmt", "ALTER STATISTICS", &[Ddl]),
    rule("AlterCollationStmt", "ALTER COLLATION", &[Ddl]),
    rule("AlterTsDictionaryStmt", "ALTER TEXT SEARCH DICTIONARY", &[Ddl]),
    rule("AlterTsConfigurationStmt", "ALTER TEXT SEARCH CONFIGURATION", &[Ddl]),
    rule("CreateTrigStmt", "CREATE TRIGGER", &[Ddl]),
    rule("RuleStmt", "CREATE RULE", &[Ddl]),
    rule("CreateFunctionStmt", "CREATE FUNCTION", &[Ddl]),
    rule("AlterFunctionStmt", "ALTER FUNCTION", &[Ddl]),
    rule("ReturnStmt", "RETURN", &[]),
    rule("DefineStmt", "CREATE", &[Ddl]),
    // Objects that change what other people's names and statements mean, or reach outside the database.
    rule("CreateCastStmt", "CREATE CAST", &[Ddl, Admin]),
    rule("CreateTransformStmt", "CREATE TRANSFORM", &[Ddl, Admin]),
    rule("CreateConversionStmt", "CREATE CONVERSION", &[Ddl, Admin]),
    rule("CreateOpClassStmt", "CREATE OPERATOR CLASS", &[Ddl, Admin]),
    rule("CreateOpFamilyStmt", "CREATE OPERATOR FAMILY", &[Ddl, Admin]),
    rule("AlterOpFamilyStmt", "ALTER OPERATOR FAMILY", &[Ddl, Admin]),
    rule("AlterOperatorStmt", "ALTER OPERATOR", &[Ddl, Admin]),
    rule("CreateAmStmt", "CREATE ACCESS METHOD", &[Ddl, Admin]),
    rule("CreatePLangStmt", "CREATE LANGUAGE", &[Ddl, Admin]),
    rule("CreateExtensionStmt", "CREATE EXTENSION", &[Ddl, Admin]),
    rule("AlterExtensionStmt", "ALTER EXTENSION", &[Ddl, Admin]),
    rule("AlterExtensionContentsStmt", "ALTER EXTENSION", &[Ddl, Admin]),
    rule("CreateEventTrigStmt", "CREATE EVENT TRIGGER", &[Ddl, Admin]),
    rule("AlterEventTrigStmt", "ALTER EVENT TRIGGER", &[Ddl, Admin]),
    rule("CreateFdwStmt", "CREATE FOREIGN DATA WRAPPER", &[Ddl, Admin]),
    rule("AlterFdwStmt", "ALTER FOREIGN DATA WRAPPER", &[Ddl, Admin]),
    rule("CreateForeignServerStmt", "CREATE SERVER", &[Ddl, Admin]),
    rule("AlterForeignServerStmt", "ALTER SERVER", &[Ddl, Admin]),
    rule("CreateForeignTableStmt", "CREATE FOREIGN TABLE", &[Ddl, Admin]),
    rule("CreateUserMappingStmt", "CREATE USER MAPPING", &[Ddl, Admin]),
    rule("AlterUserMappingStmt", "ALTER USER MAPPING", &[Ddl, Admin]),
    rule("DropUserMappingStmt", "DROP USER MAPPING", &[Ddl, Admin]),
    rule("ImportForeignSchemaStmt", "IMPORT FOREIGN SCHEMA", &[Ddl, Admin]),
    rule("CreatePolicyStmt", "CREATE POLICY", &[Ddl, Admin]),
    rule("AlterPolicyStmt", "ALTER POLICY", &[Ddl, Admin]),
    // Roles, rights, the server, maintenance.
    rule("GrantStmt", "GRANT", &[Admin]),
    rule("GrantRoleStmt", "GRANT", &[Admin]),
    rule("AlterDefaultPrivilegesStmt", "ALTER DEFAULT PRIVILEGES", &[Admin]),
    rule("CreateRoleStmt", "CREATE ROLE", &[Admin]),
    rule("AlterRoleStmt", "ALTER ROLE", &[Admin]),
    rule("AlterRoleSetStmt", "ALTER ROLE SET", &[Admin]),
    rule("DropRoleStmt", "DROP ROLE", &[Admin]),
    rule("DropOwnedStmt", "DROP OWNED", &[Ddl, Admin]),
    rule("ReassignOwnedStmt", "REASSIGN OWNED", &[Ddl, Admin]),
    rule("SecLabelStmt", "SECURITY LABEL", &[Admin]),
    rule("CreatedbStmt", "CREATE DATABASE", &[Admin]),
    rule("DropdbStmt", "DROP DATABASE", &[Admin]),
    rule("AlterDatabaseStmt", "ALTER DATABASE", &[Admin]),
    rule("AlterDatabaseSetStmt", "ALTER DATABASE SET", &[Admin]),
    rule("AlterDatabaseRefreshCollStmt", "ALTER DATABASE", &[Admin]),
    rule("CreateTableSpaceStmt", "CREATE TABLESPACE", &[Admin]),
    rule("DropTableSpaceStmt", "DROP TABLESPACE", &[Admin]),
    rule("AlterTableSpaceOptionsStmt", "ALTER TABLESPACE", &[Admin]),
    rule("AlterSystemStmt", "ALTER SYSTEM", &[Admin]),
    rule("CreatePublicationStmt", "CREATE PUBLICATION", &[Admin]),
    rule("AlterPublicationStmt", "ALTER PUBLICATION", &[Admin]),
    rule("CreateSubscriptionStmt", "CREATE SUBSCRIPTION", &[Admin]),
    rule("AlterSubscriptionStmt", "ALTER SUBSCRIPTION", &[Admin]),
    rule("DropSubscriptionStmt", "DROP SUBSCRIPTION", &[Admin]),
    rule("VacuumStmt", "VACUUM", &[Admin]),
    rule("ClusterStmt", "CLUSTER", &[Admin]),
    rule("ReindexStmt", "REINDEX", &[Admin]),
    rule("CheckPointStmt", "CHECKPOINT", &[Admin]),
    rule("LoadStmt", "LOAD", &[Admin]),
];

/// The rule of a statement kind.
pub(crate) fn statement(kind: &str) -> Option<&'static StatementRule> {
    STATEMENTS.iter().find(|rule| rule.kind == kind)
}

/// How a node that is no statement is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Means only what its own parts mean.
    Plain,
    /// The same, but only inside a statement about objects, roles or the server.
    Definition,
    /// Calls the built-in function of this name, which older servers do not have: they would call a user's function so named.
    Calls(&'static str),
    /// Not understood.
    Unknown,
}

/// How a node kind that is no statement is treated.
pub(crate) fn part(kind: &str) -> Part {
    match kind {
        "Alias" | "RangeVar" | "IntoClause" | "GroupingFunc" | "NamedArgExpr" | "BoolExpr" | "SubLink" | "CaseExpr" | "CaseWhen"
        | "RowExpr" | "CoalesceExpr" | "MinMaxExpr" | "SqlValueFunction" | "XmlExpr" | "XmlSerialize" | "NullTest" | "BooleanTest"
        | "SetToDefault" | "CurrentOfExpr" | "JoinExpr" | "TypeName" | "ColumnRef" | "ParamRef" | "AExpr" | "TypeCast"
        | "CollateClause" | "FuncCall" | "AStar" | "AIndices" | "AIndirection" | "AArrayExpr" | "ResTarget" | "MultiAssignRef"
        | "SortBy" | "WindowDef" | "RangeSubselect" | "RangeFunction" | "RangeTableFunc" | "RangeTableFuncCol" | "RangeTableSample"
        | "DefElem" | "LockingClause" | "GroupingSet" | "WithClause" | "InferClause" | "OnConflictClause" | "CteSearchClause"
        | "CteCycleClause" | "CommonTableExpr" | "MergeWhenClause" | "ReturningOption" | "ReturningClause" | "IndexElem" | "ColumnDef"
        | "Integer" | "Float" | "Boolean" | "String" | "BitString" | "List" | "AConst" => Part::Plain,
        // Clauses of the SQL/JSON calls below; none can stand alone. What `JsonFuncExpr` calls is in a field: `walk` looks.
        "JsonFuncExpr" | "JsonFormat" | "JsonReturning" | "JsonValueExpr" | "JsonBehavior" | "JsonOutput" | "JsonArgument"
        | "JsonTablePathSpec" | "JsonTableColumn" | "JsonKeyValue" | "JsonAggConstructor" | "JsonIsPredicate" => Part::Plain,
        "JsonParseExpr" => Part::Calls("json"),
        "JsonScalarExpr" => Part::Calls("json_scalar"),
        "JsonSerializeExpr" => Part::Calls("json_serialize"),
        "JsonObjectConstructor" => Part::Calls("json_object"),
        "JsonArrayConstructor" | "JsonArrayQueryConstructor" => Part::Calls("json_array"),
        "JsonObjectAgg" => Part::Calls("json_objectagg"),
        "JsonArrayAgg" => Part::Calls("json_arrayagg"),
        "JsonTable" => Part::Calls("json_table"),
        "MergeSupportFunc" => Part::Calls("merge_action"),
        "RoleSpec"
        | "TableLikeClause"
        | "PartitionElem"
        | "PartitionSpec"
        | "PartitionBoundSpec"
        | "PartitionRangeDatum"
        | "PartitionCmd"
        | "TriggerTransition"
        | "AlterTableCmd"
        | "AtAlterConstraint"
        | "ObjectWithArgs"
        | "AccessPriv"
        | "Constraint"
        | "CreateOpClassItem"
        | "StatsElem"
        | "FunctionParameter"
        | "VacuumRelation"
        | "PublicationTable"
        | "PublicationObjSpec" => Part::Definition,
        _ => Part::Unknown,
    }
}
