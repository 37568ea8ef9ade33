//! Federation from AWS: what Google is shown is a signed question of who we are, which it asks AWS in our name.

use std::time::SystemTime;

use aws_lc_rs::{digest, hmac};
use http::Method;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use url::form_urlencoded::byte_serialize;

use super::default::AwsVariables;
use super::exchange::{Asker, json, refused, text};
use super::kinds::{Address, AwsSource};
use crate::secret::Secret;
use crate::storage::credential::IssueError;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How long a session with the instance's metadata lasts, which is all one token takes.
const SESSION_SECONDS: &str = "300";

/// Who we are on AWS.
struct Identity {
    access_key_id: String,
    secret_access_key: Secret,
    session_token: Option<Secret>,
}

/// How the instance's metadata tells it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
}

pub(super) async fn subject_token(
    source: &AwsSource,
    audience: &str,
    variables: &AwsVariables,
    asker: &Asker,
) -> Result<String, IssueError> {
    let instance = Instance { source, asker };
    let from_variables = identity(variables);
    // Who has both needs no metadata, and may have none.
    let session = match (&variables.region, &from_variables) {
        (Some(_), Some(_)) => None,
        _ => instance.session().await?,
    };
    let region = match &variables.region {
        Some(region) => region.clone(),
        None => instance.region(session.as_ref()).await?,
    };
    let identity = match from_variables {
        Some(identity) => identity,
        None => instance.identity(session.as_ref()).await?,
    };
    let url = source.regional_cred_verification_url.replace("{region}", &region);
    let url: Url = url.parse().map_err(|_| refused("regional_cred_verification_url is no URL"))?;
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(['-', ':'], "");
    let signed = Question { url: &url, region: &region, audience, date: &date }.signed_by(&identity);
    Ok(byte_serialize(signed.to_string().as_bytes()).collect())
}

fn identity(variables: &AwsVariables) -> Option<Identity> {
    Some(Identity {
        access_key_id: variables.access_key_id.clone()?,
        secret_access_key: variables.secret_access_key.clone()?,
        session_token: variables.session_token.clone(),
    })
}

/// The metadata of the instance that we run on.
struct Instance<'s> {
    source: &'s AwsSource,
    asker: &'s Asker,
}

impl Instance<'_> {
    /// The token that the metadata wants to be asked with.
    async fn session(&self) -> Result<Option<Secret>, IssueError> {
        let Some(Address(url)) = &self.source.imdsv2_session_token_url else { return Ok(None) };
        let request = self
            .asker
            .direct
            .request(Method::PUT, url.clone())
            .header("x-aws-ec2-metadata-token-ttl-seconds", SESSION_SECONDS);
        Ok(Some(Secret::new(text(request).await?)))
    }

    /// The region is the zone without its letter.
    async fn region(&self, session: Option<&Secret>) -> Result<String, IssueError> {
        let missing = || refused("neither AWS_REGION nor region_url says in which region this is");
        let Address(url) = self.source.region_url.as_ref().ok_or_else(missing)?;
        let zone = text(self.get(url.clone(), session)).await?;
        Ok(zone.trim_end_matches(|letter: char| letter.is_ascii_lowercase()).to_owned())
    }

    async fn identity(&self, session: Option<&Secret>) -> Result<Identity, IssueError> {
        let missing = || refused("neither AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY nor url says who this is");
        let Address(url) = self.source.url.as_ref().ok_or_else(missing)?;
        let role = text(self.get(url.clone(), session)).await?;
        let mut url = url.clone();
        // Only a URL that has no path at all takes no segment, and that is none of http.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push(&role);
        }
        let RoleCredentials { access_key_id, secret_access_key, token } = json(self.get(url, session)).await?;
        let session_token = token.map(Secret::new);
        Ok(Identity { access_key_id, secret_access_key: Secret::new(secret_access_key), session_token })
    }

    fn get(&self, url: Url, session: Option<&Secret>) -> RequestBuilder {
        let request = self.asker.direct.get(url);
        match session {
            Some(session) => request.header("x-aws-ec2-metadata-token", session.expose()),
            None => request,
        }
    }
}

/// `GetCallerIdentity`, which Google will send.
struct Question<'q> {
    url: &'q Url,
    region: &'q str,
    /// Whom it is for: without it anybody else whom it is shown to could use it.
    audience: &'q str,
    /// As AWS writes it, such as `20240229T120000Z`.
    date: &'q str,
}

impl Question<'_> {
    /// The whole request, signed with Signature Version 4, as Google wants it.
    fn signed_by(&self, identity: &Identity) -> serde_json::Value {
        let host = self.url.host_str().unwrap_or_default();
        let session = identity.session_token.as_ref().and_then(Secret::expose_text);
        // In alphabetical order, which is what is signed.
        let mut headers = vec![("host", host), ("x-amz-date", self.date)];
        headers.extend(session.map(|session| ("x-amz-security-token", session)));
        headers.push(("x-goog-cloud-target-resource", self.audience));
        let authorization = self.authorization(identity, &headers);
        headers.push(("Authorization", &authorization));
        let headers: Vec<_> = headers.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
        json!({ "url": self.url.as_str(), "method": "POST", "headers": headers })
    }

    fn authorization(&self, identity: &Identity, headers: &[(&str, &str)]) -> String {
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (path, query) = (self.url.path(), self.url.query().unwrap_or_default());
        let request = format!("POST\n{path}\n{query}\n{lines}\n{names}\n{}", hex(sha256(b"").as_ref()));
        let day = self.date.split('T').next().unwrap_or_default();
        let scope = format!("{day}/{}/sts/aws4_request", self.region);
        let signed = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.date, hex(sha256(request.as_bytes()).as_ref()));
        let secret = [b"AWS4", identity.secret_access_key.expose()].concat();
        let key = [day, self.region, "sts", "aws4_request"]
            .iter()
            .fold(secret, |key, part| hmac_sha256(&key, part.as_bytes()));
        let signature = hex(&hmac_sha256(&key, signed.as_bytes()));
        let id = &identity.access_key_id;
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }
}

fn sha256(bytes: &[u8]) -> digest::Digest {
    digest::digest(&digest::SHA256, bytes)
}

fn hmac_sha256(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), bytes).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
