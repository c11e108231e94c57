//! PURE: the lines of the journal. Each is one change, whole or not at all: a checksum, a space, and what changed as
//! JSON. Taken one after the other they come to what is registered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checks::spec::Check;
use crate::store::command::ServiceFields;

/// What this version writes, and the newest it reads.
pub(super) const FORMAT: u32 = 1;

/// Of one line no more is read; a definition comes from a request of a limited size.
pub(super) const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Digits of the checksum.
const SUM_BYTES: usize = 8;

/// One change. What goes, goes first.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record<S, C> {
    /// In the first line of a journal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<u32>,
    /// By their IDs; their checks are named, too, where they go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gone_services: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) gone_checks: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) services: Vec<S>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) checks: Vec<C>,
}

impl<S, C> Default for Record<S, C> {
    fn default() -> Self {
        let (gone_services, gone_checks) = (Vec::new(), Vec::new());
        Self { format: None, gone_services, gone_checks, services: Vec::new(), checks: Vec::new() }
    }
}

pub(super) type Written<'a> = Record<&'a ServiceFields, &'a Check>;
type Read = Record<ServiceFields, Check>;

/// The first line of a journal.
pub(super) fn head() -> Vec<u8> {
    let mut line = Vec::new();
    write(&Written { format: Some(FORMAT), ..Written::default() }, &mut line);
    line
}

/// Appends a line.
pub(super) fn write(record: &Written<'_>, into: &mut Vec<u8>) {
    let text = serde_json::to_vec(record).expect("every field is text, a number or a map of texts");
    into.extend_from_slice(format!("{:08x} ", crc32fast::hash(&text)).as_bytes());
    into.extend_from_slice(&text);
    into.push(b'\n');
}

/// What is registered, by IDs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) services: BTreeMap<String, ServiceFields>,
    pub(super) checks: BTreeMap<String, Check>,
}

impl Kept {
    /// Takes a line, with or without its end. A refusal changes nothing.
    pub(super) fn take(&mut self, line: &[u8]) -> Result<(), String> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let (sum, text) = line.split_at_checked(SUM_BYTES).ok_or("it is cut off")?;
        let text = text.strip_prefix(b" ").ok_or("it is no record")?;
        let sum = std::str::from_utf8(sum).ok().and_then(|sum| u32::from_str_radix(sum, 16).ok());
        if sum != Some(crc32fast::hash(text)) {
            return Err("its checksum is another".to_owned());
        }
        let record: Read = serde_json::from_slice(text).map_err(|problem| problem.to_string())?;
        if let Some(format) = record.format.filter(|format| *format > FORMAT) {
            return Err(format!("it has format {format}, this version reads up to {FORMAT}"));
        }
        for id in &record.gone_services {
            self.services.remove(id);
        }
        for id in &record.gone_checks {
            self.checks.remove(id);
        }
        self.services.extend(record.services.into_iter().map(|service| (service.id.clone(), service)));
        self.checks.extend(record.checks.into_iter().map(|check| (check.id.clone(), check)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(id: &str, port: u16) -> ServiceFields {
        ServiceFields { id: id.to_owned(), name: "web".to_owned(), port, ..ServiceFields::default() }
    }

    #[test]
    fn lines_come_to_what_is_registered() {
        let (first, again, check) =
            (service("a", 1), service("a", 2), Check { id: "c".to_owned(), ..Check::default() });
        let mut lines = head();
        write(&Written { services: vec![&first], checks: vec![&check], ..Written::default() }, &mut lines);
        write(&Written { services: vec![&again], ..Written::default() }, &mut lines);
        let mut kept = Kept::default();
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            kept.take(line).expect("whole");
        }
        assert_eq!((&kept.services["a"], &kept.checks["c"]), (&again, &check));
        lines.clear();
        let gone = || vec!["a".to_owned()];
        write(&Written { gone_services: gone(), gone_checks: vec!["c".to_owned()], ..Written::default() }, &mut lines);
        kept.take(&lines).expect("whole");
        assert_eq!(kept, Kept::default());
        // In the place of another.
        lines.clear();
        write(&Written { gone_services: gone(), services: vec![&first], ..Written::default() }, &mut lines);
        kept.take(&lines).expect("whole");
        assert_eq!(kept.services["a"], first);
    }

    /// The form of the first version, which is read for ever.
    #[test]
    fn a_line_of_the_first_version_is_read() {
        let mut kept = Kept::default();
        let text = r#"{"services":[{"id":"a","name":"web","tags":["t"],"address":"","tagged_addresses":{},"port":80,"meta":{},"weights":[1,1],"enable_tag_override":false}],"checks":[{"id":"c","service_id":"a","ttl":{"secs":10,"nanos":0}}]}"#;
        kept.take(format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes())).as_bytes()).expect("read");
        assert_eq!((kept.services["a"].port, kept.checks["c"].ttl.as_secs()), (80, 10));
    }

    #[test]
    fn what_is_no_whole_line_is_refused_and_changes_nothing() {
        let mut whole = Vec::new();
        write(&Written { services: vec![&service("a", 1)], ..Written::default() }, &mut whole);
        let check = |line: &[u8], why: &str| {
            let mut kept = Kept::default();
            let refused = kept.take(line).expect_err("refused");
            assert!(refused.contains(why), "{refused}");
            assert_eq!(kept, Kept::default());
        };
        check(b"\n", "cut off");
        check(&[0; 40], "no record");
        for length in SUM_BYTES + 1..whole.len() - 1 {
            check(&whole[..length], "checksum");
        }
        for at in SUM_BYTES + 1..whole.len() - 1 {
            let mut turned = whole.clone();
            turned[at] ^= 1;
            check(&turned, "checksum");
        }
        let sealed = |text: &str| format!("{:08x} {text}\n", crc32fast::hash(text.as_bytes()));
        check(sealed(r#"{"format":2}"#).as_bytes(), "it has format 2, this version reads up to 1");
        check(sealed(r#"{"services":[{"id":5}]}"#).as_bytes(), "invalid type");
    }
}
