//! A kustomization's `images`: which image, tag or digest stands for a name.
//!
//! ```
//! use kargo_core::edit::kustomize::{Image, set_images};
//!
//! let before = "resources:\n- ../base\nimages:\n- name: shop/app # the shop\n  newTag: v1.4.0\n";
//! let after = set_images(before, &[Image::tag("shop/app", "v1.5.0"), Image::digest("shop/db", "sha256:0a")])?;
//! assert_eq!(
//!     after,
//!     "resources:\n- ../base\nimages:\n- name: shop/app # the shop\n  newTag: v1.5.0\n- name: shop/db\n  digest: sha256:0a\n"
//! );
//! # Ok::<(), kargo_core::Error>(())
//! ```

use serde_json::Value as Json;

use super::Effort;
use super::yaml::{self, remove, rename};
use crate::{Error, Result};

const OPERATION: &str = "set images";

/// The value that keeps what the file has.
const KEEP: &str = "*";

/// The names under which kustomize looks for a kustomization in a directory.
pub const FILE_NAMES: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// One entry of `images`. `*` as a new name, tag or digest keeps what the file has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Image {
    /// The name that manifests use, by which entries are told apart.
    pub name: String,
    /// The name that takes its place.
    pub new_name: Option<String>,
    /// The tag.
    pub new_tag: Option<String>,
    /// The digest, such as `sha256:…`.
    pub digest: Option<String>,
}

impl Image {
    /// `name` at `tag`.
    pub fn tag(name: impl Into<String>, tag: impl Into<String>) -> Self {
        Self { name: name.into(), new_tag: Some(tag.into()), ..Self::default() }
    }

    /// `name` at `digest`.
    pub fn digest(name: impl Into<String>, digest: impl Into<String>) -> Self {
        Self { name: name.into(), digest: Some(digest.into()), ..Self::default() }
    }

    /// Sets the name that takes the place of `name`.
    #[must_use]
    pub fn renamed(mut self, new_name: impl Into<String>) -> Self {
        self.new_name = Some(new_name.into());
        self
    }

    fn fields(&self) -> [(&'static str, Option<&str>); 3] {
        [("newName", self.new_name.as_deref()), ("newTag", self.new_tag.as_deref()), ("digest", self.digest.as_deref())]
    }
}

/// Sets `images` in the text of a kustomization and returns the new text.
///
/// An entry of the same name is changed where it stands: it then says what the image says and no more, so that a tag gives way
/// to a digest. Other entries, comments and the order stay. New entries stand behind the others, by name. When everything
/// is there already, the text comes back as it was.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), and nothing was changed, when an image says neither a new name nor
/// a tag nor a digest, when two say the same name, when the text is not one YAML map or its `images` is not a list of maps, and
/// when it holds a name twice. Otherwise as for [`yaml::upsert`]; each image takes reading the text again.
pub fn set_images(text: &str, images: &[Image]) -> Result<String> {
    let mut images: Vec<&Image> = images.iter().collect();
    images.sort_by(|a, b| a.name.cmp(&b.name));
    for pair in images.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(invalid(format!("The image {:?} is to be set twice; keep one of the two.", pair[0].name)));
        }
    }
    let mut edited = text.to_owned();
    let mut entries = entries(text)?;
    let mut effort = Effort::reading(OPERATION, images.len(), text)?;
    for image in images {
        effort.again(&edited)?;
        if image.fields().iter().all(|(_, value)| value.is_none_or(str::is_empty)) {
            return Err(invalid(format!(
                "The image {:?} has neither a new name nor a tag nor a digest; without one, kustomize would take \"latest\".",
                image.name
            )));
        }
        let mut same = entries.iter().enumerate().filter(|(_, entry)| entry["name"] == image.name.as_str());
        edited = match (same.next(), same.next()) {
            (Some((index, entry)), None) => change(&edited, index, entry, image)?,
            (None, _) => {
                let edited = add(&edited, entries.len(), image)?;
                entries.push(Json::Null);
                edited
            }
            (Some(_), Some(_)) => {
                return Err(invalid(format!(
                    "The kustomization has the image {:?} more than once in `images`; remove one.",
                    image.name
                )));
            }
        };
    }
    Ok(edited)
}

