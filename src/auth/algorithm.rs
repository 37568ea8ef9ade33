//! The algorithms that published keys may be used with (RFC 7518 §3.1, RFC 8037 §3.1, RFC 9864 §2.2).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, VerificationAlgorithm,
};

/// An asymmetric signature algorithm. `none` and the HMAC family are left out, so that no public key can ever be taken
/// for a shared secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Es256,
    Es384,
    /// Not on every list, but `backend.auth.plugins.algorithm` may name it.
    Es512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    /// Over Ed25519 only; `EdDSA` and `Ed25519` name the same.
    EdDsa,
}

/// The kinds of key, and which algorithm goes with which: `kty`, `crv` and, for each, the verification.
impl Algorithm {
    /// The algorithms that an RSA key without `alg` may be used with.
    pub(super) const RSA: [Self; 6] = [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Ps384, Self::Ps512];

    /// The algorithm that JOSE calls `name`, exactly so spelled.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "ES256" => Self::Es256,
            "ES384" => Self::Es384,
            "ES512" => Self::Es512,
            "RS256" => Self::Rs256,
            "RS384" => Self::Rs384,
            "RS512" => Self::Rs512,
            "PS256" => Self::Ps256,
            "PS384" => Self::Ps384,
            "PS512" => Self::Ps512,
            "EdDSA" | "Ed25519" => Self::EdDsa,
            _ => return None,
        })
    }

    /// The elliptic curve algorithm for keys of curve `crv`, and the length of a coordinate in bytes.
    pub(super) fn of_curve(crv: &str) -> Option<(Self, &'static EcdsaVerificationAlgorithm, usize)> {
        Some(match crv {
            "P-256" => (Self::Es256, &ECDSA_P256_SHA256_FIXED, 32),
            "P-384" => (Self::Es384, &ECDSA_P384_SHA384_FIXED, 48),
            "P-521" => (Self::Es512, &ECDSA_P521_SHA512_FIXED, 66),
            _ => return None,
        })
    }

    /// Verification with an Edwards curve key of curve `crv`.
    pub(super) fn of_edwards_curve(crv: &str) -> Option<&'static dyn VerificationAlgorithm> {
        (crv == "Ed25519").then_some(&ED25519)
    }

    /// Verification with an RSA key; moduli below 2048 bits are refused (RFC 7518 §3.3).
    pub(super) fn rsa(self) -> Option<&'static RsaParameters> {
        Some(match self {
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::Rs384 => &RSA_PKCS1_2048_8192_SHA384,
            Self::Rs512 => &RSA_PKCS1_2048_8192_SHA512,
            Self::Ps256 => &RSA_PSS_2048_8192_SHA256,
            Self::Ps384 => &RSA_PSS_2048_8192_SHA384,
            Self::Ps512 => &RSA_PSS_2048_8192_SHA512,
            _ => return None,
        })
    }
}
