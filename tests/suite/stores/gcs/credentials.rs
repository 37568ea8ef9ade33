//! Every kind of credential, each against whoever gives out tokens for it.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PAGE, ended, readiness, status, with_credentials};
use crate::support::gcs::{AUDIENCE, Gcs};
use crate::support::servers;
use crate::support::until;

const AWS: &str = "urn:ietf:params:aws:token-type:aws4_request";

async fn cloud() -> Gcs {
    let gcs = Gcs::start().await;
    gcs.write(PAGE, "page");
    gcs
}

/// Reads with these credentials, and with tokens that can do nothing but read, or become one that can.
async fn reads(gcs: &Gcs, what: &str, credentials: Option<&Value>, variables: &[(&str, &str)]) {
    let before = gcs.exchanges();
    let callboard = with_credentials(gcs, credentials, "", variables).await;
    assert_eq!(status(&callboard, "index.html").await, 200, "{what}: {:?}", readiness(&callboard).await);
    assert!(gcs.exchanges() > before, "{what}");
    callboard.stop().await;
}

fn only_read(gcs: &Gcs) -> bool {
    gcs.scopes().iter().all(|scope| scope.ends_with("/devstorage.read_only") || scope.ends_with("/iam"))
}

#[tokio::test]
async fn keys_users_and_the_machines_own_account_read() {
    let gcs = cloud().await;
    let folder = TempDir::new().unwrap();
    let file = |name: &str, json: &Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, json.to_string()).unwrap();
        path.display().to_string()
    };
    let home = folder.path().display().to_string();
    let metadata = ("GCE_METADATA_HOST", gcs.address.to_string());
    let metadata = (metadata.0, metadata.1.as_str());
    reads(&gcs, "a key", Some(&gcs.key()), &[]).await;
    let key = file("key.json", &gcs.key());
    reads(&gcs, "a key's file", None, &[("GOOGLE_APPLICATION_CREDENTIALS", &key)]).await;
    reads(&gcs, "the metadata server", None, &[metadata, ("CLOUDSDK_CONFIG", &home)]).await;
    let impersonated = json!({
        "type": "impersonated_service_account", "service_account_impersonation_url": gcs.impersonation_url(),
        "source_credentials": gcs.key(),
    });
    reads(&gcs, "impersonation", Some(&impersonated), &[]).await;
    assert!(only_read(&gcs), "{:?}", gcs.scopes());
    file("application_default_credentials.json", &gcs.user());
    reads(&gcs, "a user who has logged in", None, &[("CLOUDSDK_CONFIG", &home)]).await;
    let mut impersonated = impersonated;
    impersonated["source_credentials"] = gcs.user();
    reads(&gcs, "impersonation by a user", Some(&impersonated), &[]).await;
}

#[tokio::test]
async fn tokens_of_another_world_are_exchanged() {
    let gcs = cloud().await;
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let token = gcs.provider_token(Duration::from_secs(600));
    let text = write("token", format!("{token}\n"));
    let field = write("token.json", json!({ "id_token": token }).to_string());
    let format = |field: &str| json!({ "type": "json", "subject_token_field_name": field });
    reads(&gcs, "a file", Some(&gcs.federated(&json!({ "file": text }))), &[]).await;
    let source = json!({ "file": field, "format": format("id_token") });
    reads(&gcs, "a file of JSON", Some(&gcs.federated(&source)), &[]).await;
    let url = format!("{}/idp/token", gcs.origin());
    let source = json!({ "url": url, "headers": { "X-Pod": "docs" }, "format": format("value") });
    reads(&gcs, "a url", Some(&gcs.federated(&source)), &[]).await;
    let mut account = gcs.federated(&json!({ "file": text }));
    account["service_account_impersonation_url"] = gcs.impersonation_url().into();
    account["service_account_impersonation"] = json!({ "token_lifetime_seconds": 1200 });
    reads(&gcs, "a file, and impersonation", Some(&account), &[]).await;
    assert!(only_read(&gcs), "{:?}", gcs.scopes());
}

