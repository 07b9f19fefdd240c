//! Facts by shape are facts by text: held against every statement of PostgreSQL's regression suite and against the hand-written evasions.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use safeconduct_model::Operation;
use safeconduct_sql::{FunctionClasses, PARSER_STACK_BYTES, facts, shape};

fn on_a_big_stack(check: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(PARSER_STACK_BYTES).spawn(check).unwrap().join().unwrap();
}

/// True if the facts of the shape are those of the text, false if they need more; nothing if they are not used.
fn holds(text: &str) -> Option<bool> {
    let masked = facts(&shape(text)?, &FunctionClasses::default());
    if !masked.hold_for_shape() {
        return None;
    }
    let own = facts(text, &FunctionClasses::default());
    if masked == own {
        return Some(true);
    }
    let relaxed = own.operations.iter().all(|needed| needed == Operation::Connect || masked.operations.contains(needed));
    assert!(relaxed && own.unparsable.is_none() && own.statements.len() == masked.statements.len(), "{text}\n{own:#?}\n{masked:#?}");
    for (own, masked) in own.statements.iter().zip(&masked.statements) {
        assert_eq!(
            (&own.objects, own.has_where, own.parameters, own.start_bytes, own.end_bytes),
            (&masked.objects, masked.has_where, masked.parameters, masked.start_bytes, masked.end_bytes),
            "{text}"
        );
        assert!(own.functions.iter().all(|function| masked.functions.contains(function)), "{text}");
    }
    Some(false)
}

#[test]
fn f30_a_constant_never_makes_a_text_need_more_than_its_shape() {
    on_a_big_stack(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpus/postgresql/statements.jsonl");
        let corpus = std::fs::read_to_string(path).unwrap();
        let (mut same, mut stronger) = (0, 0);
        for line in corpus.lines() {
            let (_, text): (String, String) = serde_json::from_str(line).unwrap();
            match holds(&text) {
                Some(true) => same += 1,
                Some(false) => stronger += 1,
                None => {}
            }
        }
        println!("of one shape with the same facts {same}, with more {stronger}");
        assert!(same > 10_000 && stronger < same / 100, "{same} {stronger}");
    });
}

#[test]
fn f30_evasions_gain_nothing_by_their_shape() {
    on_a_big_stack(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/corpus/evasions");
        let mut seen = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
                // Whatever the file's form, each line and its quoted parts are texts somebody could send.
                for text in std::iter::once(line).chain(line.split('`')).chain(line.split('|')) {
                    seen += usize::from(holds(text.trim()).is_some());
                }
            }
        }
        assert!(seen > 50, "{seen}");
    });
}

#[test]
fn f30_a_harmless_value_does_not_lend_its_facts_to_others() {
    on_a_big_stack(|| {
        let harmless = "select set_config('jit', 'off', false)";
        let masked = facts(&shape(harmless).unwrap(), &FunctionClasses::default());
        assert!(masked.operations.contains(Operation::Unknown) && !masked.hold_for_shape(), "{masked:?}");
    });
}
