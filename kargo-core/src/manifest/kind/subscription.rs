//! Subscriptions: the fields of each kind, checked, and kept in the words of their source's configuration.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jiff::Timestamp;
use regex::Regex;
use serde_json::{Map, Value};

use super::{At, Fields, Notes, put, put_flag, put_list, put_some};
use crate::artifact::{normalize_chart_url, normalize_git_url, normalize_image_url};
use crate::manifest::dialect;
use crate::manifest::fields::named;
use crate::manifest::finding::{Rule, below};
use crate::name::name_fault;
use crate::version::Constraint;
use crate::warehouse::Subscription;

/// The biggest program, in bytes, that a regular expression may become.
const MAX_PROGRAM: usize = 1 << 20;

/// Images without a tag: words that dots and dashes join, the first of which may have a port.
static IMAGE: LazyLock<Regex> = LazyLock::new(|| {
    let word = "[0-9A-Za-z_]+(?:[.-][0-9A-Za-z_]+)*";
    Regex::new(&format!("^(?:{word}(?::[0-9]+)?/)?{word}(?:/{word})*$"))
        .expect("the pattern is constant and is compiled by the tests")
});

/// How many subscriptions a warehouse may have.
const MOST: usize = 100;

/// Reads a list of subscriptions. Two to one place must have names that tell them apart.
pub(in crate::manifest) fn decode_all(items: &[At<'_>], notes: &mut Notes<'_>) -> Vec<Subscription> {
    let (mut names, mut places) = (BTreeSet::new(), BTreeSet::new());
    let mut subscriptions: Vec<Subscription> = Vec::new();
    if let Some(beyond) = items.get(MOST) {
        beyond.error(notes, Rule::BadValue, format!("A warehouse has at most {MOST} subscriptions; make it several."));
    }
    for item in items.iter().take(MOST) {
        let Some(subscription) = decode(item, notes) else { continue };
        if let Some(name) = subscription.name.clone().filter(|name| !names.insert(name.clone())) {
            item.error(notes, Rule::Duplicate, format!("Two subscriptions have the name {name:?}; rename one."));
        } else if let Some(place) = place(&subscription)
            && !places.insert((subscription.source.clone(), subscription.name.clone(), place))
        {
            let message = "Another subscription of this warehouse is to the same repository; remove one, or name each.";
            item.error(notes, Rule::Duplicate, message);
        }
        subscriptions.push(subscription);
    }
    subscriptions
}

/// What is watched, in a form that is the same for all spellings.
pub(in crate::manifest) fn place(subscription: &Subscription) -> Option<String> {
    let text = |name: &str| subscription.config.get(name).and_then(Value::as_str).unwrap_or_default();
    place_of(&subscription.source, text("repoURL"), text("name"))
}

/// As [`place`], of what is found at a URL; the name is a chart's.
pub(in crate::manifest) fn place_of(source: &str, url: &str, name: &str) -> Option<String> {
    match source {
        "git" => Some(normalize_git_url(url)),
        "image" => Some(normalize_image_url(url)),
        "chart" => Some(format!("{} {name}", normalize_chart_url(url))),
        _ => None,
    }
}

fn decode(at: &At<'_>, notes: &mut Notes<'_>) -> Option<Subscription> {
    let mut fields = at.fields(notes)?;
    let name = fields.some_text(notes, "name");
    if let Some(name) = &name
        && let Some(at) = fields.take("name")
        && let Some(fault) = name_fault(name).or_else(|| name.contains('.').then_some("there may be no dot in it"))
    {
        at.error(notes, Rule::BadValue, format!("{} cannot be {name:?}: {fault}.", named(&at.pointer)));
    }
    let kinds: Vec<_> = fields.rest().collect();
    let [entry] = kinds.as_slice() else {
        let message = match kinds.len() {
            0 => {
                "A subscription has one key that says of which kind it is: git, image, chart, or a kind of the host's."
            }
            _ => "A subscription is of one kind; make an entry of the list for each.",
        };
        at.error(notes, Rule::BadValue, message);
        return None;
    };
    let source = entry.key.clone();
    let inner = At { node: &entry.node, pointer: below(&at.pointer, &entry.key) };
    let mut config = Map::new();
    let mut fields = inner.fields(notes)?;
    match source.as_str() {
        "git" => git(&mut fields, &mut config, notes),
        "image" => image(&mut fields, &mut config, notes),
        "chart" => chart(&mut fields, &mut config, notes),
        _ => other(&mut fields, &mut config, notes),
    }
    fields.finish(notes);
    if name.is_none() && !matches!(source.as_str(), "git" | "image" | "chart") {
        let message = format!("A subscription of the kind {source:?} needs a name beside it; add name: with one.");
        notes.error(Rule::MissingField, entry.at, &at.pointer, message);
    }
    Some(Subscription { source, name, config: config.into() })
}

/// A subscription as its manifest has it.
pub(in crate::manifest) fn value(subscription: &Subscription) -> Value {
    let mut object = Map::new();
    put_some(&mut object, "name", subscription.name.as_deref());
    put(&mut object, &subscription.source, subscription.config.clone());
    object.into()
}

fn git(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    put_some(config, "repoURL", repository(fields, notes, "repoURL", &["http://", "https://", "ssh://"]));
    let strategies = ["NewestFromBranch", "NewestTag", "SemVer", "Lexical"];
    put_some(config, "commitSelectionStrategy", fields.word(notes, "commitSelectionStrategy", &strategies));
    if let Some(branch) = fields.some_text(notes, "branch") {
        if let (Some(fault), Some(at)) = (branch_fault(&branch), fields.take("branch")) {
            at.error(notes, Rule::BadValue, format!("{} cannot be {branch:?}: {fault}.", named(&at.pointer)));
        }
        put(config, "branch", branch);
    }
    constraint(fields, config, notes, "semverConstraint");
    if let Some(since) = fields.some_text(notes, "since") {
        if since.parse::<Timestamp>().is_err()
            && let Some(at) = fields.take("since")
        {
            let message = format!("{} is no time; write it as 2026-01-31T00:00:00Z.", named(&at.pointer));
            at.error(notes, Rule::BadValue, message);
        }
        put(config, "since", since);
    }
    put_some(config, "expressionFilter", fields.some_text(notes, "expressionFilter"));
    for name in ["includePaths", "excludePaths"] {
        put_list(config, name, selectors(fields, notes, name));
    }
    put_flag(config, "blobless", fields.flag(notes, "blobless").unwrap_or_default());
    tags(fields, config, notes);
    common(fields, config, notes);
}

fn image(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    put_some(config, "repoURL", repository(fields, notes, "repoURL", &[]));
    let strategies = ["SemVer", "Lexical", "NewestBuild", "Digest"];
    let mut strategy = fields.word(notes, "imageSelectionStrategy", &strategies);
    if let Some(old) = dialect::image_strategy(fields, notes) {
        strategy = strategy.or(Some(old));
    }
    put_some(config, "imageSelectionStrategy", strategy);
    let old = fields
        .old(notes, "semverConstraint", "write constraint, as Kargo 1.5 and later have it.")
        .and_then(|at| at.text(notes));
    let mut constraint = fields.some_text(notes, "constraint");
    let at = fields.take("constraint").or_else(|| fields.retired("semverConstraint"));
    constraint = constraint.or(old.filter(|text| !text.is_empty()));
    match (&constraint, strategy.unwrap_or("SemVer")) {
        (Some(text), "SemVer") => {
            if let (Err(error), Some(at)) = (Constraint::parse(text), at) {
                at.error(notes, Rule::BadValue, format!("{} cannot be used: {}", named(&at.pointer), error.message()));
            }
        }
        (None, "Digest") => {
            let message = "With the strategy Digest, constraint must name the tag to follow, such as latest; add it.";
            notes.error(Rule::MissingField, fields.span, &fields.pointer, message);
        }
        _ => {}
    }
    put_some(config, "constraint", constraint);
    if let Some(platform) = fields.some_text(notes, "platform") {
        let parts = platform.split('/').count();
        if (!(2..=3).contains(&parts) || platform.split('/').any(str::is_empty))
            && let Some(at) = fields.take("platform")
        {
            let message = format!("{} cannot be {platform:?}; write it as linux/arm64.", named(&at.pointer));
            at.error(notes, Rule::BadValue, message);
        }
        put(config, "platform", platform);
    }
    put_flag(config, "cacheByTag", fields.flag(notes, "cacheByTag").unwrap_or_default());
    fields.old(notes, "gitRepoURL", "leave it out: links to sources come from the image's annotations.");
    tags(fields, config, notes);
    common(fields, config, notes);
}

fn chart(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    let old = fields.old(notes, "registryURL", "write repoURL.").and_then(|at| at.text(notes));
    let url = match old {
        Some(url) => Some(url),
        None => repository(fields, notes, "repoURL", &["http://", "https://", "oci://"]),
    };
    let name = fields.some_text(notes, "name");
    let is_oci = url.as_deref().is_some_and(|url| url.starts_with("oci://"));
    match (&name, is_oci) {
        (Some(_), true) => {
            if let Some(at) = fields.take("name") {
                let message = "A chart in a registry has its name at the end of repoURL; take name out.";
                at.error(notes, Rule::BadValue, message);
            }
        }
        (None, false) if url.is_some() => fields.missing(notes, "name"),
        _ => {}
    }
    put_some(config, "repoURL", url);
    put_some(config, "name", name);
    constraint(fields, config, notes, "semverConstraint");
    common(fields, config, notes);
}

/// Why Kargo does not take a branch of this name.
fn branch_fault(branch: &str) -> Option<&'static str> {
    let word = |c: char| c.is_ascii_alphanumeric();
    if branch.len() > 255 {
        return Some("it has more than 255 characters");
    }
    if !branch.chars().all(|c| word(c) || matches!(c, '.' | '_' | '/' | '-')) {
        return Some("only letters, digits, '.', '_', '/' and '-' may stand in it");
    }
    let ends = branch.ends_with(|c| word(c) || matches!(c, '_' | '-'));
    (!branch.starts_with(word) || !ends).then_some("it begins with a letter or digit, and ends with one, '_' or '-'")
}

