//! Policy bundles on the wire: text files by their path, and what policy says about them.

use std::collections::{BTreeMap, BTreeSet};

use safeconduct_app::BundleView;
use safeconduct_policy::{BundleFiles, CaseResult, CaseView};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A bundle's files: path inside the bundle to text.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    pub files: BTreeMap<String, String>,
}

/// A bundle that is kept, to be looked at.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Bundle {
    pub hash: String,
    /// True if it decides at this moment.
    pub active: bool,
    /// Path inside the bundle to text.
    pub files: BTreeMap<String, String>,
    /// Its cases, the first ones if there are many.
    pub cases: Vec<Case>,
    /// How many cases it has in all.
    pub cases_in_all: u64,
}

/// What a bundle's test says, and what policy answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Case {
    pub file: String,
    pub line: u64,
    pub name: String,
    pub principal: String,
    pub groups: Vec<String>,
    pub resource: String,
    pub operations: Vec<String>,
    pub exact: bool,
    /// Who approved already, or whose asking is to be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// `allow`, `need approval: one of dba`, `may approve`…
    pub expected: String,
    /// Empty if the answer is as expected; else one sentence for each thing that is not.
    pub differences: Vec<String>,
    /// The reasons policy gave.
    pub reasons: Vec<String>,
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
    /// As if SCIM said this of the person, under the names of RFC 7643, beside what it does say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub attributes: BTreeMap<String, String>,
    /// As if a claim of this name said this of the sign-in, beside what is kept of the caller's own where they ask about themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
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

impl From<BundleView> for Bundle {
    fn from(view: BundleView) -> Self {
        Self {
            hash: view.hash.to_string(),
            active: view.active,
            files: view.files,
            cases: view.cases.into_iter().map(Into::into).collect(),
            cases_in_all: u64::try_from(view.cases_in_all).unwrap_or(u64::MAX),
        }
    }
}

impl From<(CaseView, CaseResult)> for Case {
    fn from((view, result): (CaseView, CaseResult)) -> Self {
        Self {
            file: view.file,
            line: u64::try_from(view.line).unwrap_or(u64::MAX),
            name: view.name,
            principal: view.principal,
            groups: view.groups,
            resource: view.resource,
            operations: view.operations,
            exact: view.exact,
            about: view.about,
            expected: view.expected,
            differences: result.differences,
            reasons: result.reasons,
        }
    }
}

/// Files as policy reads them.
pub(crate) fn bundle(files: BTreeMap<String, String>) -> BundleFiles {
    BundleFiles { files: files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect() }
}
