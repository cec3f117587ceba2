//! Which addresses a public server may lead to: not this machine, nor the network that this program runs in.
//!
//! A name is looked up twice, before a redirect is followed and when the connection is made, and whoever owns the name can give two answers.
//! So the second one is checked as well, in the resolver that the HTTP client connects by.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::repository::is_loopback_host;

/// How long a name is looked up before a redirect to it is followed.
const LOOKUP: Duration = Duration::from_secs(5);

/// How names become addresses.
pub(super) type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Names and their addresses. Cheap to clone.
#[derive(Clone)]
pub(super) struct Names {
    lookup: Lookup,
    /// Names that a public server has led to, and how many requests are on their way to each.
    guarded: Arc<Mutex<HashMap<String, usize>>>,
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

/// For as long as this is there, no connection is made to an internal address by the name.
#[derive(Debug)]
pub(super) struct Guarded {
    names: Names,
    name: String,
}

impl Drop for Guarded {
    fn drop(&mut self) {
        let mut guarded = self.names.guarded();
        if let Some(count) = guarded.get_mut(&self.name) {
            *count -= 1;
            if *count == 0 {
                guarded.remove(&self.name);
            }
        }
    }
}

impl Names {
    /// As the machine has them.
    pub(super) fn of_system() -> Self {
        Self::by(Arc::new(|host| {
            async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            }
            .boxed()
        }))
    }

    pub(super) fn by(lookup: Lookup) -> Self {
        Self { lookup, guarded: Arc::default() }
    }

    fn guarded(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.guarded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a request that `from` has led to go to `to`: `None` when that is an internal address, or a name of one, while `from` is neither.
    /// A public server has no business inside. What cannot be looked up is left to the request, or to the proxy that makes it.
    pub(super) async fn admit(&self, from: &Url, to: &Url) -> Option<Option<Guarded>> {
        if self.is_inside(from).await {
            return Some(None);
        }
        if self.is_inside(to).await {
            return None;
        }
        let Some(name) = to.domain().map(str::to_owned) else { return Some(None) };
        *self.guarded().entry(name.clone()).or_default() += 1;
        Some(Some(Guarded { names: self.clone(), name }))
    }

    async fn is_inside(&self, url: &Url) -> bool {
        if is_internal(url) {
            return true;
        }
        // An address that is none of these.
        let Some(name) = url.domain() else { return false };
        match tokio::time::timeout(LOOKUP, (self.lookup)(name.to_owned())).await {
            Ok(Ok(addresses)) => addresses.into_iter().any(is_internal_address),
            _ => false,
        }
    }
}

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, name) = (self.clone(), name.as_str().to_owned());
        async move {
            let mut addresses = (names.lookup)(name.clone()).await?;
            if names.guarded().contains_key(&name) {
                addresses.retain(|address| !is_internal_address(*address));
                if addresses.is_empty() {
                    let text = format!("{name} is a name of an internal address by now");
                    return Err(std::io::Error::other(text).into());
                }
            }
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        }
        .boxed()
    }
}

/// Whether a URL names this machine, a private network or the place where clouds keep their machines' credentials.
pub(super) fn is_internal(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return true };
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    if is_loopback_host(host) || host.ends_with(".localhost") {
        return true;
    }
    host.parse().is_ok_and(is_internal_address)
}

fn is_internal_address(address: IpAddr) -> bool {
    let is_internal_v4 = |address: std::net::Ipv4Addr| {
        // Of 100.64.0.0/10, which providers share among their customers; a cloud keeps credentials there too.
        let is_shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
        address.is_loopback()
            || address.is_private()
            || address.is_link_local()
            || address.is_unspecified()
            || is_shared
    };
    match address {
        IpAddr::V4(address) => is_internal_v4(address),
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || address.is_unspecified()
                || address.to_ipv4_mapped().is_some_and(is_internal_v4)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn internal_addresses_are_recognised() {
        for (text, internal) in [
            ("http://127.0.0.1:1/", true),
            ("http://169.254.169.254/latest", true),
            ("http://10.1.2.3/", true),
            ("http://[::1]/", true),
            ("http://[fd00::1]/", true),
            ("http://[::ffff:10.0.0.1]/", true),
            ("http://localhost/", true),
            ("http://localhost./", true),
            ("http://100.100.100.200/latest", true),
            ("https://registry.example/", false),
            ("https://8.8.8.8/", false),
        ] {
            assert_eq!(is_internal(&url(text)), internal, "{text}");
        }
        for address in ["127.0.0.2", "::1", "fe80::1", "10.0.0.1", "::ffff:192.168.0.1", "0.0.0.0"] {
            assert!(is_internal_address(address.parse().unwrap()), "{address}");
        }
    }

    /// The addresses of `inside` and `outside`, and of `both` the one and then the other, in turn.
    fn names() -> Names {
        let asked = std::sync::atomic::AtomicUsize::new(0);
        Names::by(Arc::new(move |host| {
            let times = asked.fetch_add(usize::from(host == "both.example"), std::sync::atomic::Ordering::Relaxed);
            let address = match host.as_str() {
                "inside.example" => "192.168.7.7",
                "both.example" if times % 2 == 1 => "127.0.0.1",
                _ => "203.0.113.1",
            };
            async move { Ok(vec![address.parse().unwrap()]) }.boxed()
        }))
    }

    async fn connects(names: &Names, name: &str) -> bool {
        names.resolve(name.parse().unwrap()).await.is_ok_and(|mut addresses| addresses.next().is_some())
    }

    #[tokio::test]
    async fn a_name_is_judged_by_its_address() {
        let names = names();
        let [inside, outside, other] =
            ["https://inside.example/", "https://outside.example/", "https://10.0.0.1/"].map(url);
        assert!(names.admit(&outside, &inside).await.is_none() && names.admit(&outside, &other).await.is_none());
        assert!(matches!(names.admit(&inside, &other).await, Some(None)));
        assert!(matches!(names.admit(&outside, &outside).await, Some(Some(_))));
        assert!(matches!(names.admit(&outside, &url("https://8.8.8.8/")).await, Some(None)), "an address stays one");
    }

    #[tokio::test]
    async fn a_name_that_stands_for_another_address_when_it_is_connected_to_is_refused_then() {
        let names = names();
        let (outside, both) = (url("https://outside.example/"), url("https://both.example/"));
        let guarded = names.admit(&outside, &both).await.expect("it is outside").expect("it is a name");
        assert!(!connects(&names, "both.example").await, "it is inside by now");
        let second = names.admit(&outside, &both).await.expect("it is outside again");
        drop(guarded);
        assert!(!connects(&names, "both.example").await, "another request is on its way");
        drop(second);
        // Those that nobody was led to may be anywhere: the operator has named them.
        assert!(connects(&names, "inside.example").await && connects(&names, "both.example").await);
        assert!(names.guarded().is_empty());
    }
}
