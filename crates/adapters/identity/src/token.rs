//! Tokens: whether one was signed by a key of the provider, and whether what it claims is for us, and for now. Time is an argument.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{
    Algorithm, DecodingKey, Header, Validation, decode, decode_header,
    jwk::{AlgorithmParameters, Jwk, JwkSet, PublicKeyUse},
};
use safeconduct_model::{Timestamp, Ttl};
use serde_json::Value;

/// Longest token that is looked at, in bytes.
const LONGEST: usize = 64 * 1024;
/// How far the clocks may be apart, in seconds.
const TOLERANCE: i64 = 60;
/// Oldest token that is taken, in seconds: it is made for this very moment.
const OLDEST: i64 = 600;

/// Longest that a token may be good for to be exchanged, in seconds: a day.
const LONGEST_LIVED: i64 = 86_400;

/// Algorithms with a public key. No `none`, and none whose key both sides know: that is no proof of who signed.
const ALGORITHMS: [Algorithm; 9] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// Claims whose signature is right.
pub(crate) struct Claims(serde_json::Map<String, Value>);

/// What stands between a token and its claims.
pub(crate) enum Unproved {
    /// No key that is known made it: newer keys may.
    NoSuchKey,
    Refused(&'static str),
}

/// Who it says it is from. Nothing of it is checked.
pub(crate) fn issuer(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1).filter(|_| token.len() <= LONGEST)?;
    let claims: serde_json::Map<String, Value> = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

/// Checks the signature.
pub(crate) fn open(token: &str, keys: &JwkSet) -> Result<Claims, Unproved> {
    if token.len() > LONGEST {
        return Err(Unproved::Refused("it is too long"));
    }
    // `none` is no algorithm that this reads at all.
    let header = decode_header(token).map_err(|_| Unproved::Refused("it is no signed token, or its algorithm is none we know"))?;
    if !ALGORITHMS.contains(&header.alg) {
        return Err(Unproved::Refused("its algorithm is not one with a public key"));
    }
    // What must be understood is not (RFC 7515, 4.1.11).
    if header.crit.is_some() {
        return Err(Unproved::Refused("it demands an extension that is not known here"));
    }
    let key = key_for(&header, keys)?;
    let key = DecodingKey::from_jwk(key).map_err(|_| Unproved::Refused("the provider's key can't be read"))?;
    let mut validation = Validation::new(header.alg);
    // What it claims is checked by `Claims`, with the time as an argument.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_aud = false;
    let data =
        decode::<serde_json::Map<String, Value>>(token, &key, &validation).map_err(|_| Unproved::Refused("its signature is wrong"))?;
    Ok(Claims(data.claims))
}

/// The key the header names; without a name the only one that fits.
fn key_for<'a>(header: &Header, keys: &'a JwkSet) -> Result<&'a Jwk, Unproved> {
    let mut fitting = keys.keys.iter().filter(|key| fits(key, header.alg));
    match &header.kid {
        Some(kid) => fitting.find(|key| key.common.key_id.as_deref() == Some(kid)).ok_or(Unproved::NoSuchKey),
        None => match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (None, _) => Err(Unproved::NoSuchKey),
            (Some(_), Some(_)) => Err(Unproved::Refused("it does not say which key it was signed with")),
        },
    }
}

fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    let family = match key.algorithm {
        AlgorithmParameters::RSA(_) => !matches!(algorithm, Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA),
        AlgorithmParameters::EllipticCurve(_) => matches!(algorithm, Algorithm::ES256 | Algorithm::ES384),
        AlgorithmParameters::OctetKeyPair(_) => algorithm == Algorithm::EdDSA,
        _ => false,
    };
    let signs = key.common.public_key_use.as_ref().is_none_or(|purpose| *purpose == PublicKeyUse::Signature);
    family && signs && key.common.key_algorithm.is_none_or(|named| named.to_string() == format!("{algorithm:?}"))
}

