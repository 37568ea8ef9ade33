//! Connection strings, as the portal shows them and as Azure's clients read them
//! (`@azure/storage-blob`, `src/utils/utils.common.ts`): `Name=value` pairs with semicolons between them.

use url::Url;

use super::{is_account, is_base64};
use crate::config::formats::holds_user;
use crate::secret::Secret;
use crate::storage::AzureAccess;

/// The account that every emulator has, and its key, which Microsoft publishes.
const EMULATOR: &str = "AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1";

/// Where accounts are of which nothing is said: the public cloud.
const PUBLIC_CLOUD: &str = "core.windows.net";

/// What a connection string says.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) account: String,
    pub(super) endpoint: Url,
    pub(super) access: AzureAccess,
}

/// Reads one, or tells everything that is wrong with it, worded to stand after its key. What is told holds nothing that
/// might be a secret.
pub(super) fn parse(text: &str) -> Result<Connection, Vec<String>> {
    let mut pairs = Pairs(text);
    if pairs.get("UseDevelopmentStorage").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        if pairs.get("DevelopmentStorageProxyUri").is_some() {
            return Err(vec!["names a proxy for the emulator: write the emulator's own BlobEndpoint".to_owned()]);
        }
        pairs = Pairs(EMULATOR);
    }
    let mut wrong = Vec::new();
    let access = access(&pairs, &mut wrong);
    let account = account(&pairs, &mut wrong);
    let endpoint = endpoint(&pairs, account.as_deref(), &mut wrong);
    let account = account.or_else(|| account_in(endpoint.as_ref()?));
    match (access, endpoint, account) {
        (Some(access), Some(endpoint), Some(account)) if wrong.is_empty() => {
            Ok(Connection { account, endpoint, access })
        }
        (_, Some(_), None) if wrong.is_empty() => Err(vec!["names no account: add AccountName=…".to_owned()]),
        _ => Err(wrong),
    }
}

struct Pairs<'t>(&'t str);

impl<'t> Pairs<'t> {
    /// What stands behind the name, where anything does. A key and a signature may hold `=` themselves.
    fn get(&self, name: &str) -> Option<&'t str> {
        let mut pairs = self.0.split(';').filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }
}

fn access(pairs: &Pairs<'_>, wrong: &mut Vec<String>) -> Option<AzureAccess> {
    if let Some(key) = pairs.get("AccountKey") {
        if !is_base64(key) {
            wrong.push("has an AccountKey that is not base64: copy it again".to_owned());
        }
        if pairs.get("AccountName").is_none() {
            wrong.push("has an AccountKey, but no AccountName: add it".to_owned());
        }
        return Some(AzureAccess::Key(Secret::new(key)));
    }
    let Some(signature) = pairs.get("SharedAccessSignature") else {
        wrong.push(
            "has neither AccountKey nor SharedAccessSignature: copy it again from the portal, or leave it out and write \
             credentials.accountName"
                .to_owned(),
        );
        return None;
    };
    let signature = signature.strip_prefix('?').unwrap_or(signature);
    if !signature.split('&').any(|pair| pair.starts_with("sig=")) {
        wrong.push("has a SharedAccessSignature without sig=…: copy it again".to_owned());
    }
    Some(AzureAccess::Signature(Secret::new(signature)))
}

fn account(pairs: &Pairs<'_>, wrong: &mut Vec<String>) -> Option<String> {
    let name = pairs.get("AccountName")?;
    if !is_account(name) {
        wrong.push(format!("has {name:?} for AccountName, which is none: write letters and digits"));
    }
    Some(name.to_owned())
}

fn endpoint(pairs: &Pairs<'_>, account: Option<&str>, wrong: &mut Vec<String>) -> Option<Url> {
    if let Some(text) = pairs.get("BlobEndpoint") {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let plain = url.filter(|url| !holds_user(url) && url.query().is_none() && url.fragment().is_none());
        if plain.is_none() {
            wrong.push("has a BlobEndpoint that is not the URL of a server: write https://…".to_owned());
        }
        return plain;
    }
    let Some(account) = account.filter(|name| is_account(name)) else {
        if pairs.get("AccountName").is_none() && pairs.get("AccountKey").is_none() {
            wrong.push("says neither BlobEndpoint nor AccountName: add one of them".to_owned());
        }
        return None;
    };
    let protocol = pairs.get("DefaultEndpointsProtocol").unwrap_or("https").to_ascii_lowercase();
    let suffix = pairs.get("EndpointSuffix").unwrap_or(PUBLIC_CLOUD);
    if !matches!(protocol.as_str(), "http" | "https") {
        wrong.push("has a DefaultEndpointsProtocol that is neither https nor http".to_owned());
        return None;
    }
    let is_host = suffix.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'));
    let url = Url::parse(&format!("{protocol}://{account}.blob.{suffix}")).ok().filter(|_| is_host);
    if url.is_none() {
        wrong.push(format!("has {suffix:?} for EndpointSuffix: write for example {PUBLIC_CLOUD}"));
    }
    url
}

