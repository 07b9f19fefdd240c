//! A policy bundle on disk: which files belong to it. Follows no links out of the directory and reads nothing else.

use std::{collections::BTreeMap, path::Path};

use safeconduct_policy::{BundleFiles, MAX_BUNDLE_BYTES, MAX_FILES};

use crate::failure::Failure;

/// Directories of a bundle, with the ending their files have.
const PARTS: [(&str, &str); 3] = [("resources", "toml"), ("policies", "cedar"), ("tests", "toml")];

/// Reads the bundle in a directory.
pub fn read(folder: &Path) -> Result<BundleFiles, Failure> {
    let failed = |path: &Path, e: &std::io::Error| Failure::local(&format!("reading {}", path.display()), e);
    let mut files = BTreeMap::new();
    let mut size = 0;
    for (part, ending) in PARTS {
        let inside = folder.join(part);
        let entries = match std::fs::read_dir(&inside) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(failed(&inside, &e)),
        };
        for entry in entries {
            let path = entry.map_err(|e| failed(&inside, &e))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
            if name.starts_with('.') || path.extension().is_none_or(|found| found != ending) || !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).map_err(|e| failed(&path, &e))?;
            size += bytes.len();
            if size > MAX_BUNDLE_BYTES || files.len() >= MAX_FILES {
                return Err(Failure::usage(format!("`{}` is too large to be a policy bundle", folder.display())));
            }
            files.insert(format!("{part}/{name}"), bytes);
        }
    }
    if files.is_empty() {
        return Err(Failure::usage(format!("`{}` holds no policy bundle", folder.display()))
            .next("a bundle has resources/*.toml, policies/*.cedar and tests/*.toml"));
    }
    Ok(BundleFiles { files })
}
