//! Pages of listings that registries gave an `ETag`, so that one that is the same as before need not be sent again.
//!
//! The registry is asked each time, with the credentials of each time, so nobody is told what they may not see.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use reqwest::header::HeaderValue;
use reqwest::{StatusCode, Url};

use super::exchange::Response;

/// How many bytes of tags are kept, the oldest forgotten first.
const BYTES: usize = 8 * 1024 * 1024;

/// A page as it was last sent.
#[derive(Debug)]
pub(super) struct Page {
    etag: HeaderValue,
    pub(super) tags: Vec<String>,
    pub(super) next: Option<Url>,
}

impl Page {
    pub(super) fn new(etag: HeaderValue, tags: Vec<String>, next: Option<Url>) -> Self {
        Self { etag, tags, next }
    }

    fn bytes(&self) -> usize {
        self.tags.iter().map(|tag| tag.len() + size_of::<String>()).sum::<usize>() + self.etag.len()
    }
}

/// Pages by their URLs.
#[derive(Debug, Default)]
pub(super) struct Pages {
    pages: HashMap<Url, Arc<Page>>,
    order: VecDeque<Url>,
    bytes: usize,
}

impl Pages {
    /// What to ask the server about a page.
    pub(super) fn etag(&self, url: &Url) -> Option<HeaderValue> {
        Some(self.pages.get(url)?.etag.clone())
    }

    /// The page, when the response says that it is the same as before.
    pub(super) fn unchanged(&self, url: &Url, response: &Response) -> Option<Arc<Page>> {
        let page = self.pages.get(url).filter(|_| response.status == StatusCode::NOT_MODIFIED)?;
        Some(Arc::clone(page))
    }

    pub(super) fn keep(&mut self, url: Url, page: Page) {
        self.bytes += page.bytes();
        match self.pages.insert(url.clone(), Arc::new(page)) {
            Some(before) => self.bytes -= before.bytes(),
            None => self.order.push_back(url),
        }
        while self.bytes > BYTES {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(page) = self.pages.remove(&oldest) {
                self.bytes -= page.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_does_not_grow_without_end() {
        let mut pages = Pages::default();
        let url = |number: usize| Url::parse(&format!("https://r.example/{number}")).unwrap();
        for number in 0..100 {
            for _ in 0..2 {
                let tags = vec!["x".repeat(1_000); 200];
                pages.keep(url(number), Page::new(HeaderValue::from_static("etag"), tags, None));
            }
        }
        let held: usize = pages.pages.values().map(|page| page.bytes()).sum();
        assert!(held == pages.bytes && held <= BYTES && pages.order.len() == pages.pages.len());
        assert!(pages.etag(&url(99)).is_some() && pages.etag(&url(0)).is_none());
    }
}
