//! The suites that every implementation of a port passes, in memory and on disk.

mod store;
mod store_ledger;

use std::{any::Any, sync::Arc};

use safeconduct_app::ports::Store;

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
