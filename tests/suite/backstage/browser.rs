//! The published TechDocs reader in a real browser: what somebody sees who reads the documentation, and what when it
//! can't be read. That reader shows a page only once its style sheet has come, and waits for it forever.

use super::{path_of, s3_publisher};
use crate::support::browser::{Browser, Seen};
use crate::support::relay::{Relay, Way};
use crate::support::servers::Server;
use crate::support::stage::{Plan, Stage};
use crate::support::until;

/// The app that the browser opens, and the search, which reads each site's index through Callboard.
const SECTIONS: &str = "\
app: { packageName: callboard-techdocs-reader, disableStaticFallbackCache: true }
search: { collators: { techdocs: { schedule: { frequency: PT5S, timeout: PT1M, initialDelay: PT1S } } } }
";

const LARGE: &str = "/docs/default/component/large-site";
/// The same documentation, within the entity's page in the catalog.
const LARGE_IN_CATALOG: &str = "/catalog/default/component/large-site/docs";
const SMALL: &str = "/docs/default/component/Small-Site";

const CANT_BE_READ: &str = "The documentation can't be read right now";

#[tokio::test(flavor = "multi_thread")]
async fn readers_see_the_documentation_or_why_they_can_not() {
    let s3 = Server::s3().await;
    let storage = Relay::to(s3.said("/endpoint").strip_prefix("http://").unwrap().parse().unwrap()).await;
    let publisher = s3_publisher(&s3.ready, &format!("http://{}", storage.address));
    let callboard = "  storage: { timeout: 2s }";
    let plan = Plan { publisher, module: Some("timeout: 3s"), callboard, sections: SECTIONS, ..Plan::default() };
    let stage = Stage::set(plan).await;
    let mut browser = Browser::start(stage.backend.said("/url")).await;

    one_page_leads_to_another(&mut browser).await;
    search_finds_a_page(&mut browser, &stage).await;
    the_catalog_shows_it_too(&mut browser).await;
    what_is_not_there_is_not_found(&mut browser).await;
    // Of this site only a page is cached, and nothing that belongs to it.
    assert_eq!(stage.status(&path_of("default/component/Small-Site", "index.html")).await, 200);
    storage.set(Way::Refuse);
    what_is_cached_shows_without_storage(&mut browser).await;
    what_is_not_cached_says_why(&mut browser).await;
    storage.set(Way::Pass);
    let index = path_of("default/component/large-site", "section-03/index.html");
    until(async || stage.status(&index).await == 200).await;
    browser.open(&format!("{LARGE}/section-03/")).await.is_article("Section 3");

    stage.relay.set(Way::Hang);
    says(&mut browser, "callboard-hangs", "Callboard did not answer in time").await;
    stage.relay.set(Way::Refuse);
    says(&mut browser, "callboard-down", "Callboard can't be reached").await;
    stage.relay.set(Way::Pass);
    browser.open(LARGE).await.is_article("A large site");
    let suspicious = stage.understudy_told("  auth: { audiences: [somebody-else] }\n");
    stage.relay.set(Way::Refuse);
    until(async || stage.status(&index).await == 502).await;
    stage.relay.redirect(suspicious.address);
    stage.relay.set(Way::Pass);
    says(&mut browser, "token-refused", "Callboard refuses this backend's token").await;
    browser.close().await;
}

async fn one_page_leads_to_another(browser: &mut Browser) {
    let first = browser.open(LARGE).await;
    first.is_article("A large site");
    browser.picture("first").await;
    browser.click("Section 01").await.is_article("Section 1");
    let page = browser.click("Page 1.4").await;
    assert!(page.is_article("Page 1.4").images() > 0);
    browser.picture("page").await;
    // The page does not come over the wire again, and after its style sheet nobody has to ask.
    assert_eq!(browser.back().await.is_article("Section 1").statuses(), [304]);
}

async fn search_finds_a_page(browser: &mut Browser, stage: &Stage) {
    let query = format!("{}/api/search/query?term=tilde&types[0]=techdocs", stage.backend.said("/url"));
    until(async || {
        let found = reqwest::Client::new().get(&query).bearer_auth(&stage.reader.token).send().await.unwrap();
        found.text().await.unwrap().contains("tilde~dollar$star")
    })
    .await;
    let title = "Called: tilde~dollar$star";
    browser.search("tilde", title).await.is_article(title);
    browser.picture("found").await;
}

async fn the_catalog_shows_it_too(browser: &mut Browser) {
    browser.open(LARGE_IN_CATALOG).await.is_article("A large site");
    browser.picture("in-the-catalog").await;
}

async fn what_is_not_there_is_not_found(browser: &mut Browser) {
    browser.open(&format!("{LARGE}/no-such-page/")).await.is_not_found();
}

async fn what_is_cached_shows_without_storage(browser: &mut Browser) {
    browser.visitor().await;
    browser.open(LARGE).await.is_article("A large site");
    assert!(browser.open(&format!("{LARGE}/section-01/page-04/")).await.is_article("Page 1.4").images() > 0);
    // A style sheet of the module's own stands in for one that can't be had.
    browser.open(SMALL).await.reads("A small site");
    browser.picture("without-its-style-sheet").await;
}

async fn what_is_not_cached_says_why(browser: &mut Browser) {
    let seen = browser.open(&format!("{LARGE}/section-03/")).await;
    cant_be_read(&seen, "Storage");
    browser.picture("storage-down").await;
    // The way there is from another page, too.
    browser.open(LARGE).await.is_article("A large site");
    cant_be_read(&browser.click("Section 04").await, "Storage");
    browser.back().await.is_article("A large site");
}

/// Somebody who has read a page before finds this instead, and so does somebody new.
async fn says(browser: &mut Browser, name: &str, why: &str) {
    cant_be_read(&browser.open(LARGE).await, why);
    browser.picture(name).await;
    cant_be_read(&browser.open(LARGE_IN_CATALOG).await, why);
    browser.visitor().await;
    cant_be_read(&browser.open(&format!("{LARGE}/section-01/")).await, why);
}

#[track_caller]
fn cant_be_read(seen: &Seen, why: &str) {
    seen.reads(CANT_BE_READ);
    assert!(seen.text().contains(why), "{}", seen.text());
}
