//! The line format of Git's protocol: four hexadecimal digits of length, then data; and side bands on top of it.

use kargo_core::{Error, ErrorKind, Result};

/// The most data that one line can carry.
const MAX_DATA: usize = 65_516;

/// How a line begins with which a server ends the conversation.
const FAILED: &[u8] = b"ERR ";

/// What the four digits at the beginning of a line say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Head {
    Flush,
    Delimiter,
    /// So many bytes of data follow.
    Data(usize),
}

impl Head {
    fn read(digits: &[u8]) -> Result<Self> {
        let length = std::str::from_utf8(digits)
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|text| usize::from_str_radix(text, 16).ok())
            .ok_or_else(|| broken("a line does not begin with its length"))?;
        match length {
            0 => Ok(Self::Flush),
            1 => Ok(Self::Delimiter),
            // The end of a response on a connection without HTTP; it ends the message too.
            2 => Ok(Self::Flush),
            3 => Err(broken("a line is shorter than its own length")),
            _ => Ok(Self::Data(length - 4)),
        }
    }
}

/// Follows an answer while it arrives, to know where it ends on a connection that stays open.
#[derive(Debug)]
pub(super) struct Framing {
    /// How much of it has been looked at.
    seen: usize,
    /// How many flush packets are yet to come.
    flushes: u32,
}

impl Framing {
    /// An answer that ends with its flush packet number `flushes`.
    pub(super) fn new(flushes: u32) -> Self {
        Self { seen: 0, flushes }
    }

    /// Whether `received`, all that has arrived so far, is the whole answer. One with which the server ends the conversation is.
    pub(super) fn is_whole(&mut self, received: &[u8]) -> Result<bool> {
        while self.flushes > 0
            && let Some((head, rest)) = received.get(self.seen..).and_then(|rest| rest.split_at_checked(4))
        {
            match Head::read(head)? {
                Head::Flush => self.flushes -= 1,
                Head::Delimiter => {}
                Head::Data(length) => {
                    let Some(data) = rest.get(..length) else { return Ok(false) };
                    if data.starts_with(FAILED) {
                        return Ok(true);
                    }
                    self.seen += length;
                }
            }
            self.seen += 4;
        }
        match self.flushes {
            0 if received.len() > self.seen => Err(broken("it goes on after its end")),
            left => Ok(left == 0),
        }
    }
}

/// One line, or one of the markers between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    /// End of a message.
    Flush,
    /// End of a section.
    Delimiter,
    /// Data.
    Data(&'a [u8]),
}

/// Appends a line.
pub(super) fn data(out: &mut Vec<u8>, data: &[u8]) {
    for chunk in data.chunks(MAX_DATA) {
        out.extend_from_slice(format!("{:04x}", chunk.len() + 4).as_bytes());
        out.extend_from_slice(chunk);
    }
}

/// Appends a line of text, with its line feed.
pub(super) fn line(out: &mut Vec<u8>, text: &str) {
    data(out, format!("{text}\n").as_bytes());
}

/// Appends the end of a message.
pub(super) fn flush(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0000");
}

/// Appends the end of a section.
pub(super) fn delimiter(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0001");
}

/// Reads lines off a whole answer.
#[derive(Debug, Clone)]
pub(super) struct Packets<'a>(&'a [u8]);

impl<'a> Packets<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next line; `None` at the end of the bytes.
    pub(super) fn next(&mut self) -> Result<Option<Packet<'a>>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (head, rest) = self.0.split_at_checked(4).ok_or_else(cut)?;
        let packet = match Head::read(head)? {
            Head::Flush => Packet::Flush,
            Head::Delimiter => Packet::Delimiter,
            Head::Data(length) => {
                let (data, after) = rest.split_at_checked(length).ok_or_else(cut)?;
                self.0 = after;
                return match data.strip_prefix(FAILED) {
                    Some(text) => Err(refused(text)),
                    None => Ok(Some(Packet::Data(data))),
                };
            }
        };
        self.0 = rest;
        Ok(Some(packet))
    }

    /// The next line, which must be there: a message that ends without its flush is cut off.
    pub(super) fn expect(&mut self) -> Result<Packet<'a>> {
        self.next()?.ok_or_else(cut)
    }

    /// All of band 1 up to the flush, and the text of band 2 as people should see it.
    pub(super) fn demultiplex(&mut self) -> Result<(Vec<u8>, String)> {
        let (mut payload, mut text) = (Vec::new(), Vec::new());
        loop {
            match self.expect()? {
                Packet::Flush => return Ok((payload, readable(&text))),
                Packet::Delimiter => return Err(broken("a section ends where data was expected")),
                Packet::Data([1, data @ ..]) => payload.extend_from_slice(data),
                Packet::Data([2, data @ ..]) => text.extend_from_slice(data),
                Packet::Data([3, data @ ..]) => {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("The server failed in the middle of its answer: {}.", readable(data)),
                    ));
                }
                Packet::Data(_) => return Err(broken("a line belongs to no known side band")),
            }
        }
    }
}

