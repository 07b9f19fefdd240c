//! Hostile texts: nesting bombs, noise and mutations end in facts, never in a crash, and never make a statement look smaller than it is.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use safeconduct_model::Operation;
use safeconduct_sql::{Facts, FunctionClasses, PARSER_STACK_BYTES, facts};

fn all(text: &str) -> Facts {
    facts(text, &FunctionClasses::default())
}

fn on_a_parser_thread(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

#[test]
fn f35_a_nesting_bomb_is_unparsable_and_nothing_else_happens() {
    on_a_parser_thread(|| {
        for depth in [10, 100, 499, 1_000, 10_000] {
            let bombs = [
                format!("select {}1{}", "(".repeat(depth), ")".repeat(depth)),
                format!("select {}1{}", "(')'".repeat(depth), ")".repeat(depth)),
                format!("select {}1{}", "/*(*/(".repeat(depth), ")".repeat(depth)),
                format!("select {} true", "not ".repeat(depth)),
                format!("select {}1", "- ".repeat(depth)),
                format!("select 1{}", "+1".repeat(depth)),
                format!("select 1{}", "||'a'".repeat(depth)),
                format!("select true{}", " or a=1".repeat(depth)),
                format!("select true{}", " and a=1".repeat(depth)),
                format!("select 1{}", "::int".repeat(depth)),
                format!("select a{}", "[1]".repeat(depth)),
                format!("select a{}", ".b".repeat(depth)),
                format!("select 1{}", " union select 1".repeat(depth)),
                format!("select * from a{}", " natural join b".repeat(depth)),
                format!("{}select 1{}", "select (".repeat(depth), ")".repeat(depth)),
                format!("select {}1 {}", "case when ".repeat(depth), "then 1 end ".repeat(depth)),
                format!("{}select 1{}", "with a as (".repeat(depth), ") select 1".repeat(depth)),
                format!("select {}1{}", "f(".repeat(depth), ")".repeat(depth)),
                format!("select {}1{}", "array[".repeat(depth), "]".repeat(depth)),
                "explain ".repeat(depth) + "select 1",
                "begin;".repeat(depth),
                format!("select '{}'", "(".repeat(depth)),
                "/*".repeat(depth),
            ];
            for bomb in bombs {
                let found = all(&bomb);
                assert!(!found.operations.is_empty(), "{}", &bomb[..20]);
                if found.unparsable.is_some() {
                    assert!(found.operations.contains(Operation::Unknown));
                }
            }
        }
    });
}

#[test]
fn f35_the_longest_texts_are_understood_or_refused() {
    on_a_parser_thread(|| {
        let numbered = |count: usize, part: fn(usize) -> String| (0..count).map(part).collect::<Vec<_>>().join(", ");
        let texts = [
            format!("select {}", numbered(20_000, |n| format!("f{n}()"))),
            format!("select * from {}", numbered(20_000, |n| format!("t{n}"))),
            format!("with {} select 1", numbered(8_000, |n| format!("c{n} as (select 1 from c{n})"))),
            format!("with recursive {} select 1", numbered(8_000, |n| format!("c{n} as (select 1 from c{n})"))),
            format!("select 1 where a in ({})", numbered(30_000, |n| n.to_string())),
            format!("insert into t values {}", numbered(25_000, |n| format!("({n})"))),
            "select 1;".repeat(25_000),
            "set search_path = a;".repeat(10_000),
        ];
        for text in texts {
            assert!(text.len() < 256 * 1024, "{}", text.len());
            let found = all(&text);
            assert_eq!(found.unparsable, None, "{}", &text[..20]);
            assert!(found.statements.iter().all(|statement| statement.why.len() <= 32));
        }
    });
}

/// Statements with an effect, and wrappings that keep the effect. `@` is where the statement goes.
const EFFECTS: [&str; 6] = [
    "DELETE FROM orders RETURNING 1",
    "UPDATE orders SET a = 1 RETURNING 2",
    "INSERT INTO orders SELECT 1 RETURNING 3",
    "SELECT nextval('s')",
    "SELECT close_month()",
    "SELECT 1 FROM orders FOR UPDATE",
];
const WRAPPINGS: [&str; 9] = [
    "WITH x AS (@) SELECT * FROM x",
    "WITH x AS MATERIALIZED (@), y AS (SELECT 1) INSERT INTO log SELECT * FROM x, y",
    "WITH y AS (SELECT 1), x AS (@) (SELECT 1 UNION SELECT * FROM x)",
    "EXPLAIN (ANALYZE, COSTS OFF) @",
    "PREPARE p AS @",
    "COPY (@) TO STDOUT",
    "SELECT 1; @",
    "/* ( */ @ -- )",
    "BEGIN; @; ROLLBACK",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn f30_wrapping_never_takes_an_operation_away(
        effect in prop::sample::select(EFFECTS.as_slice()),
        wrappings in prop::collection::vec(prop::sample::select(WRAPPINGS.as_slice()), 1..3),
    ) {
        let alone = all(effect).operations;
        let mut text = effect.to_owned();
        for wrapping in wrappings {
            text = wrapping.replace('@', &text);
        }
        let found = all(&text);
        let wrapped = found.operations;
        prop_assert!(
            found.unparsable.is_some() || alone.iter().all(|operation| wrapped.contains(operation)),
            "{text}: {wrapped}, alone {alone}"
        );
    }

    #[test]
    fn f34_operations_of_a_text_are_those_of_its_statements(
        statements in prop::collection::vec(prop::sample::select(EFFECTS.as_slice()), 1..5),
    ) {
        let found = all(&statements.join(";\n"));
        prop_assert_eq!(found.statements.len(), statements.len());
        for (statement, facts) in statements.iter().zip(&found.statements) {
            let alone = &all(statement).statements[0];
            prop_assert_eq!((&alone.operations, &alone.objects, &alone.functions), (&facts.operations, &facts.objects, &facts.functions));
        }
    }

    #[test]
    fn f35_noise_ends_in_facts(text in "\\PC{0,200}") {
        let found = all(&text);
        prop_assert!(!found.operations.is_empty());
        prop_assert!(found.unparsable.is_none() || found.operations.contains(Operation::Unknown));
        for statement in &found.statements {
            prop_assert!(text.get(statement.start_bytes..statement.end_bytes).is_some());
        }
    }

    #[test]
    fn f35_mutated_statements_end_in_facts(
        effect in prop::sample::select(EFFECTS.as_slice()),
        wrapping in prop::sample::select(WRAPPINGS.as_slice()),
        cuts in prop::collection::vec((0_usize..80, "[-'\"$;()/*a1\\\\ \u{a0}\n]{0,3}"), 0..4),
    ) {
        let mut text = wrapping.replace('@', effect);
        for (at, noise) in cuts {
            let at = at.min(text.len());
            if text.is_char_boundary(at) {
                text.insert_str(at, &noise);
            }
        }
        let found = all(&text);
        prop_assert!(!found.operations.is_empty());
        for statement in &found.statements {
            prop_assert!(text.get(statement.start_bytes..statement.end_bytes).is_some());
            prop_assert!(!statement.operations.is_empty());
        }
    }
}
