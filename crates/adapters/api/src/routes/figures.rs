//! The figures, for Prometheus. On a listener of its own: whoever reaches it reads them without a sign-in.

use axum::{
    Router,
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
    routing::get,
};
use safeconduct_app::App;

/// Prometheus' text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A router with `/metrics` and nothing else.
pub fn figures_router(app: App) -> Router {
    Router::new().route("/metrics", get(figures)).with_state(app)
}

async fn figures(State(app): State<App>) -> Response {
    ([(CONTENT_TYPE, TEXT)], app.figures().await).into_response()
}
