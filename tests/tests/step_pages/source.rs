//! The types of configurations, as they stand in the sources of the crates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use syn::{Attribute, Expr, ExprLit, Fields, File, GenericArgument, Item, Lit, Meta, PathArguments, Type};

const CRATES: [&str; 4] = ["kargo-core", "kargo-git", "kargo-oci", "kargo-argocd"];

/// A type of one of the crates.
pub(crate) struct Found {
    of: &'static str,
    file: PathBuf,
    name: String,
    pub(crate) doc: String,
    serde: Serde,
    body: Body,
}

enum Body {
    Struct(Vec<syn::Field>),
    Enum(Vec<syn::Variant>),
    Other,
}

/// What `serde` is told about a type or a field.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    rename_all: Option<String>,
    alias: Option<String>,
    expecting: Option<String>,
    with: Option<String>,
    default: bool,
    transparent: bool,
    closed: bool,
}

/// A row of a table: one field.
pub(crate) struct Row {
    /// The field with those around it: `updates[].key`.
    pub(crate) path: String,
    alias: Option<String>,
    pub(crate) kind: String,
    pub(crate) required: bool,
    pub(crate) default: String,
    pub(crate) meaning: String,
}

impl Row {
    /// The names by which it may be given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path.as_str()).chain(self.alias.as_deref())
    }
}

pub(crate) struct Sources(Vec<Found>);

impl Sources {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut found = Vec::new();
        for of in CRATES {
            let mut open = vec![root.join(of).join("src")];
            while let Some(path) = open.pop() {
                if path.is_dir() {
                    open.extend(std::fs::read_dir(&path)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?);
                } else if path.extension().is_some_and(|end| end == "rs") {
                    let text = std::fs::read_to_string(&path)?;
                    let parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
                    types(of, &path, parsed, &mut found)?;
                }
            }
        }
        Ok(Self(found))
    }

    /// The configurations by the steps that they are of: the comment over such a type begins with the names, as in "`copy`: ".
    pub(crate) fn steps(&self) -> Result<BTreeMap<String, &Found>> {
        let mut steps = BTreeMap::new();
        for found in &self.0 {
            for name in step_names(&found.doc) {
                if let Some(other) = steps.insert(name.clone(), found) {
                    bail!("both {} and {} say that they are the configuration of {name}", other.shown(), found.shown());
                }
            }
        }
        Ok(steps)
    }

    /// The fields of a type, with those of the types in it.
    pub(crate) fn rows(&self, found: &Found) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        if !found.serde.transparent {
            self.add_rows(found, "", 0, &mut rows)?;
        }
        Ok(rows)
    }

    fn add_rows(&self, found: &Found, before: &str, depth: usize, rows: &mut Vec<Row>) -> Result<()> {
        ensure!(depth < 8, "{} is nested too deep", found.shown());
        let Body::Struct(fields) = &found.body else { bail!("{} is no struct", found.shown()) };
        for field in fields {
            let ident = field.ident.as_ref().with_context(|| format!("{} has fields without names", found.shown()))?;
            let serde = Serde::of(&field.attrs)?;
            let name = serde.rename.clone().unwrap_or_else(|| renamed(&ident.to_string(), &found.serde.rename_all));
            let path = format!("{before}{name}");
            let doc = flowing(&doc_of(&field.attrs));
            ensure!(!doc.is_empty(), "{} of {} has no comment over it", ident, found.shown());
            let (meaning, default) = split_default(&doc);
            let optional =
                serde.default || found.serde.default || inner(&field.ty, "Option").is_some() && serde.with.is_none();
            ensure!(optional || default.is_none(), "{path} of {} must be there, and has a default", found.shown());
            let (kind, below) = self.kind(found, &field.ty, serde.with.as_deref())?;
            let default = match default {
                Some(default) => default,
                None if !optional || meaning.contains("Either this or") => String::new(),
                None if kind == "true or false" => "no".to_owned(),
                None => "none".to_owned(),
            };
            let list = kind.starts_with("list");
            rows.push(Row { path: path.clone(), alias: serde.alias, kind, required: !optional, default, meaning });
            if let Some(below) = below {
                self.add_rows(below, &format!("{path}{}.", if list { "[]" } else { "" }), depth + 1, rows)?;
            }
        }
        Ok(())
    }

    /// What a type is, in words, and the struct that it is made of.
    fn kind(&self, from: &Found, ty: &Type, with: Option<&str>) -> Result<(String, Option<&Found>)> {
        let plain = |kind: &str| Ok((kind.to_owned(), None));
        match with {
            Some("interval") => return plain("duration"),
            Some("number") => return plain("whole number"),
            // It takes an empty text for none besides what the type says.
            Some("named_or_none") => {}
            Some(other) => bail!("what {other} of {} reads has to be said here", from.shown()),
            None => {}
        }
        if let Some(inner) = inner(ty, "Option") {
            return self.kind(from, inner, None);
        }
        if let Some(inner) = inner(ty, "Vec") {
            let (kind, below) = self.kind(from, inner, None)?;
            return Ok((
                if kind == "map" { "list of maps".to_owned() } else { format!("list of {}", several(&kind)) },
                below,
            ));
        }
        match last(ty).as_deref() {
            Some("String") => plain("text"),
            Some("bool") => plain("true or false"),
            Some("u16" | "u32" | "u64" | "usize" | "i64") => plain("whole number"),
            Some("Value") => plain("anything"),
            Some("Map") => plain("map"),
            Some("BTreeMap") => plain("map of texts"),
            Some("Span" | "Duration") => plain("duration"),
            Some(name) => {
                let found = self.find(from, name)?;
                match &found.body {
                    Body::Struct(_) => Ok(("map".to_owned(), Some(found))),
                    Body::Enum(variants) => Ok((found.words(variants)?, None)),
                    Body::Other => bail!("what {} reads has to be said here", found.shown()),
                }
            }
            None => bail!("a field of {} has a type that is not known here", from.shown()),
        }
    }

    /// The type of this name: of the same file, or else of the same crate.
    fn find(&self, from: &Found, name: &str) -> Result<&Found> {
        let all: Vec<&Found> = self.0.iter().filter(|found| found.of == from.of && found.name == name).collect();
        let here: Vec<&&Found> = all.iter().filter(|found| found.file == from.file).collect();
        match (here[..].first(), &all[..]) {
            (Some(found), _) => Ok(found),
            (None, [found]) => Ok(found),
            _ => bail!("there are {} types {name} for {}", all.len(), from.shown()),
        }
    }
}

