//! What goes wrong around a gateway, done to the real one: it is killed, its database goes away, its disk is full, its clock jumps,
//! it is flooded. The built binary, a real PostgreSQL, real sockets.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::significant_drop_tightening,
    reason = "a test that can't go on stops; each module uses a part of the support"
)]

mod api;
mod checks;
mod clock;
mod disk;
mod door;
mod floods;
mod load;
mod node;
mod peers;
mod progress;
mod soak;
mod upstream;
mod wire;
