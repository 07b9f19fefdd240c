//! What is a page and what is not, with the app built in or without it.
#![allow(clippy::unwrap_used, reason = "a test that can't go on stops")]

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Method, Request, StatusCode, header},
    response::Response,
    routing::any,
};
use tower::ServiceExt as _;

async fn call(method: Method, path: &str, headers: &[(&str, &str)]) -> Response {
    let api = Router::new().fallback(any(|| async { (StatusCode::IM_A_TEAPOT, "api") }));
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    safeconduct_web::in_front_of(api).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn the_api_keeps_its_paths_and_every_write() {
    for path in ["/api/v1/whoami", "/healthz", "/readyz", "/nowhere", "/approvalsx", "/apiary"] {
        assert_eq!(call(Method::GET, path, &[]).await.status(), StatusCode::IM_A_TEAPOT, "{path}");
    }
    for path in ["/", "/access-requests/rq-000000000000", "/approvals"] {
        assert_eq!(call(Method::POST, path, &[]).await.status(), StatusCode::IM_A_TEAPOT, "{path}");
    }
    assert_eq!(call(Method::GET, "/assets/none.js", &[]).await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn f51_no_page_is_framed_and_none_runs_what_is_not_ours() {
    for path in ["/", "/sign-in", "/approvals", "/access-requests/rq-000000000000", "/sessions/se-000000000000"] {
        let page = call(Method::GET, path, &[]).await;
        assert_eq!(page.status(), StatusCode::OK, "{path}");
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        for part in ["default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{path}: {part}");
        }
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(page.headers()[header::X_FRAME_OPTIONS], "DENY");
        assert_eq!(page.headers()[header::REFERRER_POLICY], "no-referrer");
    }
}

#[tokio::test]
async fn f51_the_player_of_terminal_recordings_calls_nobody_and_is_not_framed() {
    for path in ["/terminal", "/terminal.html"] {
        let page = call(Method::GET, path, &[]).await;
        // A binary without the app has no player.
        if page.status() == StatusCode::IM_A_TEAPOT {
            return;
        }
        let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"), "{policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("connect-src") && !policy.contains("unsafe-inline"),
            "{policy}"
        );
    }
}

#[tokio::test]
async fn f51_the_signing_page_runs_its_own_script_alone_and_is_not_framed() {
    for path in ["/sign", "/sign/rq-000000000000", "/sign.html"] {
        let page = call(Method::GET, path, &[]).await;
        let policy = page.headers().get(header::CONTENT_SECURITY_POLICY).map(|policy| policy.to_str().unwrap().to_owned());
        let served = text(page).await;
        // A binary without the app has no such page.
        let Some(document) = safeconduct_web::signing_page() else { return };
        assert_eq!(served.as_bytes(), document, "{path}: the same bytes for every access request");
        let policy = policy.unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
        assert!(
            policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe") && policy.contains("style-src 'sha256-"),
            "{policy}"
        );
        assert!(document.len() < 20 << 10, "people read it: {} bytes", document.len());
    }
}

#[tokio::test]
async fn f19_a_link_is_the_same_bytes_for_every_access_request() {
    let page = async |id: &str| text(call(Method::GET, &format!("/access-requests/{id}"), &[]).await).await;
    let (one, other) = (page("rq-000000000000").await, page("rq-000000000001").await);
    assert_eq!(one.replace("rq-000000000000", "rq-000000000001"), other);
    assert!(!page("%3Cscript%3E").await.contains("%3Cscript%3E"));
}

#[tokio::test]
async fn a_page_that_the_browser_has_is_not_sent_again() {
    let first = call(Method::GET, "/approvals", &[("accept-encoding", "gzip, br")]).await;
    // A binary without the app has nothing to be kept.
    let Some(tag) = first.headers().get(header::ETAG) else { return };
    let tag = tag.to_str().unwrap().to_owned();
    assert_eq!(first.headers()[header::CONTENT_ENCODING], "br");
    assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
    let again = call(Method::GET, "/approvals", &[("if-none-match", &tag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(text(again).await, "");
}
