//! Public keys, and what they say of a signature.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kargo_core::{Error, ErrorKind, Result};

use crate::repository::sha256_hex;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

// Algorithm identifiers of RFC 5480, RFC 8410 and RFC 8017, in DER without the outer sequence.
const EC_P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const EDWARDS_25519: &[u8] = b"\x06\x03\x2b\x65\x70";
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";

/// A public key by which signatures are checked: ECDSA on P-256, which `cosign generate-key-pair` makes, Ed25519, or RSA of 2048 to
/// 8192 bits, each with SHA-256 where the kind does not say.
///
/// ```
/// use kargo_oci::PublicKey;
///
/// let key = PublicKey::from_pem(
///     "-----BEGIN PUBLIC KEY-----\n\
///      MCowBQYDK2VwAyEAdz2YWkdFugz3kgC5zTkVqll9Lw/RaKQ42cBRx48HRK8=\n\
///      -----END PUBLIC KEY-----",
/// )?;
/// assert!(key.to_string().starts_with("Ed25519 key "));
/// # Ok::<(), kargo_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    kind: Kind,
    bytes: Vec<u8>,
    fingerprint: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    EcdsaP256,
    Ed25519,
    Rsa,
}

impl PublicKey {
    /// Reads a key as `cosign` and `openssl` write it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it is not one, or not of a supported kind.
    pub fn from_pem(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::new(ErrorKind::InvalidInput, format!("The public key {why}."));
        if text.contains("PRIVATE KEY") {
            return Err(invalid("is a private one; take it out of the configuration, and give the public one"));
        }
        let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let Some(inner) = inner else {
            return Err(invalid(&format!("does not stand between {BEGIN} and {END}")));
        };
        let base64: String = inner.split_ascii_whitespace().collect();
        let der = STANDARD.decode(base64).map_err(|error| invalid("is not base64").because(error))?;
        let (algorithm, bytes) = subject_public_key(&der).ok_or_else(|| invalid("is not one in DER"))?;
        let kind = match algorithm {
            EC_P256 => Kind::EcdsaP256,
            EDWARDS_25519 => Kind::Ed25519,
            RSA => Kind::Rsa,
            _ => return Err(invalid("is of a kind that is not supported; these are: ECDSA on P-256, Ed25519, RSA")),
        };
        Ok(Self { kind, bytes: bytes.to_vec(), fingerprint: sha256_hex(&der) })
    }

    /// The SHA-256 of the key in DER, in hexadecimal.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// Whether `signature` is this key's of exactly these bytes.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match self.kind {
            Kind::EcdsaP256 => &ECDSA_P256_SHA256_ASN1,
            Kind::Ed25519 => &ED25519,
            Kind::Rsa => &RSA_PKCS1_2048_8192_SHA256,
        };
        UnparsedPublicKey::new(algorithm, &self.bytes).verify(message, signature).is_ok()
    }
}

/// The kind, and the first digits of the fingerprint.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::EcdsaP256 => "ECDSA P-256",
            Kind::Ed25519 => "Ed25519",
            Kind::Rsa => "RSA",
        };
        write!(f, "{kind} key {}", &self.fingerprint[..16])
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_pem(text)
    }
}

/// The algorithm identifier and the key of a SubjectPublicKeyInfo (RFC 5280).
fn subject_public_key(der: &[u8]) -> Option<(&[u8], &[u8])> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    let (whole, after) = element(SEQUENCE, der)?;
    let (algorithm, rest) = element(SEQUENCE, whole)?;
    let (bits, end) = element(BIT_STRING, rest)?;
    // The first byte says how many bits of the last one do not count; a key has whole bytes.
    let key = bits.strip_prefix(&[0])?;
    (after.is_empty() && end.is_empty()).then_some((algorithm, key))
}

