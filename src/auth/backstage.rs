//! The rules for Backstage's own tokens (`@backstage/backend-defaults`, `PluginTokenHandler`, `UserTokenHandler`).

use super::Authenticator;
use super::access::is_plugin_id;
use super::claims::IssuedAt;
use super::error::AuthError;
use super::jws::{Jws, TokenKind};
use super::principal::Principal;
use crate::clock::Timestamp;

impl Authenticator {
    /// A token that one plugin made for another. All that can be told without keys is told first, so that only a token
    /// that would be good if it were signed has keys fetched for it.
    pub(super) async fn verify_plugin(&self, jws: &Jws<'_>, now: Timestamp) -> Result<Principal, AuthError> {
        let id = jws.claims.subject()?;
        if !is_plugin_id(id) {
            return Err(AuthError::Subject);
        }
        self.check_audience(jws)?;
        let expires_at = jws.claims.lifetime(now, self.options.clock_tolerance, IssuedAt::Required)?;
        jws.named_key()?;
        let keys = self.issuers.plugin(id, self.access.welcomes_plugin(id))?;
        let recheck_at = keys.verify(jws, id).await?;
        let plugin = Principal::plugin(id, expires_at).verified_until(recheck_at);
        if !jws.claims.names("obo") {
            return Ok(plugin);
        }
        let user = self.verify_on_behalf_of(jws, now).await.map_err(|error| AuthError::OnBehalfOf(Box::new(error)))?;
        Ok(user.through(plugin))
    }

    /// The limited user token in a plugin's claim `obo`, taken whether or not users may come by themselves.
    async fn verify_on_behalf_of(&self, plugins: &Jws<'_>, now: Timestamp) -> Result<Principal, AuthError> {
        let token = plugins.claims.text("obo").ok_or(AuthError::Malformed("obo is not a string"))?;
        let jws = Jws::parse(token)?;
        match jws.kind() {
            TokenKind::LimitedUser => self.verify_user(&jws, TokenKind::LimitedUser, now).await,
            _ => Err(AuthError::UnknownToken),
        }
    }

    /// A user's token. Very old ones need not say when they were issued.
    pub(super) async fn verify_user(
        &self,
        jws: &Jws<'_>,
        kind: TokenKind,
        now: Timestamp,
    ) -> Result<Principal, AuthError> {
        let entity_ref = jws.claims.subject()?;
        let iat = if kind == TokenKind::OldUser { IssuedAt::Optional } else { IssuedAt::Required };
        let expires_at = jws.claims.lifetime(now, self.options.clock_tolerance, iat)?;
        jws.named_key()?;
        let recheck_at = self.issuers.users()?.verify(jws, "auth").await?;
        let user = Principal::user(entity_ref, kind == TokenKind::LimitedUser, expires_at);
        Ok(user.verified_until(recheck_at))
    }

    fn check_audience(&self, jws: &Jws<'_>) -> Result<(), AuthError> {
        if !jws.claims.has("aud") {
            return Err(AuthError::MissingClaim("aud"));
        }
        let presented = jws.claims.audiences();
        if presented.iter().any(|audience| self.options.audiences.iter().any(|ours| ours == audience)) {
            return Ok(());
        }
        let presented = presented.into_iter().map(str::to_owned).collect();
        Err(AuthError::Audience { presented, accepted: self.options.audiences.clone() })
    }
}
