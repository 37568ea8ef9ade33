//! Who is asking.

use crate::clock::Timestamp;

/// A caller whose credential was verified and who may read. There is no other way to get one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    subject: String,
    kind: Kind,
    actor: Option<String>,
    limited: bool,
    expires_at: Option<Timestamp>,
    recheck_at: Option<Timestamp>,
}

/// What sort of caller it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Anyone at all, where authentication is switched off.
    Anonymous,
    /// A Backstage plugin.
    Plugin,
    /// An external caller from `backend.auth.externalAccess`.
    External,
    /// A Backstage user, by itself or through a plugin.
    User,
}

impl Principal {
    fn new(subject: String, kind: Kind, expires_at: Option<Timestamp>) -> Self {
        Self { subject, kind, actor: None, limited: false, expires_at, recheck_at: None }
    }

    /// Whoever asks where authentication is not required.
    pub(super) fn anonymous() -> Self {
        Self::new("anonymous".to_owned(), Kind::Anonymous, None)
    }

    pub(super) fn plugin(id: &str, expires_at: Timestamp) -> Self {
        Self::new(format!("plugin:{id}"), Kind::Plugin, Some(expires_at))
    }

    pub(super) fn external(subject: String, expires_at: Option<Timestamp>) -> Self {
        Self::new(subject, Kind::External, expires_at)
    }

    pub(super) fn user(entity_ref: &str, limited: bool, expires_at: Timestamp) -> Self {
        Self { limited, ..Self::new(entity_ref.to_owned(), Kind::User, Some(expires_at)) }
    }

    /// The same user, with `plugin` acting on its behalf no longer than the plugin's own token lasts. The plugin
    /// vouches for what it asks for, so that the user's token being a limited one limits nothing.
    pub(super) fn through(self, plugin: Self) -> Self {
        let expires_at = [self.expires_at, plugin.expires_at].into_iter().flatten().min();
        let recheck_at = [self.recheck_at, plugin.recheck_at].into_iter().flatten().min();
        Self { actor: Some(plugin.subject), limited: false, expires_at, recheck_at, ..self }
    }

    /// The same caller, verified with keys that are read again at `recheck_at`.
    pub(super) fn verified_until(self, recheck_at: Option<Timestamp>) -> Self {
        Self { recheck_at, ..self }
    }

    /// When the keys that made the credential good are to be read again; `None` for those that aren't fetched.
    pub(super) const fn recheck_at(&self) -> Option<Timestamp> {
        self.recheck_at
    }

    /// Who it is: `plugin:techdocs`, an external caller's configured subject, `external:ci:build`,
    /// `user:default/jane` or `anonymous`. It is as its issuer wrote it: to be escaped where it is printed.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// What sort of caller it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The plugin that asks on the user's behalf, as `plugin:{id}`.
    pub fn actor(&self) -> Option<&str> {
        self.actor.as_deref()
    }

    /// Whether it is a user known by a limited token, which is good for static files only.
    pub const fn limited(&self) -> bool {
        self.limited
    }

    /// When the credential runs out, tolerance not counted; `None` for configured tokens, which don't.
    pub const fn expires_at(&self) -> Option<Timestamp> {
        self.expires_at
    }

    /// Whether the user's own token was shown, and not a plugin's.
    pub(super) fn is_user_in_person(&self) -> bool {
        self.kind == Kind::User && self.actor.is_none()
    }
}
