//! Signatures by ssh keys. The form of a private key is that of OpenSSH's PROTOCOL.key, the form of a signature that of its
//! PROTOCOL.sshsig; the cryptography is the one of the TLS library.

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use kargo_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

/// What the signature is for, in Git's word, so that it counts for nothing else.
const NAMESPACE: &[u8] = b"git";
const KIND: &[u8] = b"ssh-ed25519";
/// How a signature, and what is signed, begins.
const MAGIC: &[u8] = b"SSHSIG";

pub(super) struct Key(Ed25519KeyPair);

impl Key {
    pub(super) fn parse(text: &SecretString) -> Result<Self> {
        let invalid = || {
            Error::new(
                ErrorKind::InvalidInput,
                "The signing key is no private key in OpenSSH's form; give the text of the file that ssh-keygen -t ed25519 makes.",
            )
        };
        let body = text.expose_secret().trim().strip_prefix("-----BEGIN OPENSSH PRIVATE KEY-----");
        let body = body.and_then(|body| body.strip_suffix("-----END OPENSSH PRIVATE KEY-----")).ok_or_else(invalid)?;
        let body = SecretString::from(body.split_whitespace().collect::<String>());
        let bytes = SecretSlice::from(STANDARD.decode(body.expose_secret()).map_err(|_| invalid())?);
        let mut file = Fields(bytes.expose_secret().strip_prefix(b"openssh-key-v1\0").ok_or_else(invalid)?);
        let cipher = file.string().ok_or_else(invalid)?;
        // How a key is derived from the passphrase.
        let _ = (file.string(), file.string());
        if file.number() != Some(1) {
            return Err(invalid());
        }
        let kind = file.string().and_then(|public| Fields(public).string()).ok_or_else(invalid)?;
        if kind != KIND {
            let kind = String::from_utf8_lossy(kind);
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("The signing key is of the kind {kind:?}; make one with ssh-keygen -t ed25519."),
            ));
        }
        if cipher != b"none" {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "The signing key needs a passphrase, and nobody is there to type it; take it off with ssh-keygen -p.",
            ));
        }
        let mut private = Fields(file.string().ok_or_else(invalid)?);
        // Twice the same number, by which a wrong passphrase would show.
        let _ = (private.number(), private.number());
        let (_, public, both) = (private.string(), private.string(), private.string());
        let (public, both) = public.zip(both).ok_or_else(invalid)?;
        let seed = both.strip_suffix(public).ok_or_else(invalid)?;
        Ed25519KeyPair::from_seed_and_public_key(seed, public).map(Self).map_err(|_| invalid())
    }

    /// As `ssh-keygen -l` shows it.
    pub(super) fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &self.public())))
    }

    fn public(&self) -> Vec<u8> {
        strings(&[KIND, self.0.public_key().as_ref()])
    }

    pub(super) fn sign(&self, payload: &[u8]) -> String {
        let hash = digest(&SHA512, payload);
        let signed = [MAGIC, &strings(&[NAMESPACE, b"", b"sha512", hash.as_ref()])].concat();
        let signature = strings(&[KIND, self.0.sign(&signed).as_ref()]);
        let version = 1_u32.to_be_bytes();
        let rest = strings(&[&self.public(), NAMESPACE, b"", b"sha512", &signature]);
        let text = STANDARD.encode([MAGIC, version.as_slice(), &rest].concat());
        let mut armored = String::from("-----BEGIN SSH SIGNATURE-----\n");
        for (n, c) in text.chars().enumerate() {
            if n > 0 && n % 70 == 0 {
                armored.push('\n');
            }
            armored.push(c);
        }
        armored.push_str("\n-----END SSH SIGNATURE-----\n");
        armored
    }
}

/// Fields one after the other, as ssh writes them.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length as usize)
    }
}

