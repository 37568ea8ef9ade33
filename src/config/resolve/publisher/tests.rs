use super::*;
use crate::config::load;
use crate::config::testing::{Folder, problems, resolved};
use crate::storage::{AwsCredentials, ForbiddenIsAbsent};

fn s3(text: &str) -> String {
    format!("techdocs: {{publisher: {{type: awsS3, awsS3: {{bucketName: docs{text}}}}}}}")
}

#[test]
fn a_local_folder_is_relative_to_the_working_directory() {
    let folder = Folder::new(&[("conf/a.yaml", "techdocs: {publisher: {local: {publishDirectory: ./site}}}")]);
    let configuration = load(&folder.sources(&["conf/a.yaml"], &[])).unwrap().resolve().unwrap();
    let StoreOptions::Local { directory } = &configuration.resolved.storage.origins[0].store else { panic!("local") };
    assert_eq!(*directory, folder.path().join("site"));
}

#[test]
fn without_any_file_it_is_the_sample_site_unless_a_variable_names_a_publisher() {
    let folder = Folder::new(&[]);
    let origin = |variables: &[(&str, &str)]| {
        load(&folder.sources(&[], variables))
            .unwrap()
            .resolve()
            .map(|configuration| configuration.resolved.storage.origins[0].store.clone())
    };
    assert!(matches!(origin(&[]), Ok(StoreOptions::Sample)));
    assert!(matches!(origin(&[("APP_CONFIG_callboard_listen", "7000")]), Ok(StoreOptions::Sample)));
    let directory = ("APP_CONFIG_techdocs_publisher_local_publishDirectory", "/srv/site");
    assert!(matches!(origin(&[directory]), Ok(StoreOptions::Local { .. })));
    assert!(origin(&[("APP_CONFIG_techdocs_publisher_type", "awsS3")]).is_err());
}

#[test]
fn every_setting_of_s3_arrives() {
    let text =
        s3(", bucketRootPath: /a//b/, region: eu-west-1, endpoint: 'http://127.0.0.1:9000', s3ForcePathStyle: true, \
         maxAttempts: 5, sse: AES256, httpsProxy: 'http://proxy:3128', \
         credentials: {accessKeyId: AK, secretAccessKey: sshhh}");
    let configuration = resolved(&text).unwrap();
    let StoreOptions::S3(s3) = &configuration.resolved.storage.origins[0].store else { panic!("S3") };
    assert_eq!((s3.bucket.as_str(), s3.region.as_deref(), s3.max_attempts), ("docs", Some("eu-west-1"), 5));
    assert_eq!(s3.endpoint.as_ref().map(url::Url::as_str), Some("http://127.0.0.1:9000/"));
    let AwsCredentials::Keys(keys) = &s3.credentials else { panic!("{:?}", s3.credentials) };
    assert_eq!((keys.access_key_id.as_str(), keys.secret_access_key.expose()), ("AK", b"sshhh".as_slice()));
    assert!(s3.force_path_style && s3.proxy.is_some() && s3.forbidden_is_absent == ForbiddenIsAbsent::Auto);
    assert_eq!(configuration.resolved.storage.origins[0].layout.root_path, "a/b");
    let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(!printed.contains("sshhh"), "{printed}");
}

#[test]
fn a_type_that_is_none_is_told_with_the_nearest_that_is() {
    let told = problems("techdocs: {publisher: {type: awss3}}");
    assert!(told[0].contains("did you mean awsS3?"), "{told:?}");
}

#[test]
fn what_a_publisher_needs_is_asked_for() {
    assert!(problems("a: 1")[0].starts_with("techdocs.publisher.local.publishDirectory: required where"));
    let told = problems("techdocs: {publisher: {type: awsS3, awsS3: {bucketName: '${NO_BUCKET}', endpoint: ''}}}");
    assert!(told[0].contains("required, but the environment variable NO_BUCKET is not set"), "{told:?}");
    assert!(told[1].contains("endpoint (app-config.yaml:1): is empty text, not a URL"), "{told:?}");
}

#[test]
fn half_a_key_pair_and_other_credentials_are_problems() {
    let told = problems(&s3(", credentials: {accessKeyId: AK, secretAccessKey: '${NO_KEY}'}"));
    assert!(
        told[0].contains("accessKeyId (app-config.yaml:1): stands without secretAccessKey (the environment"),
        "{told:?}"
    );
    let told = problems(&s3(", credentials: {roleArn: 'arn:aws:iam::1:role/x', foo: 1}"));
    assert_eq!(told.len(), 1, "{told:?}");
    let told = problems(&s3(", credentials: AK"));
    assert_eq!(told, ["techdocs.publisher.awsS3.credentials (app-config.yaml:1): is text: write a map of keys"]);
}

