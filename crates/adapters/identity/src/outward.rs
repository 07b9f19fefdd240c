//! The client that calls a provider: TLS only, no redirects, no proxy, bounded answers, and only where [`may_reach`] permits.

use std::{path::Path, sync::Arc, time::Duration};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use safeconduct_app::{look_up, may_reach};

/// How long a provider may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest answer that is read.
const LARGEST: usize = 256 * 1024;

/// Why a call brought nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    #[error("it can't be reached")]
    Http(#[from] reqwest::Error),
    #[error("it answered with status {0}")]
    Status(reqwest::StatusCode),
    #[error("its answer is too large")]
    TooLarge,
    #[error("its answer is not what the specification says")]
    Unreadable(#[from] serde_json::Error),
}

/// A client for one provider. With `local` it may lead to this machine.
pub(crate) fn client(ca_file: Option<&Path>, local: bool) -> Result<reqwest::Client, String> {
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).https_only(true).redirect(reqwest::redirect::Policy::none()).no_proxy();
    if !local {
        builder = builder.dns_resolver(Arc::new(Guarded));
    }
    if let Some(file) = ca_file {
        let pem = std::fs::read(file).map_err(|error| format!("`{}` can't be read: {error}", file.display()))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| format!("`{}`: {error}", file.display()))?;
        builder = builder.tls_certs_only(roots);
    }
    builder.build().map_err(|error| error.to_string())
}

/// Sends it and reads the answer as JSON.
pub(crate) async fn json<T: serde::de::DeserializeOwned>(request: reqwest::RequestBuilder) -> Result<T, CallError> {
    let mut answer = request.header("accept", "application/json").send().await?;
    if !answer.status().is_success() {
        return Err(CallError::Status(answer.status()));
    }
    let mut body = Vec::new();
    while let Some(part) = answer.chunk().await? {
        if body.len() + part.len() > LARGEST {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&part);
    }
    Ok(serde_json::from_slice(&body)?)
}

/// Resolves names to what may be reached, and to nothing else.
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { Ok(Box::new(look_up(name.as_str()).await?.into_iter()) as Addrs) })
    }
}

/// True if the address is https and does not name, as a literal, what may not be reached.
pub(crate) fn is_permitted(url: &reqwest::Url, local: bool) -> bool {
    let host = url.host_str().unwrap_or_default();
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let plain = url.scheme() == "https" && !host.is_empty() && url.username().is_empty() && url.password().is_none();
    plain && (local || (host != "localhost" && literal.is_none_or(may_reach)))
}
