//! Statements: where each policy and each of its clauses stands in a file. Finds boundaries only; Cedar decides what they mean.
//!
//! Also bounds nesting and length, so that no text can exhaust the stack of what reads it afterwards.

use std::ops::Range;

/// Most brackets open at once.
const MAX_DEPTH: usize = 24;
/// Most operators that join conditions or terms in one policy: each may make the syntax tree one deeper.
const MAX_JOINED: usize = 100;
/// Most attribute accesses and calls in a row.
const MAX_CHAIN: usize = 40;
/// Most bytes of one policy.
const MAX_STATEMENT_BYTES: usize = 64 * 1024;

/// Runs what walks syntax trees with 16 MiB of stack. Policies within the bounds above need under 4 MiB, unoptimised.
pub(crate) fn with_stack<T>(walk: impl FnOnce() -> T) -> T {
    const MIB: usize = 1024 * 1024;
    stacker::maybe_grow(8 * MIB, 16 * MIB, walk)
}

/// One policy's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// Bytes of the file, from `@` or the effect to the semicolon.
    pub span: Range<usize>,
    pub clauses: Vec<ClauseSpan>,
}

/// One `when { … }` or `unless { … }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClauseSpan {
    /// Bytes of the file, from the keyword to the closing brace.
    pub span: Range<usize>,
}

/// A text that is not read any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TooDeep {
    pub offset: usize,
    pub message: &'static str,
}

/// Splits a file into its policies.
pub(crate) fn split(text: &str) -> Result<Vec<Statement>, TooDeep> {
    let mut found = Vec::new();
    let mut open = Open::default();
    for token in (Tokens { text, at: 0 }) {
        let start = *open.start.get_or_insert(token.start);
        open.end = token.end;
        let word = text.get(token.clone()).unwrap_or_default();
        match word {
            "(" | "[" | "{" => open.depth += 1,
            ")" | "]" | "}" => {
                open.depth = open.depth.saturating_sub(1);
                if open.depth == 0
                    && word == "}"
                    && let Some(from) = open.clause.take()
                {
                    open.clauses.push(ClauseSpan { span: from..token.end });
                }
            }
            "when" | "unless" if open.depth == 0 => open.clause = Some(token.start),
            "&" | "|" => open.half_joined += 1,
            "+" | "-" | "*" | "if" => open.half_joined += 2,
            _ => {}
        }
        open.chain = match word {
            "." | "(" | "[" => open.chain + 1,
            ")" | "]" => open.chain,
            _ if word.starts_with(|c: char| c.is_alphanumeric() || c == '_' || c == '"') && !matches!(word, "if" | "in" | "has") => {
                open.chain
            }
            _ => 0,
        };
        let refuse = |message| Err(TooDeep { offset: token.start, message });
        if open.depth > MAX_DEPTH {
            return refuse("more than 24 brackets are open at once; make it several policies");
        }
        if open.half_joined > 2 * MAX_JOINED {
            return refuse(
                "policy joins more than 100 conditions; make it several policies, or list values as in `[\"a\", \"b\"].contains(x)`",
            );
        }
        if open.chain > MAX_CHAIN {
            return refuse("more than 40 attributes or calls in a row");
        }
        if token.end.saturating_sub(start) > MAX_STATEMENT_BYTES {
            return refuse("policy is longer than 64 KiB; make it several policies");
        }
        if word == ";" {
            found.push(Statement { span: start..token.end, clauses: std::mem::take(&mut open.clauses) });
            open = Open::default();
        }
    }
    if let Some(start) = open.start {
        found.push(Statement { span: start..open.end, clauses: open.clauses });
    }
    Ok(found)
}

/// The policy being read.
#[derive(Default)]
struct Open {
    start: Option<usize>,
    end: usize,
    depth: usize,
    /// `&&` and `||` are two tokens each.
    half_joined: usize,
    chain: usize,
    clause: Option<usize>,
    clauses: Vec<ClauseSpan>,
}

/// Words, strings and single characters; blanks and comments are skipped.
struct Tokens<'a> {
    text: &'a str,
    at: usize,
}

impl Iterator for Tokens<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        loop {
            let rest = self.text.get(self.at..)?;
            let first = rest.chars().next()?;
            let start = self.at;
            if first.is_whitespace() {
                self.at += first.len_utf8();
                continue;
            }
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
                continue;
            }
            self.at += match first {
                '"' => string_length(rest),
                c if c.is_alphanumeric() || c == '_' => rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            return Some(start..self.at);
        }
    }
}

/// Bytes of the string literal at the start, both quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_and_clauses_are_found_around_comments_and_strings() {
        let text = "// permit(principal, action, resource);\n@id(\"a;b\") // ; no\npermit (principal, action, resource)\nwhen { true } unless { {a: 1}.a == 1 };\nforbid(principal,action,resource)";
        let found = split(text).unwrap();
        assert_eq!(found.len(), 2);
        let first = found.first().unwrap();
        assert!(text[first.span.clone()].starts_with("@id") && text[first.span.clone()].ends_with(';'));
        let clauses: Vec<&str> = first.clauses.iter().map(|clause| &text[clause.span.clone()]).collect();
        assert_eq!(clauses, ["when { true }", "unless { {a: 1}.a == 1 }"]);
    }

    #[test]
    fn f49_nesting_and_length_are_bounded_before_anything_recurses() {
        let nested = format!("permit(principal,action,resource) when {{ {}true{} }};", "(".repeat(100_000), ")".repeat(100_000));
        assert!(split(&nested).is_err());
        let chained = format!("permit(principal,action,resource) when {{ true{} }};", "&&true".repeat(5_000));
        assert!(split(&chained).is_err());
        assert!(split(&format!("permit(principal,action,resource) when {{ \"{}\" == \"\" }};", "x".repeat(70_000))).is_err());
        assert!(split(&"permit(principal,action,resource) when { true && true };".repeat(5_000)).is_ok());
    }
}