#[test]
fn the_endpoint_may_come_from_the_environment_as_for_the_sdk() {
    let folder = Folder::new(&[("a.yaml", &s3(""))]);
    let endpoint = |variables: &[(&str, &str)]| {
        let configuration = load(&folder.sources(&["a.yaml"], variables)).unwrap().resolve()?;
        let StoreOptions::S3(s3) = configuration.resolved.storage.origins[0].store.clone() else { panic!("S3") };
        Ok::<_, crate::config::Problems>(s3.endpoint.map(String::from))
    };
    let all = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let of_s3 = ("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2");
    assert_eq!(endpoint(&[]).unwrap(), None);
    assert_eq!(endpoint(&[all]).unwrap().as_deref(), Some("http://127.0.0.1:1/"));
    assert_eq!(endpoint(&[all, of_s3]).unwrap().as_deref(), Some("http://127.0.0.1:2/"));
    assert!(endpoint(&[("AWS_ENDPOINT_URL_S3", "nowhere")]).is_err());
}

#[test]
fn what_a_refusal_means_is_decided_or_left_to_be_found_out() {
    let rule = |text: &str| {
        let text = format!("{}\ncallboard: {{storage: {{s3: {{forbiddenIsAbsent: {text}}}}}}}", s3(""));
        let StoreOptions::S3(s3) = resolved(&text)?.resolved.storage.origins[0].store.clone() else { panic!("S3") };
        Ok::<_, crate::config::Problems>(s3.forbidden_is_absent)
    };
    assert_eq!(rule("auto").unwrap(), ForbiddenIsAbsent::Auto);
    assert_eq!(rule("true").unwrap(), ForbiddenIsAbsent::Always);
    assert_eq!(rule("false").unwrap(), ForbiddenIsAbsent::Never);
    assert!(rule("maybe").unwrap_err().to_string().contains("auto, or true or false"));
}

const SWIFT: &str = "containerName: docs, authUrl: 'https://keystone:5000/v3', credentials: {id: abc, secret: sshhh}";

fn swift(text: &str) -> String {
    format!("techdocs: {{publisher: {{type: openStackSwift, openStackSwift: {{{text}}}}}}}")
}

#[test]
fn every_setting_of_swift_arrives() {
    let more = ", swiftUrl: 'https://swift/v1/AUTH_a', region: north, bucketRootPath: /a/b/";
    let configuration = resolved(&swift(&format!("{SWIFT}{more}"))).unwrap();
    let origin = &configuration.resolved.storage.origins[0];
    let StoreOptions::Swift(swift) = &origin.store else { panic!("Swift") };
    assert_eq!((swift.container.as_str(), swift.credential_id.as_str()), ("docs", "abc"));
    assert_eq!(swift.auth_url.as_str(), "https://keystone:5000/v3");
    assert_eq!(swift.swift_url.as_ref().map(url::Url::as_str), Some("https://swift/v1/AUTH_a"));
    assert_eq!(swift.region.as_deref(), Some("north"));
    assert_eq!(swift.secret.expose(), b"sshhh");
    // As Backstage's own client for it reads: it never lower-cases.
    assert_eq!((origin.layout.root_path.as_str(), origin.layout.case_sensitive_triplet), ("a/b", true));
    let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(!printed.contains("sshhh"), "{printed}");
}

#[test]
fn all_that_swift_needs_is_asked_for_at_once() {
    let told = problems(&swift("swiftUrl: 'https://swift/v1/AUTH_a?x=1', credentials: {user: me}"));
    for key in ["containerName", "authUrl", "swiftUrl", "credentials.id", "credentials.secret", "credentials.user"] {
        let key = format!("techdocs.publisher.openStackSwift.{key}");
        assert!(told.iter().any(|problem| problem.starts_with(&key)), "{key}: {told:#?}");
    }
    assert_eq!(told.len(), 6, "{told:#?}");
}

#[test]
fn a_containers_name_is_one_segment() {
    for name in ["docs/team", "..", "."] {
        let told = problems(&swift(&SWIFT.replace("containerName: docs", &format!("containerName: {name}"))));
        assert!(told[0].contains("is no container's name"), "{told:?}");
    }
}
