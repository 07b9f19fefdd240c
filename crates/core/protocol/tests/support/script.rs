//! Messages as words, both ways: the language of the traces.
#![allow(dead_code, reason = "each test file uses a part")]

use bytes::{BufMut as _, Bytes, BytesMut};

use super::support::{cstr, frame, put};

/// Splits a line into words; words in double quotes may hold blanks, `\n` and `\"`.
pub fn words(line: &str) -> Vec<String> {
    let (mut found, mut chars) = (Vec::new(), line.chars().peekable());
    while let Some(c) = chars.next() {
        if c == '"' {
            let mut word = String::new();
            while let Some(c) = chars.next() {
                match c {
                    '"' => break,
                    '\\' => match chars.next() {
                        Some('n') => word.push('\n'),
                        Some('x') => word.push('\u{fffd}'),
                        Some(other) => word.push(other),
                        None => {}
                    },
                    c => word.push(c),
                }
            }
            found.push(word);
        } else if !c.is_whitespace() {
            let mut word = String::from(c);
            while let Some(c) = chars.next_if(|c| !c.is_whitespace()) {
                word.push(c);
            }
            found.push(word);
        }
    }
    found
}

pub fn client_message(line: &str) -> Bytes {
    let words = words(line);
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    match word(0) {
        "Query" => frame(b'Q', |b| put(b, word(1))),
        "Parse" => frame(b'P', |b| {
            put(b, word(1));
            put(b, word(2));
            let oids = words.get(3..).unwrap_or_default();
            b.put_u16(oids.len() as u16);
            oids.iter().for_each(|oid| b.put_u32(oid.parse().unwrap()));
        }),
        // Bind PORTAL STATEMENT VALUE…; `null` is NULL, `binary:HEX` is binary.
        "Bind" => frame(b'B', |b| {
            put(b, word(1));
            put(b, word(2));
            let values = words.get(3..).unwrap_or_default();
            b.put_u16(values.len() as u16);
            values.iter().for_each(|value| b.put_u16(u16::from(value.starts_with("binary:"))));
            b.put_u16(values.len() as u16);
            for value in values {
                let bytes = match value.strip_prefix("binary:") {
                    Some(hex) => (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect(),
                    None => value.as_bytes().to_vec(),
                };
                if value == "null" {
                    b.put_i32(-1);
                } else {
                    b.put_i32(bytes.len() as i32);
                    b.put_slice(&bytes);
                }
            }
            b.put_u16(0);
        }),
        "Describe" | "Close" => frame(if word(0) == "Close" { b'C' } else { b'D' }, |b| {
            b.put_u8(word(1).as_bytes()[0]);
            put(b, word(2));
        }),
        "Execute" => frame(b'E', |b| {
            put(b, word(1));
            b.put_u32(word(2).parse().unwrap_or(0));
        }),
        "Sync" => frame(b'S', |_| ()),
        "Flush" => frame(b'H', |_| ()),
        "Terminate" => frame(b'X', |_| ()),
        // FunctionCall VALUE…: of function 1, values as text.
        "FunctionCall" => frame(b'F', |b| {
            let values = words.get(1..).unwrap_or_default();
            b.put_slice(&[0, 0, 0, 1, 0, 0]);
            b.put_u16(values.len() as u16);
            for value in values {
                b.put_i32(value.len() as i32);
                b.put_slice(value.as_bytes());
            }
            b.put_u16(0);
        }),
        "CopyData" => frame(b'd', |b| b.put_slice(word(1).as_bytes())),
        "CopyDone" => frame(b'c', |_| ()),
        "CopyFail" => frame(b'f', |b| put(b, word(1))),
        "Password" => frame(b'p', |b| put(b, word(1))),
        other => panic!("unknown client message `{other}`"),
    }
}

pub fn server_message(line: &str) -> Bytes {
    let words = words(line);
    let word = |at: usize| words.get(at).map(String::as_str).unwrap_or_default();
    let error = |tag: u8, severity: &str| {
        frame(tag, |b| {
            for (field, value) in [(b'S', severity), (b'V', severity), (b'C', word(1)), (b'M', word(2))] {
                b.put_u8(field);
                put(b, value);
            }
            b.put_u8(0);
        })
    };
    match word(0) {
        "Ready" => frame(b'Z', |b| b.put_slice(word(1).as_bytes())),
        "ParseComplete" => frame(b'1', |_| ()),
        "BindComplete" => frame(b'2', |_| ()),
        "CloseComplete" => frame(b'3', |_| ()),
        "Complete" => frame(b'C', |b| put(b, word(1))),
        "Error" => error(b'E', "ERROR"),
        "Fatal" => error(b'E', "FATAL"),
        "Notice" => error(b'N', "NOTICE"),
        "EmptyQuery" => frame(b'I', |_| ()),
        "Suspended" => frame(b's', |_| ()),
        "NoData" => frame(b'n', |_| ()),
        "RowDescription" => frame(b'T', |b| b.put_u16(0)),
        "ParameterDescription" => frame(b't', |b| {
            b.put_u16(words.len() as u16 - 1);
            words[1..].iter().for_each(|oid| b.put_u32(oid.parse().unwrap()));
        }),
        "DataRow" => frame(b'D', |b| {
            b.put_u16(1);
            b.put_u32(word(1).len() as u32);
            b.put_slice(word(1).as_bytes());
        }),
        "CopyIn" => frame(b'G', |b| b.put_slice(&[u8::from(word(1) == "binary"), 0, 0])),
        "CopyOut" => frame(b'H', |b| b.put_slice(&[0, 0, 0])),
        "CopyBoth" => frame(b'W', |b| b.put_slice(&[0, 0, 0])),
        "CopyData" => frame(b'd', |b| b.put_slice(word(1).as_bytes())),
        "CopyDone" => frame(b'c', |_| ()),
        "FunctionResult" => frame(b'V', |b| {
            b.put_u32(word(1).len() as u32);
            b.put_slice(word(1).as_bytes());
        }),
        "ParameterStatus" => frame(b'S', |b| {
            put(b, word(1));
            put(b, word(2));
        }),
        other => panic!("unknown server message `{other}`"),
    }
}

/// A message that reached the server, in the language of the traces.
pub fn show_client(tag: u8, body: &[u8]) -> String {
    let mut body = body;
    match tag {
        b'Q' => format!("Query {:?}", cstr(&mut body)),
        b'P' => {
            let (name, text) = (cstr(&mut body), cstr(&mut body));
            let oids: String = body[2..].chunks(4).map(|oid| format!(" {}", u32::from_be_bytes(oid.try_into().unwrap()))).collect();
            format!("Parse {name:?} {text:?}{oids}")
        }
        b'B' => format!("Bind {:?} {:?}{}", cstr(&mut body), cstr(&mut body), show_values(body)),
        b'D' => format!("Describe {} {:?}", char::from(body[0]), cstr(&mut &body[1..])),
        b'C' => format!("Close {} {:?}", char::from(body[0]), cstr(&mut &body[1..])),
        b'E' => {
            let portal = cstr(&mut body);
            let max = u32::from_be_bytes(body[..4].try_into().unwrap());
            if max == 0 { format!("Execute {portal:?}") } else { format!("Execute {portal:?} {max}") }
        }
        b'F' => {
            let function = u32::from_be_bytes(body[..4].try_into().unwrap());
            format!("FunctionCall {function}{}", show_values(&body[4..]))
        }
        b'S' => "Sync".to_owned(),
        b'H' => "Flush".to_owned(),
        b'X' => "Terminate".to_owned(),
        b'd' => format!("CopyData {:?}", String::from_utf8_lossy(body)),
        b'c' => "CopyDone".to_owned(),
        b'f' => format!("CopyFail {:?}", cstr(&mut body)),
        other => format!("unknown {other}"),
    }
}

fn show_values(body: &[u8]) -> String {
    let mut body = BytesMut::from(body);
    let u16 = |b: &mut BytesMut| bytes::Buf::get_u16(b);
    let formats: Vec<u16> = (0..u16(&mut body)).map(|_| u16(&mut body)).collect();
    let count = u16(&mut body);
    (0..usize::from(count))
        .map(|at| match bytes::Buf::get_i32(&mut body) {
            -1 => " null".to_owned(),
            length => {
                let value = body.split_to(length as usize);
                match formats.get(at) {
                    Some(1) => format!(" binary:{}", value.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
                    _ => format!(" {:?}", String::from_utf8_lossy(&value)),
                }
            }
        })
        .collect()
}

/// A message that reached the client, in the language of the traces.
pub fn show_server(tag: u8, body: &[u8]) -> String {
    let mut body = body;
    match tag {
        b'Z' => format!("Ready {}", char::from(body[0])),
        b'1' => "ParseComplete".to_owned(),
        b'2' => "BindComplete".to_owned(),
        b'3' => "CloseComplete".to_owned(),
        b'C' => format!("Complete {:?}", cstr(&mut body)),
        b'E' | b'N' => {
            let (mut severity, mut code, mut message) = ("", "", "");
            while body[0] != 0 {
                let field = body[0];
                body = &body[1..];
                let value = cstr(&mut body);
                match field {
                    b'V' => severity = value,
                    b'C' => code = value,
                    b'M' => message = value,
                    _ => {}
                }
            }
            let word = match severity {
                "ERROR" => "Error",
                "FATAL" => "Fatal",
                _ => "Notice",
            };
            format!("{word} {code} {message:?}")
        }
        b'I' => "EmptyQuery".to_owned(),
        b's' => "Suspended".to_owned(),
        b'n' => "NoData".to_owned(),
        b'T' => "RowDescription".to_owned(),
        b't' => {
            let oids: String = body[2..].chunks(4).map(|oid| format!(" {}", u32::from_be_bytes(oid.try_into().unwrap()))).collect();
            format!("ParameterDescription{oids}")
        }
        b'D' => format!("DataRow {:?}", String::from_utf8_lossy(&body[6..])),
        b'G' => if body[0] == 0 { "CopyIn" } else { "CopyIn binary" }.to_owned(),
        b'H' => "CopyOut".to_owned(),
        b'd' => format!("CopyData {:?}", String::from_utf8_lossy(body)),
        b'c' => "CopyDone".to_owned(),
        b'V' => format!("FunctionResult {}", String::from_utf8_lossy(&body[4..])),
        b'S' => format!("ParameterStatus {:?} {:?}", cstr(&mut body), cstr(&mut body)),
        other => format!("unknown {other}"),
    }
}
