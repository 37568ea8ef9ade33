//! Azure Blob Storage: Azurite, which checks signatures, and tokens but for who signed them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use callboard::storage::StoreError;
use object_store::ObjectStoreExt;

use super::contract;
use crate::support::azure::Azurite;
use crate::support::entra::{CLIENT, Entra, IDENTITY_HEADER, TENANT, federated_token, good_federated_token};
use crate::support::load::{Load, Page, Place};
use crate::support::relay::Relay;
use crate::support::{Callboard, Told, until};

const PAGE: &str = "default/component/shop/index.html";

/// Storage is asked each time, and what is held is served while it fails.
const ALWAYS_ASKED: &str = "  cache: { freshFor: 0s, staleWhileRevalidate: 0s, staleIfError: 1h }\n  \
    storage: { breaker: { failures: 3, pause: 100ms, longestPause: 200ms } }\n";

/// Longer than a test takes, and so short that several pass while a test watches.
const HOUR: Duration = Duration::from_secs(3600);
const SHORT: Duration = Duration::from_secs(6);

#[tokio::test]
async fn azure_does_what_every_store_does() {
    let azurite = Azurite::start().await;
    contract::publish(&azurite.owner()).await;
    let through = |relay: &Relay| {
        azurite.publisher(&format!("http://{}/techdocs", relay.address), contract::ROOT, &azurite.with_key())
    };
    let relay = Relay::to(azurite.address()).await;
    let store = contract::store(&through(&relay));
    contract::holds(&*store).await;
    contract::bears_bad_networks(store, &relay, Duration::from_secs(5)).await;
    let relay = Relay::to(azurite.address()).await;
    let held = contract::connections_for_many_misses(&through(&relay), &relay).await;
    assert!(held <= 80, "{held} connections: 64 places for readers, 16 for what nobody waits for");
}

