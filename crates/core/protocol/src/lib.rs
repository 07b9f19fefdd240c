//! Wire protocols, without sockets: bytes in, decisions asked, bytes out.
//!
//! Nothing here reads a clock, draws chance or waits; an adapter moves the bytes.

#![deny(clippy::indexing_slicing)]

pub mod postgres;
