//! Callers who are browsers: signed in by a cookie that no page can read, and what makes sure that it was our page that called.
//!
//! A browser sends cookies by itself, whoever made it call. So a cookie counts only for calls that another site can't make it send: the
//! cookie is `SameSite=Strict`, a write carries a header that only a page of ours may add, and what the browser says about where the call
//! comes from (`Sec-Fetch-Site`, `Origin`) must be us. A bearer token is none of that: whoever sends it holds it.

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use safeconduct_app::SignedIn;

use crate::problem::Failure;

/// `__Host-`: from this host, over TLS, for all of it; no neighbour can set it.
const COOKIE: &str = "__Host-safeconduct";
/// While a person is at an identity provider. A page of ours sends it back, so it need not come with the provider's own redirect.
const TICKET: &str = "__Host-safeconduct-away";
/// What a page of ours says when it writes. Another site can't add a header without asking us first, and we never answer such a question.
pub(crate) const PAGE_HEADER: HeaderName = HeaderName::from_static("x-safeconduct-page");
/// Longest token that is looked at.
const LONGEST_TOKEN: usize = 512;

/// How a call says who makes it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
}

impl<'a> Call<'a> {
    /// The secret that names the caller: a bearer token, else the cookie of a page of ours.
    ///
    /// # Errors
    /// `API-002` without either, `API-011` and `API-012` for a cookie that a browser was made to send.
    pub fn secret(self) -> Result<&'a str, Failure> {
        if self.headers.contains_key(header::AUTHORIZATION) {
            return bearer(self.headers).ok_or_else(Failure::not_signed_in);
        }
        let cookie = cookie(self.headers).ok_or_else(Failure::not_signed_in)?;
        if is_safe(self.method) {
            // Reading changes nothing and no other site may see the answer; all the same it is not for them.
            return if self.site().is_none_or(|site| matches!(site, b"same-origin" | b"none")) {
                Ok(cookie)
            } else {
                Err(Failure::not_signed_in())
            };
        }
        self.check_page()?;
        Ok(cookie)
    }

    /// Makes sure that a page of ours sends this.
    ///
    /// # Errors
    /// `API-011` if it comes from elsewhere or nobody says where from, `API-012` if it lacks the header.
    pub fn check_page(self) -> Result<(), Failure> {
        let origin = self.headers.get(header::ORIGIN).map(HeaderValue::as_bytes);
        let ours = match (self.site(), origin) {
            (None, None) => false,
            (site, origin) => site.is_none_or(|site| site == b"same-origin") && origin.is_none_or(|origin| self.is_own_origin(origin)),
        };
        if !ours {
            return Err(Failure::cross_site());
        }
        if self.headers.get(&PAGE_HEADER).is_none_or(|value| value != "1") {
            return Err(Failure::no_page());
        }
        Ok(())
    }

    fn site(self) -> Option<&'a [u8]> {
        self.headers.get("sec-fetch-site").map(HeaderValue::as_bytes)
    }

    /// An origin is ours if it is the host that was called: the cookie goes to no other.
    fn is_own_origin(self, origin: &[u8]) -> bool {
        let named = self.headers.get(header::HOST).map(HeaderValue::as_bytes);
        let host = self.uri.authority().map(|authority| authority.as_str().as_bytes()).or(named);
        host.is_some_and(|host| origin.strip_prefix(b"https://").is_some_and(|origin| origin.eq_ignore_ascii_case(host)))
    }
}

/// The bearer token of a call, if it has exactly one.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (all.next(), all.next()) else { return None };
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && fits(token)).then_some(token)
}

/// The token in the cookie, if there is exactly one.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    the_cookie(headers, COOKIE)
}

/// What a browser keeps while its person is at an identity provider, if it does.
pub(crate) fn ticket(headers: &HeaderMap) -> Option<&str> {
    the_cookie(headers, TICKET)
}

fn the_cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut ours =
        lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('=')).filter(|(name, _)| *name == wanted);
    let (Some((_, token)), None) = (ours.next(), ours.next()) else { return None };
    fits(token).then_some(token)
}

fn fits(token: &str) -> bool {
    !token.is_empty() && token.len() <= LONGEST_TOKEN
}