fn invalid(message: String) -> Error {
    super::invalid(OPERATION, message)
}

fn entries(text: &str) -> Result<Vec<Json>> {
    let mut documents = yaml::parse(text)?;
    if documents.len() > 1 {
        return Err(invalid("A kustomization is one YAML document, and this text has several.".to_owned()));
    }
    let images = match documents.pop() {
        Some(Json::Object(mut map)) => map.remove("images").unwrap_or(Json::Null),
        None | Some(Json::Null) => Json::Null,
        Some(_) => return Err(invalid("A kustomization is a map, and this text is none.".to_owned())),
    };
    match images {
        Json::Null => Ok(Vec::new()),
        Json::Array(entries) if entries.iter().all(Json::is_object) => Ok(entries),
        _ => Err(invalid("The kustomization's `images` is not a list of maps; correct the file first.".to_owned())),
    }
}

/// Makes the entry with the number `index` say what `image` says.
fn change(text: &str, index: usize, entry: &Json, image: &Image) -> Result<String> {
    let key = |field: &str| format!("images.{index}.{field}");
    let there = |field: &str| entry.get(field).is_some();
    let wanted = |field: &str| image.fields().iter().any(|(name, value)| *name == field && value.is_some());
    let mut edited = text.to_owned();
    let mut gone = Vec::new();
    // A tag that gives way to a digest, or the other way round, gives it its line.
    for (from, to) in [("newTag", "digest"), ("digest", "newTag")] {
        let value = image.fields().iter().find(|(name, _)| *name == to).and_then(|(_, value)| *value);
        if there(from) && !wanted(from) && !there(to) && value.is_some_and(|value| value != KEEP) {
            edited = rename(&edited, &key(from), to)?;
            gone.push(from);
        }
    }
    for (field, value) in image.fields() {
        match value {
            Some(KEEP) => {}
            Some(value) => edited = yaml::upsert(&edited, &[(key(field), value)])?,
            None if there(field) && !gone.contains(&field) => edited = remove(&edited, &key(field))?,
            None => {}
        }
    }
    // A suffix belongs to the tag that was there.
    if there("tagSuffix") { remove(&edited, &key("tagSuffix")) } else { Ok(edited) }
}

