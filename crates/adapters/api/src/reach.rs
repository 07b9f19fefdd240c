//! Which scopes of a token reach which call, and which calls are a use of a sign-in. One table: a call that is not in it is reached by no
//! scope, and a test fails.

use axum::http::{HeaderMap, HeaderName, Method};
use safeconduct_app::Reach;
use safeconduct_model::TokenScope::{self, Ledger, Read, Request};
use utoipa::openapi::{OpenApi, extensions::ExtensionsBuilder, path::Operation};

/// What our pages say when they ask again by themselves and nobody has touched them for a while. It keeps no sign-in alive.
const UNATTENDED: HeaderName = HeaderName::from_static("x-safeconduct-unattended");
/// News comes whether or not somebody looks.
const NEWS: &str = "/api/v1/events";

/// Only a token without scopes.
const NONE: &[TokenScope] = &[];
const EVERY: &[TokenScope] = &TokenScope::ALL;
const READ: &[TokenScope] = &[Read];
const REQUEST: &[TokenScope] = &[Request];
/// Looking at what asking and using takes.
const BOTH: &[TokenScope] = &[Read, Request];
const LEDGER: &[TokenScope] = &[Ledger];

/// Every call that somebody must be signed in for, in the document's order.
#[rustfmt::skip]
const CALLS: &[(&str, &str, &[TokenScope])] = &[
    ("GET",    "/api/v1/access-requests",               BOTH),
    ("POST",   "/api/v1/access-requests",               REQUEST),
    ("POST",   "/api/v1/access-requests/preview",       REQUEST),
    ("GET",    "/api/v1/access-requests/{id}",          BOTH),
    ("POST",   "/api/v1/access-requests/{id}/approve",  NONE),
    ("POST",   "/api/v1/access-requests/{id}/cancel",   REQUEST),
    ("POST",   "/api/v1/access-requests/{id}/deny",     NONE),
    ("GET",    "/api/v1/access-requests/{id}/estimate", READ),
    ("POST",   "/api/v1/access-requests/{id}/execute",  REQUEST),
    ("POST",   "/api/v1/access-requests/{id}/one-time", NONE),
    ("GET",    "/api/v1/access-requests/{id}/rosters",  LEDGER),
    ("GET",    "/api/v1/access-requests/{id}/sessions", BOTH),
    ("GET",    "/api/v1/access-requests/{id}/wait",     BOTH),
    ("POST",   "/api/v1/changes",                       NONE),
    ("GET",    "/api/v1/events",                        BOTH),
    ("GET",    "/api/v1/grants",                        BOTH),
    ("POST",   "/api/v1/grants/{id}/extend",            REQUEST),
    ("POST",   "/api/v1/grants/{id}/release",           REQUEST),
    ("POST",   "/api/v1/grants/{id}/revoke",            NONE),
    ("GET",    "/api/v1/groups",                        READ),
    ("GET",    "/api/v1/insights",                      READ),
    ("GET",    "/api/v1/keys/{name}",                   READ),
    ("GET",    "/api/v1/ledger",                        LEDGER),
    ("GET",    "/api/v1/ledger/entries",                LEDGER),
    ("GET",    "/api/v1/ledger/proof/{index}",          LEDGER),
    ("GET",    "/api/v1/ledger/search",                 LEDGER),
    ("GET",    "/api/v1/policy",                        READ),
    ("POST",   "/api/v1/policy",                        NONE),
    ("POST",   "/api/v1/policy/explain",                BOTH),
    ("POST",   "/api/v1/policy/plan",                   READ),
    ("GET",    "/api/v1/policy/versions",               READ),
    ("GET",    "/api/v1/principals",                    READ),
    ("GET",    "/api/v1/resources",                     BOTH),
    ("POST",   "/api/v1/resources/{name}/connect",      REQUEST),
    ("GET",    "/api/v1/sessions",                      READ),
    ("POST",   "/api/v1/sessions/{id}/kill",            NONE),
    ("GET",    "/api/v1/sessions/{id}/recording",       READ),
    ("POST",   "/api/v1/sign-out",                      EVERY),
    ("GET",    "/api/v1/status",                        BOTH),
    ("GET",    "/api/v1/tokens/{name}",                 READ),
    ("DELETE", "/api/v1/tokens/{name}",                 NONE),
    ("DELETE", "/api/v1/tokens/{name}/{sign_in}",       NONE),
    ("GET",    "/api/v1/whoami",                        EVERY),
];

