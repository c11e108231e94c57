//! Domain names as they are on the wire, byte for byte. Pure.
//!
//! Texts are in the form of zone files, as Consul has them: a byte that means something there is behind
//! a backslash (`a\.b` is one label), and one that cannot be seen is three digits (`\009`).

use std::borrow::Cow;
use std::fmt;

use smallvec::{SmallVec, smallvec};

/// RFC 1035: of a label, and of a name with the lengths of its labels.
pub(super) const LABEL_MAX: usize = 63;
const NAME_MAX: usize = 255;

/// Labels, each after its length, and the root's length of nothing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name(SmallVec<[u8; 64]>);

/// A label as text, in lower case.
pub(super) type Label<'a> = Cow<'a, str>;

impl Name {
    pub(super) fn root() -> Self {
        Self(smallvec![0])
    }

    /// `parts` one after the other, with and without dots at their ends; none when that cannot be a name.
    pub(super) fn of(parts: &[&str]) -> Option<Self> {
        let mut wire = SmallVec::new();
        for part in parts {
            let mut rest = part.as_bytes();
            while !rest.is_empty() {
                rest = label(rest, &mut wire)?;
            }
        }
        wire.push(0);
        (wire.len() <= NAME_MAX).then_some(Self(wire))
    }

    /// The name that `packet` has at `at`, and where it ends; pointers are followed nowhere.
    pub(super) fn read(packet: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut end = at;
        loop {
            match usize::from(*packet.get(end)?) {
                0 => break,
                length @ 1..=LABEL_MAX => end += 1 + length,
                _ => return None,
            }
        }
        let wire = &packet[at..=end];
        (wire.len() <= NAME_MAX).then(|| (Self(SmallVec::from_slice(wire)), end + 1))
    }

    /// With the lengths and the root's.
    pub(super) fn wire(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    pub(super) fn labels(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            (!label.is_empty()).then_some(label)
        })
    }

    /// ASCII's letters, as DNS compares them. No length looks like one of them.
    pub(super) fn to_lowercase(&self) -> Self {
        let mut lower = self.clone();
        lower.0.make_ascii_lowercase();
        lower
    }

    /// The labels as texts; of a name in lower case they are so too.
    pub(super) fn texts(&self) -> SmallVec<[Label<'_>; 8]> {
        self.labels().map(text).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        self.labels().try_for_each(|label| write!(f, "{}.", text(label)))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// Reads the first label of `text` into `wire`, if there is anything before its dot; what is after it.
fn label<'a>(text: &'a [u8], wire: &mut SmallVec<[u8; 64]>) -> Option<&'a [u8]> {
    let begin = wire.len();
    wire.push(0);
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'.' => break,
            b'\\' => {
                let (byte, after) = escaped(rest)?;
                wire.push(byte);
                rest = after;
            }
            byte => wire.push(byte),
        }
    }
    match wire.len() - begin - 1 {
        0 => wire.truncate(begin),
        length @ 1..=LABEL_MAX => wire[begin] = u8::try_from(length).ok()?,
        _ => return None,
    }
    Some(rest)
}

/// What follows a backslash: three digits, or the byte itself.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    if let [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', rest @ ..] = text {
        let number = [a, b, c].into_iter().fold(0_u16, |number, digit| number * 10 + u16::from(digit - b'0'));
        return Some((u8::try_from(number).ok()?, rest));
    }
    text.split_first().map(|(byte, rest)| (*byte, rest))
}

fn text(label: &[u8]) -> Label<'_> {
    let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && !is_special(*byte);
    if label.iter().all(is_plain)
        && let Ok(text) = std::str::from_utf8(label)
    {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(label.len() * 4);
    for byte in label {
        match byte {
            byte if is_special(*byte) => text.extend(['\\', char::from(*byte)]),
            b'!'..=b'~' => text.push(char::from(*byte)),
            byte => text.push_str(&format!("\\{byte:03}")),
        }
    }
    Cow::Owned(text)
}

/// Those that Consul's DNS library puts behind a backslash.
fn is_special(byte: u8) -> bool {
    matches!(byte, b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parts: &[&str], wire: Option<&[u8]>, shown: &str) {
        let name = Name::of(parts);
        assert_eq!(name.as_ref().map(Name::wire), wire, "{parts:?}");
        let Some(name) = name else { return };
        assert_eq!(name.to_string(), shown, "{parts:?}");
        assert_eq!(Name::of(&[shown]), Some(name.clone()), "{shown} is another name");
        assert_eq!(Name::read(name.wire(), 0), Some((name.clone(), name.wire().len())));
    }

    #[test]
    fn texts_are_names_and_names_are_texts() {
        check(&["web", "node", "consul."], Some(b"\x03web\x04node\x06consul\0"), "web.node.consul.");
        check(&["a.b.", "Dc1"], Some(b"\x01a\x01b\x03Dc1\0"), "a.b.Dc1.");
        check(&[""], Some(b"\0"), ".");
        check(&["a..b"], Some(b"\x01a\x01b\0"), "a.b.");
        check(&["sp ace"], Some(b"\x06sp ace\0"), "sp\\ ace.");
        check(&["a\\.b"], Some(b"\x03a.b\0"), "a\\.b.");
        check(&["tab\\009x"], Some(b"\x05tab\tx\0"), "tab\\009x.");
        check(&["\u{fc}"], Some(b"\x02\xc3\xbc\0"), "\\195\\188.");
        check(&["a'b@c;(d)\"\\\\"], Some(b"\x0ba'b@c;(d)\"\\\0"), "a\\'b\\@c\\;\\(d\\)\\\"\\\\.");
        check(&["a\\"], None, "");
        check(&["a\\256"], None, "");
        check(&[&"x".repeat(63)], Some(&[&[63][..], &[b'x'; 63], &[0]].concat()), &format!("{}.", "x".repeat(63)));
        check(&[&"x".repeat(64)], None, "");
        check(&["ab."; 84], Some(&[b"\x02ab".repeat(84), vec![0]].concat()), &"ab.".repeat(84));
        check(&["ab."; 85], None, "");
    }

    #[test]
    fn labels_are_texts_in_the_case_of_the_name() {
        let name = Name::of(&["We\\.B.x", "CONSUL"]).unwrap();
        assert_eq!(name.texts()[..], ["We\\.B", "x", "CONSUL"]);
        assert_eq!(name.to_lowercase().texts()[..], ["we\\.b", "x", "consul"]);
        assert!(Name::root().texts().is_empty() && Name::root().is_root());
    }

    #[test]
    fn what_is_no_name_of_a_question_is_not_read() {
        for packet in [&b""[..], b"\x01", b"\x01a", b"\xc0\x00", b"\x01a\xc0\x00", b"\x40\x00", b"\x80\x00"] {
            assert_eq!(Name::read(packet, 0), None, "{packet:?}");
        }
        assert_eq!(Name::read(&[b"\x3f".repeat(64 * 4), vec![0]].concat(), 0), None, "more than 255 bytes");
        assert_eq!(Name::read(b"..\x01a\0rest", 2).unwrap().1, 5);
    }
}
