//! The way to the server: TLS with the pinned authority and nothing else, a bearer token, JSON both ways.
//!
//! Follows no redirect and uses no proxy. Errors never hold the token.

use std::time::Duration;

use reqwest::{Method, Response, StatusCode, header};
use safeconduct_api::dto;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::{cli::Global, failure::Failure, home::Home};

/// Answers larger than this make no sense.
const LARGEST_ANSWER: usize = 64 * 1024 * 1024;

/// A server, and the token for it if there is one.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: String,
    token: Option<Zeroizing<String>>,
}

impl Client {
    /// A client for the server that is meant, with the token that is remembered.
    pub fn signed_in(home: &Home, global: &Global) -> Result<Self, Failure> {
        let token = home.token()?.ok_or_else(Failure::not_signed_in)?;
        let (server, ca) = home.server(global)?;
        Self::new(&server, &ca, Some(token))
    }

    /// A client that trusts this authority alone.
    pub fn new(server: &str, ca: &str, token: Option<Zeroizing<String>>) -> Result<Self, Failure> {
        let server = server.trim_end_matches('/').to_owned();
        if !server.starts_with("https://") || server.contains('@') {
            return Err(Failure::usage(format!("`{server}` is no server")).next("write it as https://HOST:PORT"));
        }
        let roots = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).ok().filter(|roots| !roots.is_empty());
        let roots = roots.ok_or_else(|| Failure::usage("the authority's file holds no certificate in PEM form"))?;
        let http = reqwest::Client::builder()
            .tls_certs_only(roots)
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("safeconduct/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::usage("no connection can be made with this authority").why(cause(&error)))?;
        Ok(Self { http, server, token })
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, Failure> {
        self.read(self.send(Method::GET, path, query, None::<&()>).await?).await
    }

    pub async fn post<B: Serialize, T: DeserializeOwned>(&self, path: &str, body: &B) -> Result<T, Failure> {
        self.read(self.send(Method::POST, path, &[], Some(body)).await?).await
    }

    /// A write without body or without answer.
    pub async fn tell<B: Serialize>(&self, method: Method, path: &str, body: Option<&B>) -> Result<(), Failure> {
        self.send(method, path, &[], body).await.map(drop)
    }

    /// A write whose answer comes in parts.
    pub async fn stream(&self, path: &str) -> Result<Response, Failure> {
        self.send(Method::POST, path, &[], None::<&()>).await
    }

    /// A read whose answer comes in parts.
    pub async fn follow(&self, path: &str) -> Result<Response, Failure> {
        self.send(Method::GET, path, &[], None::<&()>).await
    }

    /// Bytes as they are, or `None` if there is nothing at that path.
    pub async fn bytes(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, Failure> {
        match self.send(Method::GET, path, &[], None::<&()>).await {
            Ok(response) => self.collect(response, limit).await.map(Some),
            Err(failure) if failure.code == "API-007" => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What went wrong between the parts of an answer.
    pub fn broken(&self, error: &reqwest::Error) -> Failure {
        Failure::unreachable(&self.server, cause(error))
    }

    async fn send<B: Serialize>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: Option<&B>,
    ) -> Result<Response, Failure> {
        let url = format!("{}{}{path}{}", self.server, if path.starts_with("/api/") { "" } else { "/api/v1" }, query_text(query));
        let writes = method != Method::GET;
        let mut request = self.http.request(method, url);
        if let Some(token) = &self.token {
            let mut value = header::HeaderValue::from_str(&format!("Bearer {}", token.as_str()))
                .map_err(|_| Failure::not_signed_in().why("the token holds characters that no token has"))?;
            value.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, value);
        }
        if writes && self.token.is_some() {
            request = request.header("idempotency-key", random_key()?);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        Err(self.problem(status, self.collect(response, 1024 * 1024).await.unwrap_or_default()))
    }

    fn problem(&self, status: StatusCode, body: Vec<u8>) -> Failure {
        match serde_json::from_slice::<dto::Problem>(&body) {
            Ok(problem) => problem.into(),
            Err(_) => Failure::nonsense(format!("status {status} without a problem")),
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T, Failure> {
        let body = self.collect(response, LARGEST_ANSWER).await?;
        serde_json::from_slice(&body).map_err(|error| Failure::nonsense(error.to_string()))
    }

    async fn collect(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + part.len() > limit {
                return Err(Failure::nonsense("it is too large"));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }
}

/// Percent-encodes what is not plainly harmless.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn query_text(query: &[(&str, String)]) -> String {
    let pairs: Vec<String> = query.iter().map(|(key, value)| format!("{key}={}", encode(value))).collect();
    if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
}

fn random_key() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| Failure::usage("the system gives no random bytes").why(error.to_string()))?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

/// The innermost cause: the outer ones only say that something failed.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn std::error::Error = error;
    while let Some(next) = inner.source() {
        inner = next;
    }
    // The library's own words for this come with a link to its manual.
    match inner.downcast_ref::<std::io::Error>() {
        Some(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => "the connection was closed in the middle".to_owned(),
        _ => inner.to_string(),
    }
}
