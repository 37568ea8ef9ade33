use proptest::prelude::*;

use super::*;
use crate::docs::Layout;

fn locator(case_sensitive_triplet: bool) -> Locator {
    Locator::new(Options { case_sensitive_triplet })
}

fn key(path: &str) -> Option<String> {
    locator(false).locate(path).map(|route| route.key.to_string())
}

#[test]
fn every_mount_leads_to_the_same_key() {
    for mount in ["", "/api/techdocs", "/api/callboard"] {
        let path = format!("{mount}/static/docs/Default/Component/Shop/Guide/A%20b.html");
        assert_eq!(key(&path).as_deref(), Some("default/component/shop/Guide/A b.html"));
    }
    assert_eq!(key("/api/other/static/docs/a/b/c/d"), None);
}

#[test]
fn metadata_names_the_publishers_file() {
    let route = locator(false).locate("/metadata/techdocs/default/Component/shop").unwrap();
    assert_eq!(route.class, RouteClass::Metadata);
    assert_eq!(route.key.as_str(), "default/component/shop/techdocs_metadata.json");
    assert_eq!(route.key.site(), "default/component/shop");
    for longer in ["/metadata/techdocs/default/component/shop/", "/metadata/techdocs/default/component/shop/more"] {
        assert_eq!(key(longer), None);
    }
}

#[test]
fn a_key_knows_its_parts() {
    let route = locator(true).locate("/static/docs/NS/Kind/Name/a/b.css").unwrap();
    assert_eq!(route.key.site(), "NS/Kind/Name");
    assert_eq!(route.key.file(), "a/b.css");
    assert_eq!(route.key.file_name(), "b.css");
}

#[test]
fn an_entitys_site_is_where_readers_find_it() {
    let entity: EntityRef = "Component:Shop".parse().unwrap();
    let site = locator(false).site(&entity).unwrap();
    assert_eq!(site.as_str(), "default/component/shop/techdocs_metadata.json");
    assert_eq!(locator(true).site(&entity).unwrap().site(), "default/Component/Shop");
    // Names are not decoded again.
    assert_eq!(locator(false).site(&"a:b%2e".parse().unwrap()).unwrap().site(), "default/a/b%2e");
}

#[test]
fn what_is_stored_belongs_to_the_site_that_readers_find() {
    let site = |stored: &str| locator(false).site_of(stored).map(|key| key.site().to_owned());
    for stored in ["d/c/s/index.html", "d/c/s/a/b.css", "d/c/s"] {
        assert_eq!(site(stored).as_deref(), Some("d/c/s"), "{stored}");
    }
    for elsewhere in ["d/c", "D/c/s/x", "d//s/x", "d/../s/x", "docs", ""] {
        assert_eq!(site(elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn a_prefix_is_spelled_like_the_keys_that_begin_with_it() {
    assert_eq!(locator(false).prefix("Default/Component/"), "default/component/");
    assert_eq!(locator(false).prefix("/Team-A/api/Orders/Guide/"), "team-a/api/orders/Guide/");
    assert_eq!(locator(true).prefix("Default"), "Default");
    assert_eq!(locator(false).prefix(""), "");
}

#[test]
fn what_leaves_the_entitys_folder_is_not_found() {
    for path in ["../x", "%2e%2e/x", "a/../../x", "../other/x", "../../../../../x", "../shop2/x", "..", "a/..", "."] {
        assert_eq!(key(&format!("/static/docs/default/component/shop/{path}")), None, "{path}");
    }
    let back = key("/static/docs/default/component/shop/../shop/x");
    assert_eq!(back.as_deref(), Some("default/component/shop/x"));
}

#[test]
fn nearly_all_paths_go_the_short_way() {
    assert_eq!(names_its_key("default/component/shop/guide/index.html"), Some(22));
    for long in ["d/c/S/x", "d/c/s/a//b", "d/c/s/.x", "d/c/s/x/", "d/c/s/%20", "d/c/s/é", "/c/s/x", "d/c/s", "d/c/s/"]
    {
        assert_eq!(names_its_key(long), None, "{long}");
    }
}

#[test]
fn names_are_decoded_once_and_fully() {
    let decoded = |segment: &str| key(&format!("/static/docs/d/c/s/{segment}"));
    assert_eq!(decoded("%23%3F%2B%26").as_deref(), Some("d/c/s/#?+&"));
    assert_eq!(decoded("%2525").as_deref(), Some("d/c/s/%25"));
    assert_eq!(decoded("a//b///c").as_deref(), Some("d/c/s/a/b/c"));
    for bad in ["%zz", "%", "%4", "%ff", "%00", "%0a", "%5c", "%2f", "%c0%af", "a%2Fb", "%C2%80", "", "a/"] {
        assert_eq!(decoded(bad), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn the_short_way_leads_where_the_long_one_does(path in "([a-zA-C~ -]{0,3}[/.%\\\\]{0,2}){0,8}") {
        if let Some(entity_end) = names_its_key(&path) {
            let short = StorageKey::new(path.clone(), entity_end);
            let long = locator(false).resolve(RouteClass::Static, &path).map(|route| route.key);
            prop_assert_eq!(Some((short.as_str(), short.site())), long.as_ref().map(|key| (key.as_str(), key.site())));
        }
    }

    #[test]
    fn a_key_never_leaves_its_entity(path in "(/static/docs|/metadata/techdocs)?[/.a-cA%2eEfF\\\\0-9éß]{0,60}") {
        if let Some(route) = locator(false).locate(&path) {
            let key = route.key.as_str();
            prop_assert!(key.split('/').all(|segment| !matches!(segment, "" | "." | "..")));
            prop_assert!(!key.contains(|c: char| c.is_control() || c == '\\'));
            prop_assert_eq!(route.key.site().split('/').count(), 3);
            prop_assert!(!route.key.file().is_empty());
            for root_path in ["", "root/docs"] {
                let layout = Layout { root_path: root_path.to_owned(), case_sensitive_triplet: false };
                let name = layout.place(&route.key);
                prop_assert_eq!(layout.seen_from_root(name.as_str()), Some(key));
            }
        }
    }
}
