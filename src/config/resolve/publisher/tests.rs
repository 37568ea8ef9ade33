use super::*;
use crate::config::load;
use crate::config::testing::{Folder, problems, resolved};

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
    assert_eq!(s3.keys.as_ref().map(|keys| keys.secret_access_key.expose()), Some(b"sshhh".as_slice()));
    assert!(s3.force_path_style && s3.proxy.is_some() && !s3.forbidden_is_absent);
    assert_eq!(configuration.resolved.storage.origins[0].layout.root_path, "a/b");
    let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(!printed.contains("sshhh"), "{printed}");
}

#[test]
fn a_publisher_that_is_not_supported_yet_says_so() {
    for kind in LATER {
        let told = problems(&format!("techdocs: {{publisher: {{type: {kind}}}}}"));
        assert_eq!(
            told,
            [format!(
                "techdocs.publisher.type (app-config.yaml:1): {kind} is not supported by this version yet; supported: local, awsS3, googleGcs, sftp"
            )]
        );
    }
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
    let told = problems(&s3(", accountId: '1', credentials: {roleArn: 'arn:aws:iam::1:role/x', foo: 1}"));
    assert_eq!(told.len(), 3, "{told:?}");
    let told = problems(&s3(", credentials: AK"));
    assert_eq!(told, ["techdocs.publisher.awsS3.credentials (app-config.yaml:1): is text: write a map of keys"]);
}

#[test]
fn credentials_that_backstage_would_take_from_elsewhere_are_warned_of() {
    let text = format!("{}\nintegrations: {{awsS3: [{{accessKeyId: A}}]}}", s3(""));
    let warnings = resolved(&text).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.key == "integrations.awsS3"));
}