impl Found {
    /// Whether fields that are not known are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.serde.closed
    }

    fn shown(&self) -> String {
        format!("{} ({})", self.name, self.file.display())
    }

    /// The words that an enum stands for.
    fn words(&self, variants: &[syn::Variant]) -> Result<String> {
        if let Some(expecting) = &self.serde.expecting {
            return Ok(expecting.strip_prefix("a ").unwrap_or(expecting).replace(" a ", " "));
        }
        let mut words = Vec::new();
        for variant in variants {
            ensure!(matches!(variant.fields, Fields::Unit), "what {} reads has to be said here", self.shown());
            let rename = Serde::of(&variant.attrs)?.rename;
            words.push(format!(
                "`{}`",
                rename.unwrap_or_else(|| renamed(&variant.ident.to_string(), &self.serde.rename_all))
            ));
        }
        Ok(words.join(", "))
    }
}

fn types(of: &'static str, path: &Path, parsed: File, found: &mut Vec<Found>) -> Result<()> {
    for item in parsed.items {
        let (ident, attrs, body) = match item {
            Item::Struct(item) => match item.fields {
                Fields::Named(fields) => (item.ident, item.attrs, Body::Struct(fields.named.into_iter().collect())),
                _ => (item.ident, item.attrs, Body::Other),
            },
            Item::Enum(item) => (item.ident, item.attrs, Body::Enum(item.variants.into_iter().collect())),
            _ => continue,
        };
        let serde = Serde::of(&attrs)?;
        found.push(Found { of, file: path.to_owned(), name: ident.to_string(), doc: doc_of(&attrs), serde, body });
    }
    Ok(())
}

