//! Where a repository's API is, from its clone URL.

use kargo_core::{Error, ErrorKind, Result};
use reqwest::Url;

use super::Provider;
use crate::remote::decoded;

/// A repository on a forge, from any of its clone URLs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Where its pages are: scheme, host and port.
    web: Url,
    /// The parts of its path, decoded, without `.git`.
    path: Vec<String>,
}

/// How a provider's API names the repository, and where the API is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Location {
    /// The API's root.
    pub(super) api: Url,
    /// What stands before the repository: owner, groups, workspace, project.
    pub(super) owner: Vec<String>,
    /// The repository's name.
    pub(super) name: String,
    /// The forge's pages, for those whose API does not tell them.
    pub(super) web: Url,
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidInput, text.into())
}

/// The host, in lower case and with a port that is not the scheme's, and the path of any clone URL, for looking things up. `None` for a
/// path on this machine and for what is no URL.
pub(crate) fn host_and_path(url: &str) -> Option<(String, String)> {
    let place = Place::parse(url).ok()?;
    let host = place.host();
    let host = place.web.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    Some((host, place.path.join("/")))
}

impl Place {
    /// Reads `https://host/path`, `ssh://user@host/path` or `user@host:path`. Users and passwords are left out.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let unreadable = || {
            invalid(
                "The URL of the repository cannot be read; write it as https://host/owner/name.git, or as git@host:owner/name.git.",
            )
        };
        let url = url.trim();
        // Whether the host ends there is read in two ways.
        if url.contains('\\') {
            return Err(unreadable());
        }
        let (scheme, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme.to_ascii_lowercase(), rest.to_owned()),
            None => {
                let (host, path) = url.split_once(':').ok_or_else(unreadable)?;
                if host.contains('/') || host.len() < 2 {
                    return Err(unreadable());
                }
                ("ssh".to_owned(), format!("{host}/{}", path.trim_start_matches('/')))
            }
        };
        let over_ssh = matches!(scheme.as_str(), "ssh" | "git+ssh" | "ssh+git");
        if !over_ssh && !matches!(scheme.as_str(), "http" | "https") {
            return Err(invalid(
                "The repository is on no forge: forges are reached by https://, http://, ssh:// or git@host:path.",
            ));
        }
        // An ssh port says nothing about where the API is.
        let parsed =
            Url::parse(&format!("{}://{rest}", if over_ssh { "https" } else { &scheme })).map_err(|_| unreadable())?;
        let host = parsed.host_str().ok_or_else(unreadable)?;
        // Where ssh is served on the port of HTTPS for those behind a firewall.
        let host = match host {
            "ssh.github.com" => "github.com",
            "altssh.gitlab.com" => "gitlab.com",
            "altssh.bitbucket.org" => "bitbucket.org",
            host => host,
        };
        let port = if over_ssh { None } else { parsed.port() };
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        let web = format!("{}://{host}{port}/", parsed.scheme());
        let web = Url::parse(&web).map_err(|_| unreadable())?;
        let mut path: Vec<String> = parsed.path().split('/').filter(|part| !part.is_empty()).map(decoded).collect();
        if let Some(last) = path.last_mut()
            && let Some(short) = last.strip_suffix(".git")
        {
            *last = short.to_owned();
        }
        if path
            .iter()
            .any(|part| part.is_empty() || matches!(part.as_str(), "." | "..") || part.contains(char::is_control))
        {
            return Err(unreadable());
        }
        Ok(Self { web, path })
    }

    /// The URL by which the credentials for the API are looked up, when it is not the clone URL: Azure DevOps has hosts for ssh alone.
    pub(super) fn api_url(&self, location: &Location) -> Option<String> {
        let is_ssh_host = matches!(self.host(), "ssh.dev.azure.com" | "vs-ssh.visualstudio.com");
        is_ssh_host.then(|| location.page(Provider::Azure).to_string())
    }

    pub(super) fn host(&self) -> &str {
        self.web.host_str().unwrap_or_default()
    }

    /// How `provider` names it. `api` takes the place of the provider's own rule for where the API is.
    pub(super) fn locate(&self, provider: Provider, api: Option<&Url>) -> Result<Location> {
        let host = self.host();
        let mut owner = self.path.clone();
        let mut web = self.web.clone();
        let shape = |shape: &str| {
            invalid(format!(
                "{}{} is no repository of {provider}; its URLs end in {shape}.",
                self.web,
                self.path.join("/")
            ))
        };
        let at = |text: String| {
            Url::parse(&text).map_err(|error| invalid("The forge's host cannot be part of a URL.").because(error))
        };
        let under = |path: &str| at(format!("{}{path}", self.web));
        let (api_of_host, name) = match provider {
            Provider::GitHub => {
                let [_, name] = owner.as_slice() else { return Err(shape("/owner/name")) };
                let api = if host == "github.com" {
                    at("https://api.github.com/".into())
                } else if host.ends_with(".ghe.com") {
                    at(format!("https://api.{host}/"))
                } else {
                    under("api/v3/")
                };
                (api?, name.clone())
            }
            Provider::GitLab => {
                let [_, .., name] = owner.as_slice() else { return Err(shape("/group/name")) };
                (under("api/v4/")?, name.clone())
            }
            Provider::Gitea => {
                let [_, name] = owner.as_slice() else { return Err(shape("/owner/name")) };
                (under("api/v1/")?, name.clone())
            }
            Provider::BitbucketCloud => {
                let [_, name] = owner.as_slice() else { return Err(shape("/workspace/name")) };
                // Elsewhere it would get the credentials of another server.
                if host != "bitbucket.org" && api.is_none() {
                    return Err(invalid(format!(
                        "{} is not Bitbucket Cloud, which is at bitbucket.org; a server of one's own is bitbucket-data-center.",
                        self.web
                    )));
                }
                (at("https://api.bitbucket.org/2.0/".into())?, name.clone())
            }
            Provider::BitbucketDataCenter => {
                // Over HTTP there is `scm` before the project, and before that the server's context path, if it has one.
                let context = match owner.iter().position(|part| part == "scm") {
                    Some(scm) => owner.drain(..=scm).take(scm).collect::<Vec<_>>().join("/"),
                    None => String::new(),
                };
                let [_, name] = owner.as_slice() else { return Err(shape("/scm/project/name")) };
                let name = name.clone();
                if !context.is_empty() {
                    web = under(&format!("{context}/"))?;
                }
                (at(format!("{web}rest/api/1.0/"))?, name)
            }
            Provider::Azure => return self.azure(api),
        };
        owner.pop();
        Ok(Location { api: api.cloned().unwrap_or(api_of_host), owner, name, web })
    }

    /// `https://dev.azure.com/{organization}/{project}/_git/{name}`,
    /// `https://{organization}.visualstudio.com/[DefaultCollection/]{project}/_git/{name}`
    /// and `{v3}/{organization}/{project}/{name}` over ssh. A repository named as its project may leave the project out.
    fn azure(&self, api: Option<&Url>) -> Result<Location> {
        let shape = || {
            invalid(format!(
                "{}{} is no repository of Azure DevOps; its URLs are https://dev.azure.com/organization/project/_git/name.",
                self.web,
                self.path.join("/")
            ))
        };
        let host = self.host();
        let mut path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let over_ssh = path.first() == Some(&"v3");
        let organization = match host.strip_suffix(".visualstudio.com") {
            Some("vs-ssh") | None => {
                if over_ssh {
                    path.remove(0);
                }
                if path.is_empty() {
                    return Err(shape());
                }
                path.remove(0).to_owned()
            }
            Some(organization) => {
                path.retain(|part| *part != "DefaultCollection");
                organization.to_owned()
            }
        };
        let (project, name) = match path.as_slice() {
            [project, name] if over_ssh => (*project, *name),
            [project, "_git", name] => (*project, *name),
            ["_git", name] => (*name, *name),
            _ => return Err(shape()),
        };
        let hosted = host.strip_suffix(".visualstudio.com").is_some_and(|rest| rest != "vs-ssh");
        let web = match host {
            _ if hosted => self.web.clone(),
            // The hosts of ssh have neither pages nor an API.
            "ssh.dev.azure.com" | "vs-ssh.visualstudio.com" => {
                let mut web = Url::parse("https://dev.azure.com/").map_err(|error| shape().because(error))?;
                push(&mut web, &organization);
                web
            }
            _ => {
                let mut web = self.web.clone();
                push(&mut web, &organization);
                web
            }
        };
        Ok(Location {
            api: api.cloned().unwrap_or_else(|| web.clone()),
            owner: vec![project.to_owned()],
            name: name.to_owned(),
            web,
        })
    }
}

