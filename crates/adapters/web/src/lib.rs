//! The web app's files, built into the binary, and the headers they are served with.
//!
//! Decides which paths are pages and which are the API's. Knows nothing of access requests and asks nobody: a page is the same bytes for
//! everyone, and all it shows it gets from the public API.

mod files;
mod missing;

use std::sync::LazyLock;

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use files::File;
use sha2::{Digest as _, Sha256};

/// First parts of the paths that are pages; the page itself looks at the rest.
const PAGES: [&str; 13] = [
    "",
    "sign-in",
    "approvals",
    "access-requests",
    "resources",
    "sessions",
    "ledger",
    "grants",
    "account",
    "people",
    "console",
    "policy",
    "insights",
];

/// What a page may do: run our scripts, use our styles, talk to us. No inline script or style, no other site, nobody's frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
    manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// What the player of terminal recordings may do: run WebAssembly, and call nobody. It gets a file from whoever looks at it, and nothing from us.
const PLAYER_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self'; font-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The path of that player, and the file it is.
const PLAYER: (&str, &str) = ("terminal", "terminal.html");

/// The first part of the paths of the signing page, and the file it is: one document that brings its style and script along.
const SIGN: (&str, &str) = ("sign", "sign.html");

/// What the signing page may do: run its one script, use its one style, both named by their hashes, and talk to us.
static SIGN_POLICY: LazyLock<String> = LazyLock::new(|| {
    let document = signing_page().and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let hash = |name: &str| {
        let inside = document.split_once(&format!("<{name}>")).and_then(|(_, rest)| rest.split_once(&format!("</{name}>")));
        STANDARD.encode(Sha256::digest(inside.map_or("", |(inside, _)| inside)))
    };
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash("script"),
        hash("style")
    )
});

const ALWAYS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=(), payment=(), usb=()"),
];

/// The document that people sign with, byte for byte as it is served. `None` in a binary that was built without its pages.
#[must_use]
pub fn signing_page() -> Option<&'static [u8]> {
    files::find(SIGN.1).map(|file| file.plain)
}

/// The pages in front of the API: paths that are no page go to `api` as they are.
pub fn in_front_of(api: Router) -> Router {
    api.layer(from_fn(pages))
}

async fn pages(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return next.run(request).await;
    }
    match answer(request.uri().path(), request.headers()) {
        Some(response) => response,
        None => next.run(request).await,
    }
}

/// The answer to a path that is a page or a file of the app.
fn answer(path: &str, headers: &HeaderMap) -> Option<Response> {
    let path = path.strip_prefix('/')?;
    let path = match path.split_once('/').map_or(path, |(first, _)| first) {
        first if first == SIGN.0 => SIGN.1,
        _ if path == PLAYER.0 => PLAYER.1,
        _ => path,
    };
    let policy = match path {
        path if path == SIGN.1 => SIGN_POLICY.as_str(),
        path if path == PLAYER.1 => PLAYER_POLICY,
        _ => POLICY,
    };
    let mut response = if let Some(file) = files::find(path).filter(|file| file.path != files::INDEX) {
        serve(file, headers)
    } else if path.starts_with("assets/") {
        // A name of another version: its page is reloaded by whoever asks.
        StatusCode::NOT_FOUND.into_response()
    } else if is_page(path) {
        files::find(files::INDEX).map_or_else(|| missing::page(path), |index| serve(index, headers))
    } else {
        return None;
    };
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy_header(policy));
    for (name, value) in ALWAYS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Some(response)
}

/// Never fails: a policy is made of what headers may hold. One that did not would forbid everything.
fn policy_header(policy: &str) -> HeaderValue {
    HeaderValue::from_str(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

fn is_page(path: &str) -> bool {
    let first = path.split('/').next().unwrap_or_default();
    PAGES.contains(&first)
}

fn serve(file: &'static File, headers: &HeaderMap) -> Response {
    let mut response = if knows(headers, file.tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let (bytes, encoding) = file.best_for(headers);
        let mut response = Response::new(Body::from(bytes));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(file.content_type()));
        if let Some(encoding) = encoding {
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        response
    };
    // A name under `assets` holds a hash of what is in it; everything else is asked for again, which costs one short answer.
    let caching = if file.path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let head = response.headers_mut();
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    head.insert(header::ETAG, HeaderValue::from_static(file.tag));
    head.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    response
}

/// True if the browser has these bytes already.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok());
    known.is_some_and(|known| known.split(',').any(|known| known.trim().trim_start_matches("W/") == tag))
}