/// A kind that a host has a source for.
fn other(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    if let Some(at) = fields.take("config") {
        at.fields(notes);
        put(config, "config", at.node.json());
    }
    put_some(config, "discoveryLimit", fields.count(notes, "discoveryLimit", 1..=100));
}

fn common(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    put_some(config, "discoveryLimit", fields.count(notes, "discoveryLimit", 1..=100));
    put_flag(config, "insecureSkipTLSVerify", fields.flag(notes, "insecureSkipTLSVerify").unwrap_or_default());
}

/// Which tags count.
fn tags(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>) {
    if let Some(false) = fields.flag(notes, "strictSemvers") {
        put(config, "strictSemvers", false);
    }
    let (old_allowed, old_ignored) = dialect::tag_filters(fields, notes);
    for (name, old) in [("allowTagsRegexes", old_allowed), ("ignoreTagsRegexes", old_ignored)] {
        let mut expressions = Vec::new();
        for at in fields.items(notes, name) {
            let Some(text) = at.text(notes) else { continue };
            check_regex(&at, &text, &text, notes);
            expressions.push(text);
        }
        put_list(config, name, expressions.into_iter().chain(old));
    }
}

/// Notes a regular expression that cannot be used.
pub(in crate::manifest) fn check_regex(at: &At<'_>, text: &str, expression: &str, notes: &mut Notes<'_>) {
    if let Err(error) = regex::RegexBuilder::new(expression).size_limit(MAX_PROGRAM).build() {
        let fault = error.to_string();
        let fault = fault.lines().last().unwrap_or_default().trim_start_matches("error: ");
        let message = format!("{} cannot be {text:?}, which is no regular expression: {fault}.", named(&at.pointer));
        at.error(notes, Rule::BadValue, message);
    }
}

