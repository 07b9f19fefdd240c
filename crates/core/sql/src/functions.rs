//! Functions: decides what a call by name needs.
//!
//! Built-in functions come from a list generated from `pg_proc` and a list made by hand (`functions/README.md`); anything else means what the
//! resource file says, or is `unknown`. Argument types are not known from text, so a name is safe only if every built-in of that name is.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::LazyLock,
};

use safeconduct_model::{Operation, OperationSet};

/// Classes for functions that are not built in, as a resource file gives them. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FunctionClasses {
    search_path: Vec<String>,
    classes: BTreeMap<(String, String), Vec<Class>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Class {
    /// Number of arguments if the entry names them, else any.
    arguments: Option<usize>,
    operation: Operation,
}

/// A class for a function that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FunctionClassError {
    #[error("`{0}` is not a function: write `schema.name` or `schema.name(type, type)`")]
    NotAFunction(String),
    #[error("`{function}` cannot have the class `{operation}`: a function is connect, read, write, ddl, temp or admin")]
    NotAClass { function: String, operation: Operation },
}

impl FunctionClasses {
    /// No classes, with the schemas in which a call without a schema is looked for.
    #[must_use]
    pub fn new(search_path: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { search_path: search_path.into_iter().map(Into::into).collect(), classes: BTreeMap::new() }
    }

    /// Gives `schema.name` (any arguments) or `schema.name(type, type)` (that many arguments) a class.
    ///
    /// # Errors
    /// When the text is no such name, or the operation is no class a function can have.
    pub fn insert(&mut self, function: &str, operation: Operation) -> Result<(), FunctionClassError> {
        use Operation::{Admin, Connect, Ddl, Read, Temp, Write};
        if !matches!(operation, Connect | Read | Write | Ddl | Temp | Admin) {
            return Err(FunctionClassError::NotAClass { function: function.to_owned(), operation });
        }
        let (key, arguments) = parse_signature(function).ok_or_else(|| FunctionClassError::NotAFunction(function.to_owned()))?;
        self.classes.entry(key).or_default().push(Class { arguments, operation });
        Ok(())
    }

    /// The schemas in which a call without a schema is looked for.
    #[must_use]
    pub fn search_path(&self) -> &[String] {
        &self.search_path
    }

    fn find(&self, schema: &str, name: &str, arguments: usize) -> impl Iterator<Item = Operation> + '_ {
        let classes = self.classes.get(&(schema.to_owned(), name.to_owned()));
        classes.into_iter().flatten().filter(move |class| class.arguments.is_none_or(|n| n == arguments)).map(|class| class.operation)
    }
}

/// `schema.name` or `schema.name(a, b)`; parts may be quoted. Parsed by hand so that no SQL parser runs on configuration.
fn parse_signature(text: &str) -> Option<((String, String), Option<usize>)> {
    let (schema, rest) = identifier(text.trim())?;
    let (name, rest) = identifier(rest.strip_prefix('.')?)?;
    let arguments = match rest.trim() {
        "" => None,
        list => {
            let inner = list.strip_prefix('(')?.strip_suffix(')')?;
            Some(if inner.trim().is_empty() { 0 } else { split_arguments(inner)? })
        }
    };
    Some(((schema, name), arguments))
}

fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut name = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if quoted[at + 1..].starts_with('"') => {
                    name.push('"');
                    chars.next();
                }
                '"' => return if name.is_empty() { None } else { Some((name, &quoted[at + 1..])) },
                c => name.push(c),
            }
        }
        return None;
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len());
    let name = &text[..end];
    (!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit() || c == '$')).then(|| (name.to_ascii_lowercase(), &text[end..]))
}

/// Number of arguments in `integer, numeric(10,2), text[]`.
fn split_arguments(text: &str) -> Option<usize> {
    let (mut depth, mut count, mut blank) = (0_usize, 1, true);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            ',' if depth == 0 => {
                if blank {
                    return None;
                }
                (count, blank) = (count + 1, true);
                continue;
            }
            _ => {}
        }
        blank &= c.is_whitespace();
    }
    (depth == 0 && !blank).then_some(count)
}

/// What a call needs, and why if that is more than nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub operations: OperationSet,
    pub why: Option<String>,
}

impl Needs {
    fn unknown(why: String) -> Self {
        Self { operations: [Operation::Unknown].into_iter().collect(), why: Some(why) }
    }
}

enum BuiltIn {
    Harmless,
    Needs(Operation, &'static str),
}

static BUILT_IN: LazyLock<HashMap<&'static str, BuiltIn>> = LazyLock::new(|| {
    let generated = lines(include_str!("../functions/pg_catalog.txt")).map(|name| (name, BuiltIn::Harmless));
    let by_hand = lines(include_str!("../functions/by_hand.txt")).map(|line| {
        let mut parts = line.splitn(3, ' ');
        let (name, class, reason) = (parts.next().unwrap_or(""), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
        let built_in = match class {
            "harmless" => BuiltIn::Harmless,
            "connect" => BuiltIn::Needs(Operation::Connect, reason),
            "write" => BuiltIn::Needs(Operation::Write, reason),
            "admin" => BuiltIn::Needs(Operation::Admin, reason),
            _ => BuiltIn::Needs(Operation::Unknown, reason),
        };
        (name, built_in)
    });
    generated.chain(by_hand).collect()
});

