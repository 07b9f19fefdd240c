//! Tables: columns as wide as what is in them; on a terminal that is too narrow, the widest give way and end in `…`.
//!
//! Lists are cut, since `show` has the whole of it; results of statements never are.

use console::{Alignment, measure_text_width, pad_str, truncate_str};

/// Between two columns.
const GAP: usize = 2;
/// No column that gives way becomes narrower.
const NARROWEST: usize = 6;

/// Lines of a table. Cells may hold colours, but nothing else that a terminal obeys.
///
/// `width` is that of the terminal, if the lines must fit one. The first column is never cut: ids stay whole.
pub fn lines(headings: &[String], rows: &[Vec<String>], width: Option<usize>) -> Vec<String> {
    let all = || std::iter::once(headings).filter(|headings| !headings.is_empty()).chain(rows.iter().map(Vec::as_slice));
    let columns = all().map(<[String]>::len).max().unwrap_or(0);
    let mut widths = vec![0; columns];
    for row in all() {
        for (cell, widest) in row.iter().zip(&mut widths) {
            *widest = (*widest).max(measure_text_width(cell));
        }
    }
    if let Some(width) = width {
        fit(&mut widths, width);
    }
    all().map(|row| line(row, &widths)).collect()
}

/// Takes from the widest column but the first until all fit or none can give more.
fn fit(widths: &mut [usize], width: usize) {
    while widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > width {
        let Some(widest) = widths.iter_mut().skip(1).filter(|w| **w > NARROWEST).max_by_key(|w| **w) else { return };
        *widest -= 1;
    }
}

fn line(row: &[String], widths: &[usize]) -> String {
    let cells =
        row.iter().zip(widths).map(|(cell, width)| pad_str(&truncate_str(cell, *width, "…"), *width, Alignment::Left, None).into_owned());
    cells.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_line_up_whatever_their_colours() {
        let rows = [row(&["rq-1", "\u{1b}[33mpending\u{1b}[0m", "läuft"]), row(&["rq-22", "-", ""])];
        let text = lines(&row(&["\u{1b}[1mID\u{1b}[0m", "STATE", "WHAT"]), &rows, None).join("\n");
        insta::assert_snapshot!(console::strip_ansi_codes(&text), @r"
        ID     STATE    WHAT
        rq-1   pending  läuft
        rq-22  -
        ");
    }

    #[test]
    fn the_widest_gives_way_on_a_narrow_terminal_and_ids_never() {
        let rows = [row(&["rq-000000000000", "pending", "update orders set status = 'returned' where id = 4711", "look into order 4711"])];
        let text = lines(&row(&["ID", "STATE", "WHAT", "THEIR WORDS"]), &rows, Some(60)).join("\n");
        insta::assert_snapshot!(text, @r"
        ID               STATE    WHAT              THEIR WORDS
        rq-000000000000  pending  update orders s…  look into order…
        ");
        assert!(lines(&[], &rows, Some(10)).join("").starts_with("rq-000000000000"));
    }

    #[test]
    fn what_is_not_for_a_terminal_is_never_cut() {
        let long = "x".repeat(500);
        assert!(lines(&[], &[row(&["a", &long])], None).join("").ends_with(&long));
    }
}