impl Serde {
    fn of(attrs: &[Attribute]) -> Result<Self> {
        let mut told = Self::default();
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("serde")) {
            attr.parse_nested_meta(|meta| {
                let text = |meta: &syn::meta::ParseNestedMeta<'_>| -> syn::Result<Option<String>> {
                    if !meta.input.peek(syn::Token![=]) {
                        return Ok(None);
                    }
                    Ok(Some(meta.value()?.parse::<syn::LitStr>()?.value()))
                };
                let name = meta.path.get_ident().map(ToString::to_string).unwrap_or_default();
                let value = text(&meta)?;
                match name.as_str() {
                    "rename" => told.rename = value,
                    "rename_all" => told.rename_all = value,
                    "alias" => told.alias = value,
                    "expecting" => told.expecting = value,
                    "deserialize_with" | "with" => told.with = value,
                    "default" => told.default = true,
                    "transparent" => told.transparent = true,
                    "deny_unknown_fields" => told.closed = true,
                    _ if meta.input.peek(syn::token::Paren) => {
                        meta.parse_nested_meta(|nested| text(&nested).map(drop))?;
                    }
                    _ => {}
                }
                Ok(())
            })?;
        }
        Ok(told)
    }
}

fn doc_of(attrs: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attr in attrs.iter().filter(|attr| attr.path().is_ident("doc")) {
        if let Meta::NameValue(pair) = &attr.meta
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &pair.value
        {
            let line = text.value();
            lines.push(line.strip_prefix(' ').unwrap_or(&line).to_owned());
        }
    }
    lines.join("\n")
}

/// The steps that a comment begins with the names of.
fn step_names(doc: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = doc;
    while let Some((name, after)) = rest.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        if !is_name {
            return Vec::new();
        }
        names.push(name.to_owned());
        match (after.strip_prefix(", "), after.starts_with(": ")) {
            (Some(after), _) => rest = after,
            (None, true) => return names,
            (None, false) => return Vec::new(),
        }
    }
    Vec::new()
}

/// Lines as one, without the links of rustdoc.
pub(crate) fn flowing(text: &str) -> String {
    unlinked(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A text without the links of rustdoc: of `[`Operator::In`]` the name stays.
pub(crate) fn unlinked(text: &str) -> String {
    let mut parts = text.split("[`");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once("`]") {
            Some((name, rest)) => {
                let name = name.rsplit("::").next().unwrap_or(name);
                out += &format!("`{name}`{rest}");
            }
            None => out += &format!("[`{part}"),
        }
    }
    out
}

/// The meaning of a field, and its default.
fn split_default(doc: &str) -> (String, Option<String>) {
    let Some((before, after)) = doc.split_once("Default: ") else { return (doc.to_owned(), None) };
    let end = after.find(". ").map_or(after.len(), |end| end + 1);
    let (default, rest) = after.split_at(end);
    let meaning = format!("{} {}", before.trim(), rest.trim());
    (meaning.trim().to_owned(), Some(default.trim().trim_end_matches('.').to_owned()))
}

/// The type in `Option<…>` and the like.
fn inner<'t>(ty: &'t Type, around: &str) -> Option<&'t Type> {
    let Type::Path(path) = ty else { return None };
    let segment = path.path.segments.last().filter(|segment| segment.ident == around)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

fn last(ty: &Type) -> Option<String> {
    let Type::Path(path) = ty else { return None };
    path.path.segments.last().map(|segment| segment.ident.to_string())
}

fn several(kind: &str) -> String {
    match kind {
        "text" => "texts".to_owned(),
        "whole number" => "whole numbers".to_owned(),
        other => other.to_owned(),
    }
}

/// A name as `rename_all` makes it.
fn renamed(name: &str, rule: &Option<String>) -> String {
    let words: Vec<String> = if name.contains('_') || name.chars().all(|c| c.is_lowercase() || c.is_ascii_digit()) {
        name.split('_').map(str::to_owned).collect()
    } else {
        let mut words: Vec<String> = Vec::new();
        for c in name.chars() {
            match words.last_mut() {
                Some(word) if !c.is_uppercase() => word.push(c),
                _ => words.push(c.to_lowercase().to_string()),
            }
        }
        words
    };
    let capital = |word: &String| {
        let mut chars = word.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    match rule.as_deref() {
        Some("camelCase") => words.iter().take(1).cloned().chain(words.iter().skip(1).map(capital)).collect(),
        Some("lowercase") => words.concat(),
        Some("kebab-case") => words.join("-"),
        _ => name.to_owned(),
    }
}
