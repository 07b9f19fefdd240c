//! Facts about PostgreSQL statements, from PostgreSQL's own parser.
//!
//! [`facts()`] decides which operations a grant must hold for a text to pass. It never guesses: what it does not understand is `unknown`.
//! It knows the text and nothing else, so what a name, an operator or a cast means in the database is beyond it (`docs/guides/sql-facts.md`).

mod catalog;
pub mod facts;
mod functions;
mod kinds;
mod names;
mod parse;
mod settings;
mod shape;
mod statement;
mod summary;
mod tree;
mod walk;

pub use facts::{Facts, ObjectUse, StatementFacts, StatementKind, Usage};
pub use functions::{FunctionClassError, FunctionClasses};
pub use names::{dotted, parts};
pub use parse::{MAX_TEXT_BYTES, PARSER_STACK_BYTES, facts};
pub use settings::SETTINGS_TO_BIND;
pub use shape::{check_syntax, shape};
pub use summary::{statement_line, summary_line};
