//! How an exported ledger lies in a directory. Shared by `safeconduct-verify` and `safeconduct ledger verify --dir`; sees the format and nothing else.

mod directory;

pub use directory::Directory;
