//! Which content coding a client is sent (RFC 9110 §12.5.3).

use http::header::ACCEPT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// How the bytes of a document are coded for the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878).
    Zstd,
    /// gzip (RFC 1952).
    Gzip,
    /// As they are.
    Identity,
}

impl Coding {
    /// Those that are not [`Coding::Identity`], the one that makes documents smallest first.
    pub const COMPRESSING: [Self; 3] = [Self::Br, Self::Zstd, Self::Gzip];

    /// All, in the order in which we prefer them where a client does not care.
    const ALL: [Self; 4] = [Self::Br, Self::Zstd, Self::Gzip, Self::Identity];

    /// The word for it in `Content-Encoding` and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Identity => "identity",
        }
    }

    /// `Content-Encoding`; none where there is nothing to undo.
    pub const fn header(self) -> Option<HeaderValue> {
        match self {
            Self::Identity => None,
            _ => Some(HeaderValue::from_static(self.as_str())),
        }
    }

    fn of(name: &[u8]) -> Option<Self> {
        // Who is as old as `x-gzip` means the same (§8.4.1.3).
        let name = if name.eq_ignore_ascii_case(b"x-gzip") { b"gzip" } else { name };
        Self::ALL.into_iter().find(|coding| name.eq_ignore_ascii_case(coding.as_str().as_bytes()))
    }
}

/// A weight in thousandths.
type Quality = u16;

/// What a client says of a coding that it does not name.
const UNNAMED: Quality = 0;

/// Identity is always good enough for a client that says nothing of it, but it would rather have what it named.
const UNNAMED_IDENTITY: Quality = 1;

/// Which codings a client accepts, and how gladly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted([Quality; Coding::ALL.len()]);

impl Accepted {
    /// Nothing but the bytes as they are, as of a client that says nothing.
    pub const IDENTITY: Self = Self([0, 0, 0, 1000]);

    /// What `Accept-Encoding` says, however often it is there. A member that is not well-formed is as if it were not
    /// there; of two that speak of the same coding the less glad one counts.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut named = [None; Coding::ALL.len()];
        let mut others = None;
        let mut values = headers.get_all(ACCEPT_ENCODING).iter().peekable();
        // Who says nothing accepts anything, by the RFC; in truth it does not know of codings.
        if values.peek().is_none() {
            return Self::IDENTITY;
        }
        for (name, quality) in values.flat_map(|value| value.as_bytes().split(|&byte| byte == b',')).filter_map(member)
        {
            let said = match Coding::of(name) {
                Some(coding) => named.get_mut(coding as usize),
                None if name == b"*" => Some(&mut others),
                None => None,
            };
            if let Some(said) = said {
                *said = Some(said.map_or(quality, |before: Quality| before.min(quality)));
            }
        }
        let [br, zstd, gzip, identity] = named;
        let or = |said: Option<Quality>, unnamed| said.or(others).unwrap_or(unnamed);
        Self([or(br, UNNAMED), or(zstd, UNNAMED), or(gzip, UNNAMED), or(identity, UNNAMED_IDENTITY)])
    }

    /// Whether it accepts anything beside the bytes as they are.
    pub fn is_compressing(self) -> bool {
        Coding::COMPRESSING.into_iter().any(|coding| self.accepts(coding))
    }

    /// All that it accepts.
    pub fn all(self) -> impl Iterator<Item = Coding> {
        Coding::ALL.into_iter().filter(move |coding| self.accepts(*coding))
    }

    /// Whether it accepts this one at all.
    pub fn accepts(self, coding: Coding) -> bool {
        self.quality(coding) > 0
    }

    /// The coding that it would rather have than any other of those that are `available`; we choose where it does not
    /// care. Where it accepts none of them it is sent the bytes as they are, which it can still refuse to read.
    pub fn best(self, available: impl Fn(Coding) -> bool) -> Coding {
        let mut best = (Coding::Identity, self.quality(Coding::Identity));
        // From what we like least, so that what we like better wins a tie.
        for coding in Coding::COMPRESSING.into_iter().rev() {
            let quality = self.quality(coding);
            if quality > 0 && quality >= best.1 && available(coding) {
                best = (coding, quality);
            }
        }
        best.0
    }

    fn quality(self, coding: Coding) -> Quality {
        self.0.get(coding as usize).copied().unwrap_or_default()
    }
}

/// A member of the list: the coding's name, and its weight.
fn member(text: &[u8]) -> Option<(&[u8], Quality)> {
    let (name, parameter) = match text.iter().position(|&byte| byte == b';') {
        Some(at) => (text.get(..at)?, text.get(at + 1..)),
        None => (text, None),
    };
    let quality = match parameter.map(<[u8]>::trim_ascii) {
        None => 1000,
        Some([b'q' | b'Q', b'=', quality @ ..]) => weight(quality)?,
        Some(_) => return None,
    };
    let name = name.trim_ascii();
    (!name.is_empty()).then_some((name, quality))
}

