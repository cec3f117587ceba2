//! Criteria as expressions, as Kargo's `freightCreationCriteria` has them.

use std::fmt;

use crate::artifact::{Artifact, normalize_chart_url, normalize_git_url, normalize_image_url, without_password};
use crate::error::Result;
use crate::expr::{Environment, Error, Fault, Host, Program, Query, Scope, Value, kargo};

use super::{Criterion, Judgement};

/// A [`Criterion`] that is an expression over what was discovered, in the language of [`crate::expr`].
///
/// `imageFrom(url)`, `commitFrom(url)`, `chartFrom(url[, name])` and `artifactFrom(subscription)` give what a look found newest, or
/// `nil`. URLs that differ only in their spelling are the same, as everywhere in Kargo. Of one repository that several subscriptions
/// watch, the first is meant.
///
/// ```
/// use kargo_core::plugin::ExpressionCriterion;
/// use kargo_core::Plugins;
///
/// let same = "imageFrom('ghcr.io/acme/frontend').Tag == imageFrom('ghcr.io/acme/backend').Tag";
/// let plugins = Plugins::builder().criterion("same-version", ExpressionCriterion::compile(same)?).build();
/// # let _ = plugins;
/// # Ok::<(), kargo_core::expr::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct ExpressionCriterion {
    program: Program,
    text: String,
}

impl ExpressionCriterion {
    /// The criterion that `expression` is.
    ///
    /// # Errors
    /// When it does not compile; the error shows the place.
    pub fn compile(expression: &str) -> std::result::Result<Self, Error> {
        let program = Program::compile(expression, &Environment::criteria())?;
        Ok(Self { program, text: expression.trim().to_owned() })
    }
}

impl fmt::Display for ExpressionCriterion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Criterion for ExpressionCriterion {
    fn judge(&self, artifacts: &[Artifact]) -> Result<Judgement> {
        let found = Found(artifacts);
        let satisfied = self.program.evaluate_bool(&Scope::default().host(&found))?;
        Ok(Judgement::of(satisfied, format!("{self} does not hold")))
    }
}

/// What a look found newest, one of each subscription.
#[derive(Debug)]
struct Found<'a>(&'a [Artifact]);

impl Found<'_> {
    fn one(&self, what: &str, answer: impl Fn(&Artifact) -> Option<Value>) -> std::result::Result<Value, Fault> {
        let way = "subscribe to each in a warehouse of its own";
        Ok(kargo::of_only_one(self.0, (what, "This warehouse", way), answer)?.unwrap_or(Value::Nil))
    }
}