/// Text from a server as people should see it: no control characters, not endless.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let lines = text
        .split(['\n', '\r'])
        .map(|line| line.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>());
    let joined = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    match joined.char_indices().nth(2000) {
        Some((end, _)) => format!("{}...", &joined[..end]),
        None => joined,
    }
}

/// A line with its line feed taken off, as text.
pub(super) fn text(data: &[u8]) -> Result<&str> {
    let text = std::str::from_utf8(data).map_err(|_| broken("a line of text is not UTF-8"))?;
    Ok(text.strip_suffix('\n').unwrap_or(text))
}

pub(super) fn broken(fault: &str) -> Error {
    Error::new(
        ErrorKind::InvalidResponse,
        format!("The server's answer is not Git's protocol: {fault}; is the URL that of a Git repository?"),
    )
}

/// An answer that ends too early is a broken connection, so another try can help.
fn cut() -> Error {
    Error::new(ErrorKind::InvalidResponse, "The server's answer was cut off before its end.")
        .retry_as(kargo_core::Retry::Backoff)
}

fn refused(text: &[u8]) -> Error {
    Error::new(ErrorKind::NotFound, format!("The server cannot give what was asked for: {}.", readable(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_were_written() {
        let mut bytes = Vec::new();
        line(&mut bytes, "command=ls-refs");
        delimiter(&mut bytes);
        flush(&mut bytes);
        let mut packets = Packets::new(&bytes);
        assert_eq!(packets.next().unwrap(), Some(Packet::Data(b"command=ls-refs\n")));
        assert_eq!(packets.next().unwrap(), Some(Packet::Delimiter));
        assert_eq!(packets.next().unwrap(), Some(Packet::Flush));
        assert_eq!(packets.next().unwrap(), None);
    }

    #[test]
    fn an_answer_that_is_cut_off_or_is_no_protocol_is_an_error() {
        for bytes in ["00", "0009abc", "<html>", "+009", "0003", "zzzz"] {
            assert_eq!(
                Packets::new(bytes.as_bytes()).next().unwrap_err().kind(),
                ErrorKind::InvalidResponse,
                "{bytes}"
            );
        }
        let mut message = Vec::new();
        data(&mut message, b"\x01pack");
        assert!(Packets::new(&message).demultiplex().is_err(), "a message without its flush is half a message");
    }

    #[test]
    fn the_end_of_an_answer_is_known_however_it_is_cut_into_pieces() {
        let mut bytes = Vec::new();
        line(&mut bytes, "shallow 0000");
        flush(&mut bytes);
        line(&mut bytes, "NAK");
        delimiter(&mut bytes);
        data(&mut bytes, b"\x01pack 0000");
        flush(&mut bytes);
        for step in 1..=bytes.len() {
            let mut framing = Framing::new(2);
            let ends: Vec<usize> = (step..bytes.len()).step_by(step).chain([bytes.len()]).collect();
            for end in ends {
                assert_eq!(framing.is_whole(&bytes[..end]).unwrap(), end == bytes.len(), "step {step}, end {end}");
            }
        }
        bytes.push(b'0');
        assert!(Framing::new(2).is_whole(&bytes).is_err(), "nothing was asked that this could answer");
        assert!(Framing::new(1).is_whole(b"Welcome to our server!").is_err());

        let mut failed = Vec::new();
        line(&mut failed, "ERR not our ref");
        assert!(!Framing::new(1).is_whole(&failed[..6]).unwrap());
        assert!(Framing::new(1).is_whole(&failed).unwrap(), "a server that gave up sends no flush");
    }

    #[test]
    fn what_the_server_says_reaches_people_without_control_characters() {
        let mut message = Vec::new();
        data(&mut message, b"\x02remote: \x1b[31mno\nway\r\n");
        data(&mut message, b"\x01x");
        flush(&mut message);
        let (payload, said) = Packets::new(&message).demultiplex().unwrap();
        assert_eq!((payload.as_slice(), said.as_str()), (b"x".as_slice(), "remote:  [31mno; way"));
        let mut message = Vec::new();
        data(&mut message, b"ERR not here");
        assert!(Packets::new(&message).next().unwrap_err().message().contains("not here"));
    }

    #[test]
    fn a_server_that_fails_in_the_middle_of_its_answer_is_asked_again() {
        let mut message = Vec::new();
        data(&mut message, b"\x01half a pack");
        data(&mut message, b"\x03fatal: unable to create threaded delta search");
        let error = Packets::new(&message).demultiplex().unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, kargo_core::Retry::Backoff));
        assert!(error.message().contains("unable to create"), "{error}");
    }
}