/// A weight: 0 to 1, with three digits behind the point at most (§12.4.2).
fn weight(text: &[u8]) -> Option<Quality> {
    let (whole, fraction) = match text {
        [whole] | [whole, b'.'] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] if fraction.len() <= 3 => (whole, fraction),
        _ => return None,
    };
    if !whole.is_ascii_digit() || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(3);
    let thousandths = digits.fold(Quality::from(whole - b'0'), |sum, digit| sum * 10 + Quality::from(digit - b'0'));
    (thousandths <= 1000).then_some(thousandths)
}

#[cfg(test)]
mod tests {
    use Coding::*;
    use proptest::prelude::*;

    use super::*;

    fn accepted(values: &[&str]) -> Accepted {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(ACCEPT_ENCODING, value.parse().unwrap());
        }
        Accepted::of(&headers)
    }

    #[test]
    fn the_gladly_taken_wins_and_we_choose_among_equals() {
        for (values, expected) in [
            (&[][..], Identity),
            (&[""], Identity),
            (&["gzip, deflate, br, zstd"], Br),
            (&["gzip, deflate"], Gzip),
            (&["zstd, gzip"], Zstd),
            (&["deflate, compress"], Identity),
            (&["*"], Br),
            (&["GZIP"], Gzip),
            (&["x-gzip"], Gzip),
            (&["X-GZIP;Q=0.5, br;q=0.4"], Gzip),
            (&["br;q=0.5, gzip;q=0.8, zstd;q=0.799"], Gzip),
            (&["br;q=0.001"], Br),
            (&["br;q=0"], Identity),
            (&["br;q=0.000, gzip"], Gzip),
            (&["*;q=0.5, br;q=0"], Zstd),
            (&["identity, br;q=0.9"], Identity),
            (&["identity;q=0.5, br;q=0.5"], Br),
            (&["identity;q=0, gzip;q=0.1"], Gzip),
            (&["identity;q=0"], Identity),
            (&["*;q=0"], Identity),
            (&["gzip;q=0.3, *;q=0.5"], Br),
            (&["gzip", "br"], Br),
            (&["gzip;q=1", "br;q=0.9"], Gzip),
            (&["br, br;q=0, gzip"], Gzip),
            (&["x-gzip;q=0, gzip"], Identity),
            (&[" br\t;\tq=1.000 ,"], Br),
            (&[",,;,;q=1,br"], Br),
            (&["br;q=1.001, gzip"], Gzip),
            (&["br;q=2, gzip"], Gzip),
            (&["br;q=0.1234, gzip;q=0.1"], Gzip),
            (&["br;q=, gzip;q=0.1"], Gzip),
            (&["br;q=-1, gzip;q=0.1"], Gzip),
            (&["br;q=0,5"], Identity),
            (&["br;q=1;x=y, gzip;q=0.1"], Gzip),
            (&["br;level=9, gzip;q=0.1"], Gzip),
            (&["brotli, gzipped, zst"], Identity),
        ] {
            assert_eq!(accepted(values).best(|_| true), expected, "{values:?}");
        }
    }

    #[test]
    fn of_what_is_there_the_next_best_is_taken() {
        for (value, available, expected) in [
            ("gzip, br, zstd", &[Gzip, Zstd][..], Zstd),
            ("gzip, br, zstd", &[], Identity),
            ("br", &[Gzip], Identity),
            // Identity is the others' equal here, and the one that is named otherwise is not.
            ("gzip;q=0.3, *;q=0.5", &[Gzip], Identity),
            ("gzip;q=0.3, br;q=0.5", &[Gzip], Gzip),
            ("identity;q=0, br", &[Gzip], Identity),
        ] {
            assert_eq!(accepted(&[value]).best(|coding| available.contains(&coding)), expected, "{value}");
        }
    }

    #[test]
    fn whether_one_is_accepted_is_told_apart_from_how_gladly() {
        let accepted = accepted(&["gzip;q=0.1, zstd;q=0"]);
        assert!(accepted.accepts(Gzip) && accepted.accepts(Identity) && accepted.is_compressing());
        assert!(!accepted.accepts(Zstd) && !accepted.accepts(Br));
        assert!(!Accepted::IDENTITY.is_compressing() && Accepted::IDENTITY.accepts(Identity));
    }

    proptest! {
        #[test]
        fn nothing_is_sent_that_was_refused(value in "[ -~\\t]{0,60}", available: [bool; 3]) {
            let accepted = accepted(&[&value]);
            let chosen = accepted.best(|coding| available.get(coding as usize).copied().unwrap_or_default());
            prop_assert!(chosen == Identity || (accepted.accepts(chosen) && available[chosen as usize]));
        }

        #[test]
        fn weights_decide_as_numbers_do(weights in prop::array::uniform4(0u16..=1000)) {
            let names = Coding::ALL.map(Coding::as_str);
            let members = names.iter().zip(weights).map(|(name, weight)| {
                format!("{name};q={}.{:03}", weight / 1000, weight % 1000)
            });
            let accepted = accepted(&[&members.collect::<Vec<_>>().join(",")]);
            prop_assert_eq!(accepted, Accepted(weights));
            let chosen = accepted.best(|_| true);
            if weights.iter().any(|weight| *weight > 0) {
                prop_assert_eq!(weights[chosen as usize], *weights.iter().max().unwrap());
            } else {
                prop_assert_eq!(chosen, Identity);
            }
        }
    }
}
