//! What an ssh URL means, and why some are not let through.
//!
//! The parts of a URL become arguments of the program `ssh`, and the path a word of a command that a shell on the server reads. A URL
//! may come from a manifest that anybody wrote, so nothing in it may be taken for an option or for a command, neither here, nor by a
//! `ProxyCommand` into which `ssh` puts host and user, nor there.

use std::fmt;

use kargo_core::{Error, ErrorKind, Result};

use crate::remote::address::decoded;

/// A repository on a host that is reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::remote) struct Destination {
    pub(super) user: Option<String>,
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// As the server gets it: from its root, or from the user's home directory.
    pub(super) path: String,
    written: String,
}

impl Destination {
    /// Reads `ssh://[user@]host[:port]/path`; `rest` is what follows the `//`.
    pub(in crate::remote) fn parse_url(rest: &str) -> Result<Self> {
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(invalid("has a password in it, with which ssh signs nobody in; use Credentials::ssh_key"));
        }
        let (host, port) = match host.strip_prefix('[') {
            Some(inner) => {
                let (host, after) = inner.split_once(']').ok_or_else(|| invalid("has a '[' in it without its ']'"))?;
                (host, after)
            }
            None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
        };
        let port = match port {
            "" => None,
            port => match port.strip_prefix(':').unwrap_or_default().parse() {
                Ok(0) | Err(_) => return Err(invalid("has a port in it that is none")),
                Ok(port) => Some(port),
            },
        };
        // `/~user/x` is how a home directory is written in a URL.
        let path = decoded(path.strip_prefix('/').filter(|rest| rest.starts_with('~')).unwrap_or(path));
        Self::new(user.map(decoded), host, port, path, format!("ssh://{rest}"))
    }

    /// Reads the short form `[user@]host:path`; `None` when `text` is not of it but a path.
    pub(in crate::remote) fn parse_short(text: &str) -> Option<Result<Self>> {
        let end = if text.split('@').next_back()?.starts_with('[') { text.find("]:")? + 1 } else { text.find(':')? };
        let (place, path) = (&text[..end], &text[end + 1..]);
        if place.contains(['/', '\\']) || place.len() < 2 {
            return None;
        }
        let (user, host) = match place.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()), host),
            None => (None, place),
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Some(Self::new(user, host, None, path.to_owned(), text.to_owned()))
    }

    fn new(user: Option<String>, host: &str, port: Option<u16>, path: String, written: String) -> Result<Self> {
        // Letters of other scripts are left to who writes the host's name in its ASCII form.
        let name = |text: &str, also: &[char]| {
            text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':')
                && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') || also.contains(&c))
        };
        if !name(host, &[':', '%']) {
            return Err(invalid("has a host in it that is none"));
        }
        if user.as_deref().is_some_and(|user| !name(user, &['+', '@', '='])) {
            return Err(invalid("has a user in it whose name cannot be one"));
        }
        if path.contains(char::is_control) {
            return Err(invalid("has control characters in it"));
        }
        if path.trim_matches('/').is_empty() {
            return Err(invalid("names a host and no repository on it"));
        }
        if path.starts_with('-') {
            return Err(invalid("has a path in it that looks like an option; write ./ before it"));
        }
        Ok(Self { user, host: host.to_owned(), port, path, written })
    }

    /// The command on the server that starts `service` for the repository.
    pub(super) fn command(&self, service: &str) -> String {
        format!("{service} {}", quoted(&self.path))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// One word for a shell, whichever: in a C shell a `!` counts within quotes too.
fn quoted(word: &str) -> String {
    let mut out = String::with_capacity(word.len() + 2);
    out.push('\'');
    for c in word.chars() {
        match c {
            '\'' | '!' => out.extend(["'\\", c.encode_utf8(&mut [0; 4]), "'"]),
            c => out.push(c),
        }
    }
    out.push('\'');
    out
}

/// The URL itself is left out: what is wrong in it may be a password in the wrong place.
fn invalid(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        format!("The ssh URL of the repository {what}; write ssh://user@host/path or user@host:path."),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn url(text: &str) -> Result<Destination> {
        Destination::parse_url(text.strip_prefix("ssh://").unwrap())
    }

    fn parts(destination: &Destination) -> (Option<&str>, &str, Option<u16>, &str) {
        (destination.user.as_deref(), &destination.host, destination.port, &destination.path)
    }

    #[test]
    fn both_forms_are_read() {
        for (text, expected) in [
            ("ssh://git@git.example/acme/config.git", (Some("git"), "git.example", None, "/acme/config.git")),
            ("ssh://git.example:2222/acme/config", (None, "git.example", Some(2222), "/acme/config")),
            ("ssh://kargo@[::1]:22/srv/x", (Some("kargo"), "::1", Some(22), "/srv/x")),
            ("ssh://[fe80::1%eth0]/srv/x", (None, "fe80::1%eth0", None, "/srv/x")),
            ("ssh://git@git.example/~/x", (Some("git"), "git.example", None, "~/x")),
            ("ssh://git@git.example/a%20b/%27x", (Some("git"), "git.example", None, "/a b/'x")),
            ("ssh://git@git.example/x?y#z", (Some("git"), "git.example", None, "/x?y#z")),
        ] {
            let destination = url(text).unwrap();
            assert_eq!(parts(&destination), expected, "{text}");
            assert_eq!(destination.to_string(), text);
        }
        for (text, expected) in [
            ("git@git.example:acme/config.git", (Some("git"), "git.example", None, "acme/config.git")),
            ("git.example:/srv/x", (None, "git.example", None, "/srv/x")),
            ("git@[::1]:x", (Some("git"), "::1", None, "x")),
            ("git@git.example:~kargo/a b", (Some("git"), "git.example", None, "~kargo/a b")),
        ] {
            let destination = Destination::parse_short(text).unwrap().unwrap();
            assert_eq!(parts(&destination), expected, "{text}");
            assert_eq!(destination.to_string(), text);
        }
        for path in ["/srv/x", "./a:b", "C:\\x", "x", "C:/x", "a/b:c", "[::1]"] {
            assert!(Destination::parse_short(path).is_none(), "{path} is a path");
        }
    }

    #[test]
    fn nothing_in_a_url_is_taken_for_an_option_or_a_command() {
        for text in [
            "ssh://-oProxyCommand=touch%20x/y",
            "ssh://-oProxyCommand=x@host/y",
            "ssh://-l@host/y",
            "ssh://host:-1/y",
            "ssh://host:22x/y",
            "ssh://host:0/y",
            "ssh://`id`/y",
            "ssh://$(id)/y",
            "ssh://a;b/y",
            "ssh://u'ser@host/y",
            "ssh://a b@host/y",
            "ssh://%2doProxyCommand=x@host/y",
            "ssh://host/%0aid",
            "ssh://host",
            "ssh://host/",
            "ssh:///path",
            "ssh://git@/path",
            "ssh://[::1/path",
            "ssh://[::1]22/path",
        ] {
            assert_eq!(url(text).unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
        for text in
            ["-oProxyCommand=x:y", "git@-oProxyCommand=x:y", "-l@host:y", "git@host:-upload", "git@host:", "@host:y"]
        {
            let parsed = Destination::parse_short(text).expect("not a path");
            assert_eq!(parsed.unwrap_err().kind(), ErrorKind::InvalidInput, "{text}");
        }
        let error = url("ssh://kargo:s3cret@host/x").unwrap_err();
        assert!(error.message().contains("password") && !error.message().contains("s3cret"), "{error}");
    }

    proptest! {
        #[test]
        fn whatever_the_path_the_shell_hands_on_the_very_same_word(word in "[ -~äß☃]{0,40}") {
            let output = std::process::Command::new("sh").arg("-c").arg(format!("printf %s {}", quoted(&word))).output().unwrap();
            prop_assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }

        #[test]
        fn whatever_the_url_no_argument_begins_with_a_dash(text in "\\PC{0,40}") {
            for parsed in [Destination::parse_url(&text).ok(), Destination::parse_short(&text).and_then(Result::ok)].into_iter().flatten() {
                for part in [Some(&parsed.host), parsed.user.as_ref(), Some(&parsed.path)].into_iter().flatten() {
                    prop_assert!(!part.starts_with('-') && !part.contains(char::is_control), "{:?}", parsed);
                }
            }
        }
    }
}
