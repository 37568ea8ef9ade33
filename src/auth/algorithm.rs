//! The algorithms that published keys may be used with (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).

use jsonwebtoken::Algorithm;

/// The algorithm that JOSE calls `name`, exactly so spelled, if a published key may be used with it.
///
/// `none` and the HMAC family are not on the list, so that no public key can ever be taken for a shared secret. Nor is
/// ES512, though `backend.auth.plugins.algorithm` may name it: `jsonwebtoken` doesn't have it. A token that names it
/// is told that the algorithm is not accepted, and a key for it is skipped.
pub(super) fn accepted(name: &str) -> Option<Algorithm> {
    Some(match name {
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        // Over Ed25519 only, for which either name stands.
        "EdDSA" | "Ed25519" => Algorithm::EdDSA,
        _ => return None,
    })
}
