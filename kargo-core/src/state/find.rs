//! Freight by what people call it.

use std::ops::Bound;

use super::{FreightState, State};
use crate::error::{Error, ErrorKind, Result};
use crate::name::{FreightId, near_match};

/// How many digits of an id are enough to look by.
const PREFIX: usize = 4;
/// How many pieces of freight an error names.
const NAMED: usize = 5;

impl State {
    /// Whose alias this is.
    pub fn alias_holder(&self, alias: &str) -> Option<&FreightId> {
        self.aliases.get(alias)
    }

    /// The freight that people mean by `text`: its id, its alias, or the first digits of its id, at least four, where they say
    /// which. What is an alias is not looked at as digits.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] with a near match when there is none; [`ErrorKind::InvalidInput`] when several ids begin so, naming
    /// them.
    pub fn find_freight(&self, text: &str) -> Result<&FreightState> {
        let exact = self.freight.get(text).or_else(|| self.freight.get(self.aliases.get(text)?));
        if let Some(found) = exact {
            return Ok(found);
        }
        let mut begin = Vec::new();
        if text.len() >= PREFIX {
            let from = self.freight.range::<str, _>((Bound::Included(text), Bound::Unbounded));
            begin.extend(
                from.take_while(|(id, _)| id.as_str().starts_with(text)).map(|(_, known)| known).take(NAMED + 1),
            );
        }
        match begin.as_slice() {
            [one] => Ok(one),
            [] => {
                let hint = match near_match(text, self.aliases.keys().map(String::as_str)) {
                    Some(near) => format!("Did you mean {near:?}?"),
                    None => "Give its id, its alias, or at least four digits of its id.".to_owned(),
                };
                Err(Error::new(ErrorKind::NotFound, format!("There is no freight {text:?}. {hint}")))
            }
            several => {
                let named = several.iter().take(NAMED).map(|known| known.freight.to_string()).collect::<Vec<_>>();
                let more = if several.len() > NAMED { ", and more" } else { "" };
                let message = format!(
                    "Several pieces of freight have ids that begin with {text:?}: {}{more}. Give more digits, or the alias.",
                    named.join(", ")
                );
                Err(Error::new(ErrorKind::InvalidInput, message))
            }
        }
    }
}