/// The fields, each with its length before it.
fn strings(fields: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        // All of them are some dozens of bytes long.
        out.extend_from_slice(&(field.len() as u32).to_be_bytes());
        out.extend_from_slice(field);
    }
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    /// A key made by stock ssh-keygen.
    fn generate(directory: &Path, arguments: &[&str]) -> SecretString {
        let path = directory.join(arguments.concat());
        let made = Command::new("ssh-keygen").arg("-q").args(arguments).arg("-f").arg(&path).status().unwrap();
        assert!(made.success());
        std::fs::read_to_string(path).unwrap().into()
    }

    #[test]
    fn keys_that_cannot_sign_are_told_apart_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let locked = generate(directory.path(), &["-t", "ed25519", "-N", "passphrase"]);
        let ecdsa = generate(directory.path(), &["-t", "ecdsa", "-N", ""]);
        let rsa = generate(directory.path(), &["-t", "rsa", "-N", ""]);
        let pem =
            SecretString::from("-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n");
        for (key, kind, words) in [
            (&locked, ErrorKind::InvalidInput, "passphrase"),
            (&ecdsa, ErrorKind::Unsupported, "ecdsa"),
            (&rsa, ErrorKind::Unsupported, "rsa"),
            (&pem, ErrorKind::InvalidInput, "ssh-keygen"),
            (&"".into(), ErrorKind::InvalidInput, "ssh-keygen"),
        ] {
            let Err(error) = Key::parse(key) else { panic!("{words}: it signs") };
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.message().contains(words), "{error}");
            let inside = key.expose_secret().lines().nth(1).unwrap_or("-");
            assert!(!error.report().contains(inside) || inside == "-", "{error:?}");
        }
    }

    #[test]
    fn half_a_key_is_an_error_and_no_panic() {
        let directory = tempfile::tempdir().unwrap();
        let text = generate(directory.path(), &["-t", "ed25519", "-N", ""]);
        let body: String = text.expose_secret().lines().filter(|line| !line.starts_with('-')).collect();
        let whole = STANDARD.decode(body).unwrap();
        let parse = |bytes: &[u8]| {
            let body = STANDARD.encode(bytes);
            Key::parse(
                &format!("-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----\n").into(),
            )
        };
        assert!(parse(&whole).is_ok());
        for end in 0..whole.len() - 64 {
            assert!(parse(&whole[..end]).is_err(), "{end}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0xff;
            // What it means may be the same, as with the comment. It must not break.
            let _ = parse(&changed).map(|key| key.sign(b"x"));
        }
    }

    #[test]
    fn one_payload_has_one_signature_which_stock_ssh_believes() {
        let directory = tempfile::tempdir().unwrap();
        let text = generate(directory.path(), &["-t", "ed25519", "-N", ""]);
        // As it comes out of a form field.
        let mangled = SecretString::from(text.expose_secret().trim().replace('\n', "\r\n"));
        let (key, same) = (Key::parse(&text).unwrap(), Key::parse(&mangled).unwrap());
        let listed =
            Command::new("ssh-keygen").arg("-lf").arg(directory.path().join("-ted25519-N.pub")).output().unwrap();
        assert!(String::from_utf8(listed.stdout).unwrap().contains(&key.fingerprint()));
        let payload = b"tree 1\n\nPromote\n";
        let signature = key.sign(payload);
        assert_eq!(signature, same.sign(payload));
        assert_ne!(signature, key.sign(b"tree 2\n\nPromote\n"));

        let file = directory.path().join("signature");
        std::fs::write(&file, signature).unwrap();
        let public = std::fs::read_to_string(directory.path().join("-ted25519-N.pub")).unwrap();
        std::fs::write(directory.path().join("allowed"), format!("kargo@localhost {public}")).unwrap();
        let mut verify = Command::new("ssh-keygen");
        verify.args(["-Y", "verify", "-n", "git", "-I", "kargo@localhost", "-s"]).arg(&file);
        verify.arg("-f").arg(directory.path().join("allowed"));
        let mut verify = verify.stdin(std::process::Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut verify.stdin.take().unwrap(), payload).unwrap();
        assert!(verify.wait().unwrap().success());
    }
}
