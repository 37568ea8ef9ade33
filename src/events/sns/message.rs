//! A message as SNS sends it, and the text that it signs
//! (<https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html>).

use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RsaParameters, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::events::EventError;

/// The body of a request from SNS. What the headers repeat of it is not signed, and so not looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    message_id: String,
    pub(super) topic_arn: String,
    subject: Option<String>,
    #[serde(rename = "Message")]
    pub(super) text: String,
    pub(super) timestamp: String,
    signature_version: String,
    signature: String,
    #[serde(rename = "SigningCertURL")]
    pub(super) signing_cert_url: String,
    token: Option<String>,
    #[serde(rename = "SubscribeURL")]
    pub(super) subscribe_url: Option<String>,
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Something was published to the topic.
    Notification,
    /// Somebody has subscribed us to the topic.
    Subscribed,
    /// Somebody has ended the subscription.
    Unsubscribed,
}

impl Message {
    pub(super) fn kind(&self) -> Result<Kind, EventError> {
        match self.kind.as_str() {
            "Notification" => Ok(Kind::Notification),
            "SubscriptionConfirmation" => Ok(Kind::Subscribed),
            "UnsubscribeConfirmation" => Ok(Kind::Unsubscribed),
            _ => Err(EventError::Malformed("The message's Type is none that SNS sends")),
        }
    }

    /// Verifies the signature with the modulus and exponent of an RSA key (PKCS#1).
    pub(super) fn verify(&self, kind: Kind, key: &[u8]) -> Result<(), EventError> {
        const UNTRUSTED: EventError = EventError::Untrusted("The message's signature does not match");
        let algorithm = self.algorithm()?;
        let signature = STANDARD.decode(&self.signature).map_err(|_| UNTRUSTED)?;
        UnparsedPublicKey::new(algorithm, key)
            .verify(self.signed_text(kind)?.as_bytes(), &signature)
            .map_err(|_| UNTRUSTED)
    }

    /// A topic signs with version 1 unless it is told to use 2. SHA-1 does for what it does here: to profit from a
    /// collision one would have to choose both halves of it, and what SNS signs holds an id and a time of its own.
    fn algorithm(&self) -> Result<&'static RsaParameters, EventError> {
        match self.signature_version.as_str() {
            "1" => Ok(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY),
            "2" => Ok(&RSA_PKCS1_2048_8192_SHA256),
            _ => Err(EventError::Malformed("The message's SignatureVersion is neither 1 nor 2")),
        }
    }

    /// Names and values, each on a line, in the order of the names.
    ///
    /// A value may hold line feeds, so that other values could give the same text. It does no harm: the topic and the
    /// kind stand at its end, and both are compared whole before anything of the message counts. Who can write into the
    /// topic can say what it likes anyway.
    fn signed_text(&self, kind: Kind) -> Result<String, EventError> {
        let mut text = String::with_capacity(self.text.len() + 512);
        let mut add = |name: &str, value: &str| text.extend([name, "\n", value, "\n"]);
        add("Message", &self.text);
        add("MessageId", &self.message_id);
        match kind {
            Kind::Notification => {
                if let Some(subject) = &self.subject {
                    add("Subject", subject);
                }
                add("Timestamp", &self.timestamp);
            }
            Kind::Subscribed | Kind::Unsubscribed => {
                let (Some(url), Some(token)) = (&self.subscribe_url, &self.token) else {
                    return Err(EventError::Malformed("The message lacks SubscribeURL or Token"));
                };
                add("SubscribeURL", url);
                add("Timestamp", &self.timestamp);
                add("Token", token);
            }
        }
        add("TopicArn", &self.topic_arn);
        add("Type", &self.kind);
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(kind: &str, subject: Option<&str>) -> Message {
        let message = json!({"Type": kind, "MessageId": "id", "TopicArn": "arn", "Subject": subject, "Message": "a\nb",
            "Timestamp": "now", "SignatureVersion": "1", "Signature": "", "SigningCertURL": "", "Token": "t",
            "SubscribeURL": "u", "UnsubscribeURL": "v", "MessageAttributes": {}});
        serde_json::from_value(message).unwrap()
    }

    #[test]
    fn text_holds_what_is_signed_in_order() {
        let text = |kind, subject| {
            let message = message(kind, subject);
            message.signed_text(message.kind().unwrap()).unwrap()
        };
        assert_eq!(
            text("Notification", Some("s")),
            "Message\na\nb\nMessageId\nid\nSubject\ns\nTimestamp\nnow\nTopicArn\narn\nType\nNotification\n"
        );
        assert_eq!(
            text("Notification", None),
            "Message\na\nb\nMessageId\nid\nTimestamp\nnow\nTopicArn\narn\nType\nNotification\n"
        );
        for kind in ["SubscriptionConfirmation", "UnsubscribeConfirmation"] {
            assert_eq!(
                text(kind, None),
                format!(
                    "Message\na\nb\nMessageId\nid\nSubscribeURL\nu\nTimestamp\nnow\nToken\nt\nTopicArn\narn\nType\n{kind}\n"
                )
            );
        }
        assert!(message("notification", None).kind().is_err());
    }
}
