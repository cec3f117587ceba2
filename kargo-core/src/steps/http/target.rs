//! Where a request may go: not to addresses that exist for one machine alone, behind which clouds keep its credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Looks names up, and leaves out the addresses that no request may go to.
#[derive(Debug, Default)]
pub(super) struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // The port is set by the client.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let (refused, allowed): (Vec<_>, Vec<_>) =
                found.into_iter().partition(|address| is_link_local(address.ip()));
            if allowed.is_empty() && !refused.is_empty() {
                let why = format!("{} has a link-local address, to which no step connects", name.as_str());
                return Err(why.into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// The resolver, for a client.
pub(super) fn resolver() -> Arc<Resolver> {
    Arc::new(Resolver)
}

/// What is wrong with `url` as the target of a request, if anything. Names are looked at when they are looked up.
pub(super) fn fault(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        return Some("it is neither an http nor an https URL");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("it has a user in it; send a header Authorization instead");
    }
    let literal = match url.host() {
        None => return Some("it has no host"),
        Some(host) => host.to_string(),
    };
    let literal = literal.trim_start_matches('[').trim_end_matches(']');
    literal.parse().is_ok_and(is_link_local).then_some("it is a link-local address, to which no step connects")
}

/// 169.254.0.0/16 and fe80::/10, also as IPv4 within IPv6, and the address at which AWS has its metadata in IPv6.
fn is_link_local(address: IpAddr) -> bool {
    const AWS: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let v4 = |address: Ipv4Addr| address.is_link_local();
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address == AWS || address.to_ipv4_mapped().is_some_and(v4)
        }
    }
}

/// What is wrong with `url` as a proxy, if anything.
pub(super) fn proxy_fault(url: &str) -> Option<&'static str> {
    let Ok(mut url) = Url::parse(url) else { return Some("it is no URL") };
    // A proxy may want a user, and its URL is the only place to say so.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if matches!(url.scheme(), "http" | "https") { fault(&url) } else { None }
}

/// A URL as messages have it: the path may be a secret too, as that of many a web hook is.
pub(super) fn shown(url: &Url) -> String {
    let more = if url.path() == "/" && url.query().is_none() { "/" } else { "/…" };
    format!("{}{more}", url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_spelling_of_a_link_local_address_is_a_target() {
        for url in [
            "http://169.254.169.254/latest/meta-data",
            "http://[fe80::1]/",
            "http://[::ffff:169.254.169.254]/",
            "http://2852039166/",
            "http://0xa9.0xfe.0xa9.0xfe/",
            "http://[fd00:ec2::254]/",
            "ftp://example.com/",
            "http://user:secret@example.com/",
        ] {
            assert!(fault(&Url::parse(url).unwrap()).is_some(), "{url}");
        }
        for url in ["http://127.0.0.1:8080/", "https://10.0.0.1/", "https://api.example/x?token=1", "http://[::1]/"] {
            assert_eq!(fault(&Url::parse(url).unwrap()), None, "{url}");
        }
        assert_eq!(shown(&Url::parse("https://u:p@API.example:443/x?token=1#f").unwrap()), "https://api.example/…");
        assert_eq!(shown(&Url::parse("https://api.example").unwrap()), "https://api.example/");
        assert!(
            proxy_fault("http://u:p@169.254.169.254:80").is_some() && proxy_fault("http://u:p@proxy:3128").is_none()
        );
    }
}
