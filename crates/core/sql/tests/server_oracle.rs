//! PostgreSQL as the oracle: whatever the facts call `connect` or `read` runs in a READ ONLY transaction without being refused for writing
//! (SQLSTATE 25006), assigns no transaction id and leaves the settings that decide what text means as they are.
//!
//! The statements are PostgreSQL's own regression tests (`tests/corpus/postgresql`), run in their order on a throwaway server so that what they
//! name exists. Statements that may have effects are run for real; the others are checked first.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{collections::HashMap, fmt::Write as _, path::Path};

use safeconduct_model::{Operation, OperationSet};
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES, StatementKind, facts};
use support::{
    client::{Answer, Client},
    server::PostgresServer,
};

/// Settings that must be the same after a harmless statement. One row, one text.
const PINNED: &str = "select concat_ws('|', current_setting('search_path'), current_setting('role'), session_user, current_setting('row_security'), \
    current_setting('standard_conforming_strings'), current_setting('transaction_read_only'), current_setting('default_transaction_read_only'), \
    current_setting('session_replication_role'), current_setting('transform_null_equals'), current_setting('client_encoding'), \
    coalesce(pg_current_xact_id_if_assigned()::text, '-'))";

#[derive(Default)]
struct Counts {
    statements: usize,
    parsed: usize,
    harmless: usize,
    checked: usize,
    ran: usize,
    wrong: Vec<String>,
}

#[test]
fn f30_what_is_called_harmless_is_accepted_by_a_read_only_transaction() {
    let thread = std::thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn(|| {
        let server = PostgresServer::start();
        let mut run = Run::new(&server);
        for (test, statement) in corpus() {
            run.statement(&test, &statement);
        }
        run.counts
    });
    let counts = thread.unwrap().join().unwrap();
    println!(
        "statements {}, parsed {}, called connect or read {}, checked {}, of these ran without any error {}, wrong {}",
        counts.statements,
        counts.parsed,
        counts.harmless,
        counts.checked,
        counts.ran,
        counts.wrong.len()
    );
    assert!(counts.wrong.is_empty(), "{}", counts.wrong.join("\n\n"));
    assert!(counts.parsed > 38_000 && counts.ran > 10_000, "the corpus or the server is not what this test expects");
}

/// The statements with the test they are from, in order.
fn corpus() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpus/postgresql/statements.jsonl");
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

struct Run {
    socket: std::path::PathBuf,
    client: Client,
    /// How the pinned settings were when the session began.
    began: Vec<String>,
    status: u8,
    /// What the prepared statements and cursors of the session need.
    named: HashMap<String, OperationSet>,
    test: String,
    counts: Counts,
}

impl Run {
    fn new(server: &PostgresServer) -> Self {
        let socket = server.socket();
        let mut client = Client::connect(&socket, "postgres", "postgres").unwrap();
        client.query("create database regression template template0").unwrap();
        let (client, began) = connect(&socket);
        Self { socket, client, began, status: b'I', named: HashMap::new(), test: String::new(), counts: Counts::default() }
    }

    fn statement(&mut self, test: &str, text: &str) {
        if self.test != test {
            // Each test has a session of its own, as in the real run.
            test.clone_into(&mut self.test);
            self.reconnect();
        }
        self.counts.statements += 1;
        let found = facts(text, &FunctionClasses::default());
        let [statement] = found.statements.as_slice() else { return };
        self.counts.parsed += 1;
        let mut needs = statement.operations.clone();
        // EXECUTE and FETCH need what they name, as a gate that tracks names would have it.
        match &statement.kind {
            StatementKind::Execute { name } | StatementKind::Fetch { name } => match self.named.get(name) {
                Some(operations) => needs.extend(operations),
                None => needs.insert(Operation::Unknown),
            },
            StatementKind::Prepare { name, inner } | StatementKind::DeclareCursor { name, inner, .. } => {
                self.named.insert(name.clone(), inner.operations.clone());
            }
            _ => {}
        }
        let harmless = needs.iter().all(|operation| matches!(operation, Operation::Connect | Operation::Read));
        if harmless {
            self.counts.harmless += 1;
            self.check(text, &statement.kind);
        }
        // A plain read leaves nothing behind, so it need not be run again.
        let leaves_nothing =
            harmless && matches!(statement.kind, StatementKind::Plain | StatementKind::Show { .. } | StatementKind::CopyToStdout);
        if !leaves_nothing && !is_kept_from_the_machine(&statement.command) {
            match self.client.query(text) {
                Ok(answer) => self.status = answer.status,
                Err(_) => self.reconnect(),
            }
        }
    }

