//! What an approver is shown: no part of an action may hide or reorder what it says.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use safeconduct_model::{Action, CopyData, Parameter, SqlAction, UnfitText};

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
    const HIDDEN: char = '\u{202e}';
    let hide = |change: fn(&mut SqlAction)| {
        let mut sql = sql();
        change(&mut sql);
        Action::Sql(sql).check_shown()
    };
    let parts: [fn(&mut SqlAction); 6] = [
        |sql| sql.database.push(HIDDEN),
        |sql| sql.text.push(HIDDEN),
        |sql| sql.parameters[0].shown = Some(HIDDEN.to_string()),
        |sql| drop(sql.settings.insert("role".into(), HIDDEN.to_string())),
        |sql| drop(sql.settings.insert(HIDDEN.to_string(), "on".into())),
        |sql| sql.copy_data.as_mut().unwrap().first_lines[0].push(HIDDEN),
    ];
    for change in parts {
        assert_eq!(hide(change), Err(UnfitText::Deceiving(HIDDEN)));
    }
}
