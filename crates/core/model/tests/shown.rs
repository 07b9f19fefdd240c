//! What an approver is shown: no part of an action may hide or reorder what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use safeconduct_model::{Action, Asked, CopyData, Narrowing, Parameter, SqlAction, UnfitText, Words};

fn sql() -> SqlAction {
    SqlAction {
        database: "orders".into(),
        text: "select\n$1".into(),
        parameters: vec![Parameter { type_oid: 25, binary: false, hex: Some("31".into()), shown: Some("1".into()) }],
        settings: [("datestyle".to_owned(), "ISO, DMY".to_owned())].into(),
        copy_data: Some(CopyData::of(b"1\n2\n")),
    }
}

#[test]
fn f46_every_part_that_people_read_is_checked() {
    assert_eq!(Action::Sql(sql()).check_shown(), Ok(()));
    let put = |change: fn(&mut SqlAction, char), odd: char| {
        let mut sql = sql();
        change(&mut sql, odd);
        Action::Sql(sql).check_shown()
    };
    let parts: [fn(&mut SqlAction, char); 6] = [
        |sql, odd| sql.database.push(odd),
        |sql, odd| sql.text.push(odd),
        |sql, odd| sql.parameters[0].shown = Some(odd.to_string()),
        |sql, odd| drop(sql.settings.insert("role".into(), odd.to_string())),
        |sql, odd| drop(sql.settings.insert(odd.to_string(), "on".into())),
        |sql, odd| sql.copy_data.as_mut().unwrap().first_lines[0].push(odd),
    ];
    const HIDDEN: char = '\u{202e}';
    const CYRILLIC_O: char = '\u{43e}';
    for part in parts {
        assert_eq!(put(part, HIDDEN), Err(UnfitText::Deceiving(HIDDEN)));
        assert_eq!(put(part, CYRILLIC_O), Err(UnfitText::Lookalike(CYRILLIC_O)));
        assert_eq!(put(part, 'ö'), Ok(()));
    }
}

#[test]
fn f46_bounds_and_words_of_the_asking_are_checked() {
    let narrow = |name: &str| Narrowing { tables: [name.to_owned()].into(), ..Narrowing::default() };
    assert_eq!(narrow("public.größen").check_shown(), Ok(()));
    assert_eq!(narrow("public.\u{43e}rders").check_shown(), Err(UnfitText::Lookalike('\u{43e}')));
    let asked = |reason: &str, ticket: &str, claim: &str| Asked {
        reason: Words::new(reason).unwrap(),
        ticket: Some(Words::new(ticket).unwrap()),
        source: "127.0.0.1".to_owned(),
        sign_in: "token".to_owned(),
        sign_in_age_seconds: 1,
        claims: [("branch".to_owned(), Words::new(claim).unwrap())].into(),
    };
    assert_eq!(asked("Заказ 4711", "OPS-1", "main").check_shown(), Ok(()));
    for asked in [asked("\u{430}dmin", "OPS-1", "main"), asked("why", "ОPS-1", "main"), asked("why", "OPS-1", "m\u{430}in")] {
        assert!(matches!(asked.check_shown(), Err(UnfitText::Lookalike(_))), "{asked:?}");
    }
}
