//! Purity: core reads no clock, draws no chance, does no I/O, runs no tasks, and keeps no map whose order is chance.

use crate::{Finding, finding, sources::Sources};

const BANNED: [(&str, &str); 19] = [
    ("SystemTime", "time is an argument"),
    ("Instant::now", "time is an argument"),
    ("Timestamp::now", "time is an argument"),
    ("Zoned::now", "time is an argument"),
    ("std::fs", "core does no I/O"),
    ("TcpStream", "core does no I/O"),
    ("TcpListener", "core does no I/O"),
    ("UdpSocket", "core does no I/O"),
    ("ToSocketAddrs", "core does no I/O"),
    ("std::env", "core reads no environment"),
    ("std::process", "core starts nothing"),
    ("std::thread", "core runs no tasks"),
    ("tokio::", "core runs no tasks"),
    ("async fn", "core runs no tasks"),
    (".await", "core runs no tasks"),
    ("getrandom", "chance is an argument"),
    ("rand::", "chance is an argument"),
    ("println!", "core prints nothing"),
    ("tracing::", "core logs nothing"),
];

/// Files whose hash maps are never walked in an order that could be seen, and why.
const HASHED: [(&str, &str); 2] = [
    ("crates/core/protocol/src/postgres/gate/names.rs", "looked up by name; whole-map changes treat every name alike"),
    ("crates/core/sql/src/functions.rs", "built-in lists, looked up by name only"),
];

pub fn check(sources: &Sources) -> Vec<Finding> {
    let core = sources.rust().filter(|file| file.path.starts_with("crates/core/") && file.path.contains("/src/") && !file.is_test());
    let mut findings = Vec::new();
    for file in core {
        for (number, line) in file.product_lines() {
            if (line.contains("HashMap") || line.contains("HashSet")) && !HASHED.iter().any(|(path, _)| *path == file.path) {
                findings.push(finding(
                    format!("{}:{number}", file.path),
                    "a hash map in core: its order is chance; use BTreeMap, or say in xtask why nobody sees the order",
                ));
            }
            for (banned, why) in BANNED {
                if line.contains(banned) {
                    findings.push(finding(format!("{}:{number}", file.path), format!("`{banned}` in core: {why}")));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::File;

    #[test]
    fn clocks_in_core_are_found_and_tests_may_have_them() {
        let check = |path: &str, text: &str| check(&Sources { files: vec![File { path: path.into(), text: text.into() }] }).len();
        assert_eq!(check("crates/core/model/src/a.rs", "let now = SystemTime::now();"), 1);
        assert_eq!(check("crates/core/model/src/a.rs", "// SystemTime is not for us"), 0);
        assert_eq!(check("crates/core/model/src/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }"), 0);
        assert_eq!(check("crates/core/model/tests/a.rs", "use std::fs;"), 0);
        assert_eq!(check("crates/app/src/a.rs", "use std::fs;"), 0);
        assert_eq!(check("crates/core/model/src/a.rs", "use std::collections::HashMap;"), 1);
    }
}
