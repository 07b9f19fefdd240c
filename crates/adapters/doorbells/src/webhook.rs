//! Webhooks as the Standard Webhooks specification has them: an id that stays over all tries, a time, and signatures over both and the body.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use safeconduct_app::{Bell, look_up};
use safeconduct_model::Timestamp;
use serde_json::json;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{NotRung, settings::Webhook};

/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// Shortest key that is taken, in bytes: the specification's least.
const LEAST_KEY: usize = 24;

/// The client for one webhook.
pub(crate) fn client(webhook: &Webhook) -> Result<reqwest::Client, NotRung> {
    let mut builder = reqwest::Client::builder().timeout(PATIENCE).https_only(true).redirect(reqwest::redirect::Policy::none()).no_proxy();
    if !webhook.local {
        builder = builder.dns_resolver(std::sync::Arc::new(Guarded));
    }
    if let Some(file) = &webhook.ca_file {
        let pem = std::fs::read(file).map_err(|error| NotRung::Settings(format!("`{}` can't be read: {error}", file.display())))?;
        let roots = reqwest::Certificate::from_pem_bundle(&pem)?;
        builder = builder.tls_certs_only(roots);
    }
    Ok(builder.build()?)
}

/// Resolves names to what may be reached, and to nothing else.
struct Guarded;

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move { Ok(Box::new(look_up(name.as_str()).await?.into_iter()) as Addrs) })
    }
}

/// Sends it once.
pub(crate) async fn ring(client: &reqwest::Client, webhook: &Webhook, bell: &Bell, now: Timestamp) -> Result<(), NotRung> {
    let secrets = safeconduct_app::read_secret(&webhook.secret).map_err(|error| NotRung::Settings(error.to_string()))?;
    let (id, seconds, body) = (format!("msg_{}", bell.access_request), now.micros().div_euclid(1_000_000), body(bell, now));
    let signature = sign(&secrets, &id, seconds, &body)?;
    let request = client.post(webhook.url.clone()).header("content-type", "application/json").header("webhook-id", id);
    let request = request.header("webhook-timestamp", seconds).header("webhook-signature", signature);
    let answer = request.body(body).send().await?;
    if answer.status().is_success() { Ok(()) } else { Err(NotRung::Status(answer.status())) }
}

/// The message. Names are the API's.
fn body(bell: &Bell, now: Timestamp) -> String {
    json!({
        "type": "access_request.pending",
        "timestamp": now.to_string(),
        "data": {
            "gateway": bell.gateway,
            "access_request": bell.access_request,
            "resource": bell.resource,
            "requester": bell.requester,
            "requester_kind": bell.requester_kind,
            "reason": bell.reason,
            "ticket": bell.ticket,
            "exact": bell.exact,
            "operations": bell.operations,
            "duration": bell.duration,
            "facts": bell.facts,
            "quorum": bell.quorum,
            "eligible": bell.eligible.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "until": bell.until.to_string(),
            "digest": bell.digest,
            "link": bell.link,
        },
    })
    .to_string()
}

/// One signature for each secret, so that receivers can move from one to the next.
fn sign(secrets: &str, id: &str, seconds: i64, body: &str) -> Result<String, NotRung> {
    let mut signatures = Vec::new();
    for secret in secrets.split_whitespace() {
        let unfit = || NotRung::Settings("the secret must be `whsec_` and base64 of at least 24 bytes".to_owned());
        let encoded = secret.strip_prefix("whsec_").ok_or_else(unfit)?;
        let key = Zeroizing::new(STANDARD.decode(encoded).map_err(|_| unfit())?);
        if key.len() < LEAST_KEY {
            return Err(unfit());
        }
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(|_| unfit())?;
        for part in [id, ".", &seconds.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        signatures.push(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())));
    }
    if signatures.is_empty() {
        return Err(NotRung::Settings("the secret is empty".to_owned()));
    }
    Ok(signatures.join(" "))
}
