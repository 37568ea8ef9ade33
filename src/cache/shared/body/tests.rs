//! Bodies in pieces, in and out.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use zstd::stream::raw::CParameter;

use super::super::header::sha256;
use super::*;
use crate::storage::ObjectMeta;

const NO_LIMIT: u64 = u64::MAX;

fn meta(size: usize) -> ObjectMeta {
    ObjectMeta { size: size as u64, etag: None, last_modified: Some(UNIX_EPOCH) }
}

fn pack(body: &Bytes, file_name: &str) -> (Header, Vec<Bytes>) {
    let mut packer = Packer::new(body.clone(), file_name);
    let mut pieces = Vec::new();
    loop {
        match packer.step() {
            Step::Working => {}
            Step::Piece(piece) => pieces.push(piece),
            Step::Done(Packed { encoding, stored, digest }) => {
                return (Header { meta: meta(body.len()), encoding, stored, digest }, pieces);
            }
        }
    }
}

fn unpack<P: AsRef<[u8]>>(header: &Header, pieces: &[P]) -> Result<Bytes, BadValue> {
    let mut unpacker = Unpacker::new(header, NO_LIMIT)?;
    for piece in pieces {
        unpacker.push(piece.as_ref())?;
    }
    unpacker.finish()
}

/// The header of a body that is stored as this one frame.
fn framed(body: &[u8], frame: &[u8]) -> Header {
    Header { meta: meta(body.len()), encoding: Encoding::Zstd, stored: frame.len() as u64, digest: sha256(body) }
}

fn json(bytes: usize) -> Bytes {
    let line = |number| format!("{{\"location\": \"page-{number}/\", \"text\": \"{}\"}},\n", number * 7919);
    let mut text: String = (0..bytes / 40).map(line).collect();
    text.truncate(bytes);
    text.into()
}

fn noise(bytes: usize) -> Bytes {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..bytes).map(|_| next()).collect::<Vec<u8>>().into()
}

#[test]
fn bodies_come_out_as_they_went_in() {
    let sizes = [0, 1, 20, 20_000, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 3_000_000];
    for (size, file) in sizes.into_iter().flat_map(|size| [(size, "index.html"), (size, "a.json"), (size, "a.png")]) {
        for body in [json(size), noise(size), vec![b' '; size].into()] {
            let (header, pieces) = pack(&body, file);
            assert_eq!(unpack(&header, &pieces).unwrap(), body, "{size} {file}");
            assert_eq!(pieces.iter().map(|piece| piece.len() as u64).sum::<u64>(), header.stored);
            let (_, all_but_last) = pieces.split_last().unwrap_or((&body, &[]));
            assert!(all_but_last.iter().all(|piece| piece.len() == PIECE_BYTES));
        }
    }
}

#[test]
fn text_is_compressed_and_what_is_compressed_already_is_not() {
    let (header, pieces) = pack(&json(3_000_000), "search_index.json");
    assert_eq!(header.encoding, Encoding::Zstd);
    assert!(header.stored < 1_000_000 && pieces.len() > 1, "{} in {}", header.stored, pieces.len());
    for (body, file) in [
        (json(100_000), "photo.png"),
        (json(100_000), "font.woff2"),
        (json(100_000), "site.zip"),
        (noise(1_000_000), "noise.json"),
        (Bytes::from_static(b"short"), "short.txt"),
    ] {
        let (header, _) = pack(&body, file);
        assert_eq!((header.encoding, header.stored), (Encoding::Plain, body.len() as u64), "{file}");
    }
    assert_eq!(pack(&json(100_000), "drawing.svg").0.encoding, Encoding::Zstd);
}

#[test]
fn pieces_of_what_is_not_compressed_are_no_copies() {
    let body = noise(PIECE_BYTES * 2);
    let (_, pieces) = pack(&body, "photo.png");
    assert_eq!(pieces[1].as_ptr(), body.slice(PIECE_BYTES..).as_ptr());
}

