//! Listing tags, all of them or none.

use std::collections::HashSet;
use std::fmt;

use kargo_core::plugin::Context;
use kargo_core::{Error, ErrorKind, Result};
use reqwest::header::ETAG;
use reqwest::{Method, Url};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::answer::found;
use super::auth::Purpose;
use super::exchange::{Leaving, Request, Response};
use super::link::next_page;
use super::pages::Page;
use super::{Call, Client};
use crate::repository::{Repository, is_tag};

/// The page size that is asked for. Registries may return fewer; some refuse it, and are then asked without.
const PAGE_SIZE: &str = "1000";
/// The most pages, tags and bytes that a listing may have.
const PAGES: usize = 1_000;
const TAGS: usize = 200_000;
const BYTES: usize = 32 * 1024 * 1024;

/// The tags of a listing so far. Pages are read into it name by name, so that a page of millions of them ends early.
#[derive(Default)]
struct Names {
    tags: HashSet<String>,
    /// How many names were read, also those that are no tags or came before.
    read: usize,
    /// The tags of the page that is being read, when it will be kept.
    page: Option<Vec<String>>,
}

impl Names {
    /// Adds a page that was kept, and returns how many tags it has.
    fn add(&mut self, page: &Page) -> usize {
        self.read += page.tags.len();
        self.tags.extend(page.tags.iter().cloned());
        page.tags.len()
    }
}

/// Reads a page into [`Names`], and returns how many tags it has.
struct ReadPage<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for ReadPage<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for ReadPage<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with tags")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut count = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "tags" && count.is_none() {
                count = Some(map.next_value_seed(ReadTags(self.0))?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        count.ok_or_else(|| serde::de::Error::missing_field("tags"))
    }
}

struct ReadTags<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for ReadTags<'_> {
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<usize, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ReadTags<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of tags")
    }

    /// `null` in some registries when there is none.
    fn visit_unit<E>(self) -> Result<usize, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(name) = names.next_element::<String>()? {
            self.0.read += 1;
            if self.0.read > TAGS {
                return Err(serde::de::Error::custom(format_args!("there are more than {TAGS} tags")));
            }
            // By what is no tag nothing could be fetched.
            if is_tag(&name) {
                count += 1;
                if let Some(page) = &mut self.0.page {
                    page.push(name.clone());
                }
                self.0.tags.insert(name);
            }
        }
        Ok(count)
    }
}

impl Client {
    /// All tags of a repository, sorted bytewise, in as many requests as the registry has pages. They are conditional where the registry
    /// gives its pages an `ETag`; few do.
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
        let mut names = Names::default();
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
            let before = names.tags.len();
            let kept = self.0.pages.lock().await.unchanged(&url, &response);
            let (count, next) = match kept {
                Some(kept) => (names.add(&kept), kept.next.clone()),
                None => {
                    let etag = response.headers.get(ETAG);
                    names.page = etag.map(|_| Vec::new());
                    let count = match response.json(ReadPage(&mut names), "a list of tags") {
                        Err(_) if names.read > TAGS => return Err(invalid(format!("has more than {TAGS} tags"))),
                        other => other?,
                    };
                    let next = next_page(&url, &response.headers)?;
                    if let (Some(etag), Some(tags)) = (etag, names.page.take()) {
                        self.0.pages.lock().await.keep(url.clone(), Page::new(etag.clone(), tags, next.clone()));
                    }
                    (count, next)
                }
            };
            if names.read > TAGS {
                return Err(invalid(format!("has more than {TAGS} tags")));
            }
            match next {
                None => break,
                Some(_) if count > 0 && names.tags.len() == before => {
                    return Err(invalid("repeats itself: a page has only tags of earlier pages".into()));
                }
                Some(next) => url = next,
            }
        }
        let mut tags: Vec<String> = names.tags.into_iter().collect();
        tags.sort_unstable();
        Ok(tags)
    }

    async fn page(&self, cx: &Context, repository: &Repository, url: &Url, limit: usize) -> Result<Response> {
        let mut request = Request::new(Method::GET, url.clone(), limit);
        request.leaving = Leaving::Unsigned;
        request.if_none_match = self.0.pages.lock().await.etag(url);
        let call = Call::new(repository, Purpose::List, "list the tags of", request);
        found(self.call(cx, &call).await?, &call, cx)
    }
}

/// Whether the request itself was not liked, as opposed to who made it or when.
pub(super) fn is_refusal(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported)
}