    /// Runs a statement that the facts call harmless where writing is refused.
    fn check(&mut self, text: &str, kind: &StatementKind) {
        let (before, after) = match (self.status, kind) {
            (
                _,
                StatementKind::Begin { .. }
                | StatementKind::Commit { .. }
                | StatementKind::Rollback { .. }
                | StatementKind::Savepoint { .. }
                | StatementKind::ReleaseSavepoint { .. }
                | StatementKind::RollbackTo { .. },
            )
            | (b'E', _) => return,
            (b'I', _) => ("begin read only", "rollback"),
            _ => ("savepoint oracle; set transaction read only", "rollback to oracle; release oracle"),
        };
        self.counts.checked += 1;
        let Ok(answers) = self.client.queries(&[before, PINNED, text, PINNED, after]) else {
            return self.reconnect();
        };
        let [_, pinned, answer, still, _] = answers.as_slice() else { return };
        if answer.error.is_none() {
            self.counts.ran += 1;
        }
        if answer.sqlstate() == "25006" {
            self.wrong(text, answer);
        } else if answer.error.is_none()
            && pinned.first_column != still.first_column
            && !may_change_pinned(text, kind)
            && !(resets(kind) && self.is_as_it_began(&pinned.first_column, &still.first_column))
        {
            self.wrong(text, still);
        }
    }

    /// True if each setting is as it was before, or as it was when the session began: there the gateway's are in the startup packet.
    fn is_as_it_began(&self, before: &[String], now: &[String]) -> bool {
        let parts = |texts: &[String]| texts.join("|").split('|').map(str::to_owned).collect::<Vec<_>>();
        let (began, before, now) = (parts(&self.began), parts(before), parts(now));
        now.len() == began.len() && now.iter().zip(before.iter().zip(&began)).all(|(now, (before, began))| now == before || now == began)
    }

    fn wrong(&mut self, text: &str, answer: &Answer) {
        let mut line = String::new();
        let _ = write!(line, "{}: {text}\n   {answer:?}", self.test);
        self.counts.wrong.push(line);
    }

    fn reconnect(&mut self) {
        (self.client, self.began) = connect(&self.socket);
        self.status = b'I';
        self.named.clear();
    }
}

/// A session as the gateway makes it, and how its settings are then.
fn connect(socket: &Path) -> (Client, Vec<String>) {
    let mut client = Client::connect(socket, "postgres", "regression").unwrap();
    client.query("set statement_timeout = '2s'").unwrap();
    let began = client.query(PINNED).unwrap().first_column;
    (client, began)
}

/// RESET and SET … TO DEFAULT, which go back to how the session began.
const fn resets(kind: &StatementKind) -> bool {
    matches!(kind, StatementKind::Set { value: None, .. } | StatementKind::Discard { all: true, .. })
}

/// Changes that are as they should be: a setting made safer, or a transaction id assigned because it was asked for (nothing is written under it).
fn may_change_pinned(text: &str, kind: &StatementKind) -> bool {
    const SAFER: [&str; 5] =
        ["standard_conforming_strings", "transaction_read_only", "default_transaction_read_only", "transaction", "session_characteristics"];
    let text = text.to_ascii_lowercase();
    matches!(kind, StatementKind::Set { name, .. } if SAFER.contains(&name.as_str()))
        || text.contains("txid_current")
        || text.contains("pg_current_xact_id")
        // A view over `txid_current()`: what a view calls is not in the text.
        || text.contains("my_locks")
}

/// Statements that are not run because they would work on this machine's files, or on more than the one database.
fn is_kept_from_the_machine(command: &str) -> bool {
    matches!(
        command,
        "COPY FROM FILE" | "COPY TO FILE" | "COPY FROM PROGRAM" | "COPY TO PROGRAM" | "LOAD" | "VACUUM" | "ALTER SYSTEM" | "REINDEX"
    ) || command.contains("TABLESPACE")
        || command.contains("DATABASE")
        || command.contains("SUBSCRIPTION")
}
