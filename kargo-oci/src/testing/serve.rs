//! Answers requests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH, LINK, LOCATION, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use futures::stream;
use serde_json::json;

use super::auth::{Judgement, RegistryAuth};
use super::fault::{Fault, Kind};
use super::storage::subject;
use super::{Request, Shared};

type Answer = Response<Vec<u8>>;

/// The most that is taken in one request, in bytes.
const REQUEST_BODY: usize = 256 * 1024 * 1024;

pub(super) async fn handle(State(shared): State<Arc<Shared>>, request: axum::extract::Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, REQUEST_BODY).await else {
        return finish(fault_status(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"), None);
    };
    let header = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let method = parts.method.as_str().to_owned();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default().to_owned();
    let incoming = Incoming {
        shared: &shared,
        method: &method,
        path: &path,
        query: query_pairs(&query),
        authorization: header(header::AUTHORIZATION),
        if_none_match: header(IF_NONE_MATCH),
        content_type: header(CONTENT_TYPE),
        body: &body,
    };
    let fault = {
        let whole = format!("{path}?{query}");
        shared.state().faults.iter_mut().find_map(|fault| fault.hits(&method, &whole).then(|| fault.clone()))
    };
    let mut answer = match fault.as_ref().map(|fault| &fault.kind) {
        Some(Kind::Status(status)) => {
            fault_status(StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), "INJECTED")
        }
        Some(Kind::Body(content_type, body)) => {
            let mut response = empty(StatusCode::OK);
            set(&mut response, CONTENT_TYPE, content_type);
            *response.body_mut() = body.clone();
            response
        }
        Some(Kind::Stalled) => std::future::pending().await,
        _ => incoming.answer(),
    };
    let status = fault.as_ref().and_then(|fault| StatusCode::from_u16(fault.status?).ok());
    *answer.status_mut() = status.unwrap_or(answer.status());
    shared.state().log.push(Request {
        status: answer.status().as_u16(),
        authorization: incoming.authorization,
        if_none_match: incoming.if_none_match,
        method,
        path,
        query,
    });
    finish(answer, fault.as_ref())
}

fn query_pairs(query: &str) -> Vec<(String, String)> {
    let url = reqwest::Url::parse(&format!("http://registry/?{query}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// Turns an answer into what goes over the wire, with the fault that belongs to the body.
fn finish(answer: Answer, fault: Option<&Fault>) -> Response<Body> {
    let (mut parts, mut body) = answer.into_parts();
    for (name, value) in fault.map(|fault| fault.headers.as_slice()).unwrap_or_default() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            parts.headers.insert(name, value);
        }
    }
    let body = match fault.map(|fault| &fault.kind) {
        Some(Kind::Truncated) => {
            body.truncate(body.len() / 2);
            let chunks = [Ok(Bytes::from(body)), Err(std::io::Error::other("the connection breaks here"))];
            Body::from_stream(stream::iter(chunks))
        }
        Some(Kind::Endless) => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            Body::from_stream(stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone())))
        }
        Some(Kind::Dripping) => Body::from_stream(stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
        })),
        Some(Kind::Altered) => {
            body.push(b' ');
            Body::from(body)
        }
        _ => Body::from(body),
    };
    Response::from_parts(parts, body)
}

