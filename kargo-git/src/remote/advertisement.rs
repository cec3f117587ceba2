//! What a server says about itself and its refs before anything is asked.

use gix::ObjectId;
use kargo_core::{Error, ErrorKind, Result};

use super::RemoteRef;
use super::packet::{Packet, Packets, broken, text};

/// A server's first words: its capabilities, and, in the old protocol, all its refs.
#[derive(Debug, Clone)]
pub(super) struct Advertisement {
    /// Whether the server speaks protocol version 2.
    pub(super) v2: bool,
    /// The hash of the repository's ids.
    pub(super) hash: gix::hash::Kind,
    /// Its refs; empty in version 2, where they are asked for.
    pub(super) refs: Vec<RemoteRef>,
    capabilities: Vec<String>,
}

impl Advertisement {
    pub(super) fn parse(bytes: &[u8], service: &str) -> Result<Self> {
        let mut packets = Packets::new(bytes);
        let mut first = packets.expect()?;
        if let Packet::Data(line) = first
            && let Some(announced) = text(line)?.strip_prefix("# service=")
        {
            if announced != service {
                return Err(broken("it offers another service than was asked for"));
            }
            if packets.expect()? != Packet::Flush {
                return Err(broken("the service is announced without an end"));
            }
            first = packets.expect()?;
        }
        if let Packet::Data(line) = first
            && text(line)? == "version 2"
        {
            return Self::parse_v2(packets);
        }
        Self::parse_v0(first, packets)
    }

    fn parse_v2(mut packets: Packets<'_>) -> Result<Self> {
        let mut capabilities = Vec::new();
        loop {
            match packets.expect()? {
                Packet::Data(line) => capabilities.push(text(line)?.to_owned()),
                Packet::Flush => break,
                Packet::Delimiter => return Err(broken("the capabilities are cut by a delimiter")),
            }
        }
        let hash = object_format(&capabilities)?;
        Ok(Self { v2: true, hash, refs: Vec::new(), capabilities })
    }

    fn parse_v0(first: Packet<'_>, mut packets: Packets<'_>) -> Result<Self> {
        let mut capabilities: Option<Vec<String>> = None;
        let mut refs: Vec<RemoteRef> = Vec::new();
        let mut next = first;
        loop {
            let line = match next {
                Packet::Flush => break,
                Packet::Delimiter => return Err(broken("the refs are cut by a delimiter")),
                Packet::Data(line) => line,
            };
            next = packets.expect()?;
            if text(line).is_ok_and(|line| line == "version 1") {
                continue;
            }
            let mut parts = line.splitn(2, |byte| *byte == 0);
            let name = parts.next().unwrap_or_default();
            if let Some(list) = parts.next() {
                capabilities = Some(text(list)?.split(' ').filter(|c| !c.is_empty()).map(str::to_owned).collect());
            }
            let Ok(name) = text(name) else { continue };
            let Some((id, name)) = name.split_once(' ') else { return Err(broken("a ref has no name")) };
            if id == "shallow" || name == "capabilities^{}" || name == ".have" {
                continue;
            }
            let id = object_id(id)?;
            match name.strip_suffix("^{}") {
                Some(name) => {
                    if let Some(tag) = refs.last_mut().filter(|tag| tag.name == name) {
                        tag.peeled = Some(id);
                    }
                }
                None => refs.push(RemoteRef { name: ref_name(name)?, id, peeled: None, target: None }),
            }
        }
        let capabilities = capabilities.unwrap_or_default();
        for capability in &capabilities {
            if let Some((from, to)) = capability.strip_prefix("symref=").and_then(|pair| pair.split_once(':'))
                && let Some(symbolic) = refs.iter_mut().find(|symbolic| symbolic.name == from)
            {
                symbolic.target = Some(to.to_owned());
            }
        }
        let hash = object_format(&capabilities)?;
        Ok(Self { v2: false, hash, refs, capabilities })
    }

