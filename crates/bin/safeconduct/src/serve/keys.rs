//! Keys of a node, kept apart from its store: the checkpoint key, and the local authority that signs the listeners' certificate.
//!
//! Made on first start, readable by their owner only, never overwritten.

use std::{
    io::Write as _,
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use safeconduct_app::ports::{CheckpointSigner, Entropy, TreeHead};
use safeconduct_ledger::{Checkpoint, SignerKey, TreeHash};
use safeconduct_model::Digest;

use super::config::{Config, private_directory};
use crate::failure::{Exit, Failure};

/// Everything a node proves itself with.
pub struct Keys {
    /// The authority that clients pin.
    pub ca_file: PathBuf,
    pub ca_pem: String,
    /// For the API.
    pub https: Arc<rustls::ServerConfig>,
    /// For the PostgreSQL door.
    pub postgres: Arc<rustls::ServerConfig>,
    /// RFC 5929 `tls-server-end-point` of the certificate; empty if it is not offered.
    pub end_point: Vec<u8>,
    pub signer: Arc<dyn CheckpointSigner>,
}

/// Signs checkpoints with a key in memory. The newest one is remembered beside the key: a store that was put back does not extend it.
struct Signer {
    key: SignerKey,
    newest: PathBuf,
}

impl CheckpointSigner for Signer {
    fn origin(&self) -> &str {
        self.key.name()
    }

    fn verifier_key(&self) -> String {
        self.key.verifier().to_string()
    }

    fn sign(&self, head: TreeHead) -> String {
        let checkpoint = Checkpoint { origin: self.key.name().to_owned(), size: head.size, root: TreeHash::from_bytes(head.root) };
        let note = checkpoint.sign(&self.key).map_or_else(|error| unsigned(&error), |note| note.to_string());
        if let Err(error) = remember(&self.newest, &note) {
            tracing::warn!(%error, file = %self.newest.display(), "the newest checkpoint is not remembered beside its key");
        }
        note
    }

    fn newest(&self) -> Option<String> {
        std::fs::read_to_string(&self.newest).ok()
    }
}

/// Never half a note, whenever the process dies.
pub(super) fn remember(path: &Path, note: &str) -> std::io::Result<()> {
    let coming = path.with_extension("coming");
    let mut file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&coming)?;
    file.write_all(note.as_bytes())?;
    std::fs::rename(&coming, path)
}

/// A checkpoint that verifies nowhere: the origin was checked when the key was made.
fn unsigned(error: &dyn std::error::Error) -> String {
    tracing::error!(%error, "a checkpoint could not be signed");
    String::new()
}