fn answer(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Answer {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn empty(status: StatusCode) -> Answer {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    response
}

fn fault_status(status: StatusCode, code: &str) -> Answer {
    let body = json!({"errors": [{"code": code, "message": status.canonical_reason().unwrap_or_default()}]});
    answer(status, "application/json", body.to_string().into_bytes())
}

fn set(response: &mut Answer, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

struct Incoming<'a> {
    shared: &'a Shared,
    method: &'a str,
    path: &'a str,
    query: Vec<(String, String)>,
    authorization: Option<String>,
    if_none_match: Option<String>,
    content_type: Option<String>,
    body: &'a [u8],
}

/// What a path means.
enum Route<'a> {
    Tags,
    Manifest(&'a str),
    StartUpload,
    Upload(&'a str),
    Blob(&'a str),
    Referrers(&'a str),
}

fn route(path: &str) -> Option<(&str, Route<'_>)> {
    let rest = path.strip_prefix("/v2/")?;
    if let Some(name) = rest.strip_suffix("/tags/list") {
        return Some((name, Route::Tags));
    }
    if let Some((name, id)) = rest.rsplit_once("/blobs/uploads") {
        let id = id.strip_prefix('/').unwrap_or(id);
        return Some((name, if id.is_empty() { Route::StartUpload } else { Route::Upload(id) }));
    }
    if let Some((name, reference)) = rest.rsplit_once("/manifests/") {
        return Some((name, Route::Manifest(reference)));
    }
    if let Some((name, digest)) = rest.rsplit_once("/referrers/") {
        return Some((name, Route::Referrers(digest)));
    }
    rest.rsplit_once("/blobs/").map(|(name, digest)| (name, Route::Blob(digest)))
}

impl Incoming<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn answer(&self) -> Answer {
        let auth = &self.shared.options.auth;
        if self.path == "/token" {
            return self.token();
        }
        if self.path.strip_prefix("/v2").is_none_or(|rest| !rest.starts_with('/')) {
            return self.file(auth);
        }
        let (name, route) = match route(self.path) {
            Some(found) => found,
            None if self.path == "/v2/" => {
                return match self.judge(auth, "", "pull") {
                    Some(refusal) => refusal,
                    None => answer(StatusCode::OK, "application/json", b"{}".to_vec()),
                };
            }
            None => return fault_status(StatusCode::NOT_FOUND, "NOT_FOUND"),
        };
        let is_read = matches!(self.method, "GET" | "HEAD");
        let action = match route {
            Route::Tags => "list",
            Route::Manifest(_) | Route::Blob(_) | Route::Referrers(_) if is_read => "pull",
            _ => "pull,push",
        };
        if let Some(refusal) = self.judge(auth, name, action) {
            return refusal;
        }
        match (self.method, route) {
            ("GET", Route::Tags) => self.tags(name),
            ("GET", Route::Referrers(digest)) => self.referrers(name, digest),
            ("GET" | "HEAD", Route::Manifest(reference)) => self.manifest(name, reference),
            ("PUT", Route::Manifest(reference)) => self.put_manifest(name, reference),
            ("DELETE", Route::Manifest(reference)) => {
                let mut state = self.shared.state();
                let removed = if reference.contains(':') {
                    state.storage.remove_manifest(name, reference, true)
                } else {
                    state.storage.remove_tag(name, reference)
                };
                if removed {
                    empty(StatusCode::ACCEPTED)
                } else {
                    fault_status(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN")
                }
            }
            ("GET" | "HEAD", Route::Blob(digest)) => match self.shared.state().storage.blob(name, digest) {
                Some(bytes) => {
                    let mut response = answer(StatusCode::OK, "application/octet-stream", bytes);
                    set(&mut response, DIGEST, digest);
                    response
                }
                None => fault_status(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            },
            ("DELETE", Route::Blob(digest)) => match self.shared.state().storage.remove_blob(name, digest) {
                true => empty(StatusCode::ACCEPTED),
                false => fault_status(StatusCode::NOT_FOUND, "BLOB_UNKNOWN"),
            },
            ("POST", Route::StartUpload) => self.start_upload(name),
            ("PATCH", Route::Upload(id)) => match self.shared.state().storage.extend_upload(id, self.body) {
                Some(length) => upload_accepted(name, id, length),
                None => fault_status(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            },
            ("GET", Route::Upload(id)) => match self.shared.state().storage.extend_upload(id, &[]) {
                Some(length) => {
                    let mut response = upload_accepted(name, id, length);
                    *response.status_mut() = StatusCode::NO_CONTENT;
                    response
                }
                None => fault_status(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"),
            },
            ("PUT", Route::Upload(id)) => self.finish_upload(name, id),
            _ => fault_status(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"),
        }
    }

    fn file(&self, auth: &RegistryAuth) -> Answer {
        if let Some(refusal) = self.judge(auth, "", "pull") {
            return refusal;
        }
        let Some((content_type, bytes)) = self.shared.state().storage.file(self.path) else {
            return fault_status(StatusCode::NOT_FOUND, "NOT_FOUND");
        };
        let etag = format!("\"{}\"", crate::repository::sha256_hex(&bytes));
        let mut response = empty(StatusCode::OK);
        if self.if_none_match.as_deref() == Some(&etag) {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            *response.body_mut() = bytes;
            set(&mut response, CONTENT_TYPE, &content_type);
        }
        set(&mut response, ETAG, &etag);
        response
    }

    fn judge(&self, auth: &RegistryAuth, repository: &str, action: &str) -> Option<Answer> {
        let header = self.authorization.as_deref();
        match self.shared.state().tokens.judge(auth, &self.shared.host, header, repository, action) {
            Judgement::Allowed => None,
            Judgement::Refused(challenge) => {
                let mut response = fault_status(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
                set(&mut response, WWW_AUTHENTICATE, &challenge);
                Some(response)
            }
        }
    }

    fn token(&self) -> Answer {
        let RegistryAuth::Bearer(bearer) = &self.shared.options.auth else {
            return fault_status(StatusCode::NOT_FOUND, "NOT_FOUND");
        };
        let form =
            if self.method == "POST" { query_pairs(&String::from_utf8_lossy(self.body)) } else { self.query.clone() };
        let scopes = form.iter().filter(|(key, _)| key == "scope").map(|(_, value)| value.clone()).collect();
        let identity = form.iter().find(|(key, _)| key == "refresh_token").map(|(_, value)| value.as_str());
        let mut state = self.shared.state();
        let token = match identity {
            Some(identity) => state.tokens.exchange(bearer, identity, scopes),
            None => state.tokens.give(bearer, self.authorization.as_deref(), scopes),
        };
        drop(state);
        match token {
            Some(token) => {
                let mut body = json!({&bearer.field: token});
                if let Some(seconds) = bearer.expires_in {
                    body["expires_in"] = seconds.into();
                }
                answer(StatusCode::OK, "application/json", body.to_string().into_bytes())
            }
            None => fault_status(StatusCode::UNAUTHORIZED, "UNAUTHORIZED"),
        }
    }

    fn tags(&self, name: &str) -> Answer {
        let options = &self.shared.options;
        let Some(mut tags) = self.shared.state().storage.tags(name) else {
            return fault_status(StatusCode::NOT_FOUND, "NAME_UNKNOWN");
        };
        let asked = self.parameter("n").and_then(|n| n.parse::<usize>().ok());
        if asked.zip(options.refuses_above).is_some_and(|(asked, most)| asked > most) {
            return fault_status(StatusCode::BAD_REQUEST, "TOO_MANY_TAGS_REQUESTED");
        }
        let mut skipped = 0;
        if options.opaque_pages {
            tags.reverse();
            let page = self.parameter("last").and_then(|last| last.strip_prefix("page+/"));
            skipped = page.and_then(|page| page.parse().ok()).unwrap_or(0).min(tags.len());
            tags.drain(..skipped);
        } else if let Some(last) = self.parameter("last") {
            tags.retain(|tag| tag.as_str() > last);
        }
        let size = asked.unwrap_or(usize::MAX).min(options.page_size.unwrap_or(usize::MAX));
        let more = tags.len() > size;
        tags.truncate(size);
        let link = tags.last().filter(|_| more).map(|last| {
            let origin = if options.absolute_links { format!("http://{}", self.shared.host) } else { String::new() };
            let last = if options.opaque_pages { format!("page%2B%2F{}", skipped + size) } else { last.clone() };
            format!("<{origin}/v2/{name}/tags/list?last={last}&n={size}>; rel=\"next\"")
        });
        let body = json!({"name": name, "tags": tags}).to_string().into_bytes();
        let etag = options.lists_have_etags.then(|| format!("\"{}\"", crate::repository::sha256_hex(&body)));
        if etag.is_some() && self.if_none_match == etag {
            return empty(StatusCode::NOT_MODIFIED);
        }
        let mut response = answer(StatusCode::OK, "application/json", body);
        if let Some(etag) = etag {
            set(&mut response, ETAG, &etag);
        }
        if let Some(link) = link {
            set(&mut response, LINK, &link);
        }
        response
    }

    fn manifest(&self, name: &str, reference: &str) -> Answer {
        let Some((media_type, bytes, digest)) = self.shared.state().storage.manifest(name, reference) else {
            return fault_status(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN");
        };
        let etag = format!("\"{digest}\"");
        let mut response = if self.if_none_match.as_deref() == Some(&etag) {
            empty(StatusCode::NOT_MODIFIED)
        } else {
            let mut response = empty(StatusCode::OK);
            set(&mut response, CONTENT_TYPE, &media_type);
            *response.body_mut() = bytes;
            response
        };
        set(&mut response, ETAG, &etag);
        set(&mut response, DIGEST, &digest);
        response
    }

    fn referrers(&self, name: &str, digest: &str) -> Answer {
        if self.shared.options.lacks_referrers {
            return answer(StatusCode::NOT_FOUND, "text/plain", b"404 page not found".to_vec());
        }
        let mut entries = self.shared.state().storage.referrers(name, digest);
        let wanted = self.parameter("artifactType");
        entries.retain(|entry| wanted.is_none_or(|wanted| entry["artifactType"] == wanted));
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": entries});
        let mut response = answer(StatusCode::OK, media_type, index.to_string().into_bytes());
        if wanted.is_some() {
            set(&mut response, HeaderName::from_static("oci-filters-applied"), "artifactType");
        }
        response
    }

    fn put_manifest(&self, name: &str, reference: &str) -> Answer {
        let mut state = self.shared.state();
        if serde_json::from_slice::<HashMap<String, serde_json::Value>>(self.body).is_err() {
            return fault_status(StatusCode::BAD_REQUEST, "MANIFEST_INVALID");
        }
        if state.storage.missing(name, self.body).is_some() {
            return fault_status(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN");
        }
        let media_type = self.content_type.as_deref().unwrap_or("application/octet-stream");
        let digest = crate::repository::digest_of(self.body);
        if reference.contains(':') && reference != digest {
            return fault_status(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        }
        state.storage.put_manifest(name, media_type, self.body.to_vec());
        if !reference.contains(':') {
            state.storage.tag(name, reference, &digest);
        }
        let mut response = empty(StatusCode::CREATED);
        set(&mut response, LOCATION, &format!("/v2/{name}/manifests/{digest}"));
        set(&mut response, DIGEST, &digest);
        if let Some(subject) = subject(self.body).filter(|_| !self.shared.options.lacks_referrers) {
            set(&mut response, HeaderName::from_static("oci-subject"), &subject);
        }
        response
    }

    fn start_upload(&self, name: &str) -> Answer {
        let mut state = self.shared.state();
        if let (Some(digest), Some(from)) = (self.parameter("mount"), self.parameter("from"))
            && let Some(bytes) = state.storage.blob(from, digest).filter(|_| !self.shared.options.refuses_mounts)
        {
            state.storage.put_blob(name, bytes);
            return created(name, digest);
        }
        let id = state.storage.begin_upload();
        drop(state);
        match self.parameter("digest") {
            Some(_) => self.finish_upload(name, &id),
            None => upload_accepted(name, &id, 0),
        }
    }

    fn finish_upload(&self, name: &str, id: &str) -> Answer {
        let mut state = self.shared.state();
        let Some(digest) = self.parameter("digest") else {
            return fault_status(StatusCode::BAD_REQUEST, "DIGEST_INVALID");
        };
        if state.storage.extend_upload(id, self.body).is_none() {
            return fault_status(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN");
        }
        if state.storage.finish_upload(name, id, digest) {
            created(name, digest)
        } else {
            fault_status(StatusCode::BAD_REQUEST, "DIGEST_INVALID")
        }
    }
}

fn created(name: &str, digest: &str) -> Answer {
    let mut response = empty(StatusCode::CREATED);
    set(&mut response, LOCATION, &format!("/v2/{name}/blobs/{digest}"));
    set(&mut response, DIGEST, digest);
    response
}

fn upload_accepted(name: &str, id: &str, length: usize) -> Answer {
    let mut response = empty(StatusCode::ACCEPTED);
    set(&mut response, LOCATION, &format!("/v2/{name}/blobs/uploads/{id}"));
    set(&mut response, header::RANGE, &format!("0-{}", length.saturating_sub(1)));
    response
}
