//! The key of a service account: what it signs is exchanged for a token (RFC 7523).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Header, encode};
use serde_json::json;

use super::exchange::{Asker, Token, failed, refused};
use super::kinds::ServiceAccountKey;
use crate::storage::credential::IssueError;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

/// How long what is signed is good, which is as long as Google lets it be.
const GOOD_FOR: Duration = Duration::from_secs(3600);

/// By how much our clock may be ahead of Google's.
const AHEAD: Duration = Duration::from_secs(10);

pub(super) async fn token(key: &ServiceAccountKey, scope: &str, asker: &Asker) -> Result<Token, IssueError> {
    let assertion = sign(key, scope)?;
    asker.token_for(key.token_uri(), &[("grant_type", GRANT), ("assertion", &assertion)], None).await
}

fn sign(key: &ServiceAccountKey, scope: &str) -> Result<String, IssueError> {
    let signing_key = key.signing_key().map_err(|error| refused(format!("the key {error}")))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().saturating_sub(AHEAD);
    let claims = json!({
        "iss": key.client_email,
        "scope": scope,
        "aud": key.token_uri(),
        "iat": now.as_secs(),
        "exp": (now + GOOD_FOR).as_secs(),
    });
    let header = Header { kid: key.private_key_id.clone(), ..Header::new(Algorithm::RS256) };
    encode(&header, &claims, &signing_key).map_err(|_| failed("what is shown for a token could not be signed"))
}
