//! Reading TOML: every mistake at once, each with its place. Keys nobody asked for are mistakes; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use toml::de::{DeTable, DeValue};

use crate::problem::{Problem, nearest};

/// A value with where it stands.
pub(crate) type Spanned<'a, 'i> = (&'a DeValue<'i>, usize);

/// One TOML file, or one table in it, being read.
pub(crate) struct Reader<'a, 'i> {
    file: &'a str,
    text: &'a str,
    table: Option<&'a DeTable<'i>>,
    /// Where the table stands, for what is missing from it.
    at: usize,
    /// The table's key path, for messages.
    path: String,
    known: BTreeSet<&'static str>,
}

impl<'a, 'i> Reader<'a, 'i> {
    pub(crate) fn new(file: &'a str, text: &'a str, table: &'a DeTable<'i>) -> Self {
        Self { file, text, table: Some(table), at: 0, path: String::new(), known: BTreeSet::new() }
    }

    /// A problem at a place of this file.
    pub(crate) fn problem(&self, at: usize, message: impl Into<String>) -> Problem {
        Problem::at(self.file, self.text, at, message)
    }

    /// Where this table stands.
    pub(crate) const fn place(&self) -> usize {
        self.at
    }

    /// The value under a key, which is thereby known.
    pub(crate) fn value(&mut self, key: &'static str) -> Option<Spanned<'a, 'i>> {
        self.known.insert(key);
        self.table?.get(key).map(|value| (value.get_ref(), value.span().start))
    }

    fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn wrong_type(&self, key: &str, at: usize, wanted: &str, found: &DeValue<'_>) -> Problem {
        self.problem(at, format!("`{}` is a {}; write {wanted}", self.name(key), found.type_str()))
    }

    pub(crate) fn string(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<(&'a str, usize)> {
        let (value, at) = self.value(key)?;
        let text = value.as_str();
        if text.is_none() {
            problems.push(self.wrong_type(key, at, "text in quotes", value));
        }
        text.map(|text| (text, at))
    }

    /// Text that must be there.
    pub(crate) fn required(&mut self, key: &'static str, example: &str, problems: &mut Vec<Problem>) -> Option<(&'a str, usize)> {
        if self.value(key).is_none() {
            problems.push(self.problem(self.at, format!("`{}` is missing", self.name(key))).hint(format!("write `{key} = {example}`")));
        }
        self.string(key, problems)
    }

    /// Text that reads as `T`.
    pub(crate) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &mut self,
        key: &'static str,
        problems: &mut Vec<Problem>,
    ) -> Option<T> {
        let (text, at) = self.string(key, problems)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                problems.push(self.problem(at, format!("`{}`: {error}", self.name(key))));
                None
            }
        }
    }

    pub(crate) fn boolean(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<bool> {
        let (value, at) = self.value(key)?;
        let flag = value.as_bool();
        if flag.is_none() {
            problems.push(self.wrong_type(key, at, "true or false", value));
        }
        flag
    }

    pub(crate) fn integer(&mut self, key: &'static str, from: u32, to: u32, problems: &mut Vec<Problem>) -> Option<u32> {
        let (value, at) = self.value(key)?;
        let number = value.as_integer().and_then(|number| u32::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok());
        match number.filter(|number| (from..=to).contains(number)) {
            Some(number) => Some(number),
            None => {
                problems.push(self.problem(at, format!("`{}` must be a number from {from} to {to}", self.name(key))));
                None
            }
        }
    }

    /// A list of texts.
    pub(crate) fn strings(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Option<Vec<(&'a str, usize)>> {
        let (value, at) = self.value(key)?;
        let Some(list) = value.as_array() else {
            problems.push(self.wrong_type(key, at, "a list of texts", value));
            return None;
        };
        let mut texts = Vec::new();
        for item in list {
            match item.get_ref().as_str() {
                Some(text) => texts.push((text, item.span().start)),
                None => problems.push(self.wrong_type(key, item.span().start, "a list of texts", item.get_ref())),
            }
        }
        Some(texts)
    }

    /// Every entry of a table of texts.
    pub(crate) fn map(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> BTreeMap<String, (&'a str, usize)> {
        let mut map = BTreeMap::new();
        for (name, (value, at)) in self.entries(key, problems) {
            match value.as_str() {
                Some(text) => {
                    map.insert(name.to_owned(), (text, at));
                }
                None => problems.push(self.wrong_type(&format!("{key}.{name}"), at, "text in quotes", value)),
            }
        }
        map
    }

    /// Every entry of a table whose keys are free.
    pub(crate) fn entries(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Vec<(&'a str, Spanned<'a, 'i>)> {
        let Some((value, at)) = self.value(key) else { return Vec::new() };
        let Some(table) = value.as_table() else {
            problems.push(self.wrong_type(key, at, "a table", value));
            return Vec::new();
        };
        table.iter().map(|(name, value)| (name.get_ref().as_ref(), (value.get_ref(), value.span().start))).collect()
    }

    /// A table within this one; an empty one stands in if it is missing.
    pub(crate) fn table(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Reader<'a, 'i> {
        let found = self.value(key);
        let table = found.and_then(|(value, _)| value.as_table());
        if let (Some((value, at)), None) = (found, table) {
            problems.push(self.wrong_type(key, at, "a table", value));
        }
        self.within(key, table, found.map_or(self.at, |(_, at)| at))
    }

    /// True if the key is there.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Every table of a list of tables.
    pub(crate) fn tables(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Vec<Reader<'a, 'i>> {
        let Some((value, at)) = self.value(key) else { return Vec::new() };
        let Some(list) = value.as_array() else {
            problems.push(self.wrong_type(key, at, &format!("`[[{}]]`", self.name(key)), value));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in list {
            match item.get_ref().as_table() {
                Some(table) => tables.push(self.within(key, Some(table), item.span().start)),
                None => problems.push(self.wrong_type(key, item.span().start, "a table", item.get_ref())),
            }
        }
        tables
    }

    /// Every table of a table whose keys are free.
    pub(crate) fn named_tables(&mut self, key: &'static str, problems: &mut Vec<Problem>) -> Vec<(&'a str, Reader<'a, 'i>)> {
        let mut tables = Vec::new();
        for (name, (value, at)) in self.entries(key, problems) {
            let path = format!("{key}.{name}");
            match value.as_table() {
                Some(table) => tables.push((name, self.within(&path, Some(table), at))),
                None => problems.push(self.wrong_type(&path, at, "a table", value)),
            }
        }
        tables
    }

    fn within(&self, key: &str, table: Option<&'a DeTable<'i>>, at: usize) -> Self {
        Self { file: self.file, text: self.text, table, at, path: self.name(key), known: BTreeSet::new() }
    }

    /// Reports every key that nobody asked for.
    pub(crate) fn finish(self, problems: &mut Vec<Problem>) {
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            if self.known.contains(name) {
                continue;
            }
            let problem = self.problem(key.span().start, format!("unknown key `{}`", self.name(&safeconduct_model::text::printable(name))));
            let hint = match nearest(name, self.known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known keys are {}", self.known.iter().copied().collect::<Vec<_>>().join(", ")),
            };
            problems.push(problem.hint(hint));
        }
    }
}

/// Reads a whole file; syntax errors are problems, each with its place.
pub(crate) fn read<'i>(file: &str, text: &'i str, problems: &mut Vec<Problem>) -> Option<DeTable<'i>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let broken = !errors.is_empty();
    for error in errors {
        problems.push(Problem::at(file, text, error.span().map_or(0, |span| span.start), error.message().trim().replace('\n', "; ")));
    }
    if broken { None } else { Some(table.into_inner()) }
}
