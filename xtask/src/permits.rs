//! Permits: only the application mints them, only the binary and test support make the key for it.

use crate::{Finding, finding, sources::Sources};

/// Where the type lives.
const HOME: &str = "crates/core/model/src/permit.rs";

pub fn check(sources: &Sources) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in sources.rust().filter(|file| file.path != HOME && !file.path.starts_with("xtask/") && !file.is_test()) {
        for (number, line) in file.product_lines() {
            let place = format!("{}:{number}", file.path);
            if (line.contains(".mint(") || line.contains("MintingKey::mint"))
                && !["crates/app/src/", "fuzz/src/"].iter().any(|home| file.path.starts_with(home))
            {
                findings.push(finding(&place, "mints a permit; only `authorize` in crates/app may"));
            }
            let makes = file.path.starts_with("crates/bin/safeconduct/src/")
                || file.path.starts_with("crates/testkit/src/")
                || ["fuzz/src/", "bench/src/"].iter().any(|home| file.path.starts_with(home));
            if line.contains("MintingKey::make") && !makes {
                findings.push(finding(&place, "makes a minting key; only the binary may, once"));
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
    fn minting_elsewhere_is_found() {
        let check = |path: &str, text: &str| check(&Sources { files: vec![File { path: path.into(), text: text.into() }] }).len();
        assert_eq!(check("crates/adapters/api/src/a.rs", "key.mint(session)"), 1);
        assert_eq!(check("crates/app/src/a.rs", "key.mint(session)"), 0);
        assert_eq!(check("crates/app/src/a.rs", "MintingKey::make()"), 1);
        assert_eq!(check("crates/app/tests/a.rs", "MintingKey::make()"), 0);
        assert_eq!(check("crates/bin/safeconduct/src/serve.rs", "MintingKey::make()"), 0);
        assert_eq!(check("crates/bin/safeconduct-verify/src/main.rs", "MintingKey::make()"), 1);
    }
}
