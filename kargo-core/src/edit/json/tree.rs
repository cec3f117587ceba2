//! JSON as a tree that knows where each value stands.

/// A value, and its bytes in the text.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) shape: Shape,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Its key, when it is an entry of a map.
    pub(super) name: Option<String>,
}

#[derive(Debug)]
pub(super) enum Shape {
    Scalar,
    /// Where each key ends, where it starts, and its value.
    Map(Vec<(usize, usize, Node)>),
    List(Vec<Node>),
}

impl Node {
    /// What stands for the value of a text without one.
    pub(super) fn null(at: usize) -> Self {
        Self { shape: Shape::Scalar, start: at, end: at, name: None }
    }

    /// The keys or indices, for messages.
    pub(super) fn names(&self) -> String {
        match &self.shape {
            Shape::Map(entries) if !entries.is_empty() => {
                entries.iter().take(20).filter_map(|(_, _, child)| child.name.clone()).collect::<Vec<_>>().join(", ")
            }
            Shape::List(items) if !items.is_empty() => format!("its items 0 to {}", items.len() - 1),
            _ => "the keys that it should have".to_owned(),
        }
    }
}

/// Finds the places of all values. `text` is JSON, as a reader of JSON has said, which also bounds its depth.
pub(super) fn parse(text: &str) -> Option<Node> {
    let mut scanner = Scanner { text, at: text.len() - text.trim_start_matches('\u{feff}').len() };
    scanner.value()
}

struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn value(&mut self) -> Option<Node> {
        let first = self.peek()?;
        let start = self.at;
        let shape = match first {
            b'{' => self.map()?,
            b'[' => self.list()?,
            b'"' => {
                self.string()?;
                Shape::Scalar
            }
            _ => {
                let rest = &self.text[self.at..];
                self.at += rest.find([',', ']', '}', ' ', '\t', '\n', '\r']).unwrap_or(rest.len());
                Shape::Scalar
            }
        };
        Some(Node { shape, start, end: self.at, name: None })
    }

    fn string(&mut self) -> Option<&'t str> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        self.at += 1;
        loop {
            match bytes.get(self.at)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }

    fn map(&mut self) -> Option<Shape> {
        let mut entries = Vec::new();
        self.at += 1;
        while self.peek()? == b'"' {
            let start = self.at;
            let name: String = serde_json::from_str(self.string()?).ok()?;
            let end = self.at;
            if !self.eat(b':') {
                return None;
            }
            let mut value = self.value()?;
            value.name = Some(name);
            entries.push((end, start, value));
            if !self.eat(b',') {
                break;
            }
        }
        self.eat(b'}').then_some(Shape::Map(entries))
    }

    fn list(&mut self) -> Option<Shape> {
        let mut items = Vec::new();
        self.at += 1;
        while self.peek()? != b']' {
            items.push(self.value()?);
            if !self.eat(b',') {
                break;
            }
        }
        self.eat(b']').then_some(Shape::List(items))
    }
}
