use super::*;
use crate::config::testing::{problems, resolved};
use crate::storage::StoreOptions;

const ROLE: &str = "arn:aws:iam::123456789012:role/reader";

/// A configuration with this beside the bucket's name, and this after it.
fn config(beside: &str, after: &str) -> String {
    format!("techdocs: {{publisher: {{type: awsS3, awsS3: {{bucketName: docs, region: eu-west-1{beside}}}}}}}\n{after}")
}

fn credentials(beside: &str, after: &str) -> AwsCredentials {
    let configuration = resolved(&config(beside, after)).unwrap_or_else(|problems| panic!("{problems}"));
    let StoreOptions::S3(s3) = configuration.resolved.storage.origins[0].store.clone() else { panic!("S3") };
    s3.credentials
}

/// In words that tell everything but secrets.
fn told(credentials: &AwsCredentials) -> String {
    match credentials {
        AwsCredentials::Keys(keys) => format!("{} at {}", keys.access_key_id, keys.stands_at),
        AwsCredentials::Profile { name, region } => format!("profile {name} {region:?}"),
        AwsCredentials::Chain { region } => format!("chain {region:?}"),
        AwsCredentials::Role { role, external_id, base } => {
            format!("{} {} {:?} {external_id:?} by {}", role.arn, role.session_name, role.region, told(base))
        }
        AwsCredentials::WebIdentity { role, token_file } => {
            format!("{} {} {:?} with {}", role.arn, role.session_name, role.region, token_file.display())
        }
        AwsCredentials::OfAccount { id, base } => format!("of {id}: {}", told(base)),
    }
}

