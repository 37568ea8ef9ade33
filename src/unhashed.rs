//! A hasher for keys that are hashes already.

use std::hash::Hasher;

/// Takes a key as it is. Only for keys that are uniform and that no caller can choose: digests of what was signed, hashes
/// made with a secret.
#[derive(Debug, Default)]
pub struct Unhashed(u64);

impl Hasher for Unhashed {
    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
