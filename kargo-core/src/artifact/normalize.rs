//! Repository URLs in the one form in which Kargo compares and hashes them.

/// Drops what does not print, trims, lower-cases.
fn clean(url: &str) -> String {
    url.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_lowercase()
}

fn trim_path(path: &str) -> &str {
    let path = path.strip_suffix('/').unwrap_or(path);
    path.strip_suffix(".git").unwrap_or(path)
}

/// A Git repository's URL in comparable form.
///
/// Lower case, no `user@` for http(s), no trailing `/` and `.git`; the short ssh form becomes `ssh://`.
///
/// ```
/// # use kargo_core::artifact::normalize_git_url;
/// assert_eq!(normalize_git_url("https://me@GitHub.com/Acme/App.git"), "https://github.com/acme/app");
/// assert_eq!(normalize_git_url("git@github.com:acme/app"), "ssh://git@github.com/acme/app");
/// ```
pub fn normalize_git_url(url: &str) -> String {
    let cleaned = clean(url);
    for scheme in ["http://", "https://"] {
        if let Some(rest) = cleaned.strip_prefix(scheme) {
            if rest.contains('?') {
                return url.to_owned();
            }
            // Where the authority ends for whoever connects: behind a backslash or a `#` there may be another host's name.
            let (authority, path) = rest.split_once(['/', '\\', '#']).unwrap_or((rest, ""));
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            let path = trim_path(path);
            return if path.is_empty() { format!("{scheme}{host}") } else { format!("{scheme}{host}/{path}") };
        }
    }
    if let Some(rest) = cleaned.strip_prefix("ssh://") {
        return format!("ssh://{}", trim_path(rest));
    }
    // The short form `[user@]host:path`; a colon after a slash is part of a path.
    if let Some((host, path)) = cleaned.split_once(':')
        && !host.contains('/')
        && !host.is_empty()
        && !path.starts_with("//")
    {
        let path = trim_path(path.trim_start_matches('/'));
        return if path.is_empty() { format!("ssh://{host}") } else { format!("ssh://{host}/{path}") };
    }
    url.to_owned()
}

/// Whether two URLs are of one Git repository, however they reach it: over http(s) or ssh, with or without a user, the port that is the
/// scheme's own, `.git` and a slash at the end, and in whatever case. What a webhook says of a repository is compared by it with what
/// subscriptions say.
///
/// A port that is not the scheme's own counts between two URLs of one scheme; between http(s) and ssh it says nothing.
///
/// ```
/// # use kargo_core::artifact::same_repository;
/// assert!(same_repository("git@github.com:acme/app.git", "https://github.com/acme/app"));
/// assert!(!same_repository("https://github.com/acme/app", "https://github.com/acme/app-config"));
/// ```
pub fn same_repository(one: &str, other: &str) -> bool {
    match (Place::of(one), Place::of(other)) {
        (Some(one), Some(other)) => {
            let same_port = one.over_ssh != other.over_ssh || one.port == other.port;
            one.host == other.host && one.path == other.path && same_port
        }
        (None, None) => normalize_git_url(one) == normalize_git_url(other),
        _ => false,
    }
}

/// Where a Git repository is, by its URL.
struct Place {
    over_ssh: bool,
    host: String,
    /// When it is not the scheme's own.
    port: Option<String>,
    path: String,
}

