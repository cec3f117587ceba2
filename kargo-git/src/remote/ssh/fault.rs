//! What the end of an `ssh` means. Its exit code tells whether it was ssh that failed or what it ran on the server; why, only the
//! text says, which has been the same for decades and is asked for in English.

use std::process::ExitStatus;

use kargo_core::{Error, ErrorKind, Retry};

use super::command::{Access, FILES};
use crate::remote::packet::readable;

/// How `ssh` says that it failed itself.
const OWN: i32 = 255;

/// Why the program could not be started.
pub(super) fn no_program(access: &Access, error: std::io::Error) -> Error {
    let (shown, program) = (&access.destination, access.program().display());
    match error.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::Unsupported,
            format!(
                "{shown} is reached by the program {program}, which is not on this machine; install it (Debian's package openssh-client), or say with ssh_program where it is."
            ),
        ),
        _ => Error::new(
            ErrorKind::Unavailable,
            format!("The program {program}, by which {shown} is reached, cannot be started."),
        ),
    }
    .because(error)
}

/// Whether it was the key that was not accepted, and not the server's that was not known.
pub(super) fn is_key_refused(status: Option<ExitStatus>, said: &str) -> bool {
    const WORDS: [&str; 3] = ["permission denied", "authentication failures", "no more authentication methods"];
    let said = said.to_lowercase();
    status.and_then(|status| status.code()) == Some(OWN)
        && !said.contains("host key")
        && WORDS.iter().any(|words| said.contains(words))
}

/// Why a conversation ended before it was over. `said` is what ssh and the server said last.
pub(super) fn gone(access: &Access, begun: bool, status: Option<ExitStatus>, said: &str) -> Error {
    let (shown, key, said) = (&access.destination, access.key(), &words(said));
    let lower = said.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    let words = if said.is_empty() { "it said nothing" } else { said.as_str() };
    let new = |kind, what: &str, way_out: &str| Error::new(kind, format!("{shown} {what} ({words}); {way_out}"));
    let code = status.and_then(|status| status.code());
    let error = match code {
        Some(126 | 127) => new(
            ErrorKind::Unsupported,
            "is on a host without Git's server side",
            "install git there, or correct the host in the URL.",
        ),
        Some(code) if code != OWN && !begun => in_git(&lower, &key, &new),
        // Whoever answered once is there, knows us, and has a repository.
        _ if begun => new(ErrorKind::Unavailable, "broke off before it had answered", "is the server up?"),
        _ if has(&["host key verification failed"]) && has(&["has changed", "changed and you have requested"]) => new(
            ErrorKind::Unauthenticated,
            "is on a host with another key than the one it is known by, so nothing was sent to it",
            "find out whether somebody stands in between, and correct the known hosts when not.",
        ),
        _ if has(&["host key verification failed", "no matching host key"]) => new(
            ErrorKind::Unauthenticated,
            "is on a host whose key is not known, so nothing was sent to it",
            "give the host's line with known_hosts, or believe a new host with accept_new_host_keys.",
        ),
        _ if is_key_refused(status, said) => {
            let user = access.user().map_or_else(String::new, |user| format!(" the user {user} with"));
            let what = format!("does not let in{user} {}", access.key());
            new(ErrorKind::Unauthenticated, &what, "allow the key there, or give the remote another one.")
        }
        _ if has(&["bad configuration option", "bad owner or permissions", "terminating,"]) => {
            new(ErrorKind::InvalidInput, "is reached by an ssh whose configuration is wrong", "correct it.")
        }
        _ if has(&["timed out"]) => {
            new(ErrorKind::Timeout, "cannot be reached in time", "is the server up, and the URL right?")
        }
        _ if has(&["connect to host", "could not resolve", "connection refused", "no route"]) => {
            new(ErrorKind::Unavailable, "cannot be reached", "is the server up, and the URL right?")
        }
        _ => new(ErrorKind::Unavailable, "broke off before it had answered", "is the server up?"),
    };
    match code {
        Some(code) => error.with("exit code", code),
        None => error,
    }
}

/// What was said, as people should see it: without the warnings that stand around the fault, and the same for the same fault, though
/// temporary files have other names each time.
fn words(said: &str) -> String {
    const AROUND: [&str; 10] = [
        "@",
        "IT IS POSSIBLE",
        "Someone could",
        "It is also possible",
        "Please contact",
        "Add correct host key",
        "remove with:",
        "ssh-keygen -f",
        // When a server takes no more conversations on one connection, ssh makes another by itself.
        "mux_client_",
        "ControlSocket ",
    ];
    let lines = said.lines().map(str::trim).filter(|line| !AROUND.iter().any(|around| line.starts_with(around)));
    let mut text = lines.collect::<Vec<_>>().join("\n");
    for name in FILES {
        let mut parts = text.split(name);
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            out.push_str(name.trim_end_matches('-'));
            out.push_str(part.trim_start_matches(|c: char| c.is_ascii_alphanumeric()));
        }
        text = out;
    }
    readable(text.as_bytes()).trim_end_matches('.').to_owned()
}

