//! What all handlers share. No handler keeps anything of its own.

use std::sync::Arc;

use safeconduct_app::App;
use tokio::sync::Semaphore;

use crate::{attempts::Attempts, idempotency::CallsUnderWay};

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// Most event streams and waiting calls at one time.
    pub max_streams: usize,
    /// How long an ordinary call may take.
    pub call_timeout: std::time::Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self { max_streams: 256, call_timeout: std::time::Duration::from_secs(30) }
    }
}

/// The use cases, and what protects them from too much.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub app: App,
    pub attempts: Arc<Attempts>,
    pub attempts_at_providers: Arc<Attempts>,
    pub calls: Arc<CallsUnderWay>,
    pub streams: Arc<Semaphore>,
}

impl ApiState {
    pub fn new(app: App, config: &ApiConfig) -> Self {
        Self {
            app,
            attempts: Arc::new(Attempts::at_passwords()),
            attempts_at_providers: Arc::new(Attempts::at_providers()),
            calls: Arc::new(CallsUnderWay::default()),
            streams: Arc::new(Semaphore::new(config.max_streams)),
        }
    }
}
