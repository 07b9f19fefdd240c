//! How an exported ledger lies in a directory, and what a receipt proves. Shared by `safeconduct-verify` and `safeconduct`; sees the formats of
//! ledger, envelope and evidence and nothing else.

mod directory;
mod receipt;
mod rosters;

pub use directory::Directory;
pub use receipt::{MAX_RECEIPT_BYTES, NotProved, OfRoster, Proved, ProvedApproval, ProvedPolicy, ProvedQuorum, Receipt, ReceiptEntry};
pub use rosters::{ProvedRoots, ProvedRoster, ReceiptRoster};

/// Text from a log may be anybody's: nothing in it may steer a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() || is_invisible(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// Marks that reorder or hide text: zero-width characters, bidirectional controls, the byte-order mark.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