/// Why the command on the server ended: words of git, or of the forge that stands before it.
fn in_git(lower: &str, key: &str, new: &dyn Fn(ErrorKind, &str, &str) -> Error) -> Error {
    let has = |parts: &[&str]| parts.iter().any(|part| lower.contains(part));
    if has(&["dubious ownership"]) {
        return new(
            ErrorKind::PermissionDenied,
            "belongs to another user of its host",
            "sign in as that one, or allow it there with safe.directory.",
        );
    }
    // Forges say of what is hidden that it is not there.
    if has(&["not found", "does not appear to be a git repository", "could not be found", "not exist", "no such"]) {
        return new(
            ErrorKind::NotFound,
            &format!("is no repository, or is hidden from {key}"),
            "correct the URL, or the rights.",
        );
    }
    if has(&["denied", "not allowed", "not permitted", "unauthorized", "forbidden", "read only", "read-only"]) {
        return new(
            ErrorKind::PermissionDenied,
            &format!("does not let {key} do it"),
            "give the key the right, or use another one.",
        );
    }
    new(ErrorKind::Unavailable, "broke off before it had answered", "look at the server.")
}

/// An answer that did not come in time.
pub(super) fn silent(access: &Access, after: std::time::Duration) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!("{} said nothing for {after:?}; is the server up, or at work for longer?", access.destination),
    )
    .retry_as(Retry::Backoff)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;
    use crate::remote::Timeouts;
    use crate::remote::ssh::{Destination, HostKeys};

    fn access() -> Access {
        let destination = Destination::parse_url("git@git.example/x").unwrap();
        Access::new(destination, "ssh".into(), HostKeys::default(), Timeouts::default(), None)
    }

    #[test]
    fn the_words_of_ssh_and_of_servers_become_kinds() {
        use ErrorKind::*;
        for (code, said, kind, retry) in [
            (255, "Host key verification failed.", Unauthenticated, Retry::Never),
            (
                255,
                "Host key for h has changed and you have requested strict checking.; Host key verification failed.",
                Unauthenticated,
                Retry::Never,
            ),
            (255, "git@git.example: Permission denied (publickey).", Unauthenticated, Retry::Never),
            (
                255,
                "Received disconnect from 1.2.3.4 port 22:2: Too many authentication failures",
                Unauthenticated,
                Retry::Never,
            ),
            (255, "ssh: connect to host git.example port 22: Connection refused", Unavailable, Retry::Backoff),
            (255, "ssh: connect to host git.example port 22: Connection timed out", Timeout, Retry::Backoff),
            (
                255,
                "ssh: Could not resolve hostname git.example: Name or service not known",
                Unavailable,
                Retry::Backoff,
            ),
            (255, "Connection closed by 1.2.3.4 port 22", Unavailable, Retry::Backoff),
            (255, "/root/.ssh/config: terminating, 1 bad configuration options", InvalidInput, Retry::Never),
            (128, "fatal: '/x' does not appear to be a git repository", NotFound, Retry::Never),
            (1, "ERROR: Repository not found.", NotFound, Retry::Never),
            (1, "remote: ERROR: The project you were looking for could not be found", NotFound, Retry::Never),
            (
                1,
                "ERROR: The key you are authenticating with has been marked as read only.",
                PermissionDenied,
                Retry::Never,
            ),
            (128, "fatal: detected dubious ownership in repository at '/x'", PermissionDenied, Retry::Never),
            (127, "sh: 1: git-upload-pack: not found", Unsupported, Retry::Never),
            (143, "", Unavailable, Retry::Backoff),
        ] {
            let error = gone(&access(), false, Some(ExitStatus::from_raw(code << 8)), said);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{said}: {error}");
            assert!(
                error.message().contains("git.example") && error.message().contains(said.trim_end_matches('.')),
                "{error}"
            );
            assert!(error.message().ends_with(['.', '?']), "{error}");
        }
        let killed = gone(&access(), false, Some(ExitStatus::from_raw(9)), "");
        assert_eq!((killed.kind(), killed.retry()), (Unavailable, Retry::Backoff));
    }
    #[test]
    fn who_has_answered_before_is_there_whatever_it_says_in_the_end() {
        for (code, said) in
            [(128, "fatal: No such file or directory"), (255, "client_loop: send disconnect: Broken pipe")]
        {
            let error = gone(&access(), true, Some(ExitStatus::from_raw(code << 8)), said);
            assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Backoff), "{error}");
        }
    }

    #[test]
    fn the_same_fault_has_the_same_words_and_no_others() {
        let said = |random: &str| {
            words(&format!(
                "@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@\r\nIT IS POSSIBLE THAT x!\n\
                 Add correct host key in /tmp/kargo-git-known-hosts-{random} to get rid of this message.\n\
                 Offending ED25519 key in /tmp/kargo-git-known-hosts-{random}:1\n  remove with:\nHost key for h has changed and x.\n"
            ))
        };
        assert_eq!(
            said("aB3xYz"),
            "Offending ED25519 key in /tmp/kargo-git-known-hosts:1; Host key for h has changed and x"
        );
        assert_eq!(said("aB3xYz"), said("Q00000"));
        assert_eq!(words("Load key \"/tmp/kargo-git-key-aB3xYz\": error\n"), "Load key \"/tmp/kargo-git-key\": error");
    }
}
