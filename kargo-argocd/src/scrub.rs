//! Foreign texts may hold secrets: Argo CD's messages quote the URLs of repositories, with the passwords that somebody put into them.

/// Takes `user:password@` out of every URL in `text`.
pub(crate) fn without_userinfo(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        clean.push_str(head);
        let end = tail.find(|c: char| c == '/' || c == '"' || c == '\'' || c.is_whitespace()).unwrap_or(tail.len());
        let (authority, after) = tail.split_at(end);
        match authority.rfind('@') {
            Some(at) => {
                clean.push_str("***@");
                clean.push_str(&authority[at + 1..]);
            }
            None => clean.push_str(authority),
        }
        rest = after;
    }
    clean.push_str(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_before_the_host_is_taken_out() {
        assert_eq!(without_userinfo("https://a:b@h/x@1 and ssh://git@h/y"), "https://***@h/x@1 and ssh://***@h/y");
        assert_eq!(without_userinfo("see https://h/x, mail a@b"), "see https://h/x, mail a@b");
        assert_eq!(without_userinfo("://"), "://");
    }
}
