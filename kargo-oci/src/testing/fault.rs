//! Faults that a registry shows on demand.

/// What goes wrong, for which requests, and how often.
#[derive(Debug, Clone)]
#[must_use]
pub struct Fault {
    pub(super) kind: Kind,
    pub(super) headers: Vec<(String, String)>,
    pub(super) status: Option<u16>,
    path: String,
    method: String,
    skip: usize,
    left: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// The request is answered with this status alone.
    Status(u16),
    /// This content type and body, with status 200.
    Body(String, Vec<u8>),
    /// Half the body, and then the connection breaks.
    Truncated,
    /// A body without an end.
    Endless,
    /// A byte now and then, without an end.
    Dripping,
    /// The body with one byte more.
    Altered,
    /// No answer, ever.
    Stalled,
    /// The right answer, with other headers.
    Headers,
}

impl Fault {
    fn new(kind: Kind) -> Self {
        Self {
            kind,
            headers: Vec::new(),
            status: None,
            path: String::new(),
            method: String::new(),
            skip: 0,
            left: usize::MAX,
        }
    }

    /// Answers with `status` and a short text.
    pub fn status(status: u16) -> Self {
        Self::new(Kind::Status(status))
    }

    /// Answers with an HTML page and status 200, as a proxy's log-in page does.
    pub fn html() -> Self {
        Self::body("text/html", "<!DOCTYPE html><title>Log in</title>")
    }

    /// Answers with this content and status 200.
    pub fn body(content_type: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new(Kind::Body(content_type.into(), body.into()))
    }

    /// Breaks the connection in the middle of the body.
    pub fn truncated() -> Self {
        Self::new(Kind::Truncated)
    }

    /// Sends a body that never ends.
    pub fn endless() -> Self {
        Self::new(Kind::Endless)
    }

    /// Sends a byte every 20 ms, without an end, so that there is never a silence.
    pub fn dripping() -> Self {
        Self::new(Kind::Dripping)
    }

    /// Takes the request and never answers.
    pub fn stalled() -> Self {
        Self::new(Kind::Stalled)
    }

    /// Sends other bytes than were stored.
    pub fn altered() -> Self {
        Self::new(Kind::Altered)
    }

    /// Answers as it should, but with this header set.
    pub fn header(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self::new(Kind::Headers).with_header(name, value)
    }

    /// Sets the status of the answer.
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// Sets a header of the answer.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Only requests with this text in their path and query: `tags/list`, `last=`.
    pub fn on(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Only requests of this method.
    pub fn method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// Only so many requests; all of them without this.
    pub fn times(mut self, times: usize) -> Self {
        self.left = times;
        self
    }

    /// Lets so many fitting requests through first.
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Whether this request is hit, which uses the fault up a little.
    pub(super) fn hits(&mut self, method: &str, path: &str) -> bool {
        if self.left == 0 || !path.contains(&self.path) || !(self.method.is_empty() || self.method == method) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.left = self.left.saturating_sub(usize::from(self.left != usize::MAX));
        true
    }
}
