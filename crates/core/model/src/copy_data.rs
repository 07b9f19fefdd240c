//! Copy data as people approve it: a digest of every byte, and the first lines to look at.
//!
//! The bytes themselves are not part of an action. Whoever keeps them until they are approved sends those and no others.

use serde::{Deserialize, Serialize};

use crate::{Digest, text};

/// What the client of a `COPY … FROM STDIN` sent, all of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyData {
    /// Of all bytes in order, however they were cut into messages.
    pub digest: Digest,
    pub size_bytes: u64,
    /// How many lines there are; the last one counts without a line break too.
    pub lines: u64,
    /// The first lines, each cut where it is long. Every byte that is no character, and every character that could deceive, is written out.
    pub first_lines: Vec<String>,
}

impl CopyData {
    /// Most lines that are shown.
    pub const SHOWN_LINES: usize = 10;
    /// Most characters shown of a line.
    pub const SHOWN_CHARS: usize = 200;

    /// Describes these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let breaks = bytes.iter().filter(|byte| **byte == b'\n').count();
        let lines = breaks + usize::from(bytes.last().is_some_and(|last| *last != b'\n'));
        Self {
            digest: Digest::of_bytes(bytes),
            size_bytes: bytes.len() as u64,
            lines: lines as u64,
            first_lines: bytes.split(|byte| *byte == b'\n').take(lines.min(Self::SHOWN_LINES)).map(shown).collect(),
        }
    }

    /// How many lines are not shown.
    #[must_use]
    pub fn lines_left(&self) -> u64 {
        self.lines.saturating_sub(self.first_lines.len() as u64)
    }
}

impl std::fmt::Display for CopyData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let plural = if self.lines == 1 { "" } else { "s" };
        write!(f, "{} line{plural}, {} bytes, {}", self.lines, self.size_bytes, self.digest)
    }
}

/// A line, made printable. Tabs stay: they part columns.
fn shown(line: &[u8]) -> String {
    // No character is longer than four bytes: what is behind these is cut off anyway.
    let head = line.get(..CopyData::SHOWN_CHARS * 4 + 4).unwrap_or(line);
    let (mut shown, mut left) = (String::new(), CopyData::SHOWN_CHARS);
    for chunk in head.utf8_chunks() {
        let chars = chunk.valid().chars().map(|c| if c == '\t' { "\t".to_owned() } else { text::printable(c.encode_utf8(&mut [0; 4])) });
        for part in chars.chain(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"))) {
            if left == 0 {
                shown.push('…');
                return shown;
            }
            left -= 1;
            shown.push_str(&part);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_lines_are_shown_and_all_are_counted() {
        let data = CopyData::of(b"1\tone\n2\ttwo\n\\.\n");
        assert_eq!((data.size_bytes, data.lines), (15, 3));
        assert_eq!(data.first_lines, ["1\tone", "2\ttwo", "\\."]);
        let many = CopyData::of("x\n".repeat(25).as_bytes());
        assert_eq!((many.lines, many.first_lines.len(), many.lines_left()), (25, 10, 15));
        assert_eq!(CopyData::of(b"a\nb").lines, 2);
        assert_eq!(CopyData::of(b""), CopyData { digest: Digest::of_bytes(b""), size_bytes: 0, lines: 0, first_lines: Vec::new() });
        assert_eq!(CopyData::of(b"\n").first_lines, [""]);
        assert_ne!(CopyData::of(b"a\nb").digest, CopyData::of(b"a\nc").digest);
    }

    #[test]
    fn f46_what_could_deceive_is_written_out() {
        let line = |bytes: &[u8]| CopyData::of(bytes).first_lines.concat();
        assert_eq!(line(b"a\x1b[2Jb\r\n"), "a\\u{1b}[2Jb\\r");
        assert_eq!(line("\u{202e}é".as_bytes()), "\\u{202e}é");
        assert_eq!(line(b"PGCOPY\xff\0"), "PGCOPY\\xff\\u{0}");
        for bytes in [&b"\0\x01\xff\xfe"[..], "é\u{feff}".as_bytes(), &[0xe2, 0x80]] {
            assert!(CopyData::of(bytes).first_lines.iter().all(|line| text::check_statement(line).is_ok()));
        }
    }

    #[test]
    fn f42_a_long_line_is_cut() {
        let long = CopyData::of("é".repeat(300).as_bytes()).first_lines.concat();
        assert_eq!(long, format!("{}…", "é".repeat(200)));
        assert_eq!(CopyData::of("é".repeat(200).as_bytes()).first_lines.concat(), "é".repeat(200));
        assert!(CopyData::of(&vec![0xff; 1 << 20]).first_lines.concat().len() < 1_000);
    }
}
