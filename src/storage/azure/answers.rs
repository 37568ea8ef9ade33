//! What Azure says when it does not give what was asked for, in a few words.

use async_trait::async_trait;
use http_body_util::{BodyExt, Limited};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};

/// Names the error also where there can be no body to tell it, as in answers to HEAD.
const ERROR_CODE: &str = "x-ms-error-code";

/// An error's description is some 500 bytes; what stands in the way of storage may have longer ones.
const LONGEST_BODY: usize = 16 * 1024;

/// As much of it as a log line should hold.
const LONGEST_REASON: usize = 300;

/// Makes the clients that `C` makes, whose failures tell the error's code and its reason instead of the body, which is
/// XML of any length, or nothing.
#[derive(Debug)]
pub(super) struct Worded<C>(pub(super) C);

impl<C: HttpConnector> HttpConnector for Worded<C> {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(WordedService(self.0.connect(options)?)))
    }
}

#[derive(Debug)]
struct WordedService(HttpClient);

#[async_trait]
impl HttpService for WordedService {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut head, body) = self.0.execute(request).await?.into_parts();
        if !head.status.is_client_error() && !head.status.is_server_error() {
            return Ok(HttpResponse::from_parts(head, body));
        }
        let code = head.headers.get(ERROR_CODE).and_then(|code| code.to_str().ok()).map(str::to_owned);
        head.headers.remove(http::header::CONTENT_LENGTH);
        let reason = reason(code.as_deref(), &beginning(body).await);
        Ok(HttpResponse::from_parts(head, reason.into()))
    }
}

/// The body, where it is short and comes whole: the status counts without it.
async fn beginning(body: HttpResponseBody) -> String {
    let body = Limited::new(body, LONGEST_BODY).collect().await;
    body.map_or_else(|_| String::new(), |body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
}

/// The code, and behind it what it means here.
fn reason(code: Option<&str>, body: &str) -> String {
    let mut reason = code.or_else(|| element(body, "Code")).unwrap_or_default().to_owned();
    let message = element(body, "Message").and_then(|message| message.lines().next());
    // These say what of a token or signature is not right, or repeat what was signed, which nobody needs to see.
    let detail = element(body, "AuthenticationErrorDetail").filter(|detail| !detail.contains(" sign"));
    for part in message.into_iter().chain(detail) {
        if !reason.is_empty() {
            reason.push_str(": ");
        }
        reason.push_str(part.trim());
    }
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_REASON).collect()
}

fn element<'b>(body: &'b str, name: &str) -> Option<&'b str> {
    let (_, rest) = body.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_code_and_what_azure_says_of_it() {
        let expired = "\u{feff}<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code><Message>Server failed to \
            authenticate the request.\nRequestId:1\nTime:2</Message><AuthenticationErrorDetail>Signature not valid in the \
            specified time frame</AuthenticationErrorDetail></Error>";
        assert_eq!(
            reason(None, expired),
            "AuthenticationFailed: Server failed to authenticate the request.: Signature not valid in the specified time \
             frame"
        );
        let forged = "<Code>AuthenticationFailed</Code><AuthenticationErrorDetail>Signature did not match. String to sign \
            used was r</AuthenticationErrorDetail>";
        assert_eq!(reason(None, forged), "AuthenticationFailed");
        assert_eq!(reason(Some("ContainerNotFound"), ""), "ContainerNotFound");
        assert_eq!(reason(None, "<html>Bad Gateway</html>"), "");
        assert_eq!(reason(None, &format!("<Message>{}</Message>", "x".repeat(5000))).len(), LONGEST_REASON);
    }
}
