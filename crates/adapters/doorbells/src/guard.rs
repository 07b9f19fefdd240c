//! Where a webhook may lead: not to this machine, and not to what is only reached from it, such as a cloud's metadata service.
//!
//! Looked at when a name is resolved, for every connection: what a name led to before does not count. Redirects are not followed.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use safeconduct_app::may_reach;

/// Resolves names to what may be reached, and to nothing else.
pub(crate) struct Guarded;

/// A name that leads nowhere one may go.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` leads only to addresses that a webhook may not reach")]
struct Forbidden(String);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|at| may_reach(at.ip())).collect();
            if allowed.is_empty() {
                return Err(Forbidden(name.as_str().to_owned()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f45_a_name_that_leads_to_this_machine_leads_nowhere() {
        let refused = Guarded.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.to_string().contains("may not reach"), "{refused}");
    }
}
