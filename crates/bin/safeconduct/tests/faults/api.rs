//! The API as one person calls it. Answers are plain JSON; a node that is gone is told apart from one that says no.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{node::RESOURCE, progress::Progress};

#[derive(Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    progress: Option<Arc<Progress>>,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nobody answers, or the answer broke off.
    Gone,
    /// The node says no.
    Problem { status: u16, code: String, detail: String },
}

impl Failed {
    pub fn code(&self) -> &str {
        match self {
            Self::Gone => "gone",
            Self::Problem { code, .. } => code,
        }
    }
}

impl Api {
    pub fn new(http: reqwest::Client, base: String, token: Option<String>) -> Self {
        Self { http, base, token, progress: None }
    }

    /// The same, counting what is sent and what is answered.
    pub fn counting(mut self, progress: &Arc<Progress>) -> Self {
        self.progress = Some(Arc::clone(progress));
        self
    }

    pub async fn get(&self, path: &str) -> Result<Value, Failed> {
        self.call(reqwest::Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Result<Value, Failed> {
        self.call(reqwest::Method::POST, path, Some(body)).await
    }

    pub async fn text(&self, path: &str) -> Result<String, Failed> {
        let response = self.send(reqwest::Method::GET, path, None, None).await?;
        response.text().await.map_err(|_| Failed::Gone)
    }

    /// Asks for a window of 30 minutes.
    pub async fn window(&self, operations: &[&str], reason: &str) -> Result<Value, Failed> {
        self.window_on(RESOURCE, operations, "30m", reason).await
    }

    pub async fn window_on(&self, resource: &str, operations: &[&str], duration: &str, reason: &str) -> Result<Value, Failed> {
        let what = json!({"kind": "window", "operations": operations});
        self.post("/access-requests", json!({"resource": resource, "what": what, "reason": reason, "duration": duration})).await
    }

    /// Asks for one exact action.
    pub async fn exact(&self, resource: &str, text: &str, reason: &str) -> Result<Value, Failed> {
        let what = json!({"kind": "sql", "text": text});
        self.post("/access-requests", json!({"resource": resource, "what": what, "reason": reason, "duration": "15m"})).await
    }

    pub async fn approve(&self, view: &Value) -> Result<Value, Failed> {
        self.post(&format!("/access-requests/{}/approve", id(view)), json!({"digest": view["digest"]})).await
    }

    pub async fn show(&self, id: &str) -> Result<Value, Failed> {
        self.get(&format!("/access-requests/{id}")).await
    }

    /// The secret that opens the door.
    pub async fn connect(&self, resource: &str) -> Result<Value, Failed> {
        self.post(&format!("/resources/{resource}/connect"), json!({})).await
    }

    /// Runs an approved action; the last line is its outcome.
    pub async fn execute(&self, id: &str) -> Result<Vec<Value>, Failed> {
        let response = self.send(reqwest::Method::POST, &format!("/access-requests/{id}/execute"), None, None).await?;
        let text = response.text().await.map_err(|_| Failed::Gone)?;
        self.tick();
        Ok(text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// The stream of news from after `last` on.
    pub async fn events(&self, last: Option<u64>) -> Result<reqwest::Response, Failed> {
        self.send(reqwest::Method::GET, "/events", None, last).await
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<Value>) -> Result<Value, Failed> {
        let response = self.send(method, path, body, None).await?;
        let bytes = response.bytes().await.map_err(|_| Failed::Gone)?;
        self.tick();
        Ok(if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() })
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: Option<Value>, last: Option<u64>) -> Result<reqwest::Response, Failed> {
        let place = if matches!(path, "/healthz" | "/readyz" | "/metrics") { "" } else { "/api/v1" };
        let mut request = self.http.request(method, format!("{}{place}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = &body {
            request = request.json(body);
        }
        if let Some(last) = last {
            request = request.header("last-event-id", last.to_string());
        }
        self.tick();
        let response = request.send().await.map_err(|_| Failed::Gone)?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let problem: Value = response.json().await.map_err(|_| Failed::Gone)?;
        let field = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
        Err(Failed::Problem { status, code: field("code"), detail: format!("{} {}", field("title"), field("detail")) })
    }

    fn tick(&self) {
        if let Some(progress) = &self.progress {
            progress.tick();
        }
    }
}

/// The id of a view.
pub fn id(view: &Value) -> &str {
    view["id"].as_str().unwrap_or_else(|| panic!("{view}"))
}

/// The state of a view.
pub fn state(view: &Value) -> &str {
    view["state"].as_str().unwrap_or_else(|| panic!("{view}"))
}
