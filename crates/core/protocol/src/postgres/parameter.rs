//! Parameters: what was bound, and how people read it.
//!
//! Text values are shown as they are. Binary values are decoded for types whose format is fixed and simple; any other has no shown form,
//! and an action with such a parameter can't be shown to an approver.

use std::fmt::Write as _;

use safeconduct_model::Parameter;

/// The record of one bound value.
#[must_use]
pub fn record(type_oid: u32, binary: bool, value: Option<&[u8]>) -> Parameter {
    let shown = value.and_then(|bytes| if binary { decode(type_oid, bytes) } else { std::str::from_utf8(bytes).ok().map(str::to_owned) });
    Parameter { type_oid, binary, hex: value.map(hex), shown }
}

/// True if an approver can read the parameter.
#[must_use]
pub const fn is_shown(parameter: &Parameter) -> bool {
    parameter.hex.is_none() || parameter.shown.is_some()
}

/// Type OIDs are fixed in PostgreSQL's `pg_type.dat`.
fn decode(type_oid: u32, bytes: &[u8]) -> Option<String> {
    match type_oid {
        16 => match bytes {
            [0] => Some("false".to_owned()),
            [1] => Some("true".to_owned()),
            _ => None,
        },
        17 => Some(format!("\\x{}", hex(bytes))),
        18 => <[u8; 1]>::try_from(bytes).ok().and_then(|[byte]| byte.is_ascii().then(|| char::from(byte).to_string())),
        20 => bytes.try_into().ok().map(|bytes| i64::from_be_bytes(bytes).to_string()),
        21 => bytes.try_into().ok().map(|bytes| i16::from_be_bytes(bytes).to_string()),
        23 => bytes.try_into().ok().map(|bytes| i32::from_be_bytes(bytes).to_string()),
        26 => bytes.try_into().ok().map(|bytes| u32::from_be_bytes(bytes).to_string()),
        700 => bytes.try_into().ok().map(|bytes| f32::from_be_bytes(bytes).to_string()),
        701 => bytes.try_into().ok().map(|bytes| f64::from_be_bytes(bytes).to_string()),
        // text, name, json, xml, unknown, bpchar, varchar
        25 | 19 | 114 | 142 | 705 | 1042 | 1043 => std::str::from_utf8(bytes).ok().map(str::to_owned),
        2950 => uuid(bytes),
        1082 => bytes.try_into().ok().and_then(|bytes| date(i64::from(i32::from_be_bytes(bytes)))),
        1114 => bytes.try_into().ok().and_then(|bytes| timestamp(i64::from_be_bytes(bytes))),
        1184 => bytes.try_into().ok().and_then(|bytes| timestamp(i64::from_be_bytes(bytes))).map(|text| text + "+00"),
        // jsonb: one version byte, then the text.
        3802 => bytes.strip_prefix(&[1]).and_then(|text| std::str::from_utf8(text).ok()).map(str::to_owned),
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn uuid(bytes: &[u8]) -> Option<String> {
    let value = u128::from_be_bytes(bytes.try_into().ok()?);
    let part = |shift: u32, bits: u32| (value >> shift) & ((1 << bits) - 1);
    Some(format!("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", part(96, 32), part(80, 16), part(64, 16), part(48, 16), part(0, 48)))
}

/// Days since 2000-01-01; infinities and dates far outside the calendar in use are not shown.
fn date(days: i64) -> Option<String> {
    if days.abs() > 1_000_000 {
        return None;
    }
    // Civil date from days, after Howard Hinnant: eras of 400 years that begin on 1 March.
    let days = days + 10_957 + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (1..=9999).contains(&year).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

/// Microseconds since 2000-01-01.
fn timestamp(micros: i64) -> Option<String> {
    const DAY: i64 = 86_400_000_000;
    let (days, rest) = (micros.div_euclid(DAY), micros.rem_euclid(DAY));
    let (seconds, fraction) = (rest / 1_000_000, rest % 1_000_000);
    Some(format!("{} {:02}:{:02}:{:02}.{fraction:06}", date(days)?, seconds / 3600, seconds / 60 % 60, seconds % 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_binary_values_are_shown_and_others_are_not_guessed() {
        let cases: [(u32, &[u8], Option<&str>); 18] = [
            (16, &[1], Some("true")),
            (16, &[2], None),
            (20, &(-5_i64).to_be_bytes(), Some("-5")),
            (21, &7_i16.to_be_bytes(), Some("7")),
            (23, &42_i32.to_be_bytes(), Some("42")),
            (23, &[1, 2, 3], None),
            (701, &1.5_f64.to_be_bytes(), Some("1.5")),
            (25, "é".as_bytes(), Some("é")),
            (25, &[0xff], None),
            (17, &[0xde, 0xad], Some("\\xdead")),
            (2950, &[0x11; 16], Some("11111111-1111-1111-1111-111111111111")),
            (1082, &0_i32.to_be_bytes(), Some("2000-01-01")),
            (1082, &(9_822_i32).to_be_bytes(), Some("2026-11-22")),
            (1082, &(-1_i32).to_be_bytes(), Some("1999-12-31")),
            (1082, &i32::MAX.to_be_bytes(), None),
            (1114, &1_500_000_i64.to_be_bytes(), Some("2000-01-01 00:00:01.500000")),
            (1700, &[0, 1], None),
            (0, &[0, 1], None),
        ];
        for (oid, bytes, wanted) in cases {
            assert_eq!(record(oid, true, Some(bytes)).shown.as_deref(), wanted, "{oid}");
        }
        assert_eq!(record(0, false, Some(b"x")).shown.as_deref(), Some("x"));
        assert!(is_shown(&record(0, true, None)) && !is_shown(&record(0, true, Some(b"x"))));
    }
}
