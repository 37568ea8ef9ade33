//! Where credentials for S3 come from: every link of the chain, with the program's own environment, against small servers
//! that check what AWS checks.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path as ObjectPath;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::support::aws_cloud::{ACCOUNT, AwsCloud, REGION, ROLE, SITE, USER, service_account_token};
use crate::support::pki::Authority;
use crate::support::servers::Server;
use crate::support::service::{Home, Service};
use crate::support::sigv4::hex;
use crate::support::until;
use crate::trust::proxy;

/// A home that reads the bucket of `cloud`, and asks its STS.
async fn home(cloud: &AwsCloud, beside: &str, more: &str) -> Home {
    let home = Home::new(&cloud.publisher(beside), more).await;
    home.set("AWS_REGION", REGION).set("AWS_ENDPOINT_URL_STS", cloud.url())
}

/// That `check` reads the bucket, with a credential that was found at `place`.
async fn finds(home: &Home, place: &str) {
    let (said, is_content) = home.check().await;
    let found = "ok       credential: for S3 bucket docs at";
    assert!(is_content && said.contains(found) && said.contains(place), "{place} in:\n{said}");
    assert!(said.contains("1 sites: default/component/shop"), "{said}");
    assert!(!said.contains("shh") && !said.contains(USER.1), "{said}");
}

/// That `check` says why there is no credential.
async fn fails(home: &Home, reasons: &[&str]) {
    let (said, is_content) = home.check().await;
    assert!(!is_content && said.contains("FAILED   credential: for S3 bucket docs at"), "{said}");
    for reason in reasons {
        assert!(said.contains(reason), "{reason} in:\n{said}");
    }
    assert!(!said.contains("shh") && !said.contains(USER.1), "{said}");
}

fn user_keys() -> String {
    format!("accessKeyId: {}, secretAccessKey: '{}'", USER.0, USER.1)
}

#[tokio::test]
async fn the_environment_is_the_first_link() {
    let cloud = AwsCloud::start().await;
    let [id, secret, token] = cloud.session();
    let home = home(&cloud, "", "").await;
    let home = home.set("AWS_ACCESS_KEY_ID", id).set("AWS_SECRET_ACCESS_KEY", secret).set("AWS_SESSION_TOKEN", token);
    finds(&home, "the environment (AWS_ACCESS_KEY_ID").await;
}

#[tokio::test]
async fn profiles_have_keys_or_a_role_that_another_profile_assumes() {
    let cloud = AwsCloud::start().await;
    let (id, secret) = cloud.reader();
    let home = home(&cloud, "", "").await.set("AWS_PROFILE", "docs");
    home.write(".aws/credentials", &format!("[docs]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n"));
    finds(&home, "the profile of AWS_PROFILE").await;
    assert_eq!(cloud.calls("sts"), 0);

    let user = format!("[base]\naws_access_key_id = {}\naws_secret_access_key = {}\n", USER.0, USER.1);
    home.write(".aws/credentials", &user);
    cloud.ask_for(Some("from outside"), "docs");
    let profile = format!(
        "[profile docs]\nrole_arn = {ROLE}\nsource_profile = base\nexternal_id = from outside\nrole_session_name = docs\n"
    );
    home.write(".aws/config", &profile);
    finds(&home, "the profile of AWS_PROFILE").await;
    assert_eq!(cloud.calls("sts"), 1);
}

#[tokio::test]
async fn the_region_may_stand_in_the_environment_or_the_profile() {
    let cloud = AwsCloud::start().await;
    let (id, secret) = cloud.reader();
    let publisher = cloud.publisher("").replace(&format!("region: {REGION}, "), "");
    let home = Home::new(&publisher, "").await;
    let keys = format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n");
    home.write(".aws/credentials", &keys);
    let (said, is_content) = home.check().await;
    assert!(!is_content && said.contains("SignatureDoesNotMatch"), "us-east-1 is not where it is: {said}");
    home.write(".aws/config", &format!("[default]\nregion = {REGION}\n"));
    finds(&home, "the profile of AWS_PROFILE").await;
    home.write(".aws/config", "");
    finds(&home.set("AWS_DEFAULT_REGION", REGION), "the profile of AWS_PROFILE").await;
}

