//! The XML API, as far as it reads, and as far as somebody tries to write with it.

use std::sync::atomic::Ordering;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::Full;
use hyper::Method;
use md5::{Digest, Md5};

use super::tokens::{READ_ONLY, READ_WRITE};
use super::{BUCKET, Cloud, Header, Request, Response, Rules, Stored, decoded, said};

impl Cloud {
    pub fn object_answer(&self, request: &Request) -> Response {
        let rules = self.rules();
        if let Some(status) = rules.storage_fails {
            return refusal(status, "ServiceUnavailable", "");
        }
        let changes = [Method::PUT, Method::DELETE].contains(request.method());
        if !changes && ![Method::GET, Method::HEAD].contains(request.method()) {
            return refusal(405, "MethodNotAllowed", "");
        }
        let Some(grant) = self.grant(request).filter(|_| !rules.is_revoked) else {
            return refusal(401, "AuthenticationRequired", "Authentication required.");
        };
        let is_enough = match grant.scope.as_str() {
            READ_ONLY => !changes,
            scope => scope == READ_WRITE || scope.ends_with("cloud-platform"),
        };
        if !is_enough {
            return refusal(403, "AccessDenied", "Provided scope(s) are not authorized");
        }
        let path = request.uri().path().trim_start_matches('/');
        let (bucket, name) = path.split_once('/').unwrap_or((path, ""));
        if decoded(bucket) != BUCKET {
            return refusal(404, "NoSuchBucket", "The specified bucket does not exist.");
        }
        if changes {
            return self.change(request, &decoded(name), &rules);
        }
        match (name, rules.may_get, rules.may_list) {
            ("", _, false) => denied("storage.objects.list"),
            ("", _, true) => self.listing(request, rules.page),
            (_, false, _) => denied("storage.objects.get"),
            (name, true, may_list) => {
                self.reads.fetch_add(1, Ordering::SeqCst);
                match self.objects.lock().unwrap().get(&decoded(name)) {
                    Some(stored) => object(request, stored),
                    None if may_list => refusal(404, "NoSuchKey", "The specified key does not exist."),
                    None => denied("storage.objects.list"),
                }
            }
        }
    }

    /// Whether somebody may is looked at first, then the condition, then what was sent.
    fn change(&self, request: &Request, name: &str, rules: &Rules) -> Response {
        let generation = self.objects.lock().unwrap().get(name).map(|stored| stored.generation);
        let is_put = request.method() == Method::PUT;
        if is_put && !rules.may_create {
            return denied("storage.objects.create");
        }
        if (!is_put || generation.is_some()) && !rules.may_delete {
            return denied("storage.objects.delete");
        }
        let wanted = request.header("x-goog-if-generation-match").filter(|_| !rules.is_simple);
        if wanted.is_some_and(|wanted| wanted != generation.unwrap_or_default().to_string()) {
            return refusal(
                412,
                "PreconditionFailed",
                "At least one of the pre-conditions you specified did not hold.",
            );
        }
        if !is_put {
            return match self.objects.lock().unwrap().remove(name) {
                Some(_) => said(204, ""),
                None => refusal(404, "NoSuchKey", "The specified key does not exist."),
            };
        }
        let digest = STANDARD.encode(Md5::digest(request.body()));
        if request.header("content-md5").is_some_and(|sent| sent != digest && !rules.is_simple) {
            return refusal(400, "BadDigest", "The Content-MD5 you specified did not match what we received.");
        }
        self.store(name, request.body().clone());
        said(200, "")
    }

    fn listing(&self, request: &Request, page: usize) -> Response {
        let asked = request.parameters();
        let asked = |name: &str| asked.get(name).map_or("", String::as_str);
        assert_eq!(asked("list-type"), "2");
        let (prefix, delimiter, after) = (asked("prefix"), asked("delimiter"), asked("continuation-token"));
        let objects = self.objects.lock().unwrap();
        let mut entries: Vec<(String, Option<&Stored>)> = Vec::new();
        for (name, stored) in objects.iter().filter(|(name, _)| name.starts_with(prefix)) {
            let folder = (!delimiter.is_empty())
                .then(|| name[prefix.len()..].find(delimiter))
                .flatten()
                .map(|end| name[..prefix.len() + end + delimiter.len()].to_owned());
            let entry = folder.map_or_else(|| (name.clone(), Some(stored)), |folder| (folder, None));
            if entry.0.as_str() > after && entries.last().is_none_or(|(last, _)| *last != entry.0) {
                entries.push(entry);
            }
        }
        let next = entries.get(page).is_some().then(|| entries[page - 1].0.clone());
        let entries: String = entries.iter().take(page).map(|(name, stored)| entry(name, *stored)).collect();
        let next =
            next.map_or(String::new(), |next| format!("<NextContinuationToken>{}</NextContinuationToken>", xml(&next)));
        said(
            200,
            format!(
                "<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><Name>{BUCKET}</Name>{entries}{next}</ListBucketResult>"
            ),
        )
    }
}

fn entry(name: &str, stored: Option<&Stored>) -> String {
    let name = xml(name);
    let Some(stored) = stored else {
        return format!("<CommonPrefixes><Prefix>{name}</Prefix></CommonPrefixes>");
    };
    let written_at = humantime::format_rfc3339_millis(stored.written_at);
    format!(
        "<Contents><Key>{name}</Key><Generation>{}</Generation><MetaGeneration>1</MetaGeneration>\
         <LastModified>{written_at}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
        stored.generation,
        xml(&stored.etag),
        stored.body.len()
    )
}

fn object(request: &Request, stored: &Stored) -> Response {
    if request.header("if-match").is_some_and(|tag| tag != stored.etag) {
        return refusal(412, "PreconditionFailed", "At least one of the pre-conditions you specified did not hold.");
    }
    let length = stored.body.len();
    let builder = hyper::Response::builder()
        .header("etag", &stored.etag)
        .header("last-modified", httpdate::fmt_http_date(stored.written_at))
        .header("x-goog-generation", stored.generation)
        .header("x-goog-hash", format!("crc32c={}", stored.crc32c))
        .header("x-goog-stored-content-length", length)
        .header("accept-ranges", "bytes");
    if request.header("if-none-match") == Some(&stored.etag) {
        return builder.status(304).body(Full::default()).unwrap();
    }
    let Some(range) = request.header("range") else {
        // An empty body's is left out by itself where only the head is asked for.
        return builder.header("content-length", length).body(Full::new(stored.body.clone())).unwrap();
    };
    let (first, last) = range.strip_prefix("bytes=").unwrap().split_once('-').unwrap();
    let first: usize = first.parse().unwrap();
    let end = last.parse().map_or(length, |last: usize| length.min(last + 1));
    if first >= end {
        return refusal(416, "InvalidRange", "The requested range cannot be satisfied.");
    }
    builder
        .status(206)
        .header("content-range", format!("bytes {first}-{}/{length}", end - 1))
        .body(Full::new(stored.body.slice(first..end)))
        .unwrap()
}

fn denied(permission: &str) -> Response {
    refusal(403, "AccessDenied", &format!("The caller does not have {permission} access"))
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    said(
        status,
        format!("<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{message}</Message></Error>"),
    )
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
