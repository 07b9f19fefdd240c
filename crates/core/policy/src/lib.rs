//! Policy: bundles of Cedar text become decisions with reasons, quorums and obligations.
//!
//! Decides nothing twice and nothing by itself: what no policy permits is denied, and a policy that fails denies.
//! Cedar stays behind this crate; callers see the vocabulary of `safeconduct-model`.

mod bundle;
mod case;
mod decide;
mod evaluation;
mod explain;
mod matrix;
mod plan;
mod policy;
mod policy_file;
mod problem;
mod reader;
mod resource_file;
mod restrict;
mod scopes;
mod statements;
mod world;

pub use bundle::{Bundle, BundleFiles, MAX_BUNDLE_BYTES, MAX_FILE_BYTES, MAX_FILES, MAX_POLICIES};
pub use case::{Case, CaseResult, CaseView};
pub use evaluation::{ApprovalQuestion, Approvals, AskedContext, Evaluation, FactsContext, NowContext, address};
pub use explain::{Explanation, NearMiss, OperationExplanation, PolicyPlace};
pub use matrix::{ApprovalRow, Circumstances, Matrix, Row, matrix};
pub use plan::{DecisionChange, FieldChange, Kind, Plan, PolicyChange, RecordedEvaluation, ResourceChange, plan, summary};
pub use policy::{BUILT_IN, Policy, SCHEMA};
pub use problem::Problem;