/// Adds a part to the path of a URL.
pub(super) fn push(url: &mut Url, part: &str) {
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(url: &str, provider: Provider) -> (String, String, String) {
        let location = Place::parse(url).unwrap().locate(provider, None).unwrap();
        (location.api.to_string(), location.owner.join("/"), location.name)
    }

    #[test]
    fn git_16_all_clone_urls_of_a_repository_lead_to_one_place() {
        let wanted = ("https://api.github.com/".to_owned(), "acme".to_owned(), "shop".to_owned());
        for url in [
            "https://github.com/acme/shop.git",
            "https://me:s3cret@GitHub.com/acme/shop/",
            "git@github.com:acme/shop.git",
            "github.com:acme/shop",
            "ssh://git@github.com/acme/shop.git",
            "ssh://git@github.com:22/acme/shop",
            "ssh://git@ssh.github.com:443/acme/shop.git",
        ] {
            assert_eq!(located(url, Provider::GitHub), wanted, "{url}");
        }
    }

    #[test]
    fn each_provider_has_its_api_and_its_names() {
        for (provider, url, api, owner, name) in [
            (
                Provider::GitHub,
                "https://github.corp.example:8443/a/b",
                "https://github.corp.example:8443/api/v3/",
                "a",
                "b",
            ),
            (Provider::GitHub, "https://acme.ghe.com/a/b.git", "https://api.acme.ghe.com/", "a", "b"),
            (Provider::GitLab, "git@gitlab.com:a/b/c/d.git", "https://gitlab.com/api/v4/", "a/b/c", "d"),
            (Provider::Gitea, "ssh://git@gitea.example:2222/a/b.git", "https://gitea.example/api/v1/", "a", "b"),
            (Provider::BitbucketCloud, "git@bitbucket.org:a/b.git", "https://api.bitbucket.org/2.0/", "a", "b"),
            (
                Provider::BitbucketDataCenter,
                "https://bb.example/scm/proj/b.git",
                "https://bb.example/rest/api/1.0/",
                "proj",
                "b",
            ),
            (
                Provider::BitbucketDataCenter,
                "https://corp.example/bitbucket/scm/~me/b.git",
                "https://corp.example/bitbucket/rest/api/1.0/",
                "~me",
                "b",
            ),
            (
                Provider::BitbucketDataCenter,
                "ssh://git@bb.example:7999/proj/b.git",
                "https://bb.example/rest/api/1.0/",
                "proj",
                "b",
            ),
            (
                Provider::Azure,
                "https://org@dev.azure.com/org/My%20Project/_git/b",
                "https://dev.azure.com/org",
                "My Project",
                "b",
            ),
            (Provider::Azure, "https://dev.azure.com/org/_git/b", "https://dev.azure.com/org", "b", "b"),
            (Provider::Azure, "git@ssh.dev.azure.com:v3/org/p/b", "https://dev.azure.com/org", "p", "b"),
            (
                Provider::Azure,
                "https://org.visualstudio.com/DefaultCollection/p/_git/b",
                "https://org.visualstudio.com/",
                "p",
                "b",
            ),
            (Provider::Azure, "org@vs-ssh.visualstudio.com:v3/org/p/b", "https://dev.azure.com/org", "p", "b"),
        ] {
            assert_eq!(located(url, provider), (api.to_owned(), owner.to_owned(), name.to_owned()), "{url}");
        }
    }

    #[test]
    fn credentials_are_looked_up_by_the_host_that_has_the_api() {
        let looked_up = |url| {
            let place = Place::parse(url).unwrap();
            place.api_url(&place.locate(Provider::Azure, None).unwrap())
        };
        let wanted = Some("https://dev.azure.com/org/My%20Project/_git/b".to_owned());
        assert_eq!(looked_up("git@ssh.dev.azure.com:v3/org/My%20Project/b"), wanted);
        assert_eq!(looked_up("https://dev.azure.com/org/p/_git/b"), None);
    }

    #[test]
    fn what_is_no_repository_of_the_provider_is_refused_without_its_password() {
        for (provider, url) in [
            (Provider::GitHub, "https://me:s3cret@github.com/acme"),
            (Provider::GitHub, "https://me:s3cret@github.com/acme/shop/tree/main"),
            (Provider::GitLab, "https://me:s3cret@gitlab.com/shop"),
            (Provider::Azure, "https://me:s3cret@dev.azure.com/org/project/name"),
            (Provider::BitbucketCloud, "https://me:s3cret@bitbucket.corp.example/acme/shop"),
        ] {
            let error = Place::parse(url).unwrap().locate(provider, None).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(!error.report().contains("s3cret"), "{error}");
        }
        for url in [
            "/srv/git/shop",
            "https://a\\@github.com/acme/shop",
            "file:///srv/git/shop",
            "https://me:s3cret@:1/x",
            "https://h/a/%2e%2e/b/%00",
            "",
        ] {
            let error = Place::parse(url).unwrap_err();
            assert!(!error.report().contains("s3cret"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_place_or_an_error(text in ".{0,60}", tail in "[a-z:/@%.\\[\\]0-9]{0,40}") {
            for url in [text.clone(), tail.clone(), format!("https://h{tail}"), format!("ssh://{text}"), format!("v3:{tail}")] {
                let Ok(place) = Place::parse(&url) else { continue };
                for provider in Provider::ALL {
                    let Ok(location) = place.locate(provider, None) else { continue };
                    // What becomes parts of paths can lead to no other place of the API.
                    for part in location.owner.iter().chain([&location.name]) {
                        proptest::prop_assert!(!matches!(part.as_str(), "" | "." | ".."), "{url}: {location:?}");
                    }
                }
            }
        }
    }
}