#[test]
fn without_anything_it_is_the_chain_or_the_main_account() {
    assert_eq!(told(&credentials("", "")), "chain None");
    assert_eq!(told(&credentials("", "aws: {mainAccount: {region: eu-west-3}}")), r#"chain Some("eu-west-3")"#);
    assert_eq!(told(&credentials("", "aws: {mainAccount: {profile: docs}}")), "profile docs None");
    let keys = "aws: {mainAccount: {accessKeyId: M, secretAccessKey: ' m\n'}}";
    let main = credentials("", keys);
    assert_eq!(told(&main), "M at aws.mainAccount");
    let AwsCredentials::Keys(keys) = main else { panic!("keys") };
    assert_eq!(keys.secret_access_key.expose(), b"m");
}

#[test]
fn a_role_is_assumed_with_whatever_there_would_be_without_it() {
    let role = format!("roleArn: '{ROLE}'");
    let expected =
        |base: &str| format!("{ROLE} backstage-aws-techdocs-s3-publisher Some(\"eu-west-1\") None by {base}");
    assert_eq!(told(&credentials(&format!(", credentials: {{{role}}}"), "")), expected("chain None"));
    let with_keys = format!(", credentials: {{accessKeyId: A, secretAccessKey: a, {role}}}");
    let at_publisher = "A at techdocs.publisher.awsS3.credentials";
    assert_eq!(told(&credentials(&with_keys, "aws: {mainAccount: {profile: docs}}")), expected(at_publisher));
}

#[test]
fn an_integration_serves_where_it_is_the_only_one_or_has_the_key() {
    let one = "integrations: {awsS3: [{accessKeyId: I, secretAccessKey: i}]}";
    assert_eq!(told(&credentials("", one)), "I at integrations.awsS3[0]");
    // Beside one for another host stands the one for AWS itself, so that none is the only one.
    let other = "integrations: {awsS3: [{endpoint: 'https://minio.example.com', accessKeyId: I, secretAccessKey: i}]}";
    assert_eq!(told(&credentials("", other)), "chain None");
    assert_eq!(told(&credentials(", credentials: {accessKeyId: I}", other)), "I at integrations.awsS3[0]");
    let two = "integrations: {awsS3: [{accessKeyId: I, secretAccessKey: i}, {accessKeyId: J, secretAccessKey: j}]}";
    assert_eq!(told(&credentials("", two)), "chain None");
    assert_eq!(told(&credentials(", credentials: {accessKeyId: J}", two)), "J at integrations.awsS3[1]");
    let unknown = problems(&config(", credentials: {accessKeyId: K}", two));
    assert!(
        unknown[0].contains("credentials.accessKeyId (app-config.yaml:1): stands without secretAccessKey"),
        "{unknown:?}"
    );
}

#[test]
fn an_account_is_found_among_those_of_the_file() {
    let of =
        |account: &str, aws: &str| told(&credentials(&format!(", accountId: '{account}'"), &format!("aws: {{{aws}}}")));
    let listed = "mainAccount: {profile: main}, accounts: [\
        {accountId: '1', accessKeyId: A, secretAccessKey: a}, {accountId: '2', profile: two},\
        {accountId: '3', roleName: docs, externalId: x, region: eu-west-3, partition: aws-cn},\
        {accountId: '4', roleName: docs, accessKeyId: D, secretAccessKey: d},\
        {accountId: '5', roleName: docs, webIdentityTokenFile: /token}, {accountId: '6'}]";
    assert_eq!(of("1", listed), "A at aws.accounts[0]");
    assert_eq!(of("2", listed), "profile two None");
    let third = r#"arn:aws-cn:iam::3:role/docs backstage Some("eu-west-3") Some("x") by profile main None"#;
    assert_eq!(of("3", listed), third);
    assert_eq!(of("4", listed), "arn:aws:iam::4:role/docs backstage None None by D at aws.accounts[3]");
    assert_eq!(of("5", listed), "arn:aws:iam::5:role/docs backstage None with /token");
    assert_eq!(of("6", listed), "chain None");
    assert_eq!(of("7", listed), "of 7: profile main None");
    let defaults = "accountDefaults: {roleName: all, externalId: y}";
    assert_eq!(of("8", defaults), r#"arn:aws:iam::8:role/all backstage None Some("y") by chain None"#);
    let defaults = "accountDefaults: {roleName: all, webIdentityTokenFile: /token, region: eu-west-3}";
    assert_eq!(of("9", defaults), r#"arn:aws:iam::9:role/all backstage Some("eu-west-3") with /token"#);
}

#[test]
fn what_contradicts_itself_is_told_at_once() {
    let aws = "aws: {mainAccount: {accessKeyId: A, secretAccessKey: a, profile: p}, accountDefaults: {externalId: x}, \
               accounts: [{accountId: '1', accessKeyId: A}, {accountId: '2', profile: p, roleName: r}, {roleName: r}, \
               {accountId: '3', roleName: r, webIdentityTokenFile: t, externalId: x, profile: p}, \
               {accountId: '4', region: x, partition: y}]}";
    let told = problems(&config(", accountId: shop", aws));
    let told_of: Vec<&str> = told.iter().filter_map(|problem| problem.split([' ', ':']).next()).collect();
    let expected = [
        "aws.accounts[0].accessKeyId",
        "aws.accounts[1].profile",
        "aws.accounts[2].accountId",
        "aws.accounts[3].externalId",
        "aws.accounts[3].profile",
        "aws.accounts[3].profile",
        "aws.accounts[4].region",
        "aws.accounts[4].partition",
        "aws.mainAccount.profile",
        "aws.accountDefaults.externalId",
        "techdocs.publisher.awsS3.accountId",
    ];
    assert_eq!(told_of, expected, "{told:#?}");
}

#[test]
fn credentials_beside_an_account_are_told_to_be_unused() {
    let text = config(", accountId: '1', credentials: {accessKeyId: A, secretAccessKey: a}", "");
    let warnings = resolved(&text).unwrap().warnings;
    assert!(warnings.iter().any(|warning| warning.key == "techdocs.publisher.awsS3.credentials"), "{warnings:?}");
}

#[test]
fn no_secret_is_ever_shown() {
    let aws = "aws: {mainAccount: {accessKeyId: M, secretAccessKey: hunter1}, accounts: [{accountId: '1', accessKeyId: A, \
               secretAccessKey: hunter2}]}\nintegrations: {awsS3: [{accessKeyId: I, secretAccessKey: hunter3}]}";
    let configuration = resolved(&config(", accountId: '1'", aws)).unwrap();
    let printed = format!("{configuration:?}{}", configuration.effective.to_yaml(true));
    assert!(!printed.contains("hunter"), "{printed}");
}
