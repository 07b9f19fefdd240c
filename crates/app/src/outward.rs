//! Where calls that the gateway makes may lead: not to this machine, and not to what is only reached from it, such as a cloud's metadata
//! service. What is called is written in settings, but names lead where others say: each is looked at whenever it is resolved.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// A name that leads nowhere one may go.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` leads only to addresses that may not be reached")]
struct Forbidden(String);

/// Resolves a name to where one may go, and to nothing else. Ports are 0.
///
/// # Errors
/// If it leads nowhere, or nowhere one may go.
pub async fn look_up(host: &str) -> io::Result<Vec<SocketAddr>> {
    let allowed: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.filter(|at| may_reach(at.ip())).collect();
    if allowed.is_empty() { Err(io::Error::other(Forbidden(host.to_owned()))) } else { Ok(allowed) }
}

/// True unless it is this machine, link-local, no single machine, or one of the addresses at which clouds tell machines their secrets.
#[must_use]
pub fn may_reach(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            // 100.100.100.200 and 192.0.0.192 are metadata services, too.
            let metadata = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];
            let nowhere = v4.octets()[0] == 0 || v4.is_multicast() || v4.is_broadcast();
            !(v4.is_loopback() || v4.is_link_local() || nowhere || metadata.contains(&v4))
        }
        IpAddr::V6(v6) => {
            let segments = v6.segments();
            let embedded = match segments {
                // 6to4, NAT64 and the old compatible form carry an address of the older kind.
                [0x2002, high, low, ..] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0, 0, 0, 0, 0, 0, high, low] => {
                    let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
                    Some(Ipv4Addr::new(a, b, c, d))
                }
                _ => None,
            };
            let metadata = segments == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254];
            let own = v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast();
            !(own || metadata || embedded.is_some_and(|v4| !may_reach(IpAddr::V4(v4))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn f45_a_name_that_leads_to_this_machine_leads_nowhere() {
        let refused = look_up("localhost").await.unwrap_err();
        assert!(refused.to_string().contains("may not be reached"), "{refused}");
        assert!(look_up("127.0.0.1").await.is_err());
        assert_eq!(look_up("10.1.2.3").await.unwrap(), ["10.1.2.3:0".parse().unwrap()]);
    }

    #[test]
    fn f45_this_machine_and_its_neighbourhood_are_not_reached_in_any_spelling() {
        for forbidden in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "100.100.100.200",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "2002:7f00:1::",
            "64:ff9b::a9fe:a9fe",
            "::127.0.0.1",
        ] {
            assert!(!may_reach(forbidden.parse().unwrap()), "{forbidden}");
        }
        for allowed in ["10.1.2.3", "192.168.1.1", "172.16.0.1", "93.184.216.34", "2606:2800:220:1::1", "fd12:3456::1"] {
            assert!(may_reach(allowed.parse().unwrap()), "{allowed}");
        }
    }
}