impl Keys {
    /// Reads the keys, or makes those that are missing.
    pub fn open(config: &Config, entropy: &dyn Entropy) -> Result<Self, Failure> {
        let folder = &config.keys;
        private_directory(folder).map_err(|e| Failure::local(&format!("making {}", folder.display()), &e))?;
        let signer = Arc::new(Signer { key: checkpoint_key(config, entropy)?, newest: folder.join("newest-checkpoint") });
        let (chain, key, ca_file) = match &config.tls_files {
            Some(files) => (read(&files.certificate)?, read(&files.key)?, files.authority.clone()),
            None => local_certificate(config)?,
        };
        let ca_pem = read(&ca_file)?;
        let bad = |what: &str, why: String| Failure::new("SERVE-002", Exit::Error, format!("the {what} can't be used")).why(why);
        let chain: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(chain.as_bytes()).collect::<Result<_, _>>().map_err(|e| bad("certificate", e.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| bad("certificate's key", e.to_string()))?;
        let first = chain.first().ok_or_else(|| bad("certificate", "the file holds none".to_owned()))?;
        // The binding uses the hash of the certificate's signature. Ours is SHA-256; that of a certificate made elsewhere is not known here,
        // and a wrong one would keep every client out that binds where it can: then none is offered.
        let end_point = if config.tls_files.is_none() { Digest::of_bytes(first).as_bytes().to_vec() } else { Vec::new() };
        let tls = |protocols: &[&[u8]]| -> Result<Arc<rustls::ServerConfig>, Failure> {
            let mut tls = rustls::ServerConfig::builder()
                .with_no_client_auth()
                .with_single_cert(chain.clone(), key.clone_key())
                .map_err(|e| bad("certificate", e.to_string()))?;
            tls.alpn_protocols = protocols.iter().map(|p| p.to_vec()).collect();
            Ok(Arc::new(tls))
        };
        Ok(Self {
            https: tls(&[b"h2", b"http/1.1"])?,
            postgres: tls(&[safeconduct_gateway_postgres::ALPN])?,
            ca_file,
            ca_pem,
            end_point,
            signer,
        })
    }
}

fn checkpoint_key(config: &Config, entropy: &dyn Entropy) -> Result<SignerKey, Failure> {
    let path = config.keys.join("checkpoint.key");
    let bad =
        |why: String| Failure::new("SERVE-002", Exit::Error, format!("the checkpoint key `{}` can't be used", path.display())).why(why);
    if path.exists() {
        return SignerKey::parse(read(&path)?.trim()).map_err(|e| bad(e.to_string()));
    }
    if config.store_file().exists() {
        return Err(bad("the store exists and its key does not".to_owned())
            .next("put the key back; a new one would be another ledger to everybody who pinned this one"));
    }
    let mut seed = zeroize::Zeroizing::new([0_u8; 32]);
    entropy.fill(&mut *seed).map_err(|e| bad(e.to_string()))?;
    let key = SignerKey::from_seed(&format!("{}/ledger", config.gateway), &seed).map_err(|e| bad(e.to_string()))?;
    write_new(&path, &format!("{}\n", key.to_secret_text().as_str()))?;
    Ok(key)
}

/// A certificate for the listeners, made anew at each start by an authority that stays.
fn local_certificate(config: &Config) -> Result<(String, String, PathBuf), Failure> {
    let failed = |e: rcgen::Error| Failure::new("SERVE-002", Exit::Error, "no certificate could be made").why(e.to_string());
    let (ca_file, key_file) = (config.keys.join("ca.pem"), config.keys.join("ca.key"));
    let (ca_pem, ca_key) = if ca_file.exists() && key_file.exists() {
        (read(&ca_file)?, KeyPair::from_pem(&read(&key_file)?).map_err(failed)?)
    } else {
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{} authority", config.gateway));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(failed)?;
        write_new(&key_file, &key.serialize_pem())?;
        write_new(&ca_file, &certificate.pem())?;
        (certificate.pem(), key)
    };
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, ca_key).map_err(failed)?;
    let key = KeyPair::generate().map_err(failed)?;
    let mut params = CertificateParams::default();
    let common = config.tls_names.first().cloned().unwrap_or_else(|| "localhost".to_owned());
    params.distinguished_name.push(DnType::CommonName, common);
    for name in &config.tls_names {
        params.subject_alt_names.push(match name.parse::<IpAddr>() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName(name.clone().try_into().map_err(failed)?),
        });
    }
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok((certificate.pem(), key.serialize_pem(), ca_file))
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path).map_err(|e| Failure::local(&format!("reading {}", path.display()), &e))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::local(&format!("writing {}", path.display()), &e);
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use safeconduct_system::SystemEntropy;

    use super::*;
    use crate::serve::config::TlsFiles;

    fn config(folder: &Path) -> Config {
        Config { data: folder.join("data"), keys: folder.join("keys"), ..Config::parse(None, |_| None).unwrap() }
    }

    #[test]
    fn keys_are_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::open(&config(folder.path()), &SystemEntropy).unwrap();
        let again = Keys::open(&config(folder.path()), &SystemEntropy).unwrap();
        assert_eq!((first.signer.verifier_key(), &first.ca_pem), (again.signer.verifier_key(), &again.ca_pem));
        for file in ["checkpoint.key", "ca.key"] {
            let mode = std::fs::metadata(folder.path().join("keys").join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn f53_a_store_without_its_checkpoint_key_gets_no_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        std::fs::create_dir_all(&config.data).unwrap();
        std::fs::write(config.store_file(), "").unwrap();
        assert_eq!(Keys::open(&config, &SystemEntropy).err().map(|failure| failure.code), Some("SERVE-002".to_owned()));
        assert!(!config.keys.join("checkpoint.key").exists());
    }

    #[test]
    fn channel_binding_is_offered_only_with_a_certificate_made_here() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        assert_eq!(Keys::open(&config, &SystemEntropy).unwrap().end_point.len(), 32);
        let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (certificate, key) = (folder.path().join("own.pem"), folder.path().join("own.key"));
        std::fs::write(&certificate, certified.cert.pem()).unwrap();
        std::fs::write(&key, certified.signing_key.serialize_pem()).unwrap();
        config.tls_files = Some(TlsFiles { authority: certificate.clone(), certificate, key });
        assert!(Keys::open(&config, &SystemEntropy).unwrap().end_point.is_empty());
    }
}
