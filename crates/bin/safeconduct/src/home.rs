//! What the client remembers: which server, whose authority, the token, the ledger's key and the newest checkpoint seen.
//!
//! Everything is readable by its owner only. Refuses to forget a pinned authority or key by itself.

use std::{
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{cli::Global, failure::Failure};

/// The client's directory.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// The server that was signed in to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    pub server: String,
    pub name: String,
    /// The ledger's public key, pinned at the first sign-in.
    pub ledger_key: String,
    /// The identity provider that signed in, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

impl Home {
    /// `SAFECONDUCT_HOME`, else `safeconduct` in the user's configuration directory.
    pub fn find() -> Result<Self, Failure> {
        if let Some(home) = std::env::var_os("SAFECONDUCT_HOME").filter(|home| !home.is_empty()) {
            return Ok(Self(home.into()));
        }
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
        let config = config.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".config")));
        config.map(|config| Self(config.join("safeconduct"))).ok_or_else(|| Failure::usage("neither `SAFECONDUCT_HOME` nor `HOME` is set"))
    }

    /// The server that was signed in to, if any.
    pub fn profile(&self) -> Result<Option<Profile>, Failure> {
        let Some(text) = self.read("profile.toml")? else { return Ok(None) };
        let unreadable = |error: toml::de::Error| {
            Failure::usage(format!("`{}` can't be read", self.0.join("profile.toml").display()))
                .why(error.message().to_owned())
                .next("sign in again")
        };
        toml::from_str(&text).map(Some).map_err(unreadable)
    }

    /// The pinned authority of that server.
    pub fn ca(&self) -> Result<Option<String>, Failure> {
        self.read("ca.pem")
    }

    /// The token: `SAFECONDUCT_TOKEN`, the file `SAFECONDUCT_TOKEN_FILE`, else the one of the last sign-in.
    pub fn token(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        if let Some(token) = std::env::var("SAFECONDUCT_TOKEN").ok().filter(|token| !token.is_empty()) {
            return Ok(Some(Zeroizing::new(token.trim().to_owned())));
        }
        if let Some(file) = std::env::var_os("SAFECONDUCT_TOKEN_FILE").filter(|file| !file.is_empty()) {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| Failure::local(&format!("reading {}", Path::new(&file).display()), &error))?;
            return Ok(Some(Zeroizing::new(text.trim().to_owned())));
        }
        Ok(self.read("token")?.map(|token| Zeroizing::new(token.trim().to_owned())))
    }

    /// The newest checkpoint seen.
    pub fn checkpoint(&self) -> Result<Option<String>, Failure> {
        self.read("checkpoint")
    }

    /// Remembers a verified checkpoint.
    pub fn remember_checkpoint(&self, note: &str) -> Result<(), Failure> {
        self.write("checkpoint", note)
    }

    /// Remembers a sign-in. Another server's authority, key and checkpoint are forgotten with it.
    pub fn remember(&self, profile: &Profile, ca: &str, token: &str) -> Result<(), Failure> {
        if self.profile()?.is_none_or(|before| before.server != profile.server) {
            self.remove("checkpoint")?;
        }
        let text = toml::to_string(profile).map_err(|error| Failure::nonsense(error.to_string()))?;
        self.write("ca.pem", ca)?;
        self.write("token", token)?;
        self.write("profile.toml", &text)
    }

    /// Forgets the token.
    pub fn forget_token(&self) -> Result<(), Failure> {
        self.remove("token")
    }

    /// Where the server's address and authority come from: arguments and environment first, then what was remembered.
    pub fn server(&self, global: &Global) -> Result<(String, String), Failure> {
        let profile = self.profile()?;
        let server =
            global.server.clone().or_else(|| profile.as_ref().map(|profile| profile.server.clone())).ok_or_else(Failure::not_signed_in)?;
        let pinned = profile.is_some_and(|profile| profile.server == server);
        let ca = match &global.ca {
            Some(file) => std::fs::read_to_string(file).map_err(|error| Failure::local(&format!("reading {}", file.display()), &error))?,
            None if pinned => self.ca()?.ok_or_else(Failure::not_signed_in)?,
            None => {
                return Err(Failure::usage(format!("whose authority does `{server}` have?"))
                    .why("a server is never trusted on first sight")
                    .next("give its authority with `--ca FILE` or `SAFECONDUCT_CA`"));
            }
        };
        Ok((server, ca))
    }

    fn read(&self, name: &str) -> Result<Option<String>, Failure> {
        match std::fs::read_to_string(self.0.join(name)) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::local(&format!("reading {}", self.0.join(name).display()), &error)),
        }
    }

    /// Replaces a file as a whole, readable by its owner only.
    fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.0.join(name);
        let write = || {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.0)?;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600))?;
            file.write_all(text.as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|error: std::io::Error| Failure::local(&format!("writing {}", path.display()), &error))
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        match std::fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::local(&format!("removing {}", self.0.join(name).display()), &error))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f47_what_is_remembered_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home(dir.path().join("new"));
        let profile = Profile { server: "https://127.0.0.1:1".into(), name: "alice".into(), ledger_key: "k".into(), provider: None };
        home.remember(&profile, "ca", "secret").unwrap();
        home.remember_checkpoint("note").unwrap();
        assert_eq!(home.profile().unwrap(), Some(profile.clone()));
        for name in ["token", "ca.pem", "profile.toml", "checkpoint"] {
            assert_eq!(std::fs::metadata(home.0.join(name)).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        }
        assert_eq!(std::fs::metadata(&home.0).unwrap().permissions().mode() & 0o777, 0o700);
        home.remember(&profile, "ca", "other").unwrap();
        assert_eq!(home.checkpoint().unwrap().as_deref(), Some("note"));
        home.remember(&Profile { server: "https://127.0.0.1:2".into(), ..profile }, "ca", "other").unwrap();
        assert_eq!(home.checkpoint().unwrap(), None);
    }

    #[test]
    fn a_server_is_never_trusted_on_first_sight() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home(dir.path().to_owned());
        let global = Global { server: Some("https://127.0.0.1:1".into()), ..Global::default() };
        assert_eq!(home.server(&global).unwrap_err().code, "CLI-002");
        assert_eq!(home.server(&Global::default()).unwrap_err().code, "CLI-003");
    }
}