    /// Whether the server can do `what` when it is fetched from.
    pub(super) fn fetch_can(&self, what: &str) -> bool {
        if self.v2 {
            let fetch = self.capabilities.iter().find_map(|capability| capability.strip_prefix("fetch="));
            fetch.is_some_and(|features| features.split(' ').any(|feature| feature == what))
        } else {
            self.can(what)
        }
    }

    /// Whether the server gives any object that is asked for by its id. Old servers do only when they say so.
    pub(super) fn gives_by_id(&self) -> bool {
        self.v2 || self.can("allow-any-sha1-in-want")
    }

    /// Whether parts of what is reached from an object can be left out.
    pub(super) fn filters(&self) -> bool {
        self.gives_by_id() && self.fetch_can("filter")
    }

    /// Whether the server has the capability `name`.
    pub(super) fn can(&self, name: &str) -> bool {
        self.capabilities.iter().any(|capability| capability.split('=').next() == Some(name))
    }
}

fn object_format(capabilities: &[String]) -> Result<gix::hash::Kind> {
    match capabilities.iter().find_map(|capability| capability.strip_prefix("object-format=")) {
        None | Some("sha1") => Ok(gix::hash::Kind::Sha1),
        Some("sha256") => Ok(gix::hash::Kind::Sha256),
        Some(_) => Err(Error::new(ErrorKind::Unsupported, "The repository names its objects by an unknown hash.")),
    }
}

/// A ref's name, which may be shown. Git allows no control characters in it.
pub(super) fn ref_name(name: &str) -> Result<String> {
    if name.contains(|c: char| c.is_ascii_control()) {
        return Err(broken("the name of a ref has control characters in it"));
    }
    Ok(name.to_owned())
}

pub(super) fn object_id(hex: &str) -> Result<ObjectId> {
    ObjectId::from_hex(hex.as_bytes()).map_err(|_| broken("an object id is none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::packet::{flush, line};

    #[test]
    fn git_14_an_annotated_tag_in_the_old_protocol_has_its_peeled_id() {
        let (tag, commit) = ("1".repeat(40), "2".repeat(40));
        let mut bytes = Vec::new();
        line(&mut bytes, "# service=git-upload-pack");
        flush(&mut bytes);
        line(&mut bytes, &format!("{commit} HEAD\0symref=HEAD:refs/heads/main filter side-band-64k"));
        line(&mut bytes, &format!("{commit} refs/heads/main"));
        line(&mut bytes, &format!("{tag} refs/tags/v1"));
        line(&mut bytes, &format!("{commit} refs/tags/v1^{{}}"));
        line(&mut bytes, &format!("{commit} .have"));
        flush(&mut bytes);
        let parsed = Advertisement::parse(&bytes, "git-upload-pack").unwrap();
        assert!(!parsed.v2 && parsed.fetch_can("filter"));
        assert_eq!(parsed.refs.len(), 3);
        assert_eq!(parsed.refs[0].target.as_deref(), Some("refs/heads/main"));
        assert_eq!(parsed.refs[2].peeled.unwrap().to_string(), commit);
    }

    #[test]
    fn an_empty_repository_has_capabilities_and_no_refs() {
        let mut bytes = Vec::new();
        line(&mut bytes, &format!("{} capabilities^{{}}\0report-status", "0".repeat(40)));
        flush(&mut bytes);
        let parsed = Advertisement::parse(&bytes, "git-receive-pack").unwrap();
        assert!(parsed.refs.is_empty() && parsed.can("report-status"));
    }

    #[test]
    fn the_name_of_a_ref_cannot_carry_control_characters_into_a_message() {
        let mut bytes = Vec::new();
        line(&mut bytes, &format!("{} refs/heads/\x1b[2Jmain\0x", "1".repeat(40)));
        flush(&mut bytes);
        assert!(Advertisement::parse(&bytes, "git-upload-pack").is_err());
    }

    #[test]
    fn half_a_list_of_refs_is_an_error() {
        let mut bytes = Vec::new();
        line(&mut bytes, &format!("{} refs/heads/main\0x", "1".repeat(40)));
        assert!(Advertisement::parse(&bytes, "git-upload-pack").is_err());
    }
}
