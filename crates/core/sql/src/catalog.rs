//! What the server's own objects and kinds of objects are: decides which of them hold secrets, and which change what others' statements mean.

use pg_query::protobuf::{AlterTableType, ObjectType};

use crate::tree::Node;

/// The kind of object in a field; `Undefined` if it is none.
pub(crate) fn object_type(node: &Node, field: &str) -> ObjectType {
    i32::try_from(node.number(field)).ok().and_then(|number| ObjectType::try_from(number).ok()).unwrap_or(ObjectType::Undefined)
}

pub(crate) fn command_type(node: &Node) -> AlterTableType {
    i32::try_from(node.number("subtype")).ok().and_then(|number| AlterTableType::try_from(number).ok()).unwrap_or(AlterTableType::Undefined)
}

/// Objects that change what others' statements mean or who may do what.
pub(crate) fn changes_meaning(object_type: ObjectType) -> bool {
    use ObjectType::{
        ObjectAccessMethod, ObjectAmop, ObjectAmproc, ObjectCast, ObjectConversion, ObjectDatabase, ObjectDefacl, ObjectEventTrigger,
        ObjectExtension, ObjectFdw, ObjectForeignServer, ObjectForeignTable, ObjectLanguage, ObjectLargeobject, ObjectOpclass,
        ObjectOperator, ObjectOpfamily, ObjectParameterAcl, ObjectPolicy, ObjectPublication, ObjectPublicationNamespace,
        ObjectPublicationRel, ObjectRole, ObjectSubscription, ObjectTablespace, ObjectTransform, ObjectUserMapping, Undefined,
    };
    matches!(
        object_type,
        ObjectAccessMethod
            | ObjectAmop
            | ObjectAmproc
            | ObjectCast
            | ObjectConversion
            | ObjectDatabase
            | ObjectDefacl
            | ObjectEventTrigger
            | ObjectExtension
            | ObjectFdw
            | ObjectForeignServer
            | ObjectForeignTable
            | ObjectLanguage
            | ObjectLargeobject
            | ObjectOpclass
            | ObjectOperator
            | ObjectOpfamily
            | ObjectParameterAcl
            | ObjectPolicy
            | ObjectPublication
            | ObjectPublicationNamespace
            | ObjectPublicationRel
            | ObjectRole
            | ObjectSubscription
            | ObjectTablespace
            | ObjectTransform
            | ObjectUserMapping
            | Undefined
    )
}

/// True for names of the server's own tables and views. Without a schema PostgreSQL looks in `pg_catalog` first, where names begin with `pg_`.
pub(crate) fn is_catalog(parts: &[&str]) -> bool {
    match *parts {
        [name] => name.starts_with("pg_"),
        [schema, ..] => matches!(schema, "pg_catalog" | "information_schema") || schema.starts_with("pg_toast"),
        [] => false,
    }
}

/// Catalogs that hold password hashes, connection strings, samples of data, or everybody's data under another name.
pub(crate) fn is_secret(parts: &[&str]) -> bool {
    const SECRET: [&str; 14] = [
        "pg_authid",
        "pg_shadow",
        "pg_user_mapping",
        "pg_user_mappings",
        "pg_largeobject",
        "pg_subscription",
        "pg_statistic",
        "pg_statistic_ext_data",
        "pg_hba_file_rules",
        "pg_file_settings",
        "pg_ident_file_mappings",
        "pg_config",
        "pg_backend_memory_contexts",
        "pg_shmem_allocations",
    ];
    match *parts {
        [name] | ["pg_catalog", name] => SECRET.contains(&name),
        ["information_schema", name] => matches!(name, "_pg_user_mappings" | "user_mapping_options" | "_pg_foreign_servers"),
        [schema, _] => schema.starts_with("pg_toast"),
        _ => false,
    }
}