#[tokio::test]
async fn a_profile_may_name_a_web_identity_or_sso() {
    let cloud = AwsCloud::start().await;
    let home = home(&cloud, "", "aws: { mainAccount: { profile: docs } }\n").await;
    let home = home.set("AWS_ENDPOINT_URL_SSO", cloud.url());
    let token = home.write("token", &service_account_token("sts.amazonaws.com"));
    cloud.ask_for(None, "docs");
    let profile =
        format!("[profile docs]\nrole_arn = {ROLE}\nweb_identity_token_file = {token}\nrole_session_name = docs\n");
    home.write(".aws/config", &profile);
    finds(&home, "the profile docs in AWS's files").await;

    let profile = format!(
        "[profile docs]\nsso_session = work\nsso_account_id = {ACCOUNT}\nsso_role_name = docs-reader\n\
         [sso-session work]\nsso_start_url = https://work.awsapps.com/start\nsso_region = {REGION}\n"
    );
    home.write(".aws/config", &profile);
    let file = format!(".aws/sso/cache/{}.json", hex(digest(&SHA1_FOR_LEGACY_USE_ONLY, b"work").as_ref()));
    let login = |token: &str| {
        format!(
            r#"{{"accessToken":"{token}","expiresAt":"2099-01-01T00:00:00Z","region":"{REGION}","startUrl":"https://work.awsapps.com/start"}}"#
        )
    };
    home.write(&file, &login("sso"));
    finds(&home, "the profile docs in AWS's files").await;
    assert_eq!(cloud.calls("sso"), 1);
    home.write(&file, &login("of yesterday"));
    fails(&home, &["the profile docs in AWS's files", "UnauthorizedException"]).await;
}

#[tokio::test]
async fn a_web_identity_is_shown_to_sts_which_reads_it() {
    let cloud = AwsCloud::start().await;
    cloud.ask_for(None, "pod");
    let home = home(&cloud, "", "").await;
    let token = home.write("token", &service_account_token("sts.amazonaws.com"));
    let home = home.set("AWS_ROLE_ARN", ROLE).set("AWS_ROLE_SESSION_NAME", "pod");
    let home = home.set("AWS_WEB_IDENTITY_TOKEN_FILE", token);
    finds(&home, "the web identity of AWS_WEB_IDENTITY_TOKEN_FILE").await;
    home.write("token", &service_account_token("somebody else"));
    fails(&home, &["the web identity of AWS_WEB_IDENTITY_TOKEN_FILE", "InvalidIdentityToken"]).await;
    std::fs::remove_file(home.folder.path().join("token")).unwrap();
    fails(&home, &["the web identity of AWS_WEB_IDENTITY_TOKEN_FILE", "No such file"]).await;
}

