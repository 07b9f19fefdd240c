//! What a server holds and what it was made to do, asked of the server itself: judges that know nothing of how we understand texts.

use std::{collections::BTreeMap, path::Path, process::Command};

use super::World;

/// A program that signs in as superuser, past the door.
pub fn superuser(world: &World, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("PGHOST", &world.server.socket_dir);
    command
        .env("PGPORT", world.server.port.to_string())
        .env("PGUSER", &world.server.superuser)
        .env("PGPASSWORD", &world.server.superuser_password);
    command
}

/// Everything a server holds.
pub struct State {
    next_transaction: String,
    dump: String,
}

impl State {
    pub fn of(world: &World) -> Self {
        let next_transaction = world.rows("SELECT pg_snapshot_xmax(pg_current_snapshot())");
        let output = superuser(world, "pg_dumpall").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let dump = String::from_utf8_lossy(&output.stdout).into_owned();
        // A key that is drawn for each dump.
        let dump = dump.lines().filter(|line| !line.starts_with("\\restrict") && !line.starts_with("\\unrestrict"));
        Self { next_transaction, dump: dump.collect::<Vec<_>>().join("\n") }
    }

    /// Fails with the first difference.
    pub fn must_be(&self, other: &Self) {
        assert_eq!(self.next_transaction, other.next_transaction, "a transaction wrote");
        assert!(self.dump.len() > 1_000);
        if self.dump != other.dump {
            let first = self.dump.lines().zip(other.dump.lines()).find(|(a, b)| a != b);
            panic!("the server holds something else: {first:?}");
        }
    }
}

/// The statements that the server logged for the gateway's login.
pub fn executed(log: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut ours = false;
    for line in log.lines() {
        if let Some(more) = line.strip_prefix('\t') {
            if let (true, Some(last)) = (ours, found.last_mut()) {
                last.push('\n');
                last.push_str(more);
            }
            continue;
        }
        let text = ["LOG:  statement: ", "LOG:  execute "].iter().find_map(|mark| line.split_once(mark));
        ours = text.is_some_and(|(head, _)| head.contains(" app@app safeconduct "));
        if let (true, Some((_, text))) = (ours, text) {
            found.push(text.to_owned());
        }
    }
    found
}

/// How often statements begin with which word.
pub fn begins_with(statements: &[String]) -> BTreeMap<String, usize> {
    let mut words = BTreeMap::new();
    for statement in statements {
        let mut rest = statement.trim_start();
        loop {
            rest = if let Some(comment) = rest.strip_prefix("--") {
                comment.split_once('\n').map_or("", |(_, rest)| rest).trim_start()
            } else if rest.starts_with("/*") {
                past_comment(rest).trim_start()
            } else {
                break;
            };
        }
        let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
        let word = if word.is_empty() { rest.chars().take(1).collect() } else { word.to_lowercase() };
        *words.entry(word).or_default() += 1;
    }
    words
}

/// What follows a comment, which may hold others.
fn past_comment(text: &str) -> &str {
    let (mut rest, mut depth) = (text, 0_usize);
    loop {
        let Some(next) = rest.find(['/', '*']) else { return "" };
        rest = &rest[next..];
        match rest.get(..2) {
            Some("/*") => (depth, rest) = (depth + 1, &rest[2..]),
            Some("*/") => (depth, rest) = (depth - 1, &rest[2..]),
            _ => rest = &rest[1..],
        }
        if depth == 0 {
            return rest;
        }
    }
}

/// True if a reader's statements may begin with this.
pub fn reads(word: &str) -> bool {
    const READS: [&str; 30] = [
        "select",
        "with",
        "values",
        "table",
        "explain",
        "show",
        "set",
        "reset",
        "begin",
        "start",
        "commit",
        "end",
        "rollback",
        "abort",
        "savepoint",
        "release",
        "prepare",
        "execute",
        "deallocate",
        "declare",
        "fetch",
        "move",
        "close",
        "copy",
        "listen",
        "unlisten",
        "discard",
        "lock",
        // A text of blanks and comments, and one that begins with a bracket.
        "",
        "(",
    ];
    READS.contains(&word)
}

/// The statements of PostgreSQL's own tests by test, in order.
pub fn corpus() -> Vec<(String, Vec<String>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpus/postgresql/statements.jsonl");
    let mut tests: Vec<(String, Vec<String>)> = Vec::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let (test, statement): (String, String) = serde_json::from_str(line).unwrap();
        match tests.last_mut() {
            Some((last, statements)) if *last == test => statements.push(statement),
            _ => tests.push((test, vec![statement])),
        }
    }
    tests
}