/// The account that stands in an endpoint: before the first dot of a name, and behind an address.
fn account_in(endpoint: &Url) -> Option<String> {
    let name = match endpoint.host()? {
        url::Host::Domain(host) if host.contains('.') => host.split('.').next()?.to_owned(),
        _ => endpoint.path_segments()?.next()?.to_owned(),
    };
    Some(name).filter(|name| is_account(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Account, endpoint and secret, the last with a word before it for what it is.
    fn read(text: &str) -> (String, String, String) {
        let Connection { account, endpoint, access } = parse(text).unwrap_or_else(|wrong| panic!("{text}: {wrong:?}"));
        let access = match access {
            AzureAccess::Key(key) => format!("key {}", key.expose_text().unwrap()),
            AzureAccess::Signature(query) => format!("signature {}", query.expose_text().unwrap()),
            AzureAccess::Identity(_) => "identity".to_owned(),
        };
        (account, endpoint.to_string(), access)
    }

    #[test]
    fn every_form_is_read() {
        for (text, account, endpoint, access) in [
            (
                "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=a2V5PQ==;EndpointSuffix=core.windows.net",
                "acme",
                "https://acme.blob.core.windows.net/",
                "key a2V5PQ==",
            ),
            (
                "AccountName=acme;AccountKey=a2V5;EndpointSuffix=core.usgovcloudapi.net",
                "acme",
                "https://acme.blob.core.usgovcloudapi.net/",
                "key a2V5",
            ),
            (
                " BlobEndpoint=https://docs.example.com/ ; accountname=acme; accountkey=a2V5 ;QueueEndpoint=https://q;",
                "acme",
                "https://docs.example.com/",
                "key a2V5",
            ),
            (
                "BlobEndpoint=https://acme.blob.core.chinacloudapi.cn/;SharedAccessSignature=?sv=2&sp=rl&sig=a%3D",
                "acme",
                "https://acme.blob.core.chinacloudapi.cn/",
                "signature sv=2&sp=rl&sig=a%3D",
            ),
            (
                "BlobEndpoint=http://127.0.0.1:10000/dev;SharedAccessSignature=sig=a",
                "dev",
                "http://127.0.0.1:10000/dev",
                "signature sig=a",
            ),
            (
                "SharedAccessSignature=sp=r&sig=a;AccountName=acme",
                "acme",
                "https://acme.blob.core.windows.net/",
                "signature sp=r&sig=a",
            ),
        ] {
            let expected = (account.to_owned(), endpoint.to_owned(), access.to_owned());
            assert_eq!(read(text), expected, "{text}");
        }
        let (account, endpoint, _) = read("UseDevelopmentStorage=true");
        assert_eq!(
            (account.as_str(), endpoint.as_str()),
            ("devstoreaccount1", "http://127.0.0.1:10000/devstoreaccount1")
        );
    }

    #[test]
    fn everything_that_is_wrong_is_told_at_once_and_nothing_secret() {
        for (text, told) in [
            ("sesame", &["neither AccountKey nor", "neither BlobEndpoint nor"][..]),
            ("AccountKey=sesame!", &["not base64", "no AccountName"]),
            ("AccountName=a/b;AccountKey=sesame!;BlobEndpoint=ftp://x", &["not base64", "\"a/b\"", "not the URL"]),
            ("AccountName=acme;SharedAccessSignature=sesame", &["without sig="]),
            ("BlobEndpoint=https://x;SharedAccessSignature=sig=sesame", &["no account"]),
            ("BlobEndpoint=https://u:sesame@x.y;AccountName=acme;AccountKey=a2V5", &["not the URL"]),
            ("DefaultEndpointsProtocol=ftp;AccountName=acme;AccountKey=a2V5", &["neither https nor http"]),
            ("AccountName=acme;AccountKey=a2V5;EndpointSuffix=x/y?z", &["\"x/y?z\""]),
            ("UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://sesame", &["proxy"]),
        ] {
            let wrong = parse(text).unwrap_err();
            assert_eq!(wrong.len(), told.len(), "{text}: {wrong:?}");
            for (wrong, told) in wrong.iter().zip(told) {
                assert!(wrong.contains(told) && !wrong.contains("sesame"), "{text}: {wrong}");
            }
        }
    }
}
