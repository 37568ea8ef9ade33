//! No token is accepted but one that our key signed, for us, in time; and nothing is ever fetched.
//!
//! The input is taken three ways: as a token as it stands; as a header and a payload (divided by the first line break)
//! with a signature that is no good; and the same, signed with the trusted key, so that what stands behind the
//! signature check is reached too. `KID` in the header stands for the trusted key's name.

#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use callboard::auth::mint::SigningKey;
use callboard::auth::{
    Authenticator, Credential, ExternalAccess, ExternalMethod, JwksOptions, Options, PinnedKeys, Resource,
};
use callboard::clock::{Clock, Hand, Timestamp};
use callboard::secret::Secret;
use callboard::trust::Trust;
use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

const NOW: u64 = 1_800_000_000;
const TOLERANCE: u64 = 5;
const STATIC_TOKEN: &str = "an-external-callers-static-token";

static KEY: LazyLock<SigningKey> = LazyLock::new(|| SigningKey::generate().unwrap());
static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(authenticator);

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if accepts(text) {
        assert_eq!(text, STATIC_TOKEN);
    }
    let Some((header, payload)) = text.split_once('\n') else { return };
    let header = header.replace("KID", KEY.kid());
    let (Ok(header), Ok(payload)) = (serde_json::from_str(&header), serde_json::from_str(payload)) else {
        return;
    };
    let token = KEY.sign(&header, &payload).unwrap();
    if accepts(&token) {
        check_claims(&header, &payload);
    }
    let (signed, _) = token.rsplit_once('.').unwrap();
    for signature in ["", "AAAA", &"A".repeat(86)] {
        assert!(!accepts(&format!("{signed}.{signature}")));
    }
});

/// What a token must say to be worth anything here.
fn check_claims(header: &Value, payload: &Value) {
    assert_eq!(header["typ"], "vnd.backstage.plugin");
    assert_eq!(header["alg"], "ES256");
    assert_eq!(header["kid"], KEY.kid());
    assert!(header.get("crit").is_none());
    assert_eq!(payload["sub"], "techdocs");
    let for_us = |audience: &Value| audience == "techdocs" || audience == "callboard";
    let audience = &payload["aud"];
    assert!(for_us(audience) || audience.as_array().is_some_and(|list| list.iter().any(for_us)));
    let end = payload["exp"].as_f64().expect("a token must end");
    assert!(end + TOLERANCE as f64 >= NOW as f64, "{payload}");
}

fn accepts(token: &str) -> bool {
    if token.is_empty() || token.len() > 16 * 1024 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return false; // `Credential::from_headers` lets none such through; see the target token_header.
    }
    let credential = Credential::Bearer { token: token.as_bytes(), resource: Resource::Other };
    // It lets others go first before each signature, and waits for nothing else.
    let mut verifying = Box::pin(AUTHENTICATOR.verify(&credential));
    let verdict = (0..16).find_map(|_| (&mut verifying).now_or_never());
    let verdict = verdict.expect("it waited, though no key has to be fetched");
    drop(verifying);
    let remembered = AUTHENTICATOR.remembered(&credential);
    assert_eq!(verdict.is_ok(), remembered.is_some());
    match verdict {
        Ok(principal) => assert!(matches!(principal.subject(), "plugin:techdocs" | "external:ci")),
        Err(refused) => {
            let message = refused.public_message();
            assert!(!refused.reason().is_empty() && !message.is_empty());
            // Shorter ones may be words that any message has.
            assert!(token.len() < 40 || !message.contains(token), "{message}");
        }
    }
    remembered.is_some()
}

fn authenticator() -> Authenticator {
    let external = |method| ExternalAccess { method, restrictions: None };
    let options = Options {
        required: true,
        audiences: vec!["techdocs".to_owned(), "callboard".to_owned()],
        allow: vec!["plugin:techdocs".to_owned(), "external:*".to_owned()],
        users: false,
        cookies: false,
        clock_tolerance: Duration::from_secs(TOLERANCE),
        remembered_tokens: 100,
        discovery: None,
        pinned_keys: vec![PinnedKeys { plugin: "techdocs".to_owned(), keys: KEY.key_set().unwrap() }],
        external: vec![
            external(ExternalMethod::Static { token: Secret::new(STATIC_TOKEN), subject: "external:ci".to_owned() }),
            external(ExternalMethod::Legacy {
                secret: Secret::new("a legacy secret that no input can know"),
                subject: "external:legacy".to_owned(),
            }),
        ],
        certificates: Vec::new(),
        jwks: JwksOptions {
            timeout: Duration::from_secs(1),
            refresh_after: Duration::from_secs(60),
            outage_grace: Duration::from_secs(60),
        },
    };
    let clock = Clock::Manual(Hand::at(Timestamp::from_secs(NOW)));
    let trust = Trust::load(&Default::default()).unwrap();
    Authenticator::new(options, clock, callboard::app::key_set_client(&trust).unwrap())
}
