//! `backup` and `restore`: a consistent copy of store and recordings while the gateway runs, and its way back.
//!
//! Keys are no part of it: they lie elsewhere, and so should their copy. What is put back is marked before the store is there, and the
//! gateway ends every grant in a marked store before a door opens; no crash in between loses the mark.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use safeconduct_app::ports::Clock as _;
use safeconduct_system::SystemClock;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::config::{Config, private_directory};
use crate::{
    failure::{Exit, Failure},
    output::{Output, when},
};

const MANIFEST: &str = "manifest.json";
const STORE: &str = "safeconduct.db";
const RECORDINGS: &str = "recordings";
/// In the data directory while what was put back there is not yet ended.
const MARK: &str = "restored.json";
/// How often a folder is read again because a recording was sealed meanwhile.
const TRIES: u32 = 20;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub struct BackUp {
    /// A directory that does not exist yet
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Settings of the gateway, as for `serve`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Arguments of `restore`.
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// A directory that `backup` made
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Settings of the gateway, as for `serve`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What a backup holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Manifest {
    version: String,
    gateway: String,
    made_at: String,
    /// Entries of the ledger in it.
    entries: u64,
    /// The newest checkpoint in it: keep it, or the whole manifest, somewhere else.
    checkpoint: Option<String>,
    /// SHA-256 of each file, by its path.
    files: BTreeMap<String, String>,
}

/// Copies store and recordings.
pub fn back_up(output: Output, args: &BackUp) -> Result<(), Failure> {
    let config = Config::read(args.config.as_deref())?;
    let folder = &args.folder;
    if folder.exists() {
        return Err(Failure::usage(format!("`{}` exists", folder.display())).next("a backup goes into a directory of its own"));
    }
    private_directory(folder).map_err(|e| failed("making", folder, &e))?;
    let recordings = config.recordings();
    // What is live before the store is read, and after: a session that ends in between is recovered at the restored gateway's start.
    let live = names(&recordings.join("live")).map_err(|e| failed("reading", &recordings, &e))?;
    let copied = safeconduct_store_sqlite::copy(&config.store_file(), &folder.join(STORE))
        .map_err(|e| Failure::new("BACKUP-001", Exit::Error, "the store can't be copied").why(safeconduct_ledger::explain(&e)))?;
    copy_recordings(&recordings, &folder.join(RECORDINGS), live).map_err(|e| failed("copying", &recordings, &e))?;
    let manifest = Manifest {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        gateway: config.gateway,
        made_at: SystemClock.now().to_string(),
        entries: copied.head.size,
        checkpoint: copied.checkpoint,
        files: digests(folder).map_err(|e| failed("reading", folder, &e))?,
    };
    write(&folder.join(MANIFEST), &manifest).map_err(|e| failed("writing", &folder.join(MANIFEST), &e))?;
    if output.json {
        return output.json(&manifest);
    }
    output.line(format!("{} entries of the ledger and {} files in {}", manifest.entries, manifest.files.len(), folder.display()))?;
    output.note("keys are no part of it; keep their copy elsewhere");
    Ok(())
}

/// Puts a backup where the gateway will find it.
pub fn restore(output: Output, args: &Restore) -> Result<(), Failure> {
    let config = Config::read(args.config.as_deref())?;
    let folder = &args.folder;
    let manifest: Manifest = fs::read(folder.join(MANIFEST))
        .map_err(|e| failed("reading", &folder.join(MANIFEST), &e))
        .and_then(|bytes| serde_json::from_slice(&bytes).map_err(|e| unfit(format!("its manifest can't be read: {e}"))))?;
    let found = digests(folder).map_err(|e| failed("reading", folder, &e))?;
    let differ = |path: &&String| manifest.files.get(*path) != found.get(*path);
    if let Some(path) = manifest.files.keys().chain(found.keys()).find(differ) {
        return Err(unfit(format!("`{path}` is not what the manifest says")));
    }
    if config.store_file().exists() || config.recordings().exists() {
        return Err(Failure::new("BACKUP-003", Exit::Error, "there is a store already")
            .why(format!("`{}` holds a store or recordings", config.data.display()))
            .next("stop the gateway and move what is there away"));
    }
    private_directory(&config.data).map_err(|e| failed("making", &config.data, &e))?;
    // INVARIANT: the mark is on disk before the store has its name.
    write(&config.data.join(MARK), &manifest).map_err(|e| failed("writing", &config.data.join(MARK), &e))?;
    sync(&config.data).map_err(|e| failed("writing", &config.data, &e))?;
    let place = |from: &str, to: &Path| -> io::Result<()> {
        let coming = to.with_extension("coming");
        if coming.is_dir() {
            fs::remove_dir_all(&coming)?
        } else if coming.exists() {
            fs::remove_file(&coming)?
        }
        copy_all(&folder.join(from), &coming)?;
        fs::rename(&coming, to)
    };
    place(RECORDINGS, &config.recordings()).map_err(|e| failed("writing", &config.recordings(), &e))?;
    place(STORE, &config.store_file()).map_err(|e| failed("writing", &config.store_file(), &e))?;
    sync(&config.data).map_err(|e| failed("writing", &config.data, &e))?;
    if output.json {
        return output.json(&serde_json::json!({ "restored": manifest.entries, "made_at": manifest.made_at }));
    }
    output.line(format!("{} entries are back, of the backup made {}", manifest.entries, when(&manifest.made_at)))?;
    output.note("at its next start the gateway ends every grant in it, and signs everybody out, before a door opens");
    Ok(())
}

/// Why what is in this data directory was put back, if it was.
pub fn mark(config: &Config) -> Option<String> {
    let bytes = fs::read(config.data.join(MARK)).ok()?;
    let why = serde_json::from_slice::<Manifest>(&bytes).map_or_else(
        |_| "of a backup whose mark can't be read".to_owned(),
        |manifest| format!("of the backup made at {} with {} entries", manifest.made_at, manifest.entries),
    );
    Some(why)
}

/// Everything in it has ended, and that is recorded.
pub fn unmark(config: &Config) -> io::Result<()> {
    match fs::remove_file(config.data.join(MARK)) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => sync(&config.data),
    }
}

