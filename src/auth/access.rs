//! Who may read, once it is known who asks.

use super::error::AuthError;
use super::options::AccessRestriction;
use super::principal::{Kind, Principal};

/// The permission that covers reading docs (`@backstage/plugin-catalog-common`): techdocs-backend asks for the entity.
const PERMISSION: &str = "catalog.entity.read";

/// What is done with docs here.
const ACTION: &str = "read";

/// `callboard.auth.allow`.
#[derive(Debug)]
pub(super) struct Access(Vec<Pattern>);

/// One entry: a subject, or the beginning of some.
#[derive(Debug)]
enum Pattern {
    Exact(String),
    Prefix(String),
}

impl Access {
    pub(super) fn new(allow: &[String]) -> Self {
        let pattern = |entry: &String| match entry.strip_suffix('*') {
            Some(prefix) => Pattern::Prefix(prefix.to_owned()),
            None => Pattern::Exact(entry.clone()),
        };
        Self(allow.iter().map(pattern).collect())
    }

    /// Lets `principal` pass if it is listed. A plugin that asks for a user vouches for what it asks, so that it is
    /// enough if the plugin is; where `users` may come by themselves it is enough as well if the user is.
    pub(super) fn admit(&self, principal: &Principal, users: bool) -> Result<(), AuthError> {
        let admitted = match principal.actor() {
            Some(actor) => self.lists(actor) || (users && self.lists_as(principal)),
            None => self.lists_as(principal),
        };
        if admitted {
            return Ok(());
        }
        let actor = principal.actor().map(str::to_owned);
        Err(AuthError::NotAllowed { subject: principal.subject().to_owned(), actor })
    }

    fn lists_as(&self, principal: &Principal) -> bool {
        let subject = principal.subject();
        match principal.kind() {
            // A user's subject is whatever the sign-in resolver chose: it never passes for a plugin or a machine.
            Kind::User if has_prefix_of_a_service(subject) => false,
            // Configured subjects may be listed with the prefix that Backstage's documentation shows them with.
            Kind::External => self.lists(subject) || self.lists(&format!("external:{subject}")),
            _ => self.lists(subject),
        }
    }

    /// Whether the plugin is listed, by its name or under a pattern.
    pub(super) fn welcomes_plugin(&self, id: &str) -> bool {
        self.lists(&format!("plugin:{id}"))
    }

    /// The ids of plugins that are listed by their names.
    pub(super) fn named_plugins(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|pattern| match pattern {
            Pattern::Exact(subject) => subject.strip_prefix("plugin:").filter(|id| is_plugin_id(id)),
            Pattern::Prefix(_) => None,
        })
    }

    fn lists(&self, subject: &str) -> bool {
        self.0.iter().any(|pattern| match pattern {
            Pattern::Exact(exact) => exact == subject,
            Pattern::Prefix(prefix) => subject.starts_with(prefix),
        })
    }
}

fn has_prefix_of_a_service(subject: &str) -> bool {
    subject.starts_with("plugin:") || subject.starts_with("external:")
}

/// Whether `id` may be a plugin's id, and so become part of a URL: `/^[a-z0-9_-]+$/i` (`PluginTokenHandler`,
/// `ALLOWED_PLUGIN_ID_PATTERN`).
pub fn is_plugin_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
}

/// Whether `accessRestrictions` let their token read docs: one entry must be for one of our plugin ids and leave in
/// both the permission and the action that reading docs takes.
pub(super) fn restrictions_allow_reading(restrictions: Option<&[AccessRestriction]>, plugin_ids: &[String]) -> bool {
    let includes = |limit: &Option<Vec<String>>, what: &str| {
        limit.as_ref().is_none_or(|limit| limit.iter().any(|limited_to| limited_to == what))
    };
    restrictions.is_none_or(|restrictions| {
        restrictions.iter().any(|entry| {
            plugin_ids.contains(&entry.plugin)
                && includes(&entry.permissions, PERMISSION)
                && includes(&entry.actions, ACTION)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    const LATER: Timestamp = Timestamp::from_secs(1);

    fn admits(allow: &str, principal: &Principal) -> bool {
        Access::new(&[allow.to_owned()]).admit(principal, false).is_ok()
    }

    #[test]
    fn entries_match_whole_subjects_or_with_a_star_their_beginning() {
        let techdocs = Principal::plugin("techdocs", LATER);
        for (allow, admitted) in [
            ("plugin:techdocs", true),
            ("plugin:tech*", true),
            ("plugin:*", true),
            ("*", true),
            ("plugin:tech", false),
            ("techdocs", false),
            ("plugin:techdocs2", false),
            ("Plugin:techdocs", false),
        ] {
            assert_eq!(admits(allow, &techdocs), admitted, "{allow}");
        }
    }

    #[test]
    fn users_never_pass_for_plugins_or_machines() {
        assert!(admits("user:default/*", &Principal::user("user:default/jane", false, LATER)));
        assert!(!admits("plugin:techdocs", &Principal::user("plugin:techdocs", false, LATER)));
        assert!(!admits("external:*", &Principal::user("external:ci", false, LATER)));
    }

    #[test]
    fn actor_is_enough_and_so_is_the_user_where_users_are_let_in() {
        let jane = || Principal::user("user:default/jane", true, LATER);
        let through_techdocs = jane().through(Principal::plugin("techdocs", LATER));
        assert!(admits("plugin:techdocs", &through_techdocs));
        assert!(!through_techdocs.limited());
        let only_jane = Access::new(&["user:default/jane".to_owned()]);
        assert!(only_jane.admit(&through_techdocs, true).is_ok());
        assert!(only_jane.admit(&through_techdocs, false).is_err());
    }

    #[test]
    fn configured_subjects_are_listed_with_or_without_prefix() {
        let ci = Principal::external("ci".to_owned(), None);
        assert!(admits("ci", &ci) && admits("external:ci", &ci) && !admits("external:c", &ci));
    }

    #[test]
    fn restrictions_must_leave_in_reading_docs() {
        let ids = ["techdocs".to_owned(), "callboard".to_owned()];
        let list = |items: &[&str]| Some(items.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>());
        let entry =
            |plugin: &str, permissions, actions| AccessRestriction { plugin: plugin.to_owned(), permissions, actions };
        for (entries, allowed) in [
            (vec![], false),
            (vec![entry("techdocs", None, None)], true),
            (vec![entry("catalog", None, None)], false),
            (vec![entry("catalog", None, None), entry("callboard", None, None)], true),
            (vec![entry("techdocs", list(&["catalog.entity.read"]), None)], true),
            (vec![entry("techdocs", list(&["catalog.entity.delete"]), None)], false),
            (vec![entry("techdocs", None, list(&["create", "read"]))], true),
            (vec![entry("techdocs", None, list(&["create"]))], false),
            (vec![entry("techdocs", list(&["catalog.entity.read"]), list(&["delete"]))], false),
        ] {
            assert_eq!(restrictions_allow_reading(Some(&entries), &ids), allowed, "{entries:?}");
        }
        assert!(restrictions_allow_reading(None, &ids));
    }
}
