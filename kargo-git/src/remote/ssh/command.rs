//! The command that reaches a repository: the program `ssh`, told what it may do.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use kargo_core::{Error, ErrorKind, Result};
use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::connection::{Connections, Way};
use super::destination::Destination;
use crate::cache::Key;
use crate::credentials::NamedCredentials;
use crate::remote::sign_in::SignIn;
use crate::remote::transport::Service;
use crate::remote::{Timeouts, as_file};

/// How the keys of hosts are known.
#[derive(Debug, Clone, Default)]
pub(in crate::remote) struct HostKeys {
    /// The contents of a `known_hosts` file, instead of this user's and the system's.
    pub(in crate::remote) known: Option<String>,
    /// Whether the key of a host that is not known yet is believed.
    pub(in crate::remote) accept_new: bool,
}

impl HostKeys {
    /// What is wrong with them.
    pub(in crate::remote) fn check(&self) -> Result<()> {
        let Some(known) = &self.known else { return Ok(()) };
        let lines = known.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let mut none = true;
        for line in lines {
            none = false;
            // A marker, hosts, the kind of the key, the key.
            let words = line.split_whitespace().filter(|word| !word.starts_with('@')).count();
            if words < 3 {
                return Err(Error::new(
                    ErrorKind::InvalidInput,
                    "The known hosts have a line in them that is no host with its key; give what ssh-keyscan prints or a known_hosts file has.",
                ));
            }
        }
        if none && !self.accept_new {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "The known hosts that were given name no host, so none could be reached; give the line of the repository's.",
            ));
        }
        Ok(())
    }
}

/// All that a connection to a repository needs. But for the key the same in all pieces of work on one remote.
#[derive(Debug, Clone)]
pub(in crate::remote) struct Access {
    pub(super) destination: Destination,
    program: PathBuf,
    key: Option<NamedCredentials>,
    /// Whether a key was asked for, so that it is worth saying that there is none.
    asked: bool,
    host_keys: HostKeys,
    pub(super) timeouts: Timeouts,
    /// The known hosts, once they were needed. What `ssh` learns, it adds.
    known_hosts: Arc<Mutex<Option<NamedTempFile>>>,
    /// Where conversations find a connection that is there already; `None` when each has its own.
    connections: Option<Connections>,
}

impl Access {
    pub(in crate::remote) fn new(
        destination: Destination,
        program: PathBuf,
        host_keys: HostKeys,
        timeouts: Timeouts,
        connections: Option<Connections>,
    ) -> Self {
        let known_hosts = Arc::default();
        Self { destination, program, key: None, asked: false, host_keys, timeouts, known_hosts, connections }
    }

    /// The same, with the key of whoever signs in.
    pub(super) fn signed_in(&self, sign_in: &SignIn) -> Self {
        Self { key: sign_in.credentials().cloned(), asked: sign_in.has_source(), ..self.clone() }
    }

    /// The user's name, when ssh is told one.
    pub(super) fn user(&self) -> Option<&str> {
        let user = self.destination.user.as_deref();
        // Without a key, what signs in is up to ssh, and so is the user.
        user.or_else(|| self.key.is_some().then_some("git"))
    }

