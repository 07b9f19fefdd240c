//! What this server can do, and the schemas it keeps: no more than it uses.

use safeconduct_model::PersonAttribute;
use serde_json::{Value, json};

use crate::{
    MOST_PER_PAGE,
    groups::GROUP,
    people::{ENTERPRISE, USER, is_extended},
};

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";
const RESOURCE_TYPE: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";

pub(crate) fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MOST_PER_PAGE },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token of the gateway's settings, for SCIM alone",
            "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": format!("{base}/ServiceProviderConfig") },
    })
}

pub(crate) fn resource_types(base: &str) -> Vec<Value> {
    let kind = |name: &str, endpoint: &str, schema: &str, extensions: Value| {
        json!({
            "schemas": [RESOURCE_TYPE],
            "id": name,
            "name": name,
            "endpoint": endpoint,
            "schema": schema,
            "schemaExtensions": extensions,
            "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
        })
    };
    vec![kind("User", "/Users", USER, json!([{ "schema": ENTERPRISE, "required": false }])), kind("Group", "/Groups", GROUP, json!([]))]
}

pub(crate) fn schemas(base: &str) -> Vec<Value> {
    let schema = |id: &str, name: &str, description: &str, attributes: Value| {
        json!({
            "schemas": [SCHEMA],
            "id": id,
            "name": name,
            "description": description,
            "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
        })
    };
    let plain = |extended: bool| {
        let of_schema = PersonAttribute::ALL.into_iter().filter(move |attribute| is_extended(*attribute) == extended);
        of_schema.map(|attribute| Attribute::text(attribute.name(), "For policy").write())
    };
    let mut user = vec![
        Attribute { required: true, unique: true, ..Attribute::text("userName", "What the person is called at the source") }.write(),
        Attribute::text("displayName", "How people write the name").write(),
        Attribute { exact: true, ..Attribute::text("externalId", "The source's own identifier") }.write(),
        Attribute { required: true, kind: "boolean", ..Attribute::text("active", "Whether the person may sign in") }.write(),
        Attribute {
            kind: "complex",
            many: true,
            mutability: "readOnly",
            inner: vec![
                Attribute { exact: true, mutability: "readOnly", ..Attribute::text("value", "The group's id") }.write(),
                Attribute {
                    kind: "reference",
                    exact: true,
                    mutability: "readOnly",
                    refers: &["Group"],
                    ..Attribute::text("$ref", "The group")
                }
                .write(),
                Attribute { mutability: "readOnly", ..Attribute::text("type", "How the person is in it") }.write(),
            ],
            ..Attribute::text("groups", "Groups of the source that the person is in")
        }
        .write(),
    ];
    user.extend(plain(false));
    let mut enterprise = vec![
        Attribute::text("department", "For policy").write(),
        Attribute {
            kind: "complex",
            inner: vec![Attribute { exact: true, ..Attribute::text("value", "The id of whom the person answers to") }.write()],
            ..Attribute::text("manager", "For policy")
        }
        .write(),
    ];
    enterprise.extend(plain(true));
    let group = json!([
        Attribute { required: true, unique: true, ..Attribute::text("displayName", "What the group is called at the source") }.write(),
        Attribute { exact: true, ..Attribute::text("externalId", "The source's own identifier") }.write(),
        Attribute {
            kind: "complex",
            many: true,
            inner: vec![
                Attribute { exact: true, mutability: "immutable", ..Attribute::text("value", "The person's id") }.write(),
                Attribute {
                    kind: "reference",
                    exact: true,
                    mutability: "immutable",
                    refers: &["User"],
                    ..Attribute::text("$ref", "The person")
                }
                .write(),
            ],
            ..Attribute::text("members", "People of the source who are in it")
        }
        .write(),
    ]);
    vec![
        schema(USER, "User", "A person", user.into()),
        schema(ENTERPRISE, "EnterpriseUser", "What policy may know of a person", enterprise.into()),
        schema(GROUP, "Group", "A group", group),
    ]
}

/// An attribute of a schema.
struct Attribute {
    name: &'static str,
    description: &'static str,
    kind: &'static str,
    many: bool,
    required: bool,
    exact: bool,
    unique: bool,
    mutability: &'static str,
    refers: &'static [&'static str],
    inner: Vec<Value>,
}

impl Attribute {
    const fn text(name: &'static str, description: &'static str) -> Self {
        Self {
            name,
            description,
            kind: "string",
            many: false,
            required: false,
            exact: false,
            unique: false,
            mutability: "readWrite",
            refers: &[],
            inner: Vec::new(),
        }
    }

    fn write(self) -> Value {
        let mut object = json!({
            "name": self.name,
            "type": self.kind,
            "multiValued": self.many,
            "description": self.description,
            "required": self.required,
            "caseExact": self.exact,
            "mutability": self.mutability,
            "returned": "default",
            "uniqueness": if self.unique { "server" } else { "none" },
        });
        if let Some(object) = object.as_object_mut() {
            if !self.inner.is_empty() {
                object.insert("subAttributes".to_owned(), self.inner.into());
            }
            if !self.refers.is_empty() {
                object.insert("referenceTypes".to_owned(), self.refers.into());
            }
        }
        object
    }
}