fn add(text: &str, index: usize, image: &Image) -> Result<String> {
    let mut updates = vec![(format!("images.{index}.name"), image.name.as_str())];
    let values =
        image.fields().into_iter().filter_map(|(field, value)| Some((field, value.filter(|value| *value != KEEP)?)));
    updates.extend(values.map(|(field, value)| (format!("images.{index}.{field}"), value)));
    yaml::upsert(text, &updates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn expect(before: &str, images: &[Image], after: &str) {
        match set_images(before, images) {
            Ok(edited) => assert_eq!(edited, after),
            Err(error) => panic!("{before:?}: {}", error.report()),
        }
    }

    #[test]
    fn an_entry_is_changed_where_it_stands_and_says_no_more_than_asked() {
        let tag = [Image::tag("app", "2")];
        let digest = [Image::digest("app", "sha256:0a")];
        for (before, images, after) in [
            ("images:\n- name: app\n  newTag: v1 # c\n", &tag, "images:\n- name: app\n  newTag: \"2\" # c\n"),
            ("images:\n- newTag: v1\n  name: app\n", &tag, "images:\n- newTag: \"2\"\n  name: app\n"),
            ("images:\n  - name: app\n", &tag, "images:\n  - name: app\n    newTag: \"2\"\n"),
            ("images:\n- name: app\n  digest: d # c\n", &tag, "images:\n- name: app\n  newTag: \"2\" # c\n"),
            ("images:\n- name: app\n  newName: x\n  newTag: v1\n", &tag, "images:\n- name: app\n  newTag: \"2\"\n"),
            ("images:\n- newName: x\n  name: app\n  newTag: v1\n", &tag, "images:\n- name: app\n  newTag: \"2\"\n"),
            ("images:\n- name: app\n  newTag: v1\n", &digest, "images:\n- name: app\n  digest: sha256:0a\n"),
            (
                "images:\n- name: app\n  newTag: v1\n  digest: d\n",
                &digest,
                "images:\n- name: app\n  digest: sha256:0a\n",
            ),
            (
                "images:\n- {name: app, newTag: v1, newName: n}\n",
                &digest,
                "images:\n- {name: app, digest: \"sha256:0a\"}\n",
            ),
            ("images:\n- name: app\n  newTag: v1\n  tagSuffix: -x\n", &tag, "images:\n- name: app\n  newTag: \"2\"\n"),
            ("images:\n- name: app\n  newTag: \"2\" # same\n", &tag, "images:\n- name: app\n  newTag: \"2\" # same\n"),
        ] {
            expect(before, images, after);
        }
    }

    #[test]
    fn an_asterisk_keeps_what_the_file_has() {
        let file = "images:\n- name: app\n  newName: mirror/app # m\n  newTag: v1\n";
        let images = [Image::tag("app", "v2").renamed("*")];
        expect(file, &images, &file.replace("v1", "v2"));
        expect("images: []\n", &images, "images: [{name: app, newTag: v2}]\n");
        let file = "images:\n- name: app\n  digest: d\n";
        expect(file, &[Image::tag("app", "*")], "images:\n- name: app\n");
        expect(
            file,
            &[Image::digest("app", "*").renamed("other")],
            "images:\n- name: app\n  digest: d\n  newName: other\n",
        );
    }

    #[test]
    fn new_entries_stand_behind_the_others_by_name() {
        let images = [Image::tag("b", "v1"), Image::tag("a", "v2").renamed("c")];
        let added = "- name: a\n  newName: c\n  newTag: v2\n- name: b\n  newTag: v1\n";
        expect(
            "images:\n- name: z\n  newTag: v0\n# end\n",
            &images,
            &format!("images:\n- name: z\n  newTag: v0\n{added}# end\n"),
        );
        expect("resources:\n- x\n", &images, &format!("resources:\n- x\nimages:\n{}", indented(added)));
        expect("", &images, &format!("images:\n{}", indented(added)));
        expect("images:\n", &images, &format!("images:\n{}", indented(added)));
    }

    fn indented(lines: &str) -> String {
        lines.lines().map(|line| format!("  {line}\n")).collect()
    }

    #[test]
    fn yaml_17_an_image_without_tag_and_digest_is_refused() {
        let error = set_images("images: []\n", &[Image { name: "app".into(), ..Image::default() }]).unwrap_err();
        assert!(error.message().contains("neither") && error.message().contains("latest"), "{error}");
    }

    #[test]
    fn what_is_ambiguous_or_no_kustomization_is_refused() {
        let tag = Image::tag("app", "v1");
        for (file, images, part) in [
            ("images:\n- name: app\n- name: app\n", vec![tag.clone()], "more than once"),
            ("images: {a: b}\n", vec![tag.clone()], "list of maps"),
            ("images: [a]\n", vec![tag.clone()], "list of maps"),
            ("- a\n", vec![tag.clone()], "is a map"),
            ("a: 1\n---\nb: 1\n", vec![tag.clone()], "several"),
            ("images: []\n", vec![tag.clone(), tag.clone()], "twice"),
            ("a: [", vec![tag.clone()], "not valid YAML"),
        ] {
            let error = set_images(file, &images).unwrap_err();
            assert!(error.message().contains(part), "{error}");
        }
    }

    #[test]
    fn yaml_18_a_tag_of_digits_is_quoted_in_a_kustomization() {
        expect(
            "images:\n- name: app\n",
            &[Image::tag("app", "9075807")],
            "images:\n- name: app\n  newTag: \"9075807\"\n",
        );
    }
}
