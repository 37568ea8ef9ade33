//! Where plugins publish their keys.

use url::Url;

use super::options::Discovery;

impl Discovery {
    /// The key set of plugin `id`, with which its tokens are verified (`@backstage/backend-defaults`,
    /// `PluginTokenHandler`). `None` where the configured target makes no URL. The caller has checked that `id` is
    /// made of letters, digits, `_` and `-` only.
    pub(super) fn plugin_keys(&self, id: &str) -> Option<Url> {
        Url::parse(&format!("{}/.backstage/auth/v1/jwks.json", self.base_of(id))).ok()
    }

    /// The key set for user tokens, which the auth plugin publishes (`@backstage/backend-defaults`,
    /// `UserTokenHandler`).
    pub(super) fn user_keys(&self) -> Option<Url> {
        Url::parse(&format!("{}/.well-known/jwks.json", self.base_of("auth"))).ok()
    }

    /// Of several endpoints that name the plugin the last counts, one for `*` counts for plugins that none names, and
    /// `{baseUrl}/api/{id}` for the rest (`@backstage/backend-defaults`, `HostDiscovery`).
    fn base_of(&self, id: &str) -> String {
        let named = |name: &str| self.endpoints.iter().rev().find(|e| e.plugins.iter().any(|plugin| plugin == name));
        let base = match named(id).or_else(|| named("*")) {
            Some(endpoint) => fill_in(&endpoint.target, id),
            None => format!("{}/api/{id}", self.base_url.as_str().trim_end_matches('/')),
        };
        base.trim_end_matches('/').to_owned()
    }
}

/// Puts `id` in the place of each `{{pluginId}}` of `target`; white space inside the braces does not matter.
fn fill_in(target: &str, id: &str) -> String {
    let mut filled = String::with_capacity(target.len());
    let mut rest = target;
    while let Some((before, after)) = rest.split_once("{{") {
        filled.push_str(before);
        match after.split_once("}}") {
            Some((name, behind)) if name.trim() == "pluginId" => {
                filled.push_str(id);
                rest = behind;
            }
            _ => {
                filled.push_str("{{");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::options::DiscoveryEndpoint;

    fn discovery(endpoints: &[(&str, &[&str])]) -> Discovery {
        let endpoint = |&(target, plugins): &(&str, &[&str])| DiscoveryEndpoint {
            target: target.to_owned(),
            plugins: plugins.iter().map(|plugin| (*plugin).to_owned()).collect(),
        };
        Discovery {
            base_url: Url::parse("http://backstage:7007/").unwrap(),
            endpoints: endpoints.iter().map(endpoint).collect(),
        }
    }

    #[test]
    fn plugins_live_below_the_base_url() {
        let discovery = discovery(&[]);
        assert_eq!(
            discovery.plugin_keys("techdocs").unwrap().as_str(),
            "http://backstage:7007/api/techdocs/.backstage/auth/v1/jwks.json"
        );
        assert_eq!(discovery.user_keys().unwrap().as_str(), "http://backstage:7007/api/auth/.well-known/jwks.json");
    }

    #[test]
    fn last_endpoint_that_names_the_plugin_counts_then_the_star() {
        let discovery = discovery(&[
            ("http://a/{{pluginId}}", &["x", "y"]),
            ("http://b/{{ pluginId\t}}/{{pluginId}}/", &["x"]),
            ("http://c/{{pluginid}}{{", &["*"]),
        ]);
        assert_eq!(discovery.base_of("x"), "http://b/x/x");
        assert_eq!(discovery.base_of("y"), "http://a/y");
        assert_eq!(discovery.base_of("z"), "http://c/{{pluginid}}{{");
    }
}
