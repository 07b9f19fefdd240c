//! Rings: which crate may depend on which. Everything not listed here is refused.

use crate::{Finding, finding, sources::Sources};

/// What core crates may use from outside: nothing that does I/O, reads a clock, draws chance or runs tasks.
const CORE_MAY_USE: [&str; 22] = [
    // Verifies P-256 signatures, as TLS does with the same library; nothing else of it is used.
    "aws-lc-rs",
    "base64",
    "bytes",
    "cedar-policy",
    "ed25519-dalek",
    "hmac",
    "jiff",
    "miette",
    "pbkdf2",
    "pg_query",
    "rpds",
    "serde",
    "serde_json",
    "serde_json_canonicalizer",
    "sha2",
    "stacker",
    "subtle",
    "thiserror",
    "toml",
    "unicode-script",
    "unicode-security",
    "zeroize",
];

/// Arrows inside core. `model` sees nobody.
const CORE_ARROWS: [(&str, &str); 7] = [
    ("policy", "model"),
    ("lifecycle", "model"),
    ("sql", "model"),
    ("protocol", "model"),
    ("ledger", "model"),
    ("evidence", "model"),
    ("protocol", "sql"),
];

pub fn check(sources: &Sources) -> Vec<Finding> {
    let crates: Vec<Crate> = sources.crates().into_iter().filter_map(|at| Crate::read(sources, at)).collect();
    let mut findings = Vec::new();
    for one in &crates {
        for name in &one.dependencies {
            match crates.iter().find(|other| other.name == *name) {
                Some(other) if may_see(one, other) => {}
                Some(other) => findings.push(finding(&one.manifest, format!("`{}` may not depend on `{}`", one.at, other.at))),
                None if one.ring() == Ring::Core && !CORE_MAY_USE.contains(&name.as_str()) => {
                    findings
                        .push(finding(&one.manifest, format!("core may not use `{name}`; a pure crate would have to be listed in xtask")));
                }
                None => {}
            }
        }
        for name in &one.for_tests {
            let Some(other) = crates.iter().find(|other| other.name == *name) else { continue };
            if one.ring() == Ring::Core && other.ring() != Ring::Core {
                findings.push(finding(&one.manifest, format!("tests of core may not use `{}`", other.at)));
            }
        }
        if one.ring() == Ring::Unknown {
            findings.push(finding(&one.manifest, "this crate is in no ring"));
        }
    }
    findings
}

struct Crate {
    name: String,
    /// Directory from the root.
    at: String,
    manifest: String,
    /// Built into the product, build scripts included.
    dependencies: Vec<String>,
    for_tests: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ring {
    Core,
    App,
    Adapter,
    Binary,
    Testkit,
    Bench,
    Xtask,
    Unknown,
}

impl Crate {
    fn read(sources: &Sources, at: &str) -> Option<Self> {
        let manifest = format!("{at}/Cargo.toml");
        let table: toml::Table = sources.file(&manifest)?.text.parse().ok()?;
        let name = table.get("package")?.get("name")?.as_str()?.to_owned();
        let names = |section: &str| -> Vec<String> {
            let direct = table.get(section).and_then(toml::Value::as_table).into_iter();
            let targets = table.get("target").and_then(toml::Value::as_table).into_iter();
            let by_target = targets.flat_map(|t| t.values()).filter_map(|t| t.get(section).and_then(toml::Value::as_table));
            direct.chain(by_target).flat_map(|t| t.keys().cloned()).collect()
        };
        let dependencies = [names("dependencies"), names("build-dependencies")].concat();
        Some(Self { name, at: at.to_owned(), manifest, dependencies, for_tests: names("dev-dependencies") })
    }

    fn ring(&self) -> Ring {
        match self.at.as_str() {
            "crates/app" => Ring::App,
            "crates/testkit" | "fuzz" => Ring::Testkit,
            // Joins parts as a binary does, and is in no product.
            "bench" => Ring::Bench,
            "xtask" => Ring::Xtask,
            at if at.starts_with("crates/core/") => Ring::Core,
            at if at.starts_with("crates/adapters/") => Ring::Adapter,
            at if at.starts_with("crates/bin/") => Ring::Binary,
            _ => Ring::Unknown,
        }
    }

    fn last(&self) -> &str {
        self.at.rsplit('/').next().unwrap_or_default()
    }
}

fn may_see(from: &Crate, to: &Crate) -> bool {
    match (from.ring(), to.ring()) {
        (Ring::Core, Ring::Core) => CORE_ARROWS.contains(&(from.last(), to.last())),
        (Ring::App, Ring::Core) | (Ring::Adapter | Ring::Testkit, Ring::Core | Ring::App) => true,
        // The verifier shares nothing with the gateway but the formats.
        (Ring::Binary, _) if from.last() == "safeconduct-verify" => {
            ["crates/core/ledger", "crates/core/model", "crates/core/evidence"].contains(&to.at.as_str())
        }
        (Ring::Binary, Ring::Core | Ring::App | Ring::Adapter) => true,
        (Ring::Bench, Ring::Core | Ring::App | Ring::Adapter | Ring::Testkit) => true,
        // How an exported ledger lies in a directory is written once, where the verifier reads it.
        (Ring::Binary, Ring::Binary) => to.last() == "safeconduct-verify",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::File;

    fn findings(manifests: &[(&str, &str)]) -> Vec<String> {
        let manifest = |(at, depends): &(&str, &str)| File {
            path: format!("{at}/Cargo.toml"),
            text: format!("[package]\nname = \"{}\"\n[dependencies]\n{depends}", at.replace('/', "-")),
        };
        let sources = Sources { files: manifests.iter().map(manifest).collect() };
        check(&sources).into_iter().map(|f| f.message).collect()
    }

    #[test]
    fn inward_arrows_are_fine_and_outward_ones_are_not() {
        let model = ("crates/core/model", "serde.workspace = true");
        let app = ("crates/app", "crates-core-model.workspace = true\ntokio.workspace = true");
        assert_eq!(findings(&[model, app]), Vec::<String>::new());
        assert_eq!(findings(&[("crates/core/model", "crates-app.workspace = true"), app]).len(), 1);
        assert_eq!(findings(&[("crates/core/model", "tokio.workspace = true")]).len(), 1);
        let one = ("crates/adapters/one", "crates-adapters-two.workspace = true");
        assert_eq!(findings(&[one, ("crates/adapters/two", "")]).len(), 1);
        let verify = ("crates/bin/safeconduct-verify", "crates-core-model.workspace = true");
        assert_eq!(findings(&[model, verify]), Vec::<String>::new());
        let verify = ("crates/bin/safeconduct-verify", "crates-app.workspace = true");
        assert_eq!(findings(&[model, app, verify]).len(), 1);
        assert_eq!(findings(&[("elsewhere", "")]), ["this crate is in no ring"]);
    }
}
