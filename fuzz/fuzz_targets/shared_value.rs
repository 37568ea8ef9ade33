//! Whatever stands in Redis, reading it neither panics nor takes more memory than it may, and with an integrity key
//! nothing is believed but what was sealed with it.
//!
//! The input is taken as a header (its length in the first byte) and the pieces of a body, divided by `|||`: the
//! header as it stands, which must be refused, and sealed, so that what stands behind the seal is reached too.

#![no_main]

use std::sync::LazyLock;

use callboard::cache::shared::{Header, Seal, Unpacker};
use callboard::docs::{Locator, Options, StorageKey};
use callboard::secret::Secret;
use libfuzzer_sys::fuzz_target;

const MAX_BYTES: u64 = 1024 * 1024;

static KEY: LazyLock<StorageKey> = LazyLock::new(|| {
    Locator::new(Options::default()).locate("/static/docs/default/component/shop/index.html").unwrap().key
});
static SEAL: LazyLock<Seal> = LazyLock::new(|| Seal::new(Some(&Secret::new("an integrity key")), "callboard:"));
static PLAIN: LazyLock<Seal> = LazyLock::new(|| Seal::new(None, "callboard:"));

fuzz_target!(|input: &[u8]| {
    let Some((&length, rest)) = input.split_first() else { return };
    let Some((header, body)) = rest.split_at_checked(length.into()) else { return };
    for seal in [&*SEAL, &*PLAIN] {
        assert!(Header::open(seal, &KEY, header).is_err());
        assert!(seal.open("", header).is_none());
    }
    let sealed = SEAL.seal(&Header::context(&KEY), header);
    assert!(Header::open(&PLAIN, &KEY, &sealed).is_err());
    if let Ok(header) = Header::open(&SEAL, &KEY, &sealed) {
        read(&header, body);
    }
});

fn read(header: &Header, body: &[u8]) {
    let Ok(mut unpacker) = Unpacker::new(header, MAX_BYTES) else { return };
    let mut rest = body;
    while unpacker.is_hungry() {
        let end = rest.windows(3).position(|bytes| bytes == b"|||").unwrap_or(rest.len());
        if unpacker.push(&rest[..end]).is_err() {
            return;
        }
        rest = rest.get(end + 3..).unwrap_or_default();
    }
    if let Ok(body) = unpacker.finish() {
        assert!(body.len() as u64 <= MAX_BYTES);
    }
}
