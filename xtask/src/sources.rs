//! The files of the repository that the rules look at. Leaves out what is built, downloaded or copied in as test data.

use std::{fs, io, path::Path};

/// Text files by their path from the root, in order.
pub struct Sources {
    pub files: Vec<File>,
}

/// One text file.
pub struct File {
    /// From the root, with `/`.
    pub path: String,
    pub text: String,
}

/// Directories that hold nothing of ours.
const LEFT_OUT: [&str; 6] = ["target", ".git", "node_modules", "tests/vectors", "tests/corpus", "__pycache__"];

const KINDS: [&str; 12] = ["rs", "md", "toml", "sh", "cedar", "cedarschema", "sql", "py", "mjs", "js", "java", "txt"];

impl Sources {
    /// Reads everything under `root`.
    ///
    /// # Errors
    /// When a directory or file can't be read.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { files })
    }

    /// Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// Markdown files.
    pub fn documents(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".md"))
    }

    /// The file at exactly this path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Directories of the crates, from the root: those with a `Cargo.toml` of their own.
    pub fn crates(&self) -> Vec<&str> {
        self.files.iter().filter_map(|file| file.path.strip_suffix("/Cargo.toml")).collect()
    }
}

impl File {
    /// Lines with their numbers, up to the first `#[cfg(test)]`: what is built into the product. Comments are left out.
    pub fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().take_while(|(_, line)| line.trim() != "#[cfg(test)]").filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    /// True for files that are only built for tests.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.contains("/tests/") || self.path.ends_with("/tests.rs")
    }
}

fn collect(root: &Path, directory: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(directory))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        if LEFT_OUT.contains(&name.as_str()) || LEFT_OUT.contains(&path.as_str()) {
            continue;
        }
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(root, &path, files)?;
        } else if kind.is_file() && is_text(&name) {
            // A file that vanishes or is no UTF-8 is nobody's source.
            if let Ok(text) = fs::read_to_string(entry.path()) {
                files.push(File { path, text });
            }
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    name == "Makefile" || name.rsplit_once('.').is_some_and(|(_, kind)| KINDS.contains(&kind))
}
