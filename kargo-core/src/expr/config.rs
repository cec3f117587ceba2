//! Trees of JSON whose texts may hold expressions: a step's configuration.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value as Json;

use super::environment::{Environment, Scope};
use super::error::{Error, Fault, Span};
use super::limits::{Limits, Meter};
use super::parser::Patterns;
use super::template::Template;
use super::value::MAX_DEPTH;

/// A configuration whose texts are templates. Keys are never templates.
///
/// ```
/// use kargo_core::expr::{Config, Environment, Scope, Value};
/// use serde_json::json;
///
/// let config = Config::parse(&json!({"image": {"tag": "${{ vars.tag }}", "replicas": "${{ 1 + 2 }}"}}), &Environment::step())?;
/// let scope = Scope::default().variable("vars", Value::from_json(&json!({"tag": "1.10"})).unwrap()).unwrap();
/// // The field `tag` takes a text, so that the tag is not taken for a number.
/// let rendered = config.render(&scope, &|pointer| pointer == "/image/tag")?;
/// assert_eq!(rendered.value, json!({"image": {"tag": "1.10", "replicas": 3}}));
/// # Ok::<(), kargo_core::expr::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    root: Node,
    limits: Limits,
}

#[derive(Debug, Clone)]
enum Node {
    /// What no expression can change.
    Fixed(Json),
    Template(Template),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// What a configuration became.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct RenderedConfig {
    /// The values.
    pub value: Json,
    /// Where values come from secrets, as JSON pointers: these must not be shown or stored in clear.
    pub sensitive: Vec<String>,
    /// As [`Rendered`](super::Rendered) has them.
    pub(crate) secrets: BTreeSet<Arc<str>>,
}

impl std::fmt::Debug for RenderedConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("RenderedConfig");
        if self.sensitive.is_empty() {
            shown.field("value", &self.value)
        } else {
            shown.field("value", &"(partly from secrets)")
        };
        shown.field("sensitive", &self.sensitive).finish()
    }
}

impl Config {
    /// Compiles all expressions of a configuration.
    ///
    /// # Errors
    /// The first text that is no template, with its JSON pointer.
    pub fn parse(config: &Json, environment: &Environment) -> Result<Self, Error> {
        let root = parse(config, environment, &mut Patterns::default(), &mut String::new(), 0)?;
        Ok(Self { root, limits: environment.limits })
    }

    /// Evaluates all expressions. `takes_text` says for a JSON pointer (`/apps/0/name`) whether that field takes a text;
    /// there the text stays as it is, and elsewhere it becomes what Kargo makes of it. The limits are those of one
    /// expression, for all of them together.
    ///
    /// # Errors
    /// The first expression that cannot be evaluated, with its JSON pointer.
    pub fn render(&self, scope: &Scope<'_>, takes_text: &dyn Fn(&str) -> bool) -> Result<RenderedConfig, Error> {
        let mut walk =
            Walk { scope, takes_text, meter: Meter::new(self.limits), sensitive: Vec::new(), secrets: BTreeSet::new() };
        let value = render(&self.root, &mut walk, &mut String::new())?;
        Ok(RenderedConfig { value, sensitive: walk.sensitive, secrets: walk.secrets })
    }
}

/// Runs `inner` with `segment` at the end of the pointer.
fn below<T>(pointer: &mut String, segment: &str, inner: impl FnOnce(&mut String) -> T) -> T {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&segment.replace('~', "~0").replace('/', "~1"));
    let result = inner(pointer);
    pointer.truncate(length);
    result
}

fn parse(
    config: &Json,
    environment: &Environment,
    patterns: &mut Patterns,
    pointer: &mut String,
    depth: usize,
) -> Result<Node, Error> {
    if depth > MAX_DEPTH {
        let fault = Fault::limit(format!("The configuration is nested more than {MAX_DEPTH} levels deep."));
        return Err(fault.at(&pointer.as_str().into(), Span::default()));
    }
    Ok(match config {
        Json::String(text) => {
            let template = Template::parse_with(text, environment, patterns).map_err(|error| error.within(pointer))?;
            if template.is_plain() { Node::Fixed(config.clone()) } else { Node::Template(template) }
        }
        Json::Array(items) => {
            let nodes = items.iter().enumerate().map(|(index, item)| {
                below(pointer, &index.to_string(), |pointer| parse(item, environment, patterns, pointer, depth + 1))
            });
            Node::List(nodes.collect::<Result<_, _>>()?)
        }
        Json::Object(entries) => {
            let nodes = entries.iter().map(|(key, item)| {
                let node = below(pointer, key, |pointer| parse(item, environment, patterns, pointer, depth + 1))?;
                Ok((key.clone(), node))
            });
            Node::Map(nodes.collect::<Result<_, Error>>()?)
        }
        other => Node::Fixed(other.clone()),
    })
}

/// What a walk through a configuration carries.
struct Walk<'w> {
    scope: &'w Scope<'w>,
    takes_text: &'w dyn Fn(&str) -> bool,
    meter: Meter,
    sensitive: Vec<String>,
    secrets: BTreeSet<Arc<str>>,
}

fn render(node: &Node, walk: &mut Walk<'_>, pointer: &mut String) -> Result<Json, Error> {
    Ok(match node {
        Node::Fixed(json) => json.clone(),
        Node::Template(template) => {
            let rendered = template.evaluate_within(walk.scope, &mut walk.meter);
            let rendered = rendered.map_err(|error| error.within(pointer))?;
            if rendered.sensitive() {
                walk.sensitive.push(pointer.clone());
                walk.secrets.extend(rendered.secrets().iter().cloned());
            }
            let value = if (walk.takes_text)(pointer) { rendered.text_value() } else { rendered.value() };
            value.map_err(|error| error.within(pointer))?
        }
        Node::List(nodes) => {
            let items = nodes
                .iter()
                .enumerate()
                .map(|(index, node)| below(pointer, &index.to_string(), |pointer| render(node, walk, pointer)));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Node::Map(nodes) => {
            let entries = nodes.iter().map(|(key, node)| {
                let value = below(pointer, key, |pointer| render(node, walk, pointer))?;
                Ok((key.clone(), value))
            });
            Json::Object(entries.collect::<Result<_, Error>>()?)
        }
    })
}
