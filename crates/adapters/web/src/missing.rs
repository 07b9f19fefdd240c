//! What stands in for the app in a binary that was built without it: how to get it, and how to do the same from a terminal.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

/// A page of plain text. Knows nothing about what it was asked for and decides nothing.
pub fn page(path: &str) -> Response {
    let mut text = String::from("Safeconduct is running. This binary was built without its web app: run `make web` before building it.\n");
    match path.strip_prefix("access-requests/").filter(|id| is_id(id)) {
        Some(id) => text.push_str(&format!(
            "\nAccess request {id}\n\n  look at it:   safeconduct show {id}\n  approve it:   safeconduct approve {id}\n  deny it:      safeconduct deny {id} --comment \"…\"\n\n\
             Who may see and decide it is found out there; this page decides nothing.\n"
        )),
        None => text.push_str("\nEverything can be done from a terminal: safeconduct --help\n"),
    }
    let mut response = (StatusCode::OK, text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Only what an identifier can be is repeated.
fn is_id(text: &str) -> bool {
    text.len() <= 40 && text.starts_with("rq-") && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::is_id;

    #[test]
    fn only_identifiers_are_repeated() {
        assert!(is_id("rq-h5vctrefkybk"));
        for other in ["", "rq-<script>", "gr-h5vctrefkybk", "rq-a/b", "rq-%3Cscript%3E"] {
            assert!(!is_id(other), "{other}");
        }
    }
}