/// Paths: a directory, `glob:` or `regex:`.
fn selectors(fields: &mut Fields<'_>, notes: &mut Notes<'_>, name: &'static str) -> Vec<String> {
    let mut selectors = Vec::new();
    for at in fields.items(notes, name) {
        let Some(text) = at.text(notes) else { continue };
        match text.split_once(':') {
            Some(("regex" | "regexp", expression)) => check_regex(&at, &text, expression, notes),
            Some(("glob", pattern)) => {
                if let Err(error) = globset::GlobBuilder::new(pattern).literal_separator(true).build() {
                    let message = format!("{} cannot be {text:?}: {}.", named(&at.pointer), error.kind());
                    at.error(notes, Rule::BadValue, message);
                }
            }
            _ => {}
        }
        selectors.push(text);
    }
    selectors
}

fn constraint(fields: &mut Fields<'_>, config: &mut Map<String, Value>, notes: &mut Notes<'_>, name: &'static str) {
    let Some(text) = fields.some_text(notes, name) else { return };
    if let (Err(error), Some(at)) = (Constraint::parse(&text), fields.take(name)) {
        at.error(notes, Rule::BadValue, format!("{} cannot be used: {}", named(&at.pointer), error.message()));
    }
    put(config, name, text);
}

/// The URL of a repository: with one of `schemes`, or without any when there are none (an image). Git takes `git@host:path` too.
fn repository(fields: &mut Fields<'_>, notes: &mut Notes<'_>, name: &'static str, schemes: &[&str]) -> Option<String> {
    let url = fields.required_text(notes, name)?;
    let has = |scheme: &&str| url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme));
    let scp_like = schemes.contains(&"ssh://") && !url.contains("://") && url.contains(['@', ':', '/']);
    let fault = if schemes.is_empty() {
        let last = url.rsplit('/').next().unwrap_or_default();
        if url.contains("://") {
            Some("an image has no scheme; write it as ghcr.io/acme/app")
        } else if last.contains([':', '@']) {
            Some("the tag or digest does not belong here; write constraint for a tag")
        } else if !IMAGE.is_match(&url) {
            Some("this is no image; write it as ghcr.io/acme/app")
        } else {
            None
        }
    } else if url.contains(char::is_whitespace) {
        Some("there may be no blanks in it")
    } else if !schemes.iter().any(has) && !scp_like {
        Some(if schemes.contains(&"oci://") {
            "it begins with https:// or oci://"
        } else {
            "it begins with https:// or ssh://, or is written as git@host:path"
        })
    } else {
        None
    };
    if let (Some(fault), Some(at)) = (fault, fields.take(name)) {
        let shown = crate::artifact::without_password(&url);
        at.error(notes, Rule::BadValue, format!("{} cannot be {shown:?}: {fault}.", named(&at.pointer)));
    }
    Some(url)
}