impl Host for Found<'_> {
    fn answer(&self, query: Query<'_>) -> std::result::Result<Value, Fault> {
        Ok(match query {
            Query::Commit { repo_url, .. } => {
                let wanted = normalize_git_url(repo_url);
                self.one(&format!("a commit of {:?}", without_password(repo_url)), |artifact| match artifact {
                    Artifact::Commit(found) if normalize_git_url(&found.repo_url) == wanted => {
                        let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
                        let (branch, tag) = (text(&found.branch), text(&found.tag));
                        let (message, author) = (text(&found.message), text(&found.author));
                        let fields = kargo::CommitFields {
                            id: &found.id,
                            branch: &branch,
                            tag: &tag,
                            message: &message,
                            author: &author,
                            ..kargo::CommitFields::default()
                        };
                        Some(kargo::discovered_commit(&fields, None).into())
                    }
                    _ => None,
                })?
            }
            Query::Image { repo_url, .. } => {
                let wanted = normalize_image_url(repo_url);
                self.one(&format!("an image of {repo_url:?}"), |artifact| match artifact {
                    Artifact::Image(found) if normalize_image_url(&found.repo_url) == wanted => {
                        let annotations = found.annotations.clone();
                        Some(kargo::discovered_image(&found.tag, &found.digest, annotations, found.created_at).into())
                    }
                    _ => None,
                })?
            }
            Query::Chart { repo_url, name, .. } => {
                let wanted = normalize_chart_url(repo_url);
                self.one(&format!("a chart of {:?}", without_password(repo_url)), |artifact| match artifact {
                    Artifact::Chart(found)
                        if normalize_chart_url(&found.repo_url) == wanted
                            && name.is_none_or(|name| name == found.name) =>
                    {
                        let subscription = artifact.subscription_name().unwrap_or_default();
                        Some(kargo::chart(&found.repo_url, &found.name, &found.version, subscription).into())
                    }
                    _ => None,
                })?
            }
            Query::Artifact { subscription, .. } => {
                let found = self.0.iter().find_map(|artifact| match artifact {
                    Artifact::Generic(found) if found.subscription_name == subscription => Some(found),
                    _ => None,
                });
                let Some(found) = found else { return Ok(Value::Nil) };
                let none = serde_json::Value::Object(serde_json::Map::new());
                let metadata = if found.metadata.is_object() { &found.metadata } else { &none };
                let Value::Map(metadata) = Value::from_json(metadata)? else { return Ok(Value::Nil) };
                kargo::artifact(&found.artifact_type, subscription, &found.version, metadata).into()
            }
            // The environment of criteria has no function that asks for anything else.
            _ => Value::Nil,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::artifact::{Chart, GenericArtifact, GitCommit, Image};
    use crate::error::ErrorKind;

    fn image(repo_url: &str, tag: &str) -> Artifact {
        Artifact::Image(Image {
            repo_url: repo_url.into(),
            tag: tag.into(),
            digest: "sha256:00".into(),
            annotations: [("team".to_owned(), "red".to_owned())].into(),
            created_at: None,
            subscription_name: None,
        })
    }

    fn found() -> Vec<Artifact> {
        vec![
            image("ghcr.io/acme/frontend", "1.2.0"),
            image("nginx", "1.2.0"),
            Artifact::Commit(GitCommit {
                repo_url: "https://git.example/acme/app.git".into(),
                id: "0123456789abcdef".into(),
                branch: Some("main".into()),
                tag: None,
                message: Some("ship it".into()),
                author: None,
                subscription_name: None,
            }),
            Artifact::Chart(Chart {
                repo_url: "https://charts.example".into(),
                name: "app".into(),
                version: "3.0.0".into(),
                subscription_name: None,
            }),
            Artifact::Generic(GenericArtifact {
                artifact_type: "model".into(),
                subscription_name: "models".into(),
                version: "7".into(),
                metadata: json!({"accuracy": 0.93}),
            }),
        ]
    }

    fn judge(expression: &str) -> Result<Judgement> {
        ExpressionCriterion::compile(expression).expect("compiles").judge(&found())
    }

    #[test]
    fn what_two_subscriptions_found_in_one_repository_is_not_one_of_them_by_chance() {
        let named = |name: &str, tag: &str| match image("ghcr.io/acme/app", tag) {
            Artifact::Image(image) => Artifact::Image(Image { subscription_name: Some(name.into()), ..image }),
            other => other,
        };
        let found = [named("stable", "1.0.0"), named("edge", "2.0.0")];
        let criterion = ExpressionCriterion::compile("imageFrom('ghcr.io/acme/app').Tag == '1.0.0'").expect("compiles");
        let error = criterion.judge(&found).unwrap_err().to_string();
        assert!(error.contains("more than once, of the subscriptions \"stable\" and \"edge\""), "{error}");
        assert!(criterion.judge(&found[..1]).is_ok());
    }

    #[test]
    fn an_expression_sees_what_was_found_newest() {
        for expression in [
            "imageFrom('ghcr.io/acme/frontend').Tag == imageFrom('docker.io/library/nginx').Tag",
            "imageFrom('nginx').Annotations['team'] == 'red'",
            "commitFrom('https://git.example/acme/app').Subject contains 'ship' and commitFrom('https://git.example/acme/app').Branch == 'main'",
            "chartFrom('https://charts.example', 'app').Version == '3.0.0' and chartFrom('https://charts.example', 'web') == nil",
            "artifactFrom('models').Metadata['accuracy'] > 0.9",
            "imageFrom('ghcr.io/acme/other') == nil",
        ] {
            assert_eq!(judge(expression).expect(expression), Judgement::Satisfied, "{expression}");
        }
    }

    #[test]
    fn what_does_not_hold_is_a_reason_and_what_cannot_be_said_an_error() {
        let Judgement::Unsatisfied(reason) = judge("imageFrom('nginx').Tag == '2.0.0'").expect("judges") else {
            panic!("it does not hold")
        };
        assert_eq!(reason, "imageFrom('nginx').Tag == '2.0.0' does not hold");
        let error = judge("imageFrom('nginx').Tag").expect_err("no answer");
        assert!(error.kind() != ErrorKind::Panicked && error.report().contains("imageFrom('nginx').Tag"), "{error:?}");
        let error = ExpressionCriterion::compile("imageForm('nginx').Tag == '1'").expect_err("no such function");
        assert!(error.to_string().contains("imageFrom"), "{error}");
    }
}
