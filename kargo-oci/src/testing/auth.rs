//! What a registry asks of its clients.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Whether and how clients must say who they are.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum RegistryAuth {
    /// Everyone may do everything.
    #[default]
    Open,
    /// A user and a password with each request.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token from a token server.
    Bearer(BearerAuth),
}

impl RegistryAuth {
    /// A user and a password with each request.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.into(), password: password.into() }
    }
}

impl From<BearerAuth> for RegistryAuth {
    fn from(bearer: BearerAuth) -> Self {
        Self::Bearer(bearer)
    }
}

/// A token server at `/token` of the registry itself, unless another one is named.
#[derive(Debug, Clone)]
#[must_use]
pub struct BearerAuth {
    pub(super) account: Option<(String, String)>,
    pub(super) expires_in: Option<u64>,
    pub(super) realm: Option<String>,
    pub(super) names_scope: bool,
    pub(super) list_action: String,
    pub(super) field: String,
    pub(super) identity: Option<String>,
}

impl BearerAuth {
    /// Gives tokens to this user alone.
    pub fn new(user: &str, password: &str) -> Self {
        Self { account: Some((user.into(), password.into())), ..Self::anonymous() }
    }

    /// Gives tokens to everyone.
    pub fn anonymous() -> Self {
        Self {
            account: None,
            expires_in: Some(300),
            realm: None,
            names_scope: true,
            list_action: "pull".into(),
            field: "token".into(),
            identity: None,
        }
    }

    /// How long tokens are said to be good for, in seconds, or nothing said.
    pub fn expires_in(mut self, seconds: Option<u64>) -> Self {
        self.expires_in = seconds;
        self
    }

    /// Names another token server.
    pub fn realm(mut self, url: impl Into<String>) -> Self {
        self.realm = Some(url.into());
        self
    }

    /// Leaves the scope out of challenges.
    pub fn without_scope(mut self) -> Self {
        self.names_scope = false;
        self
    }

    /// Sets the action that listing tags needs: `pull`, or `metadata_read` as on Azure.
    pub fn list_action(mut self, action: &str) -> Self {
        self.list_action = action.into();
        self
    }

    /// Gives tokens to whoever posts this identity token too.
    pub fn identity(mut self, token: &str) -> Self {
        self.identity = Some(token.into());
        self
    }

    /// Sets the field of the answer that has the token: `token` or `access_token`.
    pub fn field(mut self, name: &str) -> Self {
        self.field = name.into();
        self
    }
}

/// The tokens that were given out, with the scopes they are for.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    given: HashMap<String, Vec<String>>,
    count: u64,
    password: Option<String>,
}

/// What the registry thinks of a request.
pub(super) enum Judgement {
    Allowed,
    /// The `WWW-Authenticate` header of the refusal.
    Refused(String),
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.given.clear();
    }

    pub(super) fn set_password(&mut self, password: &str) {
        self.password = Some(password.to_owned());
    }

    fn accepts(&self, user: &str, password: &str, header: Option<&str>) -> bool {
        let password = self.password.as_deref().unwrap_or(password);
        let expected = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        header == Some(expected.as_str())
    }

    /// Gives a token for `scopes`, or nothing when the account is wrong.
    pub(super) fn give(&mut self, auth: &BearerAuth, header: Option<&str>, scopes: Vec<String>) -> Option<String> {
        if let Some((user, password)) = &auth.account
            && !self.accepts(user, password, header)
        {
            return None;
        }
        Some(self.make(scopes))
    }

    /// Gives a token for `scopes` in exchange for an identity token, or nothing when that is not the one.
    pub(super) fn exchange(&mut self, auth: &BearerAuth, identity: &str, scopes: Vec<String>) -> Option<String> {
        if auth.identity.as_deref() == Some(identity) { Some(self.make(scopes)) } else { None }
    }

    /// Accepts a token that was made elsewhere.
    pub(super) fn accept(&mut self, token: &str, scopes: Vec<String>) {
        self.given.insert(token.to_owned(), scopes);
    }

    fn make(&mut self, scopes: Vec<String>) -> String {
        self.count += 1;
        let token = format!("token-{}", self.count);
        self.given.insert(token.clone(), scopes);
        token
    }

    pub(super) fn judge(
        &self,
        auth: &RegistryAuth,
        host: &str,
        header: Option<&str>,
        repository: &str,
        action: &str,
    ) -> Judgement {
        match auth {
            RegistryAuth::Open => Judgement::Allowed,
            RegistryAuth::Basic { user, password } if self.accepts(user, password, header) => Judgement::Allowed,
            RegistryAuth::Basic { .. } => Judgement::Refused("Basic realm=\"registry\"".into()),
            RegistryAuth::Bearer(bearer) => {
                let action = if action == "list" { bearer.list_action.as_str() } else { action };
                let token = header.and_then(|header| header.strip_prefix("Bearer "));
                let scopes = token.and_then(|token| self.given.get(token));
                if scopes.is_some_and(|scopes| scopes.iter().any(|scope| covers(scope, repository, action))) {
                    return Judgement::Allowed;
                }
                let realm = bearer.realm.clone().unwrap_or_else(|| format!("http://{host}/token"));
                let scope = if bearer.names_scope {
                    format!(",scope=\"repository:{repository}:{action}\"")
                } else {
                    String::new()
                };
                Judgement::Refused(format!("Bearer realm=\"{realm}\",service=\"{host}\"{scope}"))
            }
        }
    }
}

fn covers(scope: &str, repository: &str, action: &str) -> bool {
    let Some(granted) = scope.strip_prefix("repository:").and_then(|rest| rest.strip_prefix(repository)) else {
        return false;
    };
    let Some(granted) = granted.strip_prefix(':') else { return false };
    let granted: HashSet<&str> = granted.split(',').collect();
    action.split(',').all(|action| granted.contains(action))
}