    /// With what ssh signs in, in words.
    pub(super) fn key(&self) -> String {
        match &self.key {
            Some(key) => key.shown(),
            None if self.asked => "the keys of this user, and no credentials are set up for it".to_owned(),
            None => "the keys of this user".to_owned(),
        }
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Writes the key to a file that only this user may read, and that goes when the value is dropped.
    pub(super) fn key_file(&self) -> Result<Option<NamedTempFile>> {
        let Some(key) = self.key.as_ref().and_then(|key| key.credentials.key()) else { return Ok(None) };
        file(KEY, as_file(key).expose_secret()).map(Some)
    }

    fn known_hosts_file(&self) -> Result<Option<PathBuf>> {
        let Some(known) = &self.host_keys.known else { return Ok(None) };
        let mut there = self.known_hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match there.take() {
            Some(file) => file,
            None => file(KNOWN_HOSTS, &format!("{}\n", known.trim_end()))?,
        };
        Ok(Some(there.insert(file).path().to_owned()))
    }

    /// How the next conversation gets to the server. One that `stays` may be kept after its work.
    pub(super) fn way(&self, stays: bool) -> Result<Way> {
        let Some(connections) = &self.connections else { return Ok(Way::Alone) };
        let Destination { host, port, .. } = &self.destination;
        let place = format!("{:?}", (&self.program, host, port, self.user()));
        let key = Key::new(&place, format!("{:?}", self.host_keys).as_bytes())?;
        let text = self.key.as_ref().map(|key| key.credentials.text());
        Ok(connections.of(key.seen_as(text.as_ref())?).way(stays))
    }

    /// The command that starts `service` on the server, and gets there by `way`.
    pub(super) fn command(&self, service: Service, v2: bool, key_file: Option<&Path>, way: &Way) -> Result<Command> {
        let mut command = Command::new(&self.program);
        let mut option = |name: &str, value: &str| {
            command.arg("-o").arg(format!("{name}={value}"));
        };
        // There is nobody to ask.
        option("BatchMode", "yes");
        option("StrictHostKeyChecking", if self.host_keys.accept_new { "accept-new" } else { "yes" });
        option("UpdateHostKeys", "no");
        option("ConnectTimeout", &self.timeouts.connect.as_secs().clamp(1, 86_400).to_string());
        // Greetings are not errors.
        option("LogLevel", "ERROR");
        option("RequestTTY", "no");
        option("ForwardAgent", "no");
        option("ForwardX11", "no");
        option("ClearAllForwardings", "yes");
        option("PermitLocalCommand", "no");
        // What a configuration has the host run for people would take the place of Git's program.
        option("RemoteCommand", "none");
        // A connection that a configuration makes or finds was made with somebody's key, and not with this one.
        option("ControlMaster", if matches!(way, Way::Making(_)) { "yes" } else { "no" });
        option("ControlPersist", "no");
        if let Way::Making(_) = way {
            // Or nobody would notice that the server is gone.
            option("ServerAliveInterval", "15");
            option("ServerAliveCountMax", "3");
        }
        if v2 {
            option("SendEnv", "GIT_PROTOCOL");
        }
        match way {
            Way::Alone => command.arg("-o").arg("ControlPath=none"),
            Way::Making(making) => command.arg("-o").arg(file_option("ControlPath", &making.socket)),
            Way::Through(socket, _) => command.arg("-o").arg(file_option("ControlPath", socket)),
        };
        if let Some(path) = self.known_hosts_file()? {
            command.arg("-o").arg(file_option("UserKnownHostsFile", &path));
            command.arg("-o").arg("GlobalKnownHostsFile=/dev/null");
        }
        if let Some(path) = key_file {
            command.arg("-o").arg("IdentitiesOnly=yes").arg("-o").arg("IdentityAgent=none");
            command.arg("-o").arg(file_option("IdentityFile", path));
        }
        if let Some(port) = self.destination.port {
            command.arg("-p").arg(port.to_string());
        }
        if let Some(user) = self.user() {
            command.arg("-l").arg(user);
        }
        command.arg("--").arg(&self.destination.host).arg(self.destination.command(service.name()));
        // What ssh and the server say is read by a program.
        command.env("LC_ALL", "C").env_remove("LANGUAGE");
        match v2 {
            true => command.env("GIT_PROTOCOL", "version=2"),
            false => command.env_remove("GIT_PROTOCOL"),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        // An interrupt from the terminal is for the host program, which ends its calls itself.
        #[cfg(unix)]
        command.process_group(0);
        Ok(command)
    }
}

/// How the names of temporary files begin, behind which there are six random characters. By their names, those that a killed process
/// leaves are known as ours.
pub(super) const FILES: [&str; 3] = [KEY, KNOWN_HOSTS, SOCKETS];
const KEY: &str = "kargo-git-key-";
const KNOWN_HOSTS: &str = "kargo-git-known-hosts-";
/// Of a directory.
pub(super) const SOCKETS: &str = "kargo-git-ssh-";

fn file(prefix: &str, text: &str) -> Result<NamedTempFile> {
    let write = || {
        let mut file = tempfile::Builder::new().prefix(prefix).rand_bytes(6).tempfile()?;
        file.write_all(text.as_bytes())?;
        file.flush()?;
        Ok(file)
    };
    write().map_err(|error: std::io::Error| {
        Error::new(
            ErrorKind::Full,
            "The directory for temporary files cannot hold the files that ssh needs; make room in it, and let this user write there.",
        )
        .because(error)
    })
}

/// An option whose value is one file's name, whatever characters it has: ssh reads quotes and `%` in it.
fn file_option(name: &str, path: &Path) -> OsString {
    let path = path.to_string_lossy().replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name}=\"{path}\"").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Credentials;

