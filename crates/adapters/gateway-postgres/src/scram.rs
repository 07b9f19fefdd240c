//! Keys for signing in to servers with SCRAM. They are kept in memory: deriving them is most of what a sign-in costs us.

use std::collections::HashMap;

use parking_lot::Mutex;
use safeconduct_protocol::postgres::scram_client::{Keys, Salting};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Keys of fewer rounds are derived anew: passwords made for one session have one.
const WORTH_KEEPING: u32 = 256;
/// Most keys kept. Beyond, all are forgotten and derived again.
const MOST_KEPT: usize = 256;

/// The keys of a password at a server that keeps it with this salt.
pub(crate) async fn keys(password: &str, salting: Salting) -> Keys {
    type Kept = HashMap<Salting, (Zeroizing<String>, Keys)>;
    static KEPT: Mutex<Option<Kept>> = Mutex::new(None);
    if let Some((before, keys)) = KEPT.lock().get_or_insert_default().get(&salting)
        && before.as_str() == password
    {
        return keys.clone();
    }
    let prepared = prepare(password);
    if salting.iterations < WORTH_KEEPING {
        return salting.keys(prepared.as_bytes());
    }
    let derive = {
        let salting = salting.clone();
        move || salting.keys(prepared.as_bytes())
    };
    // A server may ask for many rounds: not on a thread that others wait for.
    let Ok(keys) = spawn_blocking(derive).await else { return salting.keys(prepare(password).as_bytes()) };
    let mut kept = KEPT.lock();
    let kept = kept.get_or_insert_default();
    if kept.len() >= MOST_KEPT {
        kept.clear();
    }
    kept.insert(salting, (Zeroizing::new(password.to_owned()), keys.clone()));
    keys
}

/// As PostgreSQL does: SASLprep where it applies, else the password as it is.
fn prepare(password: &str) -> Zeroizing<String> {
    Zeroizing::new(stringprep::saslprep(password).map_or_else(|_| password.to_owned(), std::borrow::Cow::into_owned))
}

#[cfg(test)]
mod tests {
    use postgres_protocol::authentication::sasl::{ChannelBinding, ScramSha256};
    use safeconduct_protocol::postgres::scram_client::{Challenge, client_first};

    use super::*;

    /// What another client would answer to the same challenge, password and nonce.
    async fn proves_as_others_do(password: &str, iterations: u32) -> bool {
        let mut other = ScramSha256::new(password.as_bytes(), ChannelBinding::unsupported());
        let nonce = String::from_utf8(other.message().to_vec()).unwrap().trim_start_matches("n,,n=,r=").to_owned();
        assert_eq!(client_first(&nonce).as_bytes(), other.message());
        let first = format!("r={nonce}c2VydmVyLW5vbmNl,s=W22ZaJ0SNY7soEsUEjb6gQ==,i={iterations}");
        other.update(first.as_bytes()).unwrap();
        let challenge = Challenge::read(&nonce, first.as_bytes()).unwrap();
        let keys = keys(password, challenge.salting.clone()).await;
        challenge.prove(&keys).0.as_bytes() == other.message()
    }

    #[tokio::test]
    async fn every_password_is_proved_as_other_clients_do_the_first_time_and_later() {
        for password in ["pencil", "s3cret pass", "pässwörd", "I\u{ad}X", "\u{2168}", "no \u{7} prep"] {
            for iterations in [1, 4096] {
                assert!(proves_as_others_do(password, iterations).await, "{password}");
                assert!(proves_as_others_do(password, iterations).await, "{password}, once more");
            }
        }
    }
}