#[tokio::test]
async fn whoever_may_not_read_is_told_why_and_a_missing_container_is_an_outage() {
    let azurite = Azurite::start().await;
    let name = format!("{}/{PAGE}", contract::ROOT);
    azurite.owner().put(&object_store::path::Path::parse(name).unwrap(), "page".into()).await.unwrap();
    let store = |access: &str| contract::store(&azurite.publisher(azurite.endpoint(), contract::ROOT, access));

    let reader = store(&azurite.signature("rl", 600));
    assert_eq!(contract::read(&*reader, PAGE).await.unwrap(), "page");
    assert_eq!(reader.list(contract::ROOT, 10).await.unwrap().len(), 1);
    let unlisting = store(&azurite.signature("r", 600));
    assert_eq!(contract::read(&*unlisting, PAGE).await.unwrap(), "page");
    let refused = unlisting.list(contract::ROOT, 10).await.unwrap_err();
    assert!(matches!(refused, StoreError::Denied(_)), "{refused:?}");

    let expired = azurite.signature("rl", -60);
    let forged = azurite.signature("rl", 600).replace("sig=", "sig=AA");
    for (what, access, reason) in [
        ("another key", "AccountKey=c2VzYW1l", "AuthorizationFailure"),
        ("expired", expired.as_str(), "AuthorizationFailure"),
        ("forged", &forged, "AuthorizationFailure"),
    ] {
        let store = store(access);
        for refused in [
            contract::read(&*store, PAGE).await.unwrap_err(),
            store.stat(&contract::layout().place(&contract::key(PAGE))).await.unwrap_err(),
            store.list(contract::ROOT, 10).await.unwrap_err(),
        ] {
            assert!(matches!(refused, StoreError::Denied(_)), "{what}: {refused:?}");
            let told = callboard::chain::chain(&refused);
            assert!(told.contains(reason) && !told.contains("sig="), "{what}: {told}");
        }
    }

    let nowhere = azurite.publisher_of("nowhere", azurite.endpoint(), contract::ROOT, &azurite.with_key());
    let nowhere = contract::store(&nowhere);
    for failed in [
        contract::read(&*nowhere, PAGE).await.unwrap_err(),
        nowhere.stat(&contract::layout().place(&contract::key(PAGE))).await.unwrap_err(),
        nowhere.list(contract::ROOT, 10).await.unwrap_err(),
        nowhere.folders(contract::ROOT, 10).await.unwrap_err(),
    ] {
        assert!(matches!(failed, StoreError::Unavailable(_)), "{failed:?}");
        assert!(callboard::chain::chain(&failed).contains("ContainerNotFound"), "{failed:?}");
    }
    // What a reader writes into the address is no word of Azure's.
    for name in ["ContainerNotFound.html", "NoSuchBucket", "403 Forbidden"] {
        let absent = contract::read(&*reader, &format!("default/component/shop/{name}")).await;
        assert!(matches!(absent, Err(StoreError::Absent)), "{name}: {absent:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_that_techdocs_cli_published_is_read_back_byte_for_byte_with_every_kind_of_token() {
    let azurite = Azurite::published().await;
    let entra = Entra::start("sesame", HOUR).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, good_federated_token()).unwrap();
    let (file, machine) = (file.to_str().unwrap(), format!("http://{}", entra.address));
    let beside = format!("{machine}/msi/token");
    let application = [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT)];
    let files = azurite.files();
    assert!(files.iter().filter(|file| file.ends_with(".html")).count() >= 200, "{}", files.len());
    for (which, variables) in [
        [&application[..], &[("AZURE_CLIENT_SECRET", "sesame")]].concat(),
        [&application[..], &[("AZURE_FEDERATED_TOKEN_FILE", file)]].concat(),
        vec![("AZURE_POD_IDENTITY_AUTHORITY_HOST", machine.as_str()), ("AZURE_CLIENT_ID", CLIENT)],
        vec![("IDENTITY_ENDPOINT", beside.as_str()), ("IDENTITY_HEADER", IDENTITY_HEADER)],
    ]
    .into_iter()
    .enumerate()
    {
        let callboard = callboard(&azurite, &entra, &variables, "").await;
        // The whole site once, and then what shows that the token was taken.
        let files = if which == 0 { &files[..] } else { &files[..3] };
        for file in files {
            let answer = callboard.get(&azurite.path_of(file)).send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200, "{variables:?} {file}");
            let expected = azurite.contents(file);
            assert!(answer.bytes().await.unwrap() == expected, "{file} came otherwise than it was published");
        }
        callboard.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_renewed_ahead_of_their_end_and_a_changed_secret_is_lived_through() {
    let azurite = Azurite::published().await;
    let entra = Entra::start("sesame", SHORT).await;
    let variables = [("AZURE_TENANT_ID", TENANT), ("AZURE_CLIENT_ID", CLIENT), ("AZURE_CLIENT_SECRET", "sesame")];
    let callboard = callboard(&azurite, &entra, &variables, ALWAYS_ASKED).await;
    let load = load(&callboard, &azurite).await;
    until(async || entra.given() >= 3).await;
    load.goes_on(20).await;
    let denied = async || denials(&callboard).await;
    assert_eq!(denied().await, 0.0, "no request met a token that had run out");

    entra.change_secret("open, sesame");
    until(async || denied().await > 0.0).await;
    load.goes_on(20).await;
    until(async || {
        let (status, told) = readiness(&callboard).await;
        status == 503 && told.contains("AADSTS7000215: Invalid client secret provided.") && !told.contains("sesame")
    })
    .await;
    assert!(entra.refused() > 0);

    entra.change_secret("sesame");
    until(async || readiness(&callboard).await.0 == 200).await;
    entra.fails_with(Some(503));
    load.goes_on(20).await;
    entra.fails_with(None);
    load.goes_on(20).await;
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federated_token_is_read_anew_each_time() {
    let azurite = Azurite::published().await;
    let entra = Entra::start("sesame", SHORT).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, federated_token("system:serviceaccount:docs:somebody-else")).unwrap();
    let variables = [
        ("AZURE_TENANT_ID", TENANT),
        ("AZURE_CLIENT_ID", CLIENT),
        ("AZURE_FEDERATED_TOKEN_FILE", file.to_str().unwrap()),
    ];
    let callboard = callboard(&azurite, &entra, &variables, ALWAYS_ASKED).await;
    let page = azurite.path_of("index.html");
    let status = async || callboard.get(&page).send().await.unwrap().status().as_u16();
    assert_eq!(status().await, 502);
    std::fs::write(&file, good_federated_token()).unwrap();
    until(async || status().await == 200).await;
    std::fs::remove_file(&file).unwrap();
    until(async || readiness(&callboard).await.1.contains("can't be read")).await;
    assert_eq!(status().await, 200, "what is held is served");
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_runs_out_is_lived_through_under_load() {
    let azurite = Azurite::published().await;
    let callboard = callboard_with(&azurite, &azurite.signature("rl", 20)).await;
    let load = load(&callboard, &azurite).await;
    assert_eq!(readiness(&callboard).await.0, 200);
    until(async || denials(&callboard).await > 0.0).await;
    load.goes_on(50).await;
    until(async || {
        let (status, told) = readiness(&callboard).await;
        status == 503 && told.contains("AuthorizationFailure") && !told.contains("sig=")
    })
    .await;
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
    callboard.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_key_and_a_dead_server_are_lived_through_under_load() {
    let mut azurite = Azurite::published().await;
    let callboard = callboard_with(&azurite, &azurite.with_key()).await;
    let load = load(&callboard, &azurite).await;

    azurite.server.tell("kill").await;
    until(async || callboard.metric("callboard_storage_breaker_openings_total", &[]).await > 0.0).await;
    load.goes_on(50).await;
    azurite.server.tell("start").await;
    let (metadata, missed) = (azurite.path_of("techdocs_metadata.json"), azurite.path_of("sitemap.xml"));
    let status = async |path: &str| callboard.get(path).send().await.unwrap().status().as_u16();
    until(async || status(&metadata).await == 200).await;
    assert_eq!(denials(&callboard).await, 0.0);

    azurite.server.tell("rekey b3RoZXI=").await;
    until(async || denials(&callboard).await > 0.0).await;
    load.goes_on(50).await;
    until(async || readiness(&callboard).await.0 == 503).await;
    assert_eq!(status(&missed).await, 502);
    let (failures, answers) = load.stop().await;
    assert!(failures.is_empty(), "{failures:?} of {answers}");
    callboard.stop().await;
}

/// Prints what a miss costs beside what the client alone takes; machines differ too much to hold it to a number.
#[tokio::test(flavor = "multi_thread")]
async fn a_miss_costs_about_what_the_bare_client_takes() {
    const ROUNDS: u32 = 200;
    let azurite = Azurite::start().await;
    contract::publish(&azurite.owner()).await;
    let publisher = azurite.publisher(azurite.endpoint(), contract::ROOT, &azurite.with_key());
    let store = contract::store(&publisher);
    let callboard = Callboard::told(Told { publisher: Some(publisher), ..Told::default() }).await;
    let (mut bare, mut missed) = (Duration::ZERO, Duration::ZERO);
    for number in 0..ROUNDS {
        let path = format!("default/component/shop/many/{number}.html");
        let start = Instant::now();
        let alone = contract::read(&*store, &path).await.unwrap();
        bare += start.elapsed();
        let start = Instant::now();
        let answer = callboard.get(&format!("/static/docs/{path}")).send().await.unwrap();
        assert_eq!(answer.bytes().await.unwrap(), alone);
        missed += start.elapsed();
    }
    println!(
        "Azure: the client alone {:?}, a miss {:?}, {:.2} times as long",
        bare / ROUNDS,
        missed / ROUNDS,
        missed.as_secs_f64() / bare.as_secs_f64()
    );
}

/// A Callboard whose connection string ends in `access`, and which asks Azurite each time.
async fn callboard_with(azurite: &Azurite, access: &str) -> Callboard {
    let publisher = Some(azurite.publisher(azurite.endpoint(), "/", access));
    let section = format!("{}{ALWAYS_ASKED}", azurite.trust());
    Callboard::told(Told { publisher, section: &section, in_real_time: true, ..Told::default() }).await
}

/// A Callboard that is known to Azurite by the tokens that `variables` get it from `entra`.
async fn callboard(azurite: &Azurite, entra: &Entra, variables: &[(&str, &str)], section: &str) -> Callboard {
    let authority: SocketAddr = azurite.authority.as_ref().unwrap().relay(entra.address).await;
    let ours = format!(
        "azure: {{ endpoint: '{}', authorityHost: 'https://localhost:{}' }}",
        azurite.endpoint(),
        authority.port()
    );
    let section = if section.contains("storage: {") {
        section.replace("storage: {", &format!("storage: {{ {ours},"))
    } else {
        format!("{section}  storage: {{ {ours} }}\n")
    };
    let section = format!("{}{section}", azurite.trust());
    let publisher = Some(azurite.publisher_for_identity());
    Callboard::told(Told { publisher, section: &section, variables, in_real_time: true, ..Told::default() }).await
}

/// Readers of some pages that are held already.
async fn load(callboard: &Callboard, azurite: &Azurite) -> Load {
    let files = azurite.files().into_iter().filter(|file| is_plain(file)).take(8);
    let pages: Arc<[Page]> = files.map(|file| (file.clone(), azurite.contents(&file))).collect();
    for (file, body) in pages.iter() {
        let answer = callboard.get(&azurite.path_of(file)).send().await.unwrap();
        assert!(answer.bytes().await.unwrap() == *body, "{file}");
    }
    let base = format!("http://{}{}", callboard.address, azurite.path_of(""));
    let place = Place { base, token: callboard.backstage.token() };
    let load = Load::start(&[place], &pages, 4).await;
    load.goes_on(20).await;
    load
}

/// A page whose name can stand in an address as it is.
fn is_plain(file: &str) -> bool {
    file.ends_with(".html") && file.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.".contains(&byte))
}

async fn denials(callboard: &Callboard) -> f64 {
    callboard.metric("callboard_storage_operation_duration_seconds_count", &["result=\"denied\""]).await
}

/// As the admin listener tells it, which says why.
async fn readiness(callboard: &Callboard) -> (u16, String) {
    let url = format!("http://{}/.backstage/health/v1/readiness", callboard.admin);
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}
