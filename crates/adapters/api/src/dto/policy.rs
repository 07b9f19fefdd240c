//! Policy bundles on the wire: text files by their path, and what policy says about them.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_policy::BundleFiles;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A bundle's files: path inside the bundle to text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    pub files: BTreeMap<String, String>,
}

/// Asks that a bundle become the policy.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyUpload {
    pub files: BTreeMap<String, String>,
    pub reason: String,
}

/// What a bundle would change.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PolicyPlan {
    /// For people.
    pub text: String,
    /// False if nothing would change.
    pub changes: bool,
    #[schema(value_type = Object)]
    pub plan: serde_json::Value,
}

/// Asks why policy answers as it does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// Whose asking; the caller's own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    pub resource: String,
    #[serde(default)]
    pub operations: BTreeSet<String>,
    /// True to ask about one exact action, false about a window.
    #[serde(default)]
    pub exact: bool,
    /// A statement to take facts from; what it needs is added to the operations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The words that would be said.
    #[serde(default)]
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// When; at this moment if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// How long would be asked for; `1m` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// Why policy answers as it does.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ExplainAnswer {
    /// For people.
    pub text: String,
    /// `allow`, `need_approval` or `deny`.
    pub outcome: String,
    #[schema(value_type = Object)]
    pub explanation: serde_json::Value,
}

/// Files as policy reads them.
pub(crate) fn bundle(files: BTreeMap<String, String>) -> BundleFiles {
    BundleFiles { files: files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect() }
}
