//! Workload identity federation: a token of somebody else's, exchanged for one of Google's (RFC 8693).

use serde_json::{Value, json};

use super::aws;
use super::default::AwsVariables;
use super::exchange::{Asker, Token, read, refused, text};
use super::issuer::{IMPERSONATE, Target};
use super::kinds::{Address, ExternalAccount, Format, Source};
use crate::storage::credential::IssueError;

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A token of this scope, for the account itself or for the service account that it may impersonate.
pub(super) async fn token(
    account: &ExternalAccount,
    scope: &str,
    variables: &AwsVariables,
    asker: &Asker,
) -> Result<Token, IssueError> {
    let subject = subject_token(account, variables, asker).await?;
    let Some(Address(url)) = &account.service_account_impersonation_url else {
        return exchange(account, &subject, scope, asker).await;
    };
    let own = exchange(account, &subject, IMPERSONATE, asker).await?;
    let lifetime_seconds = account.service_account_impersonation.token_lifetime_seconds;
    Target { url, delegates: &[], lifetime_seconds }.token(&own, scope, asker).await
}

async fn exchange(account: &ExternalAccount, subject: &str, scope: &str, asker: &Asker) -> Result<Token, IssueError> {
    let mut fields = vec![
        ("grant_type", GRANT),
        ("audience", &account.audience),
        ("scope", scope),
        ("requested_token_type", ACCESS_TOKEN),
        ("subject_token_type", &account.subject_token_type),
        ("subject_token", subject),
    ];
    let basic = account.client_id.as_deref().zip(account.client_secret.as_ref());
    let project = account.workforce_pool_user_project.as_ref().filter(|_| basic.is_none());
    let options = project.map(|project| json!({ "userProject": project }).to_string());
    fields.extend(options.as_ref().map(|options| ("options", options.as_str())));
    asker.token_for(account.token_url.0.as_str(), &fields, basic).await
}

/// The token that the account's own world has given out, read anew.
async fn subject_token(
    account: &ExternalAccount,
    variables: &AwsVariables,
    asker: &Asker,
) -> Result<String, IssueError> {
    match &account.credential_source {
        Source::Aws(source) => aws::subject_token(source, &account.audience, variables, asker).await,
        Source::File { file, format } => {
            let place = file.display().to_string();
            let contents = String::from_utf8(read(file).await?).map_err(|_| refused(format!("{place} is no text")))?;
            pick(contents.trim(), format, &place)
        }
        Source::Url { url: Address(url), headers, format } => {
            let asked = headers.0.iter().fold(asker.direct.get(url.clone()), |request, (name, value)| {
                request.header(name.clone(), value.clone())
            });
            pick(&text(asked).await?, format, url.host_str().unwrap_or_default())
        }
        Source::Executable { .. } | Source::Certificate { .. } => {
            Err(refused("this kind of federation is not supported"))
        }
    }
}

fn pick(contents: &str, format: &Format, place: &str) -> Result<String, IssueError> {
    let token = match format {
        Format::Text => Some(contents.to_owned()),
        Format::Json { subject_token_field_name } => serde_json::from_str::<Value>(contents)
            .ok()
            .and_then(|map| Some(map.get(subject_token_field_name)?.as_str()?.to_owned())),
    };
    token
        .filter(|token| !token.is_empty())
        .ok_or_else(|| refused(format!("{place} holds no token in the form that is configured")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_the_whole_text_or_one_field() {
        let json = Format::Json { subject_token_field_name: "id".to_owned() };
        assert_eq!(pick("abc", &Format::Text, "x").unwrap(), "abc");
        assert_eq!(pick(r#"{"id": "abc", "other": 1}"#, &json, "x").unwrap(), "abc");
        for (contents, format) in [("", &Format::Text), ("{}", &json), ("abc", &json), (r#"{"id": 1}"#, &json)] {
            let error = pick(contents, format, "/run/token").unwrap_err().to_string();
            assert!(error.starts_with("/run/token holds no token"), "{error}");
        }
    }
}
