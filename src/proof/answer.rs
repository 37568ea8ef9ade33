//! What the clouds have in common when they are asked: what would be written, and how an answer is read.

use http::StatusCode;
use http::header::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC};

/// What would be written.
pub(super) const CONTENT: &[u8] = b"Callboard tried whether its credential can write. It can, and should not.";

/// The MD5 of no bytes at all, which are not those of [`CONTENT`]: storage refuses what arrives otherwise than it was sent.
pub(super) const WRONG_DIGEST: (HeaderName, &str) =
    (HeaderName::from_static("content-md5"), "1B2M2Y8AsgTpgAmY7PhCfg==");

/// All but what every cloud's signatures take as it is (`UriEncode` of AWS Signature Version 4), and slashes.
pub(super) const UNENCODED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

/// Names the error on Azure also where there is no body.
const ERROR_CODE: &str = "x-ms-error-code";

/// How much of an answer is looked at.
const MOST_ANSWERED: usize = 16 * 1024;

/// An answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The error's code, where it is one.
    pub(super) code: String,
    /// The error in the server's words, where it is one.
    pub(super) text: String,
    /// The version that a versioned bucket made of it.
    pub(super) version: Option<String>,
}

impl Answer {
    /// Reads one. `version` is the header that names the version.
    pub(super) async fn read(mut response: reqwest::Response, version: &str) -> anyhow::Result<Self> {
        let status = response.status();
        let header = |name: &str| {
            let value = response.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned)
        };
        let (version, code) = (header(version), header(ERROR_CODE));
        let mut body = Vec::new();
        while body.len() < MOST_ANSWERED
            // Addresses may hold a signature.
            && let Some(piece) = response.chunk().await.map_err(reqwest::Error::without_url)?
        {
            body.extend_from_slice(&piece);
        }
        if status.is_success() {
            return Ok(Self { status, code: String::new(), text: String::new(), version });
        }
        let text = String::from_utf8_lossy(&body).into_owned();
        let element = || text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
        let code = code.or_else(|| element().map(|(code, _)| code.to_owned())).unwrap_or_default();
        Ok(Self { status, code, text, version })
    }
}