/// The content of the DER element of this tag at the beginning of `bytes`, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = bytes.strip_prefix(&[tag])?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by `openssl`, as are the keys and the signatures.
    const MESSAGE: &str = concat!(
        r#"{"critical":{"identity":{"docker-reference":"r.example/app"},"image":{"docker-manifest-digest":"#,
        r#""sha256:0000000000000000000000000000000000000000000000000000000000000001"},"#,
        r#""type":"cosign container image signature"},"optional":null}"#
    );
    const ECDSA: (&str, &str) = (
        "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEJ3EVnBUS7tbMqJKmfCWngH8lYvGi\n\
         tauffXHn8X5vl2/reqeaF/7AZouzujJyXAdN5CwF86K+7qSDD+tIaz9ReA==",
        "MEUCIGiSL/d7YL+fH2E8SLk1Va08u2PGO67t9qm54BtimlsZAiEAxFQD82Ou0LuA2GSS9ApJDo9JKlo0/1pyJDSTLgBBlD8=",
    );
    const EDWARDS: (&str, &str) = (
        "MCowBQYDK2VwAyEAdz2YWkdFugz3kgC5zTkVqll9Lw/RaKQ42cBRx48HRK8=",
        "e5Nwm79eXItx5R4IGDOTsXe/9qLqwoXmEeMREHQmDRvhTlKHWIAj3xOIaxeDt9e8c7MaIbRihORQtKpbGtewCg==",
    );
    const RIVEST: (&str, &str) = (
        "MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAqMXS9zqX0sbDoOZPw8Zb\n\
         dDTT6aQn1cnuq9MNoj+yFvbS454ggAG6Cq4PE6r8kBh3QGZiyfa5xHkDsfJQ32jC\n\
         mVsoxUq/t93mzYHJNSXOGl44tPwwZMJVxIHjgSdlo0uoNrpi2mfpxC7k46rZ0WqG\n\
         VNyDJC2SeBHyxJfqzoX+u9QOgsTb+zJ0UnUvX7dDnXIj3JVifCChCZ8mxLtUjcyB\n\
         pf1C9NJT0uxCpAU507LzDysks5zCD+kPu0gmV2CTE72lrNMc3rMoJTg0+y/pMtNI\n\
         GnqyFbqBgf6SI7T3o7VLmqFPh3cPdqY66lgqDgIrFWsdgpVMS0XbApRYMi17pcfr\n\
         NQIDAQAB",
        "n8k5ubm7rg8R/ZSq04sk/JK+nJW88f5taKGzcQbN2IlU9fOCEMgqlCny/D6qOfFRCaLj5MMIP65mQtBSnk30u/7xzNGebM/gdYX2jY595OOavl4frX84+gDb\
         RV5XMSM8sR/m5T5gYb50ij5f02IjHNv/9pUFmIhvH1WEHa9KhJJg2OPoshPLlSdXxZlg+n1vazAbgeE2zNWKG6Jk9/iL0c6A/gtgGmRpQmU2PCL5/7JilyZ1\
         WRBo+ksUMpg1ROhrQAY5sEeY6D1e14G9sSN8UtTx+bs862iNaxxTsUxJS7nH5OU964RnjeWT9Q19bIIFz5nUWmaXXLRd6ZQOGLs1Rg==",
    );

    fn key(base64: &str) -> PublicKey {
        PublicKey::from_pem(&format!("{BEGIN}\n{base64}\n{END}\n")).unwrap()
    }

    #[test]
    fn signatures_of_openssl_are_checked() {
        let pairs = [ECDSA, EDWARDS, RIVEST];
        for (index, (public, signature)) in pairs.iter().enumerate() {
            let signature = STANDARD.decode(signature).unwrap();
            for (other, (public, _)) in pairs.iter().enumerate() {
                assert_eq!(key(public).verifies(MESSAGE.as_bytes(), &signature), index == other);
            }
            let public = key(public);
            assert!(!public.verifies(b"something else", &signature), "{public}");
            assert!(!public.verifies(MESSAGE.as_bytes(), &signature[1..]), "{public}");
            assert!(!public.verifies(MESSAGE.as_bytes(), b""), "{public}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        for (text, needle) in [
            ("", "between"),
            (ECDSA.0, "between"),
            ("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----", "private one"),
            ("-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----", "base64"),
            ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "DER"),
            ("-----BEGIN PUBLIC KEY-----\nMIL/////\n-----END PUBLIC KEY-----", "DER"),
            // An Ed448 key.
            (
                "-----BEGIN PUBLIC KEY-----\nMEMwBQYDK2VxAzoAX9dEm1m0Yf0s54fsYWrUah2hNCSFpw4fig6nXYDpZ3jt8SR2m0bHBhvWeD3x5Q9s0foavq/oJWGA\n-----END PUBLIC KEY-----",
                "not supported",
            ),
        ] {
            let error = PublicKey::from_pem(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.message().contains(needle) && !error.message().contains("hunter2"), "{error}");
        }
    }
}
