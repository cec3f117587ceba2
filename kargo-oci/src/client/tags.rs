//! Listing tags, all of them or none.

use std::collections::HashSet;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::{Method, Url};
use serde::Deserialize;

use super::auth::Purpose;
use super::exchange::{Request, Response};
use super::link::next_page;
use super::{Call, Client, found};
use crate::repository::{Repository, is_tag};

/// The page size that is asked for. Registries may return fewer; some refuse it, and are then asked without.
const PAGE_SIZE: &str = "1000";
/// The most pages, tags and bytes that a listing may have.
const PAGES: usize = 1_000;
const TAGS: usize = 200_000;
const BYTES: usize = 32 * 1024 * 1024;

#[derive(Deserialize)]
struct Page {
    /// Required, but `null` in some registries when there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of a repository, sorted bytewise, in as many requests as the registry has pages.
    ///
    /// Names that are not tags by the specification are left out: nothing could be fetched by them.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is no such repository; [`ErrorKind::InvalidResponse`] when the listing is not
    /// JSON, runs in circles, leaves the registry or is too large. A listing that fails on any page fails as a whole.
    pub async fn list_tags(&self, cx: &Context, repository: &Repository) -> Result<Vec<String>> {
        let plain = self.url(repository, "tags/list")?;
        let mut url = plain.clone();
        let asks_size = !self.0.refuses_page_size.lock().await.contains(repository.host());
        if asks_size {
            url.query_pairs_mut().append_pair("n", PAGE_SIZE);
        }
        let invalid = |why: String| {
            Error::new(ErrorKind::InvalidResponse, format!("The listing of the tags of {repository} {why}."))
                .operation("list the tags of")
        };
        let mut first = match self.page(cx, repository, &url, BYTES).await {
            Err(error) if asks_size && is_refusal(&error) => {
                url = plain;
                let response = self.page(cx, repository, &url, BYTES).await?;
                // Only now is it known that the page size was what it did not like.
                self.0.refuses_page_size.lock().await.insert(repository.host().to_owned());
                Some(response)
            }
            other => Some(other?),
        };
        let mut visited = HashSet::new();
        let mut tags: HashSet<String> = HashSet::new();
        let mut bytes = 0;
        loop {
            if !visited.insert(url.clone()) {
                return Err(invalid("runs in a circle: a page names an earlier one as its next".into()));
            }
            if visited.len() > PAGES {
                return Err(invalid(format!("has more than {PAGES} pages")));
            }
            let response = match first.take() {
                Some(response) => response,
                None => self.page(cx, repository, &url, BYTES - bytes).await?,
            };
            bytes += response.body.len();
            let page: Page = response.json("a list of tags")?;
            let names = page.tags.unwrap_or_default();
            let before = tags.len();
            let is_empty = names.is_empty();
            tags.extend(names);
            if tags.len() > TAGS {
                return Err(invalid(format!("has more than {TAGS} tags")));
            }
            match next_page(&url, &response.headers)? {
                None => break,
                Some(_) if !is_empty && tags.len() == before => {
                    return Err(invalid("repeats itself: a page has only tags of earlier pages".into()));
                }
                Some(next) => url = next,
            }
        }
        let mut tags: Vec<String> = tags.into_iter().filter(|tag| is_tag(tag)).collect();
        tags.sort_unstable();
        Ok(tags)
    }

    async fn page(&self, cx: &Context, repository: &Repository, url: &Url, limit: usize) -> Result<Response> {
        let request = Request::new(Method::GET, url.clone(), limit);
        let call = Call { repository, purpose: Purpose::List, doing: "list the tags of", request };
        found(self.call(cx, &call).await?, &call, cx)
    }
}

/// Whether the request itself was not liked, as opposed to who made it or when.
fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}
