//! A real TechDocs site inside the binary, for the first minute: what is served where no configuration names another.
//!
//! `source/` holds the pages, `site/` what `mkdocs-techdocs-core` made of them, `build.sh` the way from one to the other.

use include_dir::{Dir, include_dir};

use crate::auth::mint::{MintError, PluginClaims, SigningKey};
use crate::auth::{Options, PinnedKeys};
use crate::clock::{Clock, Timestamp};
use crate::storage::EmbeddedStore;

/// The site's entity.
pub const ENTITY: &str = "default/component/callboard";

/// When `build.sh` says that the site was built, in seconds since the Unix epoch: the `build_timestamp` of its metadata.
const BUILT_AT: u64 = 1_795_132_800;

static SITE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/src/sample/site");

/// The plugin whose token is handed out; it is the one that may read by default.
const PLUGIN: &str = "techdocs";

/// Far enough that a token lives as long as any trial; it is worth nothing once the process has ended.
const TOKEN_LIFETIME: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

/// The site, as a store.
pub const fn store() -> EmbeddedStore {
    EmbeddedStore::new(ENTITY, &SITE, BUILT_AT)
}

/// Makes a throw-away key, has `options` trust it, and returns a token signed with it.
///
/// # Errors
/// Where no key can be made.
pub fn trust_throw_away_key(options: &mut Options, clock: &Clock) -> Result<String, MintError> {
    let key = SigningKey::generate()?;
    options.pinned_keys.push(PinnedKeys { plugin: PLUGIN.to_owned(), keys: key.key_set()? });
    let now: Timestamp = clock.now();
    let audience = options.audiences.first().map_or("callboard", String::as_str);
    key.plugin_token(&PluginClaims { sub: PLUGIN, aud: audience, iat: now, exp: now.plus(TOKEN_LIFETIME) })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_site_holds_what_its_metadata_says() {
        let metadata = SITE.get_file("techdocs_metadata.json").unwrap().contents();
        let metadata: Value = serde_json::from_slice(metadata).unwrap();
        assert_eq!(metadata["build_timestamp"], BUILT_AT * 1000);
        let files: Vec<_> = metadata["files"].as_array().unwrap().iter().map(|file| file.as_str().unwrap()).collect();
        assert!(files.contains(&"index.html") && files.contains(&"search/search_index.json"));
        for file in files {
            assert!(SITE.get_file(file).is_some(), "{file}");
        }
    }
}