impl Place {
    /// `None` for what is on no host, and for what is no URL of a repository.
    fn of(url: &str) -> Option<Self> {
        let normal = normalize_git_url(url);
        let (scheme, rest) = normal.split_once("://")?;
        let own_ports: &[&str] = match scheme {
            "http" | "https" => &["80", "443"],
            "ssh" => &["22"],
            _ => return None,
        };
        let (authority, path) = rest.split_once('/').filter(|_| !rest.contains('?'))?;
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        // The colons of an address of IPv6 stand in brackets.
        let (host, port) = match host.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, Some(port)),
            None => (host, None),
        };
        let path = path.trim_matches('/');
        let port = port.filter(|port| !own_ports.contains(port)).map(str::to_owned);
        let is_named = !host.is_empty() && !path.is_empty();
        is_named.then(|| Self { over_ssh: scheme == "ssh", host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// An image repository in comparable form: Docker Hub's names and its `library/` are dropped.
///
/// ```
/// # use kargo_core::artifact::normalize_image_url;
/// assert_eq!(normalize_image_url("docker.io/library/busybox"), "busybox");
/// assert_eq!(normalize_image_url("ghcr.io/acme/app"), "ghcr.io/acme/app");
/// ```
pub fn normalize_image_url(url: &str) -> String {
    let cleaned = clean(url);
    if cleaned.contains(char::is_whitespace) {
        return url.to_owned();
    }
    let mut rest = cleaned.as_str();
    let mut hub = false;
    match rest.split_once('/') {
        Some(("docker.io" | "index.docker.io" | "registry-1.docker.io", path)) => {
            hub = true;
            rest = path;
        }
        Some((host, _)) if host.contains('.') || host.contains(':') || host == "localhost" => {}
        _ => hub = true,
    }
    if hub {
        rest = rest.strip_prefix("library/").unwrap_or(rest);
    }
    rest.to_owned()
}

/// A chart repository's URL in comparable form: as an image's, without `oci://`.
pub fn normalize_chart_url(url: &str) -> String {
    let cleaned = clean(url);
    match cleaned.strip_prefix("oci://") {
        Some(rest) => normalize_image_url(rest),
        None => cleaned,
    }
}

/// `text` without the password of a URL in it: `https://bot:secret@host/x` becomes `https://bot@host/x`. Text that is no such
/// URL is returned as it is.
pub(crate) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
        Some(("", host)) => format!("{scheme}://{host}{path}"),
        Some((user, host)) => format!("{scheme}://{user}@{host}{path}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vector 7 of the Kargo specification's appendix.
    #[test]
    fn image_urls_normalize_as_in_kargo() {
        for (url, expected) in [
            ("docker.io/library/busybox", "busybox"),
            ("index.docker.io/busybox", "busybox"),
            ("library/busybox", "busybox"),
            ("docker.io/example/repo", "example/repo"),
            ("ghcr.io/example/repo", "ghcr.io/example/repo"),
            ("localhost:5000/app", "localhost:5000/app"),
            ("invalid url", "invalid url"),
        ] {
            assert_eq!(normalize_image_url(url), expected, "{url}");
        }
    }

    #[test]
    fn git_urls_normalize_as_in_kargo() {
        for (url, expected) in [
            ("https://github.com/acme/app/", "https://github.com/acme/app"),
            ("https://github.com/acme/app.git/", "https://github.com/acme/app"),
            ("http://user:pw@git.example:8080/x.git", "http://git.example:8080/x"),
            ("https://attacker.example\\@git.example/x", "https://attacker.example/@git.example/x"),
            ("https://attacker.example#@git.example/x", "https://attacker.example/@git.example/x"),
            ("https://git.example/x?ref=1", "https://git.example/x?ref=1"),
            ("ssh://git@host/x.git", "ssh://git@host/x"),
            ("git@host:x/y.git", "ssh://git@host/x/y"),
            ("/srv/git/config.git", "/srv/git/config.git"),
        ] {
            assert_eq!(normalize_git_url(url), expected, "{url}");
        }
    }

    #[test]
    fn git_16_the_urls_of_one_repository_are_the_same_and_those_of_two_are_not() {
        let of_one = [
            "git@github.com:o/r.git",
            "https://github.com/o/r",
            "https://GitHub.com/o/r.git",
            "http://github.com:80/o/r/",
            "https://me:secret@github.com:443/o/r",
            "ssh://git@github.com/o/r",
            "ssh://git@github.com:22/o/r.git/",
            "github.com:/o/r",
        ];
        for one in of_one {
            for other in of_one {
                assert!(same_repository(one, other), "{one} {other}");
            }
            for other in [
                "https://github.com/o/r2",
                "https://github.com/o",
                "https://gitlab.com/o/r",
                "https://github.com.evil.example/o/r",
                "https://evil.example\\@github.com/o/r",
                "https://evil.example#@github.com/o/r",
                "/o/r",
                "",
            ] {
                assert!(!same_repository(one, other) && !same_repository(other, one), "{one} {other}");
            }
        }
        // Which port ssh has says nothing about that of https, but two servers on one host are two.
        assert!(same_repository("ssh://git@git.example:2222/o/r", "https://git.example:8443/o/r"));
        assert!(!same_repository("https://git.example:8443/o/r", "https://git.example/o/r"));
        assert!(!same_repository("ssh://git@git.example:2222/o/r", "git@git.example:o/r"));
        assert!(same_repository("https://[::1]:8443/o/r", "https://[::1]:8443/o/r.git"));
        assert!(same_repository("/srv/git/r.git", "/srv/git/r.git") && !same_repository("/srv/git/r", "/srv/git/s"));
    }
}
