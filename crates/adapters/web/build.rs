//! Puts the built web app into the binary: every file of `web/dist` with its compressed forms and a tag made from its bytes.
//!
//! Never builds the app: that is `make web`. Without `web/dist` the list is empty, and the crate serves a page that says so.

use std::{
    fmt::Write as _,
    fs,
    hash::{DefaultHasher, Hasher as _},
    io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or_else(|| io::Error::other("no manifest directory"))?);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("no output directory"))?);
    let web = here.join("../../../web").canonicalize()?;
    let dist = web.join("dist");
    // A directory that is not there yet counts as changed when it appears; its parent is always there.
    // The directory is in the repository, empty: one that is not there would count as changed at every build.
    println!("cargo::rerun-if-changed={}", dist.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut files = Vec::new();
    if dist.is_dir() {
        collect(&dist, &mut files)?;
    }
    files.sort();
    let mut list = String::from("&[\n");
    for file in files.iter().filter(|file| !is_compressed(file)) {
        let bytes = fs::read(file)?;
        let name = file.strip_prefix(&dist).map_err(io::Error::other)?.to_string_lossy().into_owned();
        let mut tag = DefaultHasher::new();
        tag.write(&bytes);
        let tag = format!("{:016x}-{:x}", tag.finish(), bytes.len());
        let other = |ending: &str| {
            let path = PathBuf::from(format!("{}{ending}", file.display()));
            if path.is_file() { format!("Some(include_bytes!({path:?}))") } else { "None".to_owned() }
        };
        writeln!(
            list,
            "    File {{ path: {name:?}, tag: \"\\\"{tag}\\\"\", plain: include_bytes!({file:?}), gzip: {}, brotli: {} }},",
            other(".gz"),
            other(".br")
        )
        .map_err(io::Error::other)?;
    }
    list.push(']');
    fs::write(out.join("files.rs"), list)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
            files.push(path);
        }
    }
    Ok(())
}

fn is_compressed(file: &Path) -> bool {
    file.extension().is_some_and(|ending| ending == "gz" || ending == "br")
}