#[tokio::test]
async fn what_aws_is_asked_is_signed_as_aws_itself_would_sign_it() {
    let gcs = cloud().await;
    let mut account = gcs.federated(&json!({
        "environment_id": "aws1",
        "regional_cred_verification_url": "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
        "region_url": format!("{}/aws/zone", gcs.origin()),
        "url": format!("{}/aws/role", gcs.origin()),
        "imdsv2_session_token_url": format!("{}/aws/session", gcs.origin()),
    }));
    account["subject_token_type"] = AWS.into();
    reads(&gcs, "an instance", Some(&account), &[]).await;
    is_signed(&gcs, "eu-central-1", &["ASIAROLE", "role-secret", "role-token"]);
    let variables =
        [("AWS_REGION", "us-west-2"), ("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "a/secret+")];
    reads(&gcs, "variables", Some(&account), &variables).await;
    is_signed(&gcs, "us-west-2", &["AKIA", "a/secret+"]);
}

/// Has AWS's own SDK sign the same question, and compares.
fn is_signed(gcs: &Gcs, region: &str, keys: &[&str]) {
    const SIGN: &str = "
import json, sys, botocore.auth, botocore.awsrequest, botocore.credentials, datetime
asked, region, keys = json.load(sys.stdin)
headers = {header['key']: header['value'] for header in asked['headers']}
theirs = headers.pop('Authorization')
class At(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls.strptime(headers['x-amz-date'], '%Y%m%dT%H%M%SZ')
    @classmethod
    def utcnow(cls): return cls.now()
signer = botocore.auth.SigV4Auth(botocore.credentials.Credentials(*keys), 'sts', region)
request = botocore.awsrequest.AWSRequest(asked['method'], asked['url'], headers, '')
request.context['timestamp'] = headers['x-amz-date']
wanted = signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
assert theirs.endswith('Signature=' + wanted), (theirs, wanted)
assert theirs.startswith('AWS4-HMAC-SHA256 Credential=%s/%s/%s/sts/aws4_request, SignedHeaders=%s,' % (
    keys[0], headers['x-amz-date'][:8], region, signer.signed_headers(signer.headers_to_sign(request)))), theirs
";
    let asked = gcs.asked_of_aws().unwrap();
    assert_eq!(
        asked["url"],
        format!("https://sts.{region}.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15")
    );
    assert!(
        asked["headers"]
            .as_array()
            .unwrap()
            .contains(&json!({ "key": "x-goog-cloud-target-resource", "value": AUDIENCE }))
    );
    let mut python = std::process::Command::new(servers::python())
        .args(["-c", SIGN])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(json!([asked, region, keys]).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn a_credential_that_is_refused_is_no_absent_page_and_readiness_says_why() {
    let gcs = cloud().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, gcs.provider_token(Duration::ZERO)).unwrap();
    let expired = gcs.federated(&json!({ "file": file }));
    let missing = gcs.federated(&json!({ "file": "/nowhere/token" }));
    let mut login = gcs.user();
    login["refresh_token"] = "revoked".into();
    for (credentials, reason) in [
        (gcs.wrong_key(), "127.0.0.1 said 400 Bad Request: invalid_grant: Invalid JWT Signature."),
        (expired, "Token must be a short-lived token"),
        (missing, "/nowhere/token can't be read"),
        (login, "Token has been expired or revoked."),
    ] {
        let callboard = with_credentials(&gcs, Some(&credentials), "", &[]).await;
        assert_eq!(status(&callboard, "index.html").await, 502, "{reason}");
        until(async || readiness(&callboard).await.0 == 503).await;
        let (_, told) = readiness(&callboard).await;
        assert!(told.contains(reason), "{told}");
        assert!(ended(&callboard, "denied").await >= 1.0);
        assert_eq!(gcs.reads(), 0, "storage is not asked without a token");
        callboard.stop().await;
    }
}

#[tokio::test]
async fn a_token_of_another_world_is_read_anew_each_time() {
    let gcs = cloud().await;
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "not there yet").unwrap();
    let callboard = with_credentials(&gcs, Some(&gcs.federated(&json!({ "file": file }))), "", &[]).await;
    assert_eq!(status(&callboard, "index.html").await, 502);
    std::fs::write(&file, gcs.provider_token(Duration::from_secs(600))).unwrap();
    until(async || status(&callboard, "index.html").await == 200).await;
}
