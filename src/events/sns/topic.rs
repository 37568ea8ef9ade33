//! The name of a topic, and the one host that may speak for it.

use url::Url;

/// The most characters that a topic's name has.
const MAX_NAME: usize = 256;

/// `arn:aws:sns:eu-central-1:123456789012:docs`.
///
/// From it follows the host that a message's certificate and the confirmation of a subscription are fetched from, so that
/// nothing in a message decides whom we ask. A pattern for hosts would not do as well: to a bucket that somebody called
/// `sns` leads `sns.s3-us-west-2.amazonaws.com`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicArn {
    arn: String,
    region: String,
    /// What hosts end in, where the topic is.
    domain: &'static str,
}

impl TopicArn {
    /// The topic that `text` names, if it names one.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (arn, partition, service) = (parts.next()?, parts.next()?, parts.next()?);
        let (region, account, name) = (parts.next()?, parts.next()?, parts.next()?);
        let domain = match partition {
            "aws" | "aws-us-gov" => "amazonaws.com",
            "aws-cn" => "amazonaws.com.cn",
            "aws-eusc" => "amazonaws.eu",
            _ => return None,
        };
        let is_name = (1..=MAX_NAME).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        let whole = arn == "arn" && service == "sns" && parts.next().is_none();
        (whole && is_region(region) && is_account && is_name).then(|| Self {
            arn: text.to_owned(),
            region: region.to_owned(),
            domain,
        })
    }

    /// As AWS writes it.
    pub fn as_str(&self) -> &str {
        &self.arn
    }

    /// The endpoint of SNS where the topic is.
    pub(super) fn host(&self) -> String {
        format!("sns.{}.{}", self.region, self.domain)
    }

    /// Whether `name` is one that the certificate of its signer has: in most regions it is the first, and AWS documents
    /// the second; the others are in use in younger regions, in China and in GovCloud (`SnsHostProvider` in
    /// `aws/aws-sdk-java-v2`).
    pub(super) fn is_signer(&self, name: &str) -> bool {
        let Self { region, domain, .. } = self;
        name == format!("sns.{domain}")
            || name == self.host()
            || name == format!("sns-signing.{region}.{domain}")
            || name == format!("sns-{region}.{domain}")
            || (region.starts_with("us-gov-") && name == "sns-us-gov-west-1.amazonaws.com")
    }

    /// The address in `text`, if it is the host's own and in its usual form.
    pub(super) fn own_url(&self, text: &str) -> Option<Url> {
        let url = Url::parse(text).ok()?;
        let plain = url.port().is_none()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && url.scheme() == "https";
        (plain && url.host_str() == Some(&self.host())).then_some(url)
    }
}

/// `eu-central-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let Some((place, number)) = text.rsplit_once('-') else { return false };
    let mut words = place.split('-');
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase());
    text.len() <= 32
        && words.clone().count() >= 2
        && words.all(is_word)
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_lead_to_the_host_of_their_region() {
        for (arn, host) in [
            ("arn:aws:sns:eu-central-1:123456789012:docs", "sns.eu-central-1.amazonaws.com"),
            ("arn:aws:sns:ap-southeast-12:123456789012:My_docs-1", "sns.ap-southeast-12.amazonaws.com"),
            ("arn:aws-cn:sns:cn-north-1:123456789012:docs", "sns.cn-north-1.amazonaws.com.cn"),
            ("arn:aws-us-gov:sns:us-gov-west-1:123456789012:docs", "sns.us-gov-west-1.amazonaws.com"),
            ("arn:aws-eusc:sns:eusc-de-east-1:123456789012:docs", "sns.eusc-de-east-1.amazonaws.eu"),
        ] {
            let topic = TopicArn::parse(arn).unwrap();
            assert_eq!((topic.as_str(), topic.host()), (arn, host.to_owned()));
        }
    }

    #[test]
    fn signers_are_known_by_the_names_that_they_have_where_the_topic_is() {
        for (partition, region, name, is_signer) in [
            ("aws", "eu-central-1", "sns.amazonaws.com", true),
            ("aws", "us-west-2", "sns.us-west-2.amazonaws.com", true),
            ("aws", "us-west-2", "sns.us-west-1.amazonaws.com", false),
            ("aws", "eu-central-2", "sns-signing.eu-central-2.amazonaws.com", true),
            ("aws", "eu-central-2", "sns-signing.eu-central-1.amazonaws.com", false),
            ("aws-cn", "cn-north-1", "sns-cn-north-1.amazonaws.com.cn", true),
            ("aws-cn", "cn-north-1", "sns.amazonaws.com", false),
            ("aws-us-gov", "us-gov-east-1", "sns-us-gov-west-1.amazonaws.com", true),
            ("aws", "us-east-1", "sns-us-gov-west-1.amazonaws.com", false),
            ("aws-eusc", "eusc-de-east-1", "sns-signing.eusc-de-east-1.amazonaws.eu", true),
        ] {
            let topic = TopicArn::parse(&format!("arn:{partition}:sns:{region}:123456789012:docs")).unwrap();
            assert_eq!(topic.is_signer(name), is_signer, "{name} in {region}");
        }
    }

    #[test]
    fn what_is_no_topic_leads_nowhere() {
        for text in [
            "",
            "docs",
            "arn:aws:sns:eu-central-1:123456789012",
            "arn:aws:sns:eu-central-1:123456789012:docs:8a21d249",
            "arn:aws:sqs:eu-central-1:123456789012:docs",
            "arn:aws:sns:s3-us-west-2:123456789012:docs",
            "arn:aws:sns:evil.com/-1:123456789012:docs",
            "arn:aws:sns:eu-1:123456789012:docs",
            "arn:aws:sns:eu--1:123456789012:docs",
            "arn:aws:sns:EU-central-1:123456789012:docs",
            "arn:aws:sns:eu-central-1:12345:docs",
            "arn:aws:sns:eu-central-1:123456789012:docs.fifo",
            "arn:aws:sns:eu-central-1:123456789012:do\ncs",
            "arn:aws-iso:sns:us-iso-east-1:123456789012:docs",
        ] {
            assert_eq!(TopicArn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn only_the_topics_own_host_is_asked() {
        let topic = TopicArn::parse("arn:aws:sns:us-west-2:123456789012:docs").unwrap();
        assert!(topic.own_url("https://sns.us-west-2.amazonaws.com/a.pem").is_some());
        for text in [
            "http://sns.us-west-2.amazonaws.com/a.pem",
            "https://sns.us-west-1.amazonaws.com/a.pem",
            "https://sns.s3-us-west-2.amazonaws.com/a.pem",
            "https://sns.us-west-2.amazonaws.com.evil.test/a.pem",
            "https://sns.us-west-2.amazonaws.com.cn/a.pem",
            "https://sns.us-west-2.amazonaws.com:8443/a.pem",
            "https://sns.us-west-2.amazonaws.com@evil.test/a.pem",
            "https://a:b@sns.us-west-2.amazonaws.com/a.pem",
            "https://evil.test/sns.us-west-2.amazonaws.com",
            "https:\\\\evil.test\\@sns.us-west-2.amazonaws.com/a.pem",
            "sns.us-west-2.amazonaws.com/a.pem",
        ] {
            assert!(topic.own_url(text).is_none(), "{text}");
        }
    }
}
