//! The files themselves: found by path, sent in the smallest form that the browser takes.

use axum::http::{HeaderMap, header};

/// The one page; scripts make it into all of them.
pub const INDEX: &str = "index.html";

/// A file of the built app.
#[derive(Debug)]
pub struct File {
    pub path: &'static str,
    /// An entity tag made from the bytes.
    pub tag: &'static str,
    pub plain: &'static [u8],
    pub gzip: Option<&'static [u8]>,
    pub brotli: Option<&'static [u8]>,
}

/// All of them, in the order of their paths. Empty if the app was not built.
static FILES: &[File] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// The file at this path.
pub fn find(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

impl File {
    /// The bytes to send and how they are compressed.
    pub fn best_for(&self, headers: &HeaderMap) -> (&'static [u8], Option<&'static str>) {
        match (self.brotli.filter(|_| takes(headers, "br")), self.gzip.filter(|_| takes(headers, "gzip"))) {
            (Some(bytes), _) => (bytes, Some("br")),
            (None, Some(bytes)) => (bytes, Some("gzip")),
            (None, None) => (self.plain, None),
        }
    }

    /// What it is, by how its name ends.
    pub fn content_type(&self) -> &'static str {
        match self.path.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "png" => "image/png",
            "woff2" => "font/woff2",
            "webmanifest" => "application/manifest+json",
            "json" => "application/json",
            "txt" => "text/plain; charset=utf-8",
            _ => "application/octet-stream",
        }
    }
}

/// True if the browser names this coding and does not rule it out.
fn takes(headers: &HeaderMap, coding: &str) -> bool {
    let named = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case(coding) && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_browser_gets_the_smallest_form_it_takes() {
        static FILE: File = File { path: "assets/a.js", tag: "\"t\"", plain: b"plain", gzip: Some(b"gz"), brotli: Some(b"br") };
        let best = |accepts: &'static str| {
            let headers: HeaderMap = [(header::ACCEPT_ENCODING, HeaderValue::from_static(accepts))].into_iter().collect();
            FILE.best_for(&headers).1
        };
        assert_eq!(best("gzip, deflate, br"), Some("br"));
        assert_eq!(best("gzip;q=1.0, br;q=0"), Some("gzip"));
        assert_eq!(best("identity"), None);
        assert_eq!(FILE.best_for(&HeaderMap::new()), (&b"plain"[..], None));
        assert_eq!(FILE.content_type(), "text/javascript; charset=utf-8");
    }
}
