//! The pages that forges show people.

use reqwest::Url;

use super::Provider;
use super::place::{Location, Place, push};

/// The page of the commit `id` of the repository with the clone URL `url`. Without a `provider` it is told from the host's name. `None`
/// for a repository that is on no forge that is known.
pub(crate) fn commit_page(url: &str, provider: Option<Provider>, id: &str) -> Option<String> {
    let place = Place::parse(url).ok()?;
    let provider = provider.or_else(|| Provider::of_host(place.host()))?;
    let mut page = place.locate(provider, None).ok()?.page(provider);
    let below: &[&str] = match provider {
        Provider::GitHub | Provider::Gitea | Provider::Azure => &["commit"],
        Provider::GitLab => &["-", "commit"],
        Provider::BitbucketCloud | Provider::BitbucketDataCenter => &["commits"],
    };
    below.iter().chain([&id]).for_each(|part| push(&mut page, part));
    Some(page.into())
}

impl Location {
    /// The repository's own page.
    pub(super) fn page(&self, provider: Provider) -> Url {
        let owner = self.owner.iter().map(String::as_str);
        let parts: Vec<&str> = match provider {
            Provider::Azure => owner.chain(["_git", &self.name]).collect(),
            // What belongs to a person is not below the projects.
            Provider::BitbucketDataCenter => match self.owner.first().and_then(|owner| owner.strip_prefix('~')) {
                Some(person) => vec!["users", person, "repos", &self.name],
                None => ["projects"].into_iter().chain(owner).chain(["repos", &self.name]).collect(),
            },
            _ => owner.chain([self.name.as_str()]).collect(),
        };
        let mut page = self.web.clone();
        parts.into_iter().for_each(|part| push(&mut page, part));
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page of a commit, and the clone URLs of its repository.
    type Row = (Provider, &'static str, &'static [&'static str]);

    const PAGES: [Row; 12] = [
        (
            Provider::GitHub,
            "https://github.com/acme/shop/commit/1f",
            &[
                "https://github.com/acme/shop.git",
                "https://kargo:s3cret@github.com/acme/shop",
                "git@github.com:acme/shop.git",
                "github.com:/acme/shop.git",
                "ssh://git@github.com/acme/shop.git",
                "ssh://git@github.com:22/acme/shop",
                "ssh://git@ssh.github.com:443/acme/shop.git",
                "git+ssh://git@github.com/acme/shop.git",
            ],
        ),
        (
            Provider::GitHub,
            "https://github.corp.example:8443/acme/shop/commit/1f",
            &["https://github.corp.example:8443/acme/shop.git"],
        ),
        (Provider::GitHub, "https://acme.ghe.com/acme/shop/commit/1f", &["acme@acme.ghe.com:acme/shop.git"]),
        (
            Provider::GitLab,
            "https://gitlab.com/a/b/shop/-/commit/1f",
            &[
                "https://gitlab.com/a/b/shop.git",
                "git@gitlab.com:a/b/shop.git",
                "ssh://git@altssh.gitlab.com:443/a/b/shop",
            ],
        ),
        (
            Provider::GitLab,
            "https://gitlab.corp.example/a/b/shop/-/commit/1f",
            &["ssh://git@gitlab.corp.example:2222/a/b/shop.git", "git@gitlab.corp.example:a/b/shop"],
        ),
        (
            Provider::Gitea,
            "https://codeberg.org/acme/shop/commit/1f",
            &["https://codeberg.org/acme/shop.git", "git@codeberg.org:acme/shop.git"],
        ),
        (
            Provider::Gitea,
            "http://forgejo.example:3000/acme/shop/commit/1f",
            &["http://kargo:s3cret@forgejo.example:3000/acme/shop.git"],
        ),
        (
            Provider::BitbucketCloud,
            "https://bitbucket.org/acme/shop/commits/1f",
            &[
                "https://me@bitbucket.org/acme/shop.git",
                "git@bitbucket.org:acme/shop.git",
                "ssh://git@altssh.bitbucket.org:443/acme/shop.git",
            ],
        ),
        (
            Provider::BitbucketDataCenter,
            "https://bitbucket.corp.example/projects/PROJ/repos/shop/commits/1f",
            &[
                "https://bitbucket.corp.example/scm/PROJ/shop.git",
                "ssh://git@bitbucket.corp.example:7999/PROJ/shop.git",
            ],
        ),
        (
            Provider::BitbucketDataCenter,
            "https://corp.example/bitbucket/users/me/repos/shop/commits/1f",
            &["https://corp.example/bitbucket/scm/~me/shop.git"],
        ),
        (
            Provider::Azure,
            "https://dev.azure.com/org/My%20Project/_git/shop/commit/1f",
            &[
                "https://org@dev.azure.com/org/My%20Project/_git/shop",
                "git@ssh.dev.azure.com:v3/org/My%20Project/shop",
                "ssh://git@ssh.dev.azure.com:22/v3/org/My%20Project/shop",
                "org@vs-ssh.visualstudio.com:v3/org/My%20Project/shop",
            ],
        ),
        (
            Provider::Azure,
            "https://org.visualstudio.com/shop/_git/shop/commit/1f",
            &[
                "https://org.visualstudio.com/DefaultCollection/shop/_git/shop",
                "https://org.visualstudio.com/_git/shop",
            ],
        ),
    ];

    #[test]
    fn the_page_of_a_commit_is_known_for_all_providers_and_all_forms_of_urls() {
        for (provider, page, urls) in PAGES {
            for url in urls {
                assert_eq!(commit_page(url, Some(provider), "1f").as_deref(), Some(page), "{url}");
                let by_name = commit_page(url, None, "1f");
                assert!(by_name.as_deref() == Some(page) || by_name.is_none(), "{url}: {by_name:?}");
            }
        }
        let told = |provider| PAGES.iter().any(|(of, ..)| *of == provider);
        assert!(Provider::ALL.into_iter().all(told), "a provider is not in the table");
    }

    #[test]
    fn a_host_that_does_not_give_its_provider_away_is_named_or_has_no_pages() {
        let url = "git@git.corp.example:acme/shop.git";
        assert_eq!(commit_page(url, None, "1f"), None);
        for (provider, page) in [
            (Provider::GitLab, Some("https://git.corp.example/acme/shop/-/commit/1f")),
            (Provider::Gitea, Some("https://git.corp.example/acme/shop/commit/1f")),
            (Provider::BitbucketDataCenter, Some("https://git.corp.example/projects/acme/repos/shop/commits/1f")),
            // It is at bitbucket.org and nowhere else.
            (Provider::BitbucketCloud, None),
        ] {
            assert_eq!(commit_page(url, Some(provider), "1f").as_deref(), page, "{provider}");
        }
        for url in ["/srv/git/shop.git", "file:///srv/git/shop.git", "https://github.com/shop", ""] {
            assert_eq!(commit_page(url, None, "1f"), None, "{url}");
        }
    }
}