/// A method that changes nothing.
pub(crate) fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// The cookie of a new sign-in. It goes with the sign-in, at the latest.
pub(crate) fn signed_in(signed_in: &SignedIn) -> Option<HeaderValue> {
    let lasts = signed_in.expires_at.micros().saturating_sub(signed_in.caller.signed_in_at.micros()) / 1_000_000;
    let mut value = HeaderValue::try_from(format!(
        "{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age={}",
        signed_in.token.as_str(),
        lasts.max(0)
    ))
    .ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The cookie of a browser that leaves for an identity provider.
pub(crate) fn away(ticket: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("{TICKET}={ticket}; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=600")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Takes that cookie away.
pub(crate) const fn back() -> HeaderValue {
    HeaderValue::from_static("__Host-safeconduct-away=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// Takes the cookie away.
pub(crate) const fn signed_out() -> HeaderValue {
    HeaderValue::from_static("__Host-safeconduct=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(method: Method, headers: &[(&'static str, &'static str)]) -> Result<String, &'static str> {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let call = Call { method: &method, uri: &Uri::from_static("/api/v1/whoami"), headers: &headers };
        call.secret().map(ToOwned::to_owned).map_err(|failure| failure.code)
    }

    const COOKIES: (&str, &str) = ("cookie", "theme=dark; __Host-safeconduct=sc_a");
    const HOST: (&str, &str) = ("host", "gateway.example:8443");

    #[test]
    fn f51_a_cookie_writes_only_for_a_page_of_ours() {
        let post = |more: &[(&'static str, &'static str)]| secret(Method::POST, &[&[COOKIES, HOST], more].concat());
        let page = ("x-safeconduct-page", "1");
        let own = ("origin", "https://gateway.example:8443");
        assert_eq!(post(&[page, own, ("sec-fetch-site", "same-origin")]), Ok("sc_a".to_owned()));
        assert_eq!(post(&[page, own]), Ok("sc_a".to_owned()));
        assert_eq!(post(&[page, ("sec-fetch-site", "same-origin")]), Ok("sc_a".to_owned()));
        assert_eq!(post(&[own, ("sec-fetch-site", "same-origin")]), Err("API-012"));
        assert_eq!(post(&[page]), Err("API-011"), "nobody says where it comes from");
        for origin in
            ["https://evil.example", "null", "http://gateway.example:8443", "https://gateway.example", "https://gateway.example:8443.evil"]
        {
            assert_eq!(post(&[page, ("origin", origin)]), Err("API-011"), "{origin}");
            assert_eq!(post(&[page, ("origin", origin), ("sec-fetch-site", "same-origin")]), Err("API-011"), "{origin}");
        }
        for site in ["cross-site", "same-site", "none", "", "Same-Origin"] {
            assert_eq!(post(&[page, own, ("sec-fetch-site", site)]), Err("API-011"), "{site}");
        }
    }

    #[test]
    fn f51_a_cookie_reads_for_no_other_site() {
        let get = |more: &[(&'static str, &'static str)]| secret(Method::GET, &[&[COOKIES, HOST], more].concat());
        assert_eq!(get(&[]), Ok("sc_a".to_owned()));
        assert_eq!(get(&[("sec-fetch-site", "same-origin")]), Ok("sc_a".to_owned()));
        assert_eq!(get(&[("sec-fetch-site", "cross-site")]), Err("API-002"));
        assert_eq!(get(&[("sec-fetch-site", "same-site")]), Err("API-002"));
    }

    #[test]
    fn two_secrets_are_none() {
        let get = |headers: &[(&'static str, &'static str)]| secret(Method::GET, headers);
        assert_eq!(get(&[("cookie", "__Host-safeconduct=a; __Host-safeconduct=b")]), Err("API-002"));
        assert_eq!(get(&[COOKIES, ("authorization", "Basic x")]), Err("API-002"), "a header that names the caller is the only one asked");
        assert_eq!(get(&[COOKIES, ("authorization", "Bearer t")]), Ok("t".to_owned()));
        assert_eq!(get(&[("cookie", "safeconduct=a; X__Host-safeconduct=b")]), Err("API-002"));
    }
}
