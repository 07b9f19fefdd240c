//! Bundles on this machine: a directory's files, read within bounds. Follows no link out of it and decides nothing about them.

use std::path::Path;

use safeconduct_policy::{BundleFiles, MAX_BUNDLE_BYTES, MAX_FILE_BYTES, MAX_FILES};

use crate::failure::Failure;

/// Folders a bundle has; nothing deeper is read.
const FOLDERS: [&str; 3] = ["resources", "policies", "tests"];

/// Reads a bundle's directory. Hidden files and files in no folder of a bundle, other than notes, are left out.
pub fn bundle(dir: &Path) -> Result<BundleFiles, Failure> {
    if !dir.is_dir() {
        return Err(
            Failure::usage(format!("`{}` is no directory", dir.display())).next("a bundle is a directory with `resources` and `policies`")
        );
    }
    let mut files = BundleFiles::default();
    let mut total = 0;
    for folder in FOLDERS {
        if dir.join(folder).is_dir() {
            read_folder(&mut files, &dir.join(folder), &format!("{folder}/"), &mut total, |_| true)?;
        }
    }
    read_folder(&mut files, dir, "", &mut total, |name| name.ends_with(".md"))?;
    Ok(files)
}

fn read_folder(
    files: &mut BundleFiles,
    folder: &Path,
    prefix: &str,
    total: &mut usize,
    wanted: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let reading = |error: std::io::Error| Failure::local(&format!("reading {}", folder.display()), &error);
    for entry in std::fs::read_dir(folder).map_err(reading)? {
        let entry = entry.map_err(reading)?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || !wanted(&name) || !entry.file_type().map_err(reading)?.is_file() {
            continue;
        }
        let size = usize::try_from(entry.metadata().map_err(reading)?.len()).unwrap_or(usize::MAX);
        *total = total.saturating_add(size);
        if size > MAX_FILE_BYTES || *total > MAX_BUNDLE_BYTES || files.files.len() >= MAX_FILES {
            return Err(Failure::usage(format!("`{}` is larger than a bundle may be", entry.path().display()))
                .why(format!("at most {MAX_FILE_BYTES} bytes a file, {MAX_BUNDLE_BYTES} bytes and {MAX_FILES} files together")));
        }
        files.files.insert(format!("{prefix}{name}"), std::fs::read(entry.path()).map_err(reading)?);
    }
    Ok(())
}