impl Claims {
    pub fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str().filter(|text| !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control))
    }

    fn seconds(&self, claim: &str) -> Option<i64> {
        let value = self.0.get(claim)?;
        // Some write a fraction.
        #[expect(clippy::cast_possible_truncation, reason = "a float beyond i64 saturates, and is then no time near now")]
        value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds as i64))
    }

    /// Strings of a claim that is a list or one string.
    pub fn list(&self, claim: &str) -> Vec<&str> {
        match self.0.get(claim) {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// What it says, as one text, if it says one thing.
    pub fn shown(&self, claim: &str) -> Option<String> {
        match self.0.get(claim)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(said) => Some(said.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub fn has(&self, claim: &str) -> bool {
        self.0.contains_key(claim)
    }

    pub fn object(&self, claim: &str) -> Option<&serde_json::Map<String, Value>> {
        self.0.get(claim)?.as_object()
    }

    /// When the person proved who they are, and not after the token was made; `None` if it does not say.
    pub fn authenticated_at(&self) -> Option<Timestamp> {
        let seconds = self.seconds("auth_time")?.min(self.seconds("iat")?).max(0);
        Some(Timestamp::from_micros(seconds.saturating_mul(1_000_000)))
    }

    /// How long it is still good; `None` if it is over.
    pub fn seconds_left(&self, now: Timestamp) -> Option<Ttl> {
        let left = self.seconds("exp")?.saturating_sub(now.micros().div_euclid(1_000_000));
        Ttl::from_seconds(u64::try_from(left).ok()?).ok()
    }

    /// True if the claim is this text, or begins so if it ends with `*`. Of a list one is enough.
    pub fn is(&self, claim: &str, expected: &str) -> bool {
        self.list(claim).into_iter().any(|value| match expected.strip_suffix('*') {
            Some(beginning) => value.starts_with(beginning),
            None => value == expected,
        })
    }

    /// From this issuer, for this audience and nobody else, still good, and not made to be good for long.
    pub fn check_exchange(&self, issuer: &str, audience: &str, now: Timestamp) -> Result<(), &'static str> {
        let now = now.micros().div_euclid(1_000_000);
        if self.text("iss") != Some(issuer) {
            return Err("it is from another issuer");
        }
        // For several, any of the others could bring it here.
        if self.list("aud") != [audience] {
            return Err("it is for somebody else");
        }
        let (Some(until), Some(made)) = (self.seconds("exp"), self.seconds("iat")) else {
            return Err("it does not say how long it is good");
        };
        if until <= now - TOLERANCE {
            return Err("it is over");
        }
        if made > now + TOLERANCE || until.saturating_sub(made) > LONGEST_LIVED {
            return Err("it is good for too long");
        }
        match self.0.get("nbf") {
            Some(_) if self.seconds("nbf").is_none_or(|from| from > now + TOLERANCE) => Err("it does not count yet"),
            _ => Ok(()),
        }
    }

    /// From this issuer, for this client, made just now and still good.
    pub fn check(&self, issuer: &str, client_id: &str, now: Timestamp) -> Result<(), &'static str> {
        let now = now.micros().div_euclid(1_000_000);
        if self.text("iss") != Some(issuer) {
            return Err("it is from another issuer");
        }
        let audience = self.list("aud");
        if !audience.contains(&client_id) {
            return Err("it is for somebody else");
        }
        match self.0.get("azp") {
            Some(party) if party.as_str() != Some(client_id) => return Err("it was made for somebody else to use"),
            None if audience.len() > 1 => return Err("it is for several, and does not say who may use it"),
            _ => {}
        }
        match self.seconds("exp") {
            Some(until) if until > now - TOLERANCE => {}
            _ => return Err("it is over"),
        }
        match self.seconds("iat") {
            Some(made) if (now - OLDEST - TOLERANCE..=now + TOLERANCE).contains(&made) => {}
            _ => return Err("it was not made just now"),
        }
        match self.0.get("nbf") {
            None => {}
            Some(_) if self.seconds("nbf").is_some_and(|from| from <= now + TOLERANCE) => {}
            Some(_) => return Err("it does not count yet"),
        }
        Ok(())
    }
}
