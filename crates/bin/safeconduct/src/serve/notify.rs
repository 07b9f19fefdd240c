//! Tells the service manager how the node stands, if one listens: `sd_notify(3)`, a datagram to the socket it names.

use std::{
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixDatagram},
    },
    time::Duration,
};

use safeconduct_app::{App, ports::Clock as _};
use safeconduct_system::SystemClock;

/// It serves.
pub fn ready() {
    say("READY=1");
}

/// It is about to stop.
pub fn stopping() {
    say("STOPPING=1");
}

/// It takes up a changed bundle; [`ready`] follows.
pub fn reloading() {
    say(&format!("RELOADING=1\nMONOTONIC_USEC={}", SystemClock.boot().as_micros()));
}

/// Says that the node lives, twice as often as the manager wants to hear it, and only while the application answers.
pub async fn keep_alive(app: App) {
    let within = std::env::var("WATCHDOG_USEC").ok().and_then(|micros| micros.parse().ok()).filter(|micros: &u64| *micros > 0);
    let Some(within) = within else { return };
    loop {
        tokio::time::sleep(Duration::from_micros(within / 2)).await;
        app.status().await;
        say("WATCHDOG=1");
    }
}

fn say(what: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = UnixDatagram::unbound().and_then(|socket| {
        let address = match path.to_str().and_then(|path| path.strip_prefix('@')) {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(&path)?,
        };
        socket.send_to_addr(what.as_bytes(), &address)
    });
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager can't be told");
    }
}
