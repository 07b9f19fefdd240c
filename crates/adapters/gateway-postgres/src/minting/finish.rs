//! The last work of a session that ended by itself: retiring its role would cut it short.

use std::time::Duration;

use safeconduct_app::DoorSession;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::session;

/// How long the server may work off what was sent before the client said goodbye.
const LAST_WORK: Duration = Duration::from_secs(60);

/// Waits until the server has closed the connection of a session with a role of its own, or must not go on.
pub(crate) async fn let_finish<R: AsyncRead + Unpin>(session: &DoorSession, mut server: R) {
    if session.read_only().is_none() {
        return;
    }
    let mut standing = session.standing();
    let closed = async {
        let mut rest = [0; 4096];
        while server.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    };
    tokio::select! {
        _ = timeout(LAST_WORK, closed) => {}
        _ = session::ended(&mut standing) => {}
    }
}
