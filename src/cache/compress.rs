//! Compressing a document, once and well: whoever reads it later pays for nothing of it.

use std::io::{self, Write};

use brotli::enc::BrotliEncoderParams;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::negotiation::Coding;

/// Up to so many bytes it takes about a millisecond a KiB to get the last few percent out of a page, which is worth it for
/// one that is read more than once; beyond, levels are those that are promised.
const SMALL_BYTES: usize = 64 << 10;

/// Levels for what is small, and for what is larger. The highest ones take several times as long for two percent.
const BR_QUALITY: (i32, i32) = (10, 9);
const ZSTD_LEVEL: (i32, i32) = (15, 12);

/// Brotli looks back 4 MiB, as zstd does at the level for large documents.
const BR_WINDOW_LOG: i32 = 22;

/// `bytes` in this coding.
///
/// # Errors
/// Where the compressor has no memory.
pub(super) fn compress(coding: Coding, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let is_small = bytes.len() <= SMALL_BYTES;
    let of = |(small, large)| if is_small { small } else { large };
    match coding {
        Coding::Br => brotli(bytes, of(BR_QUALITY)),
        Coding::Zstd => zstd::bulk::compress(bytes, of(ZSTD_LEVEL)),
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Coding::Identity => Ok(bytes.to_vec()),
    }
}

fn brotli(mut bytes: &[u8], quality: i32) -> io::Result<Vec<u8>> {
    let parameters =
        BrotliEncoderParams { quality, lgwin: BR_WINDOW_LOG, size_hint: bytes.len(), ..Default::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut bytes, &mut compressed, &parameters)?;
    Ok(compressed)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Text that is like a page's: words that come again, and numbers that do not.
    fn text(bytes: usize) -> Vec<u8> {
        let words = ["<li class=\"md-nav__item\">", "guide", "</li>\n", "the", "service", "reads", "its", "settings"];
        let word = |number: usize| format!("{} {} ", words[number * number % words.len()], number * 7919 % 1000);
        let mut text: Vec<u8> = (0..).flat_map(|number| word(number).into_bytes()).take(bytes).collect();
        text.truncate(bytes);
        text
    }

    fn decoded(coding: Coding, mut bytes: &[u8]) -> Vec<u8> {
        let mut decoded = Vec::new();
        match coding {
            Coding::Br => brotli::BrotliDecompress(&mut bytes, &mut decoded).unwrap(),
            Coding::Zstd => decoded = zstd::decode_all(bytes).unwrap(),
            Coding::Gzip => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut decoded).unwrap()),
            Coding::Identity => decoded.extend(bytes),
        }
        decoded
    }

    #[test]
    fn what_is_compressed_is_smaller_and_comes_out_as_it_went_in() {
        for bytes in [1000, SMALL_BYTES, SMALL_BYTES + 1, 6 << 20] {
            let text = text(bytes);
            for coding in Coding::COMPRESSING {
                let compressed = compress(coding, &text).unwrap();
                assert!(compressed.len() < text.len() * 2 / 3, "{coding:?}: {bytes} to {}", compressed.len());
                assert!(decoded(coding, &compressed) == text, "{coding:?} {bytes}");
            }
        }
    }

    #[test]
    fn it_is_no_larger_than_what_is_promised() {
        let site = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sample/site");
        for file in ["404.html", "journey/index.html", "search/search_index.json", "search/lunr.js", "search/main.js"] {
            let bytes = std::fs::read(format!("{site}/{file}")).unwrap();
            let br = compress(Coding::Br, &bytes).unwrap().len();
            let zstd = compress(Coding::Zstd, &bytes).unwrap().len();
            let promised = [brotli(&bytes, 9).unwrap().len(), zstd::bulk::compress(&bytes, 12).unwrap().len()];
            assert!(br <= promised[0] && zstd <= promised[1], "{file}: {br} {zstd}, not {promised:?}");
        }
    }

    #[test]
    fn zstd_looks_back_no_further_than_a_client_must() {
        // 8 MiB (RFC 9659 §3), in the byte behind the frame's descriptor where it is told, else the whole size.
        let compressed = compress(Coding::Zstd, &text(12 << 20)).unwrap();
        let is_single_segment = compressed[4] & 0b10_0000 != 0;
        assert!(!is_single_segment && compressed[5] >> 3 <= 23 - 10, "{:?}", &compressed[..8]);
    }
}
