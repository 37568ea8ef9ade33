//! Whoever gives out tokens.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use hyper::Method;
use serde_json::{Value, json};

use super::{ACCOUNT, AUDIENCE, Cloud, Grant, Header, Request, Response, form, said};

pub const READ_ONLY: &str = "https://www.googleapis.com/auth/devstorage.read_only";
pub const READ_WRITE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const IAM: &str = "https://www.googleapis.com/auth/iam";

/// What a user has granted to `gcloud`, and never less.
const CLOUD_PLATFORM: &str = "https://www.googleapis.com/auth/cloud-platform";

pub const CLIENT: (&str, &str, &str) = ("client-id", "client-secret", "refresh-token");

/// What an AWS instance wants to be asked with, and who it is.
const SESSION: &str = "imds-session";
pub const ROLE: &str = "a role";

impl Cloud {
    /// The answer of whoever gives out tokens; nothing where somebody else is asked.
    pub fn token_answer(&self, request: &Request) -> Option<Response> {
        let path = request.uri().path();
        let answer = match (request.method(), path) {
            (&Method::POST, "/token") => Self::oauth,
            (&Method::GET, "/computeMetadata/v1/instance/service-accounts/default/token") => Self::metadata,
            (&Method::POST, "/v1/token") => Self::sts,
            (&Method::POST, path) if path == impersonation_path() => Self::iam,
            (_, path) if path.starts_with("/aws/") => Self::aws_instance,
            (&Method::GET, "/idp/token") => Self::idp,
            _ => return None,
        };
        Some(match self.rules().tokens_fail {
            Some(status) => said(status, ""),
            None => answer(self, request),
        })
    }

    /// A new token.
    pub fn give(&self, scope: &str) -> String {
        let token = format!("ya29.{:032x}", rand::random::<u128>());
        let grant = Grant { scope: scope.to_owned(), expires_at: SystemTime::now() + self.rules().lifetime };
        self.tokens.lock().unwrap().insert(token.clone(), grant);
        token
    }

    fn given(&self, scope: &str) -> Response {
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let seconds = self.rules().lifetime.as_secs();
        let answer = json!({ "access_token": self.give(scope), "expires_in": seconds, "token_type": "Bearer" });
        said(200, answer.to_string())
    }

    fn oauth(&self, request: &Request) -> Response {
        let asked = form(request.body());
        let asked = |name: &str| asked.get(name).map_or("", String::as_str);
        match asked("grant_type") {
            "refresh_token" => {
                if (asked("client_id"), asked("client_secret"), asked("refresh_token")) != CLIENT {
                    return wrong("invalid_grant", "Token has been expired or revoked.");
                }
                self.given(CLOUD_PLATFORM)
            }
            "urn:ietf:params:oauth:grant-type:jwt-bearer" => {
                let claims = match self.key.lock().unwrap().verify(asked("assertion")) {
                    _ if self.rules().is_revoked => return wrong("invalid_grant", "Invalid grant: account not found"),
                    Ok(claims) => claims,
                    Err(why) => return wrong("invalid_grant", why),
                };
                if claims["iss"] != ACCOUNT || claims["aud"] != self.rules().token_uri {
                    return wrong("invalid_grant", "Invalid issuer or audience");
                }
                match claims["scope"].as_str() {
                    Some(scope @ (READ_ONLY | READ_WRITE | IAM)) => self.given(scope),
                    _ => wrong("invalid_scope", "no scope that is known"),
                }
            }
            _ => wrong("unsupported_grant_type", "Invalid grant_type"),
        }
    }

    fn metadata(&self, request: &Request) -> Response {
        if request.header("metadata-flavor") != Some("Google") {
            return said(403, "Missing Metadata-Flavor:Google header.");
        }
        if request.parameters().get("scopes").map(String::as_str) != Some(READ_ONLY) {
            return said(400, "scopes");
        }
        self.given(READ_ONLY)
    }

