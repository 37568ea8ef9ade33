//! Where the credential for `awsS3` comes from: `credentials` and `accountId` beside it, `integrations.awsS3`, `aws`, or
//! else wherever AWS's own programs look (`@backstage/plugin-techdocs-node`, `src/stages/publish/awsS3.ts`, and
//! `@backstage/integration-aws-node`, `src/DefaultAwsCredentialsManager.ts`).

mod accounts;

use url::Url;

use self::accounts::Accounts;
use crate::config::formats::{SECRET, TEXT};
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::secret::Secret;
use crate::storage::{AwsCredentials, AwsKeys, AwsRole};

/// What the session of a role is called, as for Backstage: trust policies and alarms may go by it.
const SESSION: &str = "backstage-aws-techdocs-s3-publisher";

/// Where an integration without an endpoint leads to.
const AWS_HOST: &str = "amazonaws.com";

/// What is said of a key pair of which there is one half.
type Halves = (Option<String>, Option<Secret>);

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, section: &str, region: Option<&str>) -> AwsCredentials {
    let accounts = Accounts::read(reader, loaded);
    let base = format!("{section}.credentials");
    for name in reader.keys(&base) {
        if !["accessKeyId", "secretAccessKey", "roleArn"].contains(&name.as_str()) {
            reader.wrong(&format!("{base}.{name}"), "is not supported: write accessKeyId, secretAccessKey or roleArn");
        }
    }
    let halves = halves(reader, &base);
    let role_key = format!("{base}.roleArn");
    let role = reader.optional(&role_key, &TEXT);
    let account_key = format!("{section}.accountId");
    if let Some(account) = reader.optional(&account_key, &TEXT) {
        if reader.has(&base) {
            reader.warn(&base, "is not used, as by Backstage, since accountId names an account in aws.accounts");
        }
        return accounts.of(reader, &account_key, &account);
    }
    let explicit = explicit(reader, &base, halves).unwrap_or_else(|| accounts.main());
    match role {
        Some(arn) => {
            let role = AwsRole { arn, session_name: SESSION, region: region.map(str::to_owned) };
            AwsCredentials::Role { role, external_id: None, base: Box::new(explicit) }
        }
        None => explicit,
    }
}

/// The key pair at `base`, or the one of `integrations.awsS3` that goes with it.
fn explicit(reader: &mut Reader<'_>, base: &str, halves: Halves) -> Option<AwsCredentials> {
    let (id, secret) = halves;
    let integrations = Integration::all(reader);
    let id_key = format!("{base}.accessKeyId");
    let is_wrong = reader.has(&id_key) && id.is_none();
    let found = match (&id, secret) {
        (Some(_), Some(secret_access_key)) => {
            let access_key_id = id.unwrap_or_default();
            return Some(AwsCredentials::Keys(AwsKeys {
                access_key_id,
                secret_access_key,
                stands_at: base.to_owned(),
            }));
        }
        (None, Some(_)) => {
            if !is_wrong {
                half_a_pair(reader, &format!("{base}.secretAccessKey"), &id_key);
            }
            return None;
        }
        (_, None) => match integrations.as_slice() {
            [only] => only.keys.clone(),
            several => id.as_ref().and_then(|id| several.iter().find_map(|one| one.keys_with(id))),
        },
    };
    let secret_key = format!("{base}.secretAccessKey");
    // A secret that is there and can't be read is told already.
    if found.is_none() && id.is_some() && !reader.has(&secret_key) {
        half_a_pair(reader, &id_key, &secret_key);
    }
    found.map(AwsCredentials::Keys)
}

/// One of `integrations.awsS3`.
struct Integration {
    keys: Option<AwsKeys>,
}

impl Integration {
    /// All of them, and the one for AWS itself that Backstage adds where none is.
    fn all(reader: &mut Reader<'_>) -> Vec<Self> {
        let mut is_aws_there = false;
        let mut all = Vec::new();
        for item in reader.maps("integrations.awsS3") {
            let endpoint = reader.optional(&format!("{item}.endpoint"), &TEXT);
            let host = endpoint.as_ref().map_or(Some(AWS_HOST.to_owned()), |endpoint| host_of(endpoint));
            is_aws_there |= host.as_deref() == Some(AWS_HOST);
            let (id, secret) = halves(reader, &item);
            let keys = id.zip(secret).map(|(access_key_id, secret_access_key)| AwsKeys {
                access_key_id,
                secret_access_key,
                stands_at: item.clone(),
            });
            all.push(Self { keys });
        }
        if !is_aws_there {
            all.push(Self { keys: None });
        }
        all
    }

    fn keys_with(&self, id: &str) -> Option<AwsKeys> {
        self.keys.clone().filter(|keys| keys.access_key_id == id)
    }
}

fn host_of(endpoint: &str) -> Option<String> {
    let url = Url::parse(endpoint).ok()?;
    Some(url.host_str()?.to_owned())
}

/// `accessKeyId` and `secretAccessKey` at `base`; the secret without white space at its ends, as a file often has it.
fn halves(reader: &mut Reader<'_>, base: &str) -> Halves {
    let id = reader.optional(&format!("{base}.accessKeyId"), &TEXT);
    let secret = reader.optional(&format!("{base}.secretAccessKey"), &SECRET);
    (id, secret.map(|secret| Secret::new(secret.expose().trim_ascii().to_vec())))
}

fn half_a_pair(reader: &mut Reader<'_>, present: &str, missing: &str) {
    let last = missing.rsplit('.').next().unwrap_or(missing);
    let because = reader.unset(missing).map_or(String::new(), |reason| format!(" ({reason})"));
    reader.wrong(present, format!("stands without {last}{because}: write both, or neither"));
}

#[cfg(test)]
mod tests;
