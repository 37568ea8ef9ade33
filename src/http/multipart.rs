//! The frame of `multipart/byteranges` (RFC 9110 §14.6).

use std::ops::Range;

use bytes::Bytes;
use http::HeaderValue;

/// Stands between the parts. It is compared with nothing that a client sends, and a document that holds it by chance is
/// still read rightly, because each part tells its length.
const BOUNDARY: &str = "callboard-5c1f0a7e9b3d4826";

/// `Content-Type` of the whole answer.
pub const CONTENT_TYPE: HeaderValue =
    HeaderValue::from_static("multipart/byteranges; boundary=callboard-5c1f0a7e9b3d4826");

/// What stands before a part.
pub fn part_head(content_type: &HeaderValue, range: &Range<u64>, length: u64) -> Bytes {
    let content_type = String::from_utf8_lossy(content_type.as_bytes());
    let content_range = content_range(range, length);
    format!("\r\n--{BOUNDARY}\r\nContent-Type: {content_type}\r\nContent-Range: {content_range}\r\n\r\n").into()
}

/// What stands behind the last part.
pub fn tail() -> Bytes {
    format!("\r\n--{BOUNDARY}--\r\n").into()
}

/// `Content-Range` of a part of a document of `length` bytes.
pub fn content_range(range: &Range<u64>, length: u64) -> String {
    format!("bytes {}-{}/{length}", range.start, range.end.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_names_the_boundary_that_stands_between_the_parts() {
        assert!(
            CONTENT_TYPE
                .to_str()
                .unwrap()
                .ends_with(&format!("boundary={BOUNDARY}"))
        );
        let head = part_head(&HeaderValue::from_static("image/png"), &(2..5), 10);
        let expected = format!("\r\n--{BOUNDARY}\r\nContent-Type: image/png\r\nContent-Range: bytes 2-4/10\r\n\r\n");
        assert_eq!(head, expected);
    }
}