    fn sts(&self, request: &Request) -> Response {
        let asked = form(request.body());
        let asked = |name: &str| asked.get(name).map_or("", String::as_str);
        if asked("grant_type") != "urn:ietf:params:oauth:grant-type:token-exchange"
            || asked("requested_token_type") != "urn:ietf:params:oauth:token-type:access_token"
            || asked("audience") != AUDIENCE
        {
            return wrong("invalid_request", "Invalid value for grant_type, requested_token_type or audience");
        }
        let refused = match asked("subject_token_type") {
            "urn:ietf:params:oauth:token-type:jwt" => match self.provider.verify(asked("subject_token")) {
                Ok(claims) if claims["aud"] == AUDIENCE => None,
                Ok(_) => Some("The audience in ID Token does not match the expected audience."),
                Err(why) => Some(why),
            },
            "urn:ietf:params:aws:token-type:aws4_request" => {
                let text: String = form(asked("subject_token").as_bytes()).into_keys().collect();
                *self.asked_of_aws.lock().unwrap() = serde_json::from_str(&text).ok();
                serde_json::from_str::<Value>(&text).is_err().then_some("no JSON")
            }
            _ => Some("Invalid subject_token_type"),
        };
        match refused {
            Some(why) => wrong("invalid_grant", why),
            None if [READ_ONLY, READ_WRITE, IAM].contains(&asked("scope")) => self.given(asked("scope")),
            None => wrong("invalid_scope", "no scope that is known"),
        }
    }

    fn iam(&self, request: &Request) -> Response {
        let grant = self.grant(request);
        if !grant.is_some_and(|grant| [IAM, CLOUD_PLATFORM].contains(&grant.scope.as_str())) {
            let error = json!({ "error": { "code": 403, "status": "PERMISSION_DENIED",
                "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource" } });
            return said(403, error.to_string());
        }
        let asked: Value = serde_json::from_slice(request.body()).unwrap();
        if asked["lifetime"] != "3600s" && asked["lifetime"] != "1200s" {
            return said(400, "lifetime");
        }
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let end = humantime::format_rfc3339_seconds(SystemTime::now() + self.rules().lifetime).to_string();
        let token = self.give(asked["scope"][0].as_str().unwrap());
        said(200, json!({ "accessToken": token, "expireTime": end }).to_string())
    }

    /// What a token that came with a request is good for.
    pub fn grant(&self, request: &Request) -> Option<Grant> {
        let token = request.header("authorization")?.strip_prefix("Bearer ")?;
        let grant = self.tokens.lock().unwrap().get(token).cloned()?;
        (grant.expires_at > SystemTime::now()).then_some(grant)
    }

    /// Another world's token for whoever asks as it wants to be asked.
    fn idp(&self, request: &Request) -> Response {
        if request.header("x-pod") != Some("docs") {
            return said(401, "");
        }
        let now = super::rsa::seconds(SystemTime::now());
        let token = self.provider.sign(&json!({ "aud": AUDIENCE, "iat": now, "exp": now + 600 }));
        said(200, json!({ "value": token }).to_string())
    }

    fn aws_instance(&self, request: &Request) -> Response {
        let path = request.uri().path();
        if path == "/aws/session" {
            let ttl = request.header("x-aws-ec2-metadata-token-ttl-seconds");
            return if request.method() == Method::PUT && ttl.is_some() { said(200, SESSION) } else { said(400, "") };
        }
        if request.header("x-aws-ec2-metadata-token") != Some(SESSION) {
            return said(401, "");
        }
        match super::decoded(path).strip_prefix("/aws/") {
            Some("zone") => said(200, "eu-central-1b"),
            Some("role") => said(200, ROLE),
            Some("role/a role") => {
                let role =
                    json!({ "AccessKeyId": "ASIAROLE", "SecretAccessKey": "role-secret", "Token": "role-token" });
                said(200, role.to_string())
            }
            _ => said(404, ""),
        }
    }
}

/// Where a token of the account is asked for.
pub fn impersonation_path() -> String {
    format!("/v1/projects/-/serviceAccounts/{ACCOUNT}:generateAccessToken")
}

fn wrong(error: &str, description: &str) -> Response {
    said(400, json!({ "error": error, "error_description": description }).to_string())
}
