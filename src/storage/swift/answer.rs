//! What Swift answers, and what that means for a reader.

use std::time::SystemTime;

use bytes::Bytes;
use futures_util::StreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED};
use http::{HeaderMap, StatusCode};
use reqwest::Response;

use crate::http::etag::ETag;
use crate::storage::{GetOptions, ObjectMeta, StoreError};

/// The end of a tag of an object that was uploaded in segments. Such a tag looks like the MD5 of the body and is that of
/// the segments' tags; Swift tells which it is beside the tag, and here it is told in the tag, as S3 does.
const SEGMENTED: &str = "-segments\"";

/// Why an answer is not what was asked for; `None` where it is. A 404 is [`StoreError::Absent`] here also where the
/// whole container is missing.
pub(super) fn error(answer: &Response, options: &GetOptions) -> Option<StoreError> {
    let status = answer.status();
    let told = || told("Swift", status, answer.headers());
    Some(match status.as_u16() {
        206 if options.range.is_some() => return None,
        // Also a range that somebody in between has made a whole object of.
        200..=299 if options.range.is_none() => return None,
        304 => StoreError::NotModified,
        404 => StoreError::Absent,
        412 if options.if_match.is_some() => StoreError::Changed,
        // The range was inside of the object that the caller knows.
        416 => StoreError::Changed,
        // Something about this request, or who asks: a server that answers so is well.
        400 | 401 | 403 => StoreError::denied(told()),
        // 429, Swift's own 498 for too many requests, 5xx, redirections.
        _ => StoreError::unavailable(told()),
    })
}

/// An answer in words, with what its operator finds it by in the logs.
pub(super) fn told(who: &str, status: StatusCode, headers: &HeaderMap) -> String {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match header("x-trans-id").or(header("x-openstack-request-id")) {
        Some(id) => format!("{who} answered {status}, request {id:.100}"),
        None => format!("{who} answered {status}"),
    }
}

/// What an answer's head tells about the object.
pub(super) fn object_meta(headers: &HeaderMap) -> Result<ObjectMeta, StoreError> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // Of a part, the whole's size stands behind the slash.
    let size = match text(CONTENT_RANGE) {
        Some(range) => range.rsplit_once('/').map(|(_, size)| size),
        None => text(CONTENT_LENGTH),
    };
    let size = size.and_then(|size| size.parse().ok());
    let size = size.ok_or_else(|| StoreError::unavailable("Swift does not tell the object's length"))?;
    let last_modified: Option<SystemTime> = text(LAST_MODIFIED).and_then(|date| httpdate::parse_http_date(date).ok());
    Ok(ObjectMeta { size, etag: etag(headers), last_modified })
}

fn etag(headers: &HeaderMap) -> Option<ETag> {
    let tag = ETag::from_store(headers.get(ETAG)?.to_str().ok()?)?;
    let is_segmented = headers.contains_key("x-object-manifest")
        || headers.get("x-static-large-object").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    if !is_segmented {
        return Some(tag);
    }
    ETag::from_store(&format!("{}{SEGMENTED}", tag.as_str().strip_suffix('"')?))
}

/// A tag as Swift knows it.
pub(super) fn swifts(tag: &ETag) -> String {
    let tag = tag.as_str();
    tag.strip_suffix(SEGMENTED).map_or_else(|| tag.to_owned(), |plain| format!("{plain}\""))
}

/// A body of at most this many bytes.
pub(super) async fn bounded(answer: Response, most: usize) -> Result<Bytes, StoreError> {
    let mut pieces = answer.bytes_stream();
    let mut body = Vec::new();
    while let Some(piece) = pieces.next().await {
        body.extend_from_slice(&piece.map_err(StoreError::unavailable)?);
        if body.len() > most {
            return Err(StoreError::unavailable(format!("an answer is longer than {most} bytes")));
        }
    }
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Checksum;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn every_status_has_its_meaning() {
        let plain = GetOptions::default();
        let part = GetOptions { range: Some(0..3), ..GetOptions::default() };
        let pinned = GetOptions { if_match: ETag::from_store(MD5), ..GetOptions::default() };
        for (status, options, expected) in [
            (200, &plain, None),
            (204, &plain, None),
            (206, &part, None),
            (200, &part, Some("unavailable")),
            (304, &plain, Some("not_modified")),
            (404, &plain, Some("absent")),
            (412, &pinned, Some("changed")),
            (412, &plain, Some("unavailable")),
            (416, &part, Some("changed")),
            (400, &plain, Some("denied")),
            (401, &plain, Some("denied")),
            (403, &plain, Some("denied")),
            (302, &plain, Some("unavailable")),
            (429, &plain, Some("unavailable")),
            (498, &plain, Some("unavailable")),
            (500, &plain, Some("unavailable")),
            (503, &plain, Some("unavailable")),
        ] {
            let answer = Response::from(http::Response::builder().status(status).body("").unwrap());
            let error = error(&answer, options);
            assert_eq!(error.as_ref().map(StoreError::as_str), expected, "{status} {options:?}");
        }
    }

    const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";

    #[test]
    fn of_a_part_the_size_of_the_whole_is_told() {
        let part = headers(&[("content-length", "3"), ("content-range", "bytes 0-2/10"), ("etag", MD5)]);
        assert_eq!(object_meta(&part).unwrap().size, 10);
        assert_eq!(object_meta(&headers(&[("content-length", "3")])).unwrap().size, 3);
        assert!(object_meta(&headers(&[("content-range", "bytes 0-2/*")])).is_err());
        assert!(object_meta(&headers(&[])).is_err());
    }

    #[test]
    fn only_a_plain_objects_tag_is_a_checksum_and_every_tag_finds_back() {
        let quoted = format!("\"{MD5}\"");
        for (more, is_checksum) in [
            (("x-timestamp", "1"), true),
            (("x-static-large-object", "True"), false),
            (("x-object-manifest", "segments/film"), false),
        ] {
            for tag in [MD5, &quoted] {
                let tag = etag(&headers(&[("etag", tag), more])).unwrap();
                assert_eq!(Checksum::from_tag(&tag).is_some(), is_checksum, "{tag:?}");
                assert_eq!(swifts(&tag), quoted);
            }
        }
    }
}