/// What the call with this method and this pattern of a path is.
pub(crate) fn of(method: &Method, path: Option<&str>, headers: &HeaderMap) -> Reach {
    // A HEAD is answered by what answers a GET.
    let method = if method == Method::HEAD { &Method::GET } else { method };
    let scopes = path.and_then(|path| scopes_of(method.as_str(), path)).unwrap_or(NONE);
    let attended = path != Some(NEWS) && !headers.contains_key(UNATTENDED);
    Reach { scopes, attended }
}

/// The scopes that reach a call; `None` for a call that is not in the table.
pub(crate) fn scopes_of(method: &str, path: &str) -> Option<&'static [TokenScope]> {
    CALLS.iter().find(|(m, p, _)| *m == method && *p == path).map(|(_, _, scopes)| *scopes)
}

/// Says in the document which scopes reach which call.
pub(crate) fn write_into(document: &mut OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let of_path: [(&str, &mut Option<Operation>); 3] = [("GET", &mut item.get), ("POST", &mut item.post), ("DELETE", &mut item.delete)];
        for (method, operation) in of_path {
            if let (Some(operation), Some(scopes)) = (operation, scopes_of(method, path)) {
                let names: Vec<&str> = scopes.iter().map(|scope| scope.name()).collect();
                let extension = ExtensionsBuilder::new().add("x-token-scopes", names).build();
                operation.extensions.get_or_insert_default().merge(extension);
            }
        }
    }
}

/// As RFC 6750 writes them.
pub(crate) fn in_a_row(scopes: &[TokenScope]) -> String {
    scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Method and path of every call in the document, and whether somebody must be signed in for it.
    fn documented() -> Vec<(String, String, bool)> {
        let document = serde_json::to_value(crate::openapi()).unwrap();
        let paths = document["paths"].as_object().unwrap();
        let of_path = |(path, calls): (&String, &serde_json::Value)| {
            let of_call = |(method, call): (&String, &serde_json::Value)| {
                (method.to_uppercase(), path.replace("{*", "{"), call.get("security") != Some(&serde_json::json!([{}])))
            };
            calls.as_object().unwrap().iter().map(of_call).collect::<Vec<_>>()
        };
        paths.iter().flat_map(of_path).collect()
    }

    #[test]
    fn f21_every_call_of_the_document_says_which_scopes_reach_it() {
        let documented = documented();
        assert!(documented.len() > 50, "the document was read");
        for (method, path, signed_in) in &documented {
            assert_eq!(scopes_of(method, path).is_some(), *signed_in, "{method} {path}: decide in `CALLS` which scopes reach it");
        }
        let known: BTreeSet<(&str, &str)> = documented.iter().map(|(method, path, _)| (method.as_str(), path.as_str())).collect();
        for (method, path, _) in CALLS {
            assert!(known.contains(&(*method, *path)), "{method} {path} is no call");
        }
    }

    #[test]
    fn f21_what_is_not_in_the_table_is_reached_by_no_scope() {
        for (method, path) in [(Method::GET, Some("/api/v1/new")), (Method::PUT, Some("/api/v1/whoami")), (Method::GET, None)] {
            assert_eq!(of(&method, path, &HeaderMap::new()).scopes, NONE, "{method} {path:?}");
        }
        assert_eq!(of(&Method::HEAD, Some("/api/v1/ledger"), &HeaderMap::new()).scopes, LEDGER);
    }
}
