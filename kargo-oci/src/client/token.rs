//! Asks token servers, by both ways of the token specification.

use std::time::Duration;

use jiff::Timestamp;
use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::HeaderValue;
use reqwest::{Method, StatusCode, Url};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::auth::{basic, secret_header};
use super::exchange::{Http, Payload, Request, excerpt, exchange};
use crate::credentials::Credentials;
use crate::repository::Repository;

/// How long a token is good for when the registry does not say: 60 seconds, as the token specification has it.
const TOKEN_LIFETIME: u64 = 60;
/// The most that the answer of a token server may have, in bytes.
const TOKEN_BODY: usize = 64 * 1024;

/// A token, as it is shown, and until when it is good.
#[derive(Clone)]
pub(super) struct Token {
    pub(super) header: HeaderValue,
    pub(super) until: Timestamp,
}

/// What is asked of a token server.
pub(super) struct TokenRequest<'a> {
    pub(super) realm: &'a Url,
    pub(super) service: Option<&'a str>,
    pub(super) scope: &'a str,
    pub(super) repository: &'a Repository,
    /// The server whose word led to this one, unless the operator trusts it.
    pub(super) led_by: Option<&'a Url>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

/// A new token, or nothing when the token server does not accept the credentials.
pub(super) async fn fetch(
    cx: &Context,
    http: &Http,
    ask: &TokenRequest<'_>,
    credentials: &Credentials,
) -> Result<Option<Token>> {
    let asked_at = cx.now();
    let response = match credentials {
        Credentials::Identity(token) => exchange(http, &exchange_request(ask, token), None).await?,
        _ => {
            let mut url = ask.realm.clone();
            {
                let mut query = url.query_pairs_mut();
                if let Some(service) = ask.service {
                    query.append_pair("service", service);
                }
                for scope in ask.scope.split_ascii_whitespace() {
                    query.append_pair("scope", scope);
                }
            }
            let header = basic(credentials).transpose()?;
            exchange(http, &request_of(ask, Method::GET, url), header.as_ref()).await?
        }
    };
    let host = ask.realm.authority();
    match response.status {
        status if status.is_success() => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Ok(None),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            return Err(super::status_error(&response, &format!("ask {host} for a token"), cx.now()));
        }
        status => {
            let text = format!(
                "The token server {host} answered with status {status} for {}; it says {}.",
                ask.repository,
                excerpt(&response.body)
            );
            return Err(Error::new(ErrorKind::Unauthenticated, text));
        }
    }
    let answer: TokenAnswer = match serde_json::from_slice(&response.body) {
        Ok(answer) => answer,
        // The error's text could show a part of a token.
        Err(_) => {
            return Err(Error::new(
                ErrorKind::InvalidResponse,
                format!("The token server {host} did not answer with JSON."),
            ));
        }
    };
    let token = [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty());
    let header = token.and_then(|token| secret_header(format!("Bearer {token}")));
    let Some(header) = header else {
        return Err(Error::new(
            ErrorKind::InvalidResponse,
            format!("The answer of the token server {host} has no token."),
        ));
    };
    // A tenth is kept back, for the time that a request is under way. Longer than a day is not believed, and 0 is taken
    // for nothing said.
    let lifetime = answer.expires_in.filter(|seconds| *seconds > 0).unwrap_or(TOKEN_LIFETIME).min(86_400);
    let until = asked_at.checked_add(Duration::from_millis(lifetime * 900)).unwrap_or(Timestamp::MAX);
    Ok(Some(Token { header, until }))
}

fn request_of(ask: &TokenRequest<'_>, method: Method, url: Url) -> Request {
    let mut request = Request::new(method, url, TOKEN_BODY);
    request.led_by = ask.led_by.cloned();
    request
}

/// The request that exchanges an identity token, as the token specification's OAuth 2 part has it. In its body the token is
/// in no log of addresses.
fn exchange_request(ask: &TokenRequest<'_>, token: &SecretString) -> Request {
    let mut form = ask.realm.clone();
    form.query_pairs_mut()
        .clear()
        .append_pair("grant_type", "refresh_token")
        .append_pair("service", ask.service.unwrap_or_default())
        .append_pair("scope", ask.scope)
        .append_pair("client_id", "kargo-oci")
        .append_pair("refresh_token", token.expose_secret());
    let mut request = request_of(ask, Method::POST, ask.realm.clone());
    request.content_type = Some(HeaderValue::from_static("application/x-www-form-urlencoded"));
    request.body = Some(Payload::Whole(form.query().unwrap_or_default().as_bytes().to_vec()));
    request
}
