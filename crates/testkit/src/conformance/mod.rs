//! The suites that every implementation of a port passes, in memory and on disk.

mod recorder;
mod store;
mod store_ledger;

use std::{any::Any, sync::Arc};

use safeconduct_app::ports::{Recorder, Store};

pub use recorder::{intent, outcome, recorder_conformance};
pub use store::store_conformance;

/// A new and empty port, with whatever must live as long as it does (a directory, a server).
pub struct Fresh<P: ?Sized> {
    pub port: Arc<P>,
    pub guard: Box<dyn Any>,
}

impl Fresh<dyn Store> {
    /// A store with what it lives in.
    pub fn store(store: impl Store, guard: impl Any) -> Self {
        Self { port: Arc::new(store), guard: Box::new(guard) }
    }
}

impl Fresh<dyn Recorder> {
    /// A recorder with what it lives in.
    pub fn recorder(recorder: impl Recorder, guard: impl Any) -> Self {
        Self { port: Arc::new(recorder), guard: Box::new(guard) }
    }
}
