//! SQL facts: any text is understood or said not to be, and adding to a text never makes it need less.

use safeconduct_model::{Operation, OperationSet};
use safeconduct_sql::{Facts, FunctionClasses, facts};

/// Facts of a text, of it twice, of it with its halves turned round, and of it explained.
pub fn sql(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let classes = FunctionClasses::default();
    let known = |text: &str| facts(text, &classes);
    let whole = known(text);
    consistent(text, &whole);
    if whole.unparsable.is_some() {
        return;
    }
    // Two texts in one need what both need. A line and a semicolon end a comment and a statement, whatever the first ends with.
    let middle = text.len() / 2;
    let (first, second) = text.split_at((0..=middle).rev().find(|place| text.is_char_boundary(*place)).unwrap_or(0));
    for other in [text, first, second, "DELETE FROM orders", "SELECT 1"] {
        let alone = known(other);
        if alone.unparsable.is_some() {
            continue;
        }
        let both = known(&format!("{text}\n;\n{other}"));
        if both.unparsable.is_none() {
            assert_eq!(both.statements.len(), whole.statements.len() + alone.statements.len(), "{text:?} and {other:?}");
        }
        covers(&both, &whole, text);
        covers(&both, &alone, other);
    }
    // What is explained and analysed runs.
    if whole.statements.len() == 1 {
        let explained = known(&format!("EXPLAIN ANALYZE {text}"));
        if explained.unparsable.is_none() {
            covers(&explained, &whole, text);
        }
    }
    // A comment in front changes nothing.
    let commented = known(&format!("/* nothing */ {text}"));
    assert_eq!(commented.operations, whole.operations, "{text:?}");
}

/// The parts of the facts agree with one another.
fn consistent(text: &str, facts: &Facts) {
    if facts.unparsable.is_some() {
        assert!(facts.operations.contains(Operation::Unknown) && facts.statements.is_empty(), "{text:?}: {facts:?}");
        return;
    }
    let mut union = OperationSet::default();
    for statement in &facts.statements {
        assert!(!statement.operations.is_empty(), "{text:?}: a statement that needs nothing: {statement:?}");
        assert!(text.get(statement.start_bytes..statement.end_bytes).is_some(), "{text:?}: {statement:?} lies elsewhere");
        union.extend(&statement.operations);
    }
    let expected = if facts.statements.is_empty() { [Operation::Connect].into_iter().collect() } else { union };
    assert!(
        expected.iter().all(|operation| facts.operations.contains(operation)),
        "{text:?} needs {} and its statements {expected}",
        facts.operations
    );
}

/// What is not understood needs `unknown`, which no window holds: it covers everything. `connect` is in every grant.
fn covers(more: &Facts, less: &Facts, text: &str) {
    let held = |operation| operation == Operation::Connect || more.operations.contains(operation);
    let enough = more.operations.contains(Operation::Unknown) || less.operations.iter().all(held);
    assert!(enough, "{text:?} needs {} alone and {} among others", less.operations, more.operations);
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    [
        "SELECT * FROM orders WHERE id = $1",
        "INSERT INTO orders VALUES (1, 'a''b') ON CONFLICT DO NOTHING RETURNING id",
        "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
        "UPDATE orders SET note = E'\\x41' WHERE id IN (SELECT id FROM items) -- why",
        "SELECT nextval('s'), pg_sleep(1), my_fn(2), lower(U&'\\0041')",
        "BEGIN; SET LOCAL search_path TO x; SAVEPOINT s; ROLLBACK TO s; COMMIT AND CHAIN",
        "COPY orders TO PROGRAM 'sh'; COPY orders FROM STDIN (FORMAT csv)",
        "DO $body$ BEGIN PERFORM 1; END $body$; CALL p(1)",
        "EXPLAIN (ANALYZE, FORMAT json) DELETE FROM orders",
        "CREATE TEMP TABLE t AS SELECT 1; DROP TABLE t; SELECT 1 INTO u",
        "MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN DELETE",
        "PREPARE p AS SELECT 1; EXECUTE p; DECLARE c CURSOR FOR SELECT 2; FETCH ALL c",
        "GRANT ALL ON orders TO PUBLIC; ALTER SYSTEM SET x = 1; SET ROLE postgres; LISTEN a; NOTIFY a, 'b'",
        "SELECT $1::text || ($2 #>> '{a}') FROM x AS \"Y\" JOIN LATERAL f(1) ON true FOR UPDATE",
        "TABLE orders; VALUES (1), (2); SHOW ALL; VACUUM; /* /* nested */ */ ;",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