#[test]
fn a_body_is_never_larger_than_its_header_says() {
    let bomb = zstd::bulk::compress(&vec![0; 50_000_000], 3).unwrap();
    assert_eq!(unpack(&framed(&[0; 100_000], &bomb), &[&bomb]), Err(BadValue::Size));
    let header = framed(&[0; 100_000], &bomb);
    let mut unpacker = Unpacker::new(&header, NO_LIMIT).unwrap();
    assert_eq!(unpacker.push(&bomb), Err(BadValue::Size));
    assert!(unpacker.body.capacity() < 200_000);
}

#[test]
fn a_body_beyond_the_limit_is_not_even_begun() {
    let (header, _) = pack(&json(1000), "a.json");
    assert!(Unpacker::new(&header, 1000).is_ok());
    assert_eq!(Unpacker::new(&header, 999).err(), Some(BadValue::Size));
    for (stored, encoding) in [(1001, Encoding::Plain), (999, Encoding::Plain), (1000, Encoding::Zstd)] {
        let header = Header { stored, encoding, ..header.clone() };
        assert_eq!(Unpacker::new(&header, 1000).err(), Some(BadValue::Size));
    }
}

#[test]
fn a_frame_that_wants_much_memory_is_refused() {
    let body = vec![b'x'; 20_000_000];
    let mut encoder = Encoder::new(3).unwrap();
    encoder.set_parameter(CParameter::WindowLog(24)).unwrap();
    let mut frame = Vec::with_capacity(1_000_000);
    let mut output = OutBuffer::around(&mut frame);
    encoder.run(&mut InBuffer::around(&body), &mut output).unwrap();
    assert_eq!(encoder.finish(&mut output, true).unwrap(), 0);
    assert_eq!(unpack(&framed(&body, &frame), &[&frame]), Err(BadValue::Format));
}

#[test]
fn a_frame_is_all_there_is_and_there_is_one() {
    let body = json(10_000);
    let frame = zstd::bulk::compress(&body, 3).unwrap();
    assert_eq!(unpack(&framed(&body, &frame), &[&frame]).unwrap(), body);
    let cut = &frame[..frame.len() - 1];
    assert_eq!(unpack(&framed(&body, cut), &[cut]), Err(BadValue::Size));
    for more in [&b"x"[..], &frame] {
        let long = [&frame, more].concat();
        assert_eq!(unpack(&framed(&[&body[..], &body].concat(), &long), &[&long]), Err(BadValue::Format));
    }
}

#[test]
fn pieces_that_are_missing_short_or_swapped_are_noticed() {
    let body = noise(PIECE_BYTES * 2 + 10);
    let (header, pieces) = pack(&body, "a.png");
    let [first, second, last] = &pieces[..] else { panic!() };
    assert_eq!(unpack(&header, &[second, first, last]), Err(BadValue::Integrity));
    assert_eq!(unpack(&header, &[first, second]), Err(BadValue::Size));
    assert_eq!(unpack(&header, &[first, last]), Err(BadValue::Size));
    assert_eq!(unpack(&header, &[first, second, last, last]), Err(BadValue::Size));
    assert_eq!(unpack(&header, &[first, second, &last.slice(1..)]), Err(BadValue::Size));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_piece_makes_it_panic(size in 0..10_000_u64, stored in 0..300_000_u64, zstd: bool, pieces: Vec<Vec<u8>>) {
        let encoding = if zstd { Encoding::Zstd } else { Encoding::Plain };
        let header = Header { meta: ObjectMeta { size, etag: None, last_modified: None }, encoding, stored, digest: [0; 32] };
        prop_assert!(unpack(&header, &pieces).is_err());
    }

    #[test]
    fn any_byte_changed_on_the_way_is_noticed(at: prop::sample::Index, flip in 1..=u8::MAX, name in "a\\.(json|png)") {
        let body = json(5000);
        let (header, pieces) = pack(&body, &name);
        let mut changed = pieces[0].to_vec();
        let at = at.index(changed.len());
        changed[at] ^= flip;
        // Some bits of a frame's header mean nothing: then the body is what it was.
        if let Ok(read) = unpack(&header, &[changed]) {
            prop_assert_eq!(read, body);
        }
    }
}
