//! What reaches a session from outside its two sockets: its standing changed, the gateway stops, a client asks to cancel.
//!
//! Somebody of its own watches, so that the session itself looks at one queue per wake-up.

use std::task::{Context, Poll};

use safeconduct_app::Standing;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use crate::{cancel::Cancel, signal::raised};

/// Something a session must hear of.
pub(crate) enum Signal {
    Standing,
    Shutdown,
    Cancel(Cancel),
}

/// The signals of one session. Dropping it ends the watching.
pub(crate) struct Signals {
    raised: mpsc::Receiver<Signal>,
    cancels: mpsc::Receiver<Cancel>,
    _watching: JoinSet<()>,
}

impl Signals {
    /// Watches from now on; what changed before is told first.
    pub(crate) fn watch(
        mut standing: watch::Receiver<Standing>,
        mut shutdown: watch::Receiver<bool>,
        cancels: mpsc::Receiver<Cancel>,
    ) -> Self {
        let (send, raised_signals) = mpsc::channel(4);
        let mut watching = JoinSet::new();
        standing.mark_changed();
        watching.spawn(async move {
            loop {
                let (signal, last) = tokio::select! {
                    biased;
                    changed = standing.changed() => (Signal::Standing, changed.is_err()),
                    () = raised(&mut shutdown) => (Signal::Shutdown, true),
                };
                if send.send(signal).await.is_err() || last {
                    return std::future::pending().await;
                }
            }
        });
        Self { raised: raised_signals, cancels, _watching: watching }
    }

    /// The next signal.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        if let Poll::Ready(Some(signal)) = self.raised.poll_recv(context) {
            return Poll::Ready(signal);
        }
        match self.cancels.poll_recv(context) {
            Poll::Ready(Some(cancel)) => Poll::Ready(Signal::Cancel(cancel)),
            _ => Poll::Pending,
        }
    }
}
