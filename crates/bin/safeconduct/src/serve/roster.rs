//! The roster of those whose signatures count, as files: the root keys, what they signed, and the highest epoch seen, beside the keys.
//!
//! Nothing of it comes from the store: whoever can write there changes none of it.

use std::path::{Path, PathBuf};

use safeconduct_app::{App, SignedRoster};
use safeconduct_evidence::Roots;

use super::{config::Config, keys::remember};
use crate::failure::{Exit, Failure};

/// Where the roster is, and who signs it.
#[derive(Clone, Debug)]
pub struct RosterFiles {
    /// Root keys, one line of a `.pub` file each.
    pub roots: PathBuf,
    /// How many of them must sign; more than half if it is not said.
    pub needed: Option<usize>,
    /// The roster; its signatures, one after another, are beside it with `.sig` at the end.
    pub roster: PathBuf,
}

/// Reads the roster. Says nothing about whether it holds.
pub fn read(config: &Config) -> Result<Option<SignedRoster>, Failure> {
    let Some(files) = &config.roster else { return Ok(None) };
    let text = |path: &Path| std::fs::read_to_string(path).map_err(|error| unusable(format!("`{}`: {error}", path.display())));
    let roots =
        Roots::read(&text(&files.roots)?, files.needed).map_err(|invalid| unusable(format!("`{}`: {invalid}", files.roots.display())))?;
    let mut signatures = files.roster.clone().into_os_string();
    signatures.push(".sig");
    Ok(Some(SignedRoster { roots, text: text(&files.roster)?, signatures: text(Path::new(&signatures))?, highest_epoch: pinned(config)? }))
}

/// Remembers the epoch outside of the store: a roster with a lower one never counts again.
pub fn pin(config: &Config, epoch: u64) -> Result<(), Failure> {
    let file = pin_file(config);
    remember(&file, &format!("{epoch}\n")).map_err(|error| Failure::local(&format!("writing {}", file.display()), &error))
}

/// Reads it again and puts it into force; what was in force stays if it is not believed.
pub async fn reload(config: &Config, app: &App) {
    let applied = match read(config) {
        Ok(None) => return,
        Ok(Some(signed)) => app.apply_roster(&signed).await.map_err(|problem| problem.why.unwrap_or(problem.message)),
        Err(failure) => Err(failure.to_string()),
    };
    match applied {
        Ok(epoch) => {
            tracing::info!(epoch, "the roster is in force");
            if let Err(failure) = pin(config, epoch) {
                tracing::error!(%failure, "the roster's epoch is not remembered beside the keys");
            }
        }
        Err(why) => tracing::error!(why, "the roster is not believed; the one before stays in force"),
    }
}

fn pinned(config: &Config) -> Result<u64, Failure> {
    let file = pin_file(config);
    match std::fs::read_to_string(&file) {
        Ok(text) => text.trim().parse().map_err(|_| unusable(format!("`{}` holds no epoch", file.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(unusable(format!("`{}`: {error}", file.display()))),
    }
}

fn pin_file(config: &Config) -> PathBuf {
    config.keys.join("roster-epoch")
}

fn unusable(why: String) -> Failure {
    Failure::new("SERVE-002", Exit::Error, "the roster can't be used").why(why)
}
