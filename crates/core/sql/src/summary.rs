//! Facts in one line, for people.

use crate::facts::{Facts, ObjectUse, StatementFacts, Usage};

/// A line about a whole text: `UPDATE orders … WHERE …; needs write`.
#[must_use]
pub fn summary_line(facts: &Facts) -> String {
    if let Some(why) = &facts.unparsable {
        return format!("not understood ({why}); needs {}", facts.operations);
    }
    match facts.statements.as_slice() {
        [] => format!("empty; needs {}", facts.operations),
        [one] => format!("{}; needs {}", statement_line(one), facts.operations),
        [first, rest @ ..] => {
            let more = if rest.len() == 1 { "1 more statement".to_owned() } else { format!("{} more statements", rest.len()) };
            format!("{}, then {more}; needs {}", statement_line(first), facts.operations)
        }
    }
}

/// A line about one statement, without what it needs: `DELETE orders without WHERE`.
#[must_use]
pub fn statement_line(statement: &StatementFacts) -> String {
    const SHOWN: usize = 3;
    let changed: Vec<&ObjectUse> = statement.objects.iter().filter(|object| object.usage != Usage::Read).collect();
    let objects = if changed.is_empty() { statement.objects.iter().collect() } else { changed };
    let mut line = statement.command.clone();
    if !objects.is_empty() {
        let names: Vec<&str> = objects.iter().take(SHOWN).map(|object| object.name.as_str()).collect();
        line = format!("{line} {}", names.join(", "));
        if objects.len() > SHOWN {
            line = format!("{line} and {} more", objects.len() - SHOWN);
        }
    }
    match statement.has_where {
        Some(true) => format!("{line} … WHERE …"),
        Some(false) if statement.command.ends_with("UPDATE") || statement.command.ends_with("DELETE") => format!("{line} without WHERE"),
        Some(false) => format!("{line}, with an UPDATE or DELETE without WHERE"),
        None => line,
    }
}
