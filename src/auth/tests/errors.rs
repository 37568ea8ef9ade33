//! What each reader of a refusal is told.

use super::*;

fn every_error() -> Vec<AuthError> {
    let now = Timestamp::from_secs(1);
    vec![
        AuthError::Missing,
        AuthError::Scheme,
        AuthError::SeveralAuthorizations,
        AuthError::TooLarge { bytes: 1 },
        AuthError::Malformed("secret detail"),
        AuthError::UnknownToken,
        AuthError::Algorithm("secret detail".to_owned()),
        AuthError::Critical,
        AuthError::MissingClaim("exp"),
        AuthError::Expired { expired_at: now, now },
        AuthError::NotYetValid { starts_at: now, now },
        AuthError::Audience { presented: vec!["secret detail".to_owned()], accepted: vec!["techdocs".to_owned()] },
        AuthError::Subject,
        AuthError::UnknownIssuer { issuer: "secret detail".to_owned() },
        AuthError::Throttled { issuer: "secret detail".to_owned(), retry_after: Duration::from_secs(1) },
        AuthError::UnknownKey { kid: Some("secret detail".to_owned()) },
        AuthError::Signature,
        AuthError::UsersOff,
        AuthError::Limited,
        AuthError::CookieKind,
        AuthError::NoBackend,
        AuthError::Restricted { subject: "secret detail".to_owned() },
        AuthError::NotAllowed { subject: "someone".to_owned(), actor: None },
        AuthError::KeysUnavailable { retry_after: Duration::ZERO, source: Arc::new(FetchError::TooLarge) },
    ]
}

#[test]
fn reasons_are_listed_once_each_and_in_order() {
    let reasons: Vec<_> = every_error().iter().map(AuthError::reason).collect();
    assert_eq!(reasons, AuthError::REASONS);
}

#[test]
fn callers_are_told_one_sentence_without_details() {
    for error in every_error() {
        let message = error.public_message();
        assert!(!message.contains("secret detail") && !message.ends_with('.'), "{message}");
        assert!(message.len() > 20 && message.len() < 160, "{message}");
        let inside = AuthError::OnBehalfOf(Box::new(error));
        assert!(inside.public_message().starts_with("The user token inside"));
    }
}

#[test]
fn status_and_challenge_go_together() {
    for error in every_error() {
        let challenge = error.www_authenticate().unwrap_or_default();
        match error.status().as_u16() {
            401 => assert!(challenge.starts_with("Bearer realm=") && !challenge.contains("insufficient_scope")),
            403 => assert!(challenge.ends_with("error=\"insufficient_scope\"")),
            _ => assert!(challenge.is_empty() && error.retry_after().is_some()),
        }
    }
}

#[test]
fn overlong_subject_is_cut() {
    let error = AuthError::NotAllowed { subject: "\u{e4}".repeat(10_000), actor: None };
    let message = error.public_message().into_owned();
    assert!(message.chars().count() < 300);
}
