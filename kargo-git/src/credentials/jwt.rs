//! The tokens by which a GitHub App says that it is itself: JSON Web Tokens (RFC 7519), signed with RSA and SHA-256.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use kargo_core::{Error, ErrorKind, Result};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use serde_json::json;

/// How long a token is good, in seconds; GitHub takes ten minutes at most.
const LIFE: i64 = 9 * 60;

/// How much earlier it says that it was made, in seconds, because clocks differ.
const SKEW: i64 = 60;

/// An App's private key.
pub(super) struct Key(KeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl Key {
    /// Reads a key in PEM form, as GitHub gives it out (PKCS#1) or as OpenSSL writes it today (PKCS#8).
    pub(super) fn parse(pem: &SecretString) -> Result<Self> {
        let invalid = || {
            Error::new(
                ErrorKind::InvalidInput,
                "The private key of the GitHub App is none; give the text of the .pem file that GitHub made for it, line breaks included.",
            )
        };
        let text = pem.expose_secret().trim();
        let body = |kind: &str| {
            let text = text.strip_prefix(&format!("-----BEGIN {kind}-----"))?;
            let text = text.strip_suffix(&format!("-----END {kind}-----"))?;
            // Variables and forms like to turn line breaks into the two characters that stand for one.
            let text = SecretString::from(text.replace("\\n", "").split_whitespace().collect::<String>());
            STANDARD.decode(text.expose_secret()).ok().map(SecretSlice::from)
        };
        let pair = match (body("RSA PRIVATE KEY"), body("PRIVATE KEY")) {
            (Some(der), _) => KeyPair::from_der(der.expose_secret()),
            (None, Some(der)) => KeyPair::from_pkcs8(der.expose_secret()),
            (None, None) => return Err(invalid()),
        };
        pair.map(Self).map_err(|_| invalid())
    }

    /// A token with which the App `issuer` speaks for itself at `now`.
    pub(super) fn token(&self, issuer: &str, now: Timestamp) -> Result<SecretString> {
        let now = now.as_second();
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "typ": "JWT"}).to_string());
        let claims = json!({"iat": now - SKEW, "exp": now + LIFE, "iss": issuer});
        let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).map_err(|_| {
            Error::new(ErrorKind::Other, "The token of the GitHub App cannot be signed; is its private key damaged?")
        })?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

    use super::*;

    fn pem(pair: &KeyPair) -> String {
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(der.as_ref()))
    }

    #[test]
    fn a_token_is_signed_and_says_who_and_until_when() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = pair.public_key().as_ref().to_vec();
        let key = Key::parse(&pem(&pair).into()).unwrap();
        let token = key.token("123", Timestamp::from_second(1_000_000).unwrap()).unwrap();
        let (signed, signature) = token.expose_secret().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, public).verify(signed.as_bytes(), &signature).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(signed.split_once('.').unwrap().1).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims, json!({"iat": 999_940, "exp": 1_000_540, "iss": "123"}));
    }

    #[test]
    fn a_key_that_lost_its_line_breaks_is_read_and_what_is_none_is_refused_unseen() {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        // GitHub's own form is what stands at the end of the other.
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let inner = STANDARD.encode(&der.as_ref()[26..]);
        Key::parse(&format!("-----BEGIN RSA PRIVATE KEY-----\n{inner}\n-----END RSA PRIVATE KEY-----\n").into())
            .unwrap();
        let flat = pem(&pair).replace('\n', "\\n").replace("-----END PRIVATE KEY-----\\n", "-----END PRIVATE KEY-----");
        Key::parse(&flat.into()).unwrap();
        for text in ["", "c2VjcmV0", "-----BEGIN RSA PRIVATE KEY-----\nc2VjcmV0\n-----END RSA PRIVATE KEY-----"] {
            let error = Key::parse(&text.into()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.report().contains("c2Vj"), "{error}");
        }
    }
}