    fn access(url: &str, key: Option<&str>, known: Option<&str>) -> Access {
        let destination = Destination::parse_url(url).unwrap();
        let host_keys = HostKeys { known: known.map(str::to_owned), accept_new: false };
        let key = key.map(|key| NamedCredentials::new("of the test", Credentials::ssh_key(key)));
        Access { key, ..Access::new(destination, "ssh".into(), host_keys, Timeouts::default(), None) }
    }

    fn arguments(command: &Command) -> Vec<String> {
        command.as_std().get_args().map(|argument| argument.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_key_lies_in_a_private_file_for_as_long_as_it_is_needed() {
        let access = access("git.example/x", Some("\r\nBEGIN\r\nkey\r\nEND"), None);
        let file = access.key_file().unwrap().unwrap();
        let path = file.path().to_owned();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "BEGIN\nkey\nEND\n");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        let command = access.command(Service::Upload, true, Some(&path), &Way::Alone).unwrap();
        assert!(!format!("{command:?} {access:?}").contains("BEGIN"));
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_key_brings_its_user_and_shuts_out_other_keys() {
        let with = access("git.example:2222/x", Some("key"), Some("git.example ssh-ed25519 AAAA"));
        let command =
            arguments(&with.command(Service::Receive, false, Some(Path::new("/tmp/a b%")), &Way::Alone).unwrap());
        for expected in [
            "RemoteCommand=none",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "IdentityFile=\"/tmp/a b%%\"",
            "BatchMode=yes",
        ] {
            assert!(command.iter().any(|argument| argument == expected), "{expected} is not in {command:?}");
        }
        assert!(command.iter().any(|argument| argument == "StrictHostKeyChecking=yes"));
        assert!(
            command.ends_with(
                &["-p", "2222", "-l", "git", "--", "git.example", "git-receive-pack '/x'"].map(String::from)
            )
        );
        assert!(!command.iter().any(|argument| argument.contains("GIT_PROTOCOL")), "pushing has no version 2");

        let without =
            arguments(&access("git.example/x", None, None).command(Service::Upload, true, None, &Way::Alone).unwrap());
        assert!(without.ends_with(&["--", "git.example", "git-upload-pack '/x'"].map(String::from)));
        assert!(!without.iter().any(|argument| argument == "-l" || argument.contains("KnownHostsFile")));
        assert!(without.iter().any(|argument| argument == "SendEnv=GIT_PROTOCOL"));
    }

    #[test]
    fn known_hosts_must_name_one() {
        let check = |known: &str, accept_new| HostKeys { known: Some(known.to_owned()), accept_new }.check();
        assert!(check("# ours\n@cert-authority *.example ssh-ed25519 AAAA\n[h]:22 ssh-rsa AAAA note\n", false).is_ok());
        assert!(check("", true).is_ok() && HostKeys::default().check().is_ok());
        for (known, fault) in
            [("", "no host"), ("# nothing\n", "no host"), ("ssh-ed25519 AAAA", "no host with its key")]
        {
            let error = check(known, false).unwrap_err();
            assert!(error.kind() == ErrorKind::InvalidInput && error.message().contains(fault), "{error}");
        }
    }
}