static OPERATORS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| lines(include_str!("../functions/operators.txt")).collect());

/// The data lines of an embedded list. Comment lines start with `# `; `#` alone is an operator.
fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

/// What calling the function named by `parts` (schema and name, or name) needs. `written` is the name for people.
pub(crate) fn call(parts: &[&str], written: &str, arguments: usize, classes: &FunctionClasses) -> Needs {
    let (schema, name) = match *parts {
        [name] => (None, name),
        [schema, name] => (Some(schema), name),
        _ => return Needs::unknown(format!("function `{written}` is not known to be harmless")),
    };
    let mut needs = Needs::default();
    let mut known = false;
    if matches!(schema, None | Some("pg_catalog")) {
        match BUILT_IN.get(name) {
            Some(BuiltIn::Harmless) => known = true,
            Some(BuiltIn::Needs(operation, reason)) => {
                known = true;
                needs.operations.insert(*operation);
                if *operation != Operation::Connect {
                    needs.why = Some(format!("function `{written}` needs {operation}: {reason}"));
                }
            }
            None => {}
        }
    }
    let schemas: Vec<&str> = match schema {
        Some(schema) => vec![schema],
        None => std::iter::once("pg_catalog").chain(classes.search_path.iter().map(String::as_str)).collect(),
    };
    for operation in schemas.iter().flat_map(|schema| classes.find(schema, name, arguments)) {
        known = true;
        needs.operations.insert(operation);
        if needs.why.is_none() && !matches!(operation, Operation::Connect | Operation::Read) {
            needs.why = Some(format!("function `{written}` needs {operation}, says the resource file"));
        }
    }
    if known { needs } else { Needs::unknown(format!("function `{written}` is not known to be harmless")) }
}

/// True if an operator of this name is built in and the name can only mean that: without a schema, or in `pg_catalog`.
pub(crate) fn is_built_in_operator(parts: &[&str]) -> bool {
    match *parts {
        [name] | ["pg_catalog", name] => {
            OPERATORS.contains(name)
                || matches!(name, "BETWEEN" | "NOT BETWEEN" | "BETWEEN SYMMETRIC" | "NOT BETWEEN SYMMETRIC")
                || matches!(name, "!=")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f31_lists_are_sorted_and_disjoint_and_have_known_classes() {
        let generated: Vec<_> = lines(include_str!("../functions/pg_catalog.txt")).collect();
        let by_hand: Vec<_> = lines(include_str!("../functions/by_hand.txt")).collect();
        let names: Vec<_> = by_hand.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert!(generated.is_sorted() && names.is_sorted(), "lists are sorted");
        assert!(names.iter().all(|name| !generated.contains(name)), "a name is in one list only");
        for line in &by_hand {
            let mut parts = line.splitn(3, ' ').skip(1);
            assert!(matches!(parts.next(), Some("harmless" | "connect" | "write" | "admin" | "unknown")), "{line}");
            assert!(parts.next().is_some_and(|reason| reason.len() > 3), "{line}: say why");
        }
        assert!(generated.len() > 1_500 && !generated.iter().any(|name| name.starts_with("lo_") || name.starts_with("dblink")));
    }

    #[test]
    fn classes_are_found_by_schema_name_and_number_of_arguments() {
        let mut classes = FunctionClasses::new(["app", "public"]);
        classes.insert("app.total(integer, numeric(10,2))", Operation::Read).unwrap();
        classes.insert("Public.\"Do It\"", Operation::Write).unwrap();
        let needs = |parts: &[&str], n| call(parts, "f", n, &classes).operations.to_string();
        assert_eq!(needs(&["app", "total"], 2), "read");
        assert_eq!(needs(&["total"], 2), "read");
        assert_eq!(needs(&["total"], 1), "unknown");
        assert_eq!(needs(&["other", "total"], 2), "unknown");
        assert_eq!(needs(&["Do It"], 9), "write");
        assert_eq!(needs(&["db", "app", "total"], 2), "unknown");
        assert_eq!(call(&["total"], "f", 2, &FunctionClasses::default()).operations.to_string(), "unknown");
    }

    #[test]
    fn a_class_that_cannot_be_used_is_refused() {
        let mut classes = FunctionClasses::new(["public"]);
        for text in ["", "f", "public.", "public.f(", "public.f(int,)", "a.b.c", "public.f)x", "1.f", "\"\".f"] {
            assert!(matches!(classes.insert(text, Operation::Read), Err(FunctionClassError::NotAFunction(_))), "{text}");
        }
        for operation in [Operation::Unknown, Operation::Unrestricted, Operation::Audit] {
            assert!(classes.insert("public.f", operation).is_err());
        }
    }
}
