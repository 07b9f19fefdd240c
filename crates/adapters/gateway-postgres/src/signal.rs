//! Signals that are raised once: stop, shut down.

use tokio::sync::watch;

/// Resolves once the signal is raised. A sender that is gone counts as raised: nobody could raise it any more.
pub(crate) async fn raised(signal: &mut watch::Receiver<bool>) {
    let _ = signal.wait_for(|raised| *raised).await;
}
