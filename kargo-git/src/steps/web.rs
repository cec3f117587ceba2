//! The page of a commit on a forge.

use kargo_core::artifact::normalize_git_url;

/// The forges of which it is known, by the names that Kargo gives them.
pub(super) const PROVIDERS: [&str; 5] = ["azure", "bitbucket", "gitea", "github", "gitlab"];

/// The address of the commit `id` of the repository at `url`. `provider` is the kind of the forge; without one it is told from the host,
/// as Kargo does. `None` when it is not known.
pub(super) fn commit_url(url: &str, provider: Option<&str>, id: &str) -> Option<String> {
    let normal = normalize_git_url(url);
    // Pages are on the same host, also of repositories behind ssh.
    let rest = match normal.split_once("://") {
        Some((_, rest)) => rest.split_once('@').filter(|(user, _)| !user.contains('/')).map_or(rest, |(_, rest)| rest),
        None => normal.split_once('@').map_or(normal.as_str(), |(_, rest)| rest),
    };
    let (authority, path) = rest.split_once('/')?;
    let host = authority.split(':').next()?;
    let http = ["http://", "https://"].iter().any(|scheme| normal.starts_with(scheme));
    // The port of ssh is none of the pages'.
    let place = if http { authority } else { host };
    let scheme = if normal.starts_with("http://") { "http" } else { "https" };
    let provider = provider.or_else(|| by_host(host))?;
    let commit = match provider {
        "github" | "gitea" => "commit",
        "gitlab" => "-/commit",
        "bitbucket" => "commits",
        "azure" => "commit",
        _ => return None,
    };
    if host == "ssh.dev.azure.com" {
        // v3/organization/project/repository
        let mut parts = path.trim_start_matches("v3/").splitn(3, '/');
        let (organization, project, repository) = (parts.next()?, parts.next()?, parts.next()?);
        return Some(format!("https://dev.azure.com/{organization}/{project}/_git/{repository}/{commit}/{id}"));
    }
    Some(format!("{scheme}://{place}/{path}/{commit}/{id}"))
}

fn by_host(host: &str) -> Option<&'static str> {
    if host.contains("github") || host.ends_with(".ghe.com") {
        Some("github")
    } else if host.contains("gitlab") {
        Some("gitlab")
    } else if host.contains("gitea") {
        Some("gitea")
    } else if host == "dev.azure.com" || host == "ssh.dev.azure.com" || host.ends_with(".visualstudio.com") {
        Some("azure")
    } else if host == "bitbucket.org" {
        Some("bitbucket")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_commit_is_known_for_forges() {
        for (url, provider, page) in [
            ("https://github.com/acme/app.git", None, Some("https://github.com/acme/app/commit/1")),
            ("git@github.com:acme/app.git", None, Some("https://github.com/acme/app/commit/1")),
            (
                "ssh://git@gitlab.acme.example:2222/a/b/c.git",
                None,
                Some("https://gitlab.acme.example/a/b/c/-/commit/1"),
            ),
            (
                "https://kargo:s3cret@gitea.acme.example:3000/a/b",
                None,
                Some("https://gitea.acme.example:3000/a/b/commit/1"),
            ),
            ("https://bitbucket.org/a/b", None, Some("https://bitbucket.org/a/b/commits/1")),
            ("https://dev.azure.com/o/p/_git/r", None, Some("https://dev.azure.com/o/p/_git/r/commit/1")),
            ("git@ssh.dev.azure.com:v3/o/p/r", None, Some("https://dev.azure.com/o/p/_git/r/commit/1")),
            ("https://git.acme.example/a/b", None, None),
            ("https://git.acme.example/a/b", Some("gitlab"), Some("https://git.acme.example/a/b/-/commit/1")),
            ("/srv/git/app.git", None, None),
        ] {
            assert_eq!(commit_url(url, provider, "1").as_deref(), page, "{url}");
        }
    }
}