fn failed(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::local(&format!("{doing} {}", path.display()), error)
}

fn unfit(why: String) -> Failure {
    Failure::new("BACKUP-002", Exit::Error, "the backup is not whole").why(why).next("take another one")
}

/// Copies sealed chunks, and what is there of those being written. Chunks get sealed meanwhile: then the folder is read again.
fn copy_recordings(from: &Path, to: &Path, mut live: Vec<String>) -> io::Result<()> {
    for part in ["live", "sessions"] {
        private_directory(&to.join(part))?;
    }
    live.extend(names(&from.join("live"))?);
    live.sort();
    live.dedup();
    for session in live {
        match copy_file(&from.join("live").join(&session), &to.join("live").join(&session)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => drop(private_file(&to.join("live").join(&session))?),
            other => other?,
        }
    }
    for session in names(&from.join("sessions"))? {
        let (source, target) = (from.join("sessions").join(&session), to.join("sessions").join(&session));
        let mut left = TRIES;
        while let Err(error) = copy_all(&source, &target) {
            left -= 1;
            if error.kind() != io::ErrorKind::NotFound || left == 0 {
                return Err(error);
            }
            fs::remove_dir_all(&target)?;
        }
    }
    Ok(())
}

/// Copies a file, or a folder with what is in it, and makes it survive power loss.
fn copy_all(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return copy_file(from, to);
    }
    private_directory(to)?;
    for name in names(from)? {
        copy_all(&from.join(&name), &to.join(&name))?;
    }
    sync(to)
}

fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let mut target = private_file(to)?;
    io::copy(&mut File::open(from)?, &mut target)?;
    target.sync_all()
}

fn private_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}

fn write(path: &Path, manifest: &Manifest) -> io::Result<()> {
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&serde_json::to_vec_pretty(manifest).map_err(io::Error::other)?)?;
    file.sync_all()
}

/// Digests of all files of a backup but the manifest.
fn digests(folder: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inside) = folders.pop() {
        for name in names(&folder.join(&inside))? {
            let path = inside.join(&name);
            if folder.join(&path).is_dir() {
                folders.push(path);
            } else if path != Path::new(MANIFEST) {
                found.insert(path.display().to_string(), digest(&folder.join(&path))?);
            }
        }
    }
    Ok(found)
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut part) = (File::open(path)?, Sha256::new(), vec![0; 64 * 1024]);
    loop {
        match file.read(&mut part)? {
            0 => break,
            read => hash.update(part.get(..read).unwrap_or_default()),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
