//! A whole text: decides what may reach the parser, and turns its answer into facts.

use safeconduct_model::{Operation, OperationSet};

use crate::{
    facts::Facts,
    functions::FunctionClasses,
    statement,
    tree::{Node, Tree},
};

/// Longest text given to the parser; a longer one is unparsable.
pub const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Stack a thread needs to call [`facts`] on any text. The parser has guards of its own well below this.
pub const PARSER_STACK_BYTES: usize = 16 * 1024 * 1024;

/// Deepest nesting of brackets given to the parser.
const MAX_NESTING: usize = 2_000;

/// Facts about a text, which may hold several statements. Pure; needs [`PARSER_STACK_BYTES`] of stack.
///
/// Assumes the session settings that the gateway pins: `standard_conforming_strings=on`, UTF-8, `pg_catalog` first in the search path.
#[must_use]
pub fn facts(text: &str, functions: &FunctionClasses) -> Facts {
    match parse(text) {
        Ok(statements) => understood(text, &statements, functions),
        Err(why) => Facts { statements: Vec::new(), operations: [Operation::Unknown].into_iter().collect(), unparsable: Some(why) },
    }
}

fn understood(text: &str, statements: &[Tree], functions: &FunctionClasses) -> Facts {
    let mut found = Vec::with_capacity(statements.len());
    let mut operations = OperationSet::new();
    for statement in statements {
        let Some((node, range)) = statement.as_node().and_then(|raw| Some((raw.node("stmt")?, range(text, raw)?))) else {
            return Facts {
                statements: Vec::new(),
                operations: [Operation::Unknown].into_iter().collect(),
                unparsable: Some("the parser gave a statement without content".to_owned()),
            };
        };
        let facts = statement::facts(node, range, functions);
        operations.extend(&facts.operations);
        found.push(facts);
    }
    if found.is_empty() {
        operations.insert(Operation::Connect);
    }
    Facts { statements: found, operations, unparsable: None }
}

/// The parse trees of the statements in a text, or why there are none.
fn parse(text: &str) -> Result<Vec<Tree>, String> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(format!("the text is longer than {} KiB", MAX_TEXT_BYTES / 1024));
    }
    if text.contains('\0') {
        return Err("the text holds a zero byte".to_owned());
    }
    if nesting(text) > MAX_NESTING {
        return Err(format!("brackets are nested deeper than {MAX_NESTING}"));
    }
    // The parser's Rust side panics on a few trees it does not expect; such a text is not understood.
    let parsed =
        std::panic::catch_unwind(|| pg_query::parse(text, 0)).map_err(|_| "the parser failed".to_owned())?.map_err(
            |error| match error {
                pg_query::Error::Parse(message) => message,
                pg_query::Error::Decode(_) => "the text is nested too deeply".to_owned(),
                other => other.to_string(),
            },
        )?;
    if parsed.warnings.iter().any(|warning| warning.contains("could not dump")) {
        return Err("the parser could not give the whole tree".to_owned());
    }
    match Tree::from_typed(&parsed.protobuf.stmts) {
        Ok(Tree::List(statements)) => Ok(statements),
        Ok(_) => Err("the parser gave no list of statements".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The nesting of brackets without regard to strings and comments: a cheap first guard in front of the parser's own.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for byte in text.bytes() {
        match byte {
            b'(' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Where a statement is, without the blanks around it. `None` if the parser's numbers do not fit the text.
fn range(text: &str, raw: &Node) -> Option<(usize, usize)> {
    let start = usize::try_from(raw.number("stmt_location")).ok()?;
    let length = usize::try_from(raw.number("stmt_len")).ok()?;
    let end = if length == 0 { text.len() } else { start.checked_add(length)? };
    let statement = text.get(start..end)?;
    let start = start + (statement.len() - statement.trim_start().len());
    let end = end - (statement.len() - statement.trim_end().len());
    (start < end).then_some((start, end))
}