#[tokio::test]
async fn a_containers_agent_is_shown_its_token() {
    let cloud = AwsCloud::start().await;
    let pod = home(&cloud, "", "").await;
    let token = pod.write("token", "first");
    let pod = pod.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/pod", cloud.url()));
    let pod = pod.set("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token);
    finds(&pod, "the container's endpoint (AWS_CONTAINER_CREDENTIALS_FULL_URI").await;
    cloud.take_container_token("second");
    fails(&pod, &["the container's endpoint"]).await;
    pod.write("token", "second");
    finds(&pod, "the container's endpoint").await;

    let task = home(&cloud, "", "").await.set("AWS_CONTAINER_AUTHORIZATION_TOKEN", "second");
    let task = task.set("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("{}/pod", cloud.url()));
    finds(&task, "the container's endpoint").await;
}

#[tokio::test]
async fn instance_metadata_is_asked_for_a_token_first() {
    let cloud = AwsCloud::start().await;
    let home = home(&cloud, "", "").await.set("AWS_EC2_METADATA_DISABLED", "false");
    let home = home.set("AWS_EC2_METADATA_SERVICE_ENDPOINT", cloud.url());
    finds(&home, "the instance's role (IMDSv2)").await;
    assert_eq!(cloud.calls("metadata"), 3, "a token, the role's name, the credential");
    // The instance itself is reached without whatever proxy leads to the world.
    let home = home.set("http_proxy", "http://127.0.0.1:1").set("HTTP_PROXY", "http://127.0.0.1:1");
    let home = home.set("NO_PROXY", "nothing").set("no_proxy", "nothing");
    let (said, _) = home.check().await;
    assert!(said.contains("credential: for S3 bucket docs at") && said.contains("(IMDSv2)"), "{said}");
    assert_eq!(cloud.calls("metadata"), 6);
}

#[tokio::test]
async fn where_there_is_nothing_every_link_is_told_of() {
    let cloud = AwsCloud::start().await;
    let links = ["AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER", "IMDSv2"];
    fails(&home(&cloud, "", "").await, &links).await;
}

#[tokio::test]
async fn a_role_is_assumed_with_the_publishers_own_keys() {
    let cloud = AwsCloud::start().await;
    let beside = format!(", credentials: {{ roleArn: '{ROLE}', {} }}", user_keys());
    let place = format!("{ROLE}, assumed with the key pair in techdocs.publisher.awsS3.credentials");
    finds(&home(&cloud, &beside, "").await, &place).await;
    cloud.ask_for(Some("from outside"), "backstage-aws-techdocs-s3-publisher");
    fails(&home(&cloud, &beside, "").await, &[&place, "AccessDenied"]).await;
    let forged = beside.replace(USER.1, "not the secret");
    fails(&home(&cloud, &forged, "").await, &[&place, "SignatureDoesNotMatch"]).await;
}

#[tokio::test]
async fn an_accounts_role_is_assumed_as_its_owner_wants_it() {
    let cloud = AwsCloud::start().await;
    cloud.ask_for(Some("from outside"), "backstage");
    let beside = format!(", accountId: '{ACCOUNT}'");
    let aws = |external_id: &str| {
        format!(
            "aws: {{ mainAccount: {{ {} }}, accounts: [{{ accountId: '{ACCOUNT}', roleName: docs-reader, region: {REGION}, \
             externalId: {external_id} }}] }}\n",
            user_keys()
        )
    };
    let place = format!("{ROLE}, assumed with the key pair in aws.mainAccount");
    finds(&home(&cloud, &beside, &aws("from outside")).await, &place).await;
    fails(&home(&cloud, &beside, &aws("guessed")).await, &[&place, "AccessDenied"]).await;

    cloud.ask_for(None, "backstage");
    let home =
        home(&cloud, &beside, "aws: { accountDefaults: { roleName: docs-reader, webIdentityTokenFile: token } }\n");
    let home = home.await;
    home.write("token", &service_account_token("sts.amazonaws.com"));
    finds(&home, &format!("{ROLE}, assumed with the token in ")).await;
}

#[tokio::test]
async fn an_account_that_is_not_listed_has_to_be_the_main_account() {
    let cloud = AwsCloud::start().await;
    let (id, secret) = cloud.reader();
    let aws = format!("aws: {{ mainAccount: {{ accessKeyId: {id}, secretAccessKey: '{secret}' }} }}\n");
    finds(&home(&cloud, &format!(", accountId: '{ACCOUNT}'"), &aws).await, "the key pair in aws.mainAccount").await;
    let other = home(&cloud, ", accountId: '210987654321'", &aws).await;
    fails(&other, &["it belongs to account 123456789012", "210987654321: add it to aws.accounts"]).await;
}

#[tokio::test]
async fn sts_is_believed_by_the_authorities_that_everything_is() {
    let cloud = AwsCloud::start().await;
    let authority = Authority::new();
    let relay = authority.relay(cloud.address).await;
    let beside = format!(", credentials: {{ roleArn: '{ROLE}', {} }}", user_keys());
    let sts = format!("https://localhost:{}", relay.port());
    let without = home(&cloud, &beside, "").await.set("AWS_ENDPOINT_URL_STS", sts.clone());
    fails(&without, &["invalid peer certificate"]).await;
    let more = format!("callboard: {{ trust: {{ caFiles: ['{}'] }} }}\n", authority.ca().display());
    let with = home(&cloud, &beside, &more).await.set("AWS_ENDPOINT_URL_STS", sts.clone());
    finds(&with, ROLE).await;
    // Through the proxy of storage, which sees nothing but the name.
    let (proxy, tunnels) = proxy().await;
    let beside = format!("{beside}, httpsProxy: 'http://{proxy}'");
    let through = home(&cloud, &beside, &more).await.set("AWS_ENDPOINT_URL_STS", sts);
    let (said, _) = through.check().await;
    assert!(said.contains(&format!("ok       credential: for S3 bucket docs at {}/: {ROLE}", cloud.url())), "{said}");
    assert!(tunnels.load(Ordering::SeqCst) > 0);
}

#[tokio::test]
async fn a_published_site_is_read_with_a_role_from_a_real_sts() {
    let s3 = Server::s3().await;
    let publisher = format!(
        "{{ type: awsS3, awsS3: {{ bucketName: {}, region: {}, endpoint: '{}', s3ForcePathStyle: true, \
         credentials: {{ accessKeyId: {}, secretAccessKey: '{}', roleArn: '{}' }} }} }}",
        s3.said("/bucket"),
        s3.said("/region"),
        s3.said("/endpoint"),
        s3.said("/assumer/accessKeyId"),
        s3.said("/assumer/secretAccessKey"),
        s3.said("/role"),
    );
    let home = Home::new(&publisher, "").await.set("AWS_ENDPOINT_URL_STS", s3.said("/endpoint"));
    let service = Service::start(home).await;
    until(async || service.readiness().await.0 == 200).await;
    let site = PathBuf::from(s3.said("/site_dir"));
    let mut files = 0;
    for file in files_below(&site) {
        let name = file.strip_prefix(&site).unwrap().to_str().unwrap();
        let encoded: Vec<String> =
            name.split('/').map(|part| utf8_percent_encode(part, NON_ALPHANUMERIC).to_string()).collect();
        let answer = service.get_of(s3.said("/entity"), &encoded.join("/")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{name}");
        assert!(answer.bytes().await.unwrap() == std::fs::read(&file).unwrap(), "{name} is not what was published");
        files += 1;
    }
    assert!(files > 200, "{files}");
    s3.stop().await;
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

/// What a miss costs beside the bare client's own GET, at the same time; nothing rests on it.
#[tokio::test]
async fn a_miss_costs_what_it_costs() {
    let cloud = AwsCloud::start().await;
    let (id, secret) = cloud.reader();
    let bare = AmazonS3Builder::new()
        .with_bucket_name("docs")
        .with_region(REGION)
        .with_endpoint(cloud.url())
        .with_allow_http(true)
        .with_access_key_id(&id)
        .with_secret_access_key(&secret)
        .build()
        .unwrap();
    let [id, secret, token] = cloud.session();
    let home = home(&cloud, "", "callboard: { cache: { freshFor: 1ms } }\n").await;
    let home = home.set("AWS_ACCESS_KEY_ID", id).set("AWS_SECRET_ACCESS_KEY", secret).set("AWS_SESSION_TOKEN", token);
    let service = Service::start(home).await;
    until(async || service.readiness().await.0 == 200).await;
    let (mut of_bare, mut of_misses) = (Vec::new(), Vec::new());
    for number in 0..50 {
        let start = Instant::now();
        let path = ObjectPath::parse(format!("{SITE}/{number}.html")).unwrap();
        bare.get(&path).await.unwrap().bytes().await.unwrap();
        of_bare.push(start.elapsed());
        let start = Instant::now();
        let answer = service.get(&format!("{number}.html")).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
        answer.bytes().await.unwrap();
        of_misses.push(start.elapsed());
    }
    of_bare.sort_unstable();
    of_misses.sort_unstable();
    let (bare, miss) = (of_bare[25], of_misses[25]);
    println!("S3: a miss {miss:?}, a bare GET {bare:?}: {:.2}", miss.as_secs_f64() / bare.as_secs_f64());
}
