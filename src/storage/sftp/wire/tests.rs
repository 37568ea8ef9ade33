use proptest::prelude::*;

use super::*;

fn packet_of(kind: u8, fill: impl FnOnce(&mut BytesMut)) -> BytesMut {
    let mut out = BytesMut::new();
    packet(&mut out, kind, fill);
    out
}

#[test]
fn a_request_is_written_as_the_draft_has_it() {
    let mut out = BytesMut::new();
    Ask::Read { handle: b"h", offset: 258, length: 32768 }.write(7, &mut out);
    assert_eq!(out.as_ref(), [0, 0, 0, 22, 5, 0, 0, 0, 7, 0, 0, 0, 1, b'h', 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 128, 0]);
    out.clear();
    Ask::Open(b"/a").write(1, &mut out);
    assert_eq!(out.as_ref(), [0, 0, 0, 19, 3, 0, 0, 0, 1, 0, 0, 0, 2, b'/', b'a', 0, 0, 0, 1, 0, 0, 0, 0]);
}

#[test]
fn packets_come_out_whole_however_they_arrive() {
    let mut bytes = packet_of(103, |out| {
        out.put_u32(9);
        string(out, b"data");
    });
    bytes.extend_from_slice(&packet_of(101, |out| {
        out.put_u32(10);
        out.put_u32(1);
    }));
    let mut received = BytesMut::new();
    let mut frames = Vec::new();
    for byte in bytes {
        received.put_u8(byte);
        frames.extend(next_frame(&mut received).unwrap());
    }
    let end = Status { code: Status::END, message: String::new() };
    assert_eq!(frames, [Frame::Answer(9, Answer::Data("data".into())), Frame::Answer(10, Answer::Status(end))]);
}

#[test]
fn names_are_bytes_and_what_they_stand_for_is_told_one_way_or_another() {
    let mut bytes = packet_of(104, |out| {
        out.put_u32(1);
        out.put_u32(2);
        string(out, b"\xff");
        string(out, b"drwxr-xr-x");
        out.put_u32(0);
        string(out, b"page");
        string(out, b"");
        out.put_u32(4 | 1 << 31);
        out.put_u32(0o100_644);
        out.put_u32(1);
        string(out, b"x@example.com");
        string(out, b"");
    });
    let entry = |name: &'static [u8], kind| Entry { name: name.into(), kind };
    let entries = vec![entry(b"\xff", Kind::Folder), entry(b"page", Kind::File)];
    assert_eq!(next_frame(&mut bytes).unwrap(), Some(Frame::Answer(1, Answer::Names(entries))));
}

#[test]
fn what_claims_to_be_longer_than_it_may_is_refused() {
    assert!(next_frame(&mut BytesMut::from(&[0xff; 4][..])).is_err());
    let mut short = packet_of(103, |out| {
        out.put_u32(1);
        out.put_u32(5);
        out.extend_from_slice(b"four");
    });
    assert!(next_frame(&mut short).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(kind in 100_u8..107, body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = packet_of(kind, |out| out.extend_from_slice(&body));
        let _ = next_frame(&mut bytes);
        prop_assert!(bytes.is_empty());
    }
}
