//! What a call is to the sign-in it carries: which scopes of a token reach it, and whether somebody is behind it.

use safeconduct_model::TokenScope;

/// Must be said by whoever authenticates a call: there is no way to forget it.
#[derive(Clone, Copy, Debug)]
pub struct Reach {
    /// Any of these is enough. None of them reaches it if this is empty; a token without scopes always does.
    pub scopes: &'static [TokenScope],
    /// True if the sign-in is in use by this call; false for what clients do by themselves.
    pub attended: bool,
}

impl Reach {
    /// What every token may: say whose it is, and end itself.
    pub const EVERY_TOKEN: Self = Self { scopes: &TokenScope::ALL, attended: true };
    /// What a token that is narrowed may not.
    pub const NO_SCOPE: Self = Self { scopes: &[], attended: true };
}
