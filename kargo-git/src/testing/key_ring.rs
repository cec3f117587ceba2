//! A key to sign with, for the program `gpg`.

use std::path::Path;
use std::process::Command;

/// A key ring of `gpg` with one key in it, and the agent that `gpg` starts for it, both of which go with the value.
///
/// Methods panic when `gpg` is not installed or does not do as it is told: this is for tests.
#[derive(Debug)]
pub struct KeyRing(tempfile::TempDir);

impl KeyRing {
    /// With a key for `id`, such as `Kargo <kargo@localhost>`.
    pub fn new(id: &str) -> Self {
        // The socket of the agent is in there, and its path must be short.
        let directory = tempfile::Builder::new().prefix("kt").tempdir_in("/tmp").expect("the disk has room");
        let ring = Self(directory);
        #[cfg(unix)]
        std::fs::set_permissions(ring.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .expect("the directory is ours");
        let mut generate = Command::new("gpg");
        generate.arg("--homedir").arg(ring.path());
        generate.args(["--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]);
        let made = generate.args([id, "ed25519", "sign", "never"]).output().expect("gpg is installed");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        ring
    }

    /// The directory, `GNUPGHOME` for those who are to see it.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.path()).args(["--kill", "gpg-agent"]).output();
    }
}
