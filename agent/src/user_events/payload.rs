//! PURE: Consul's user event inside serf's: what its payload holds, and its name there.
//! Called by the room's task on the way in, by the API's handle on the way out.

use uuid::Uuid;

use crate::swim::msgpack::{Flaw, Reader, Writer};

/// How serf's name of Consul's user events begins.
const PREFIX: &str = "consul:event:";
/// The form we write, and the latest that we know.
pub const VERSION: i64 = 1;

/// What somebody fired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    pub id: String,
    pub name: String,
    pub payload: Vec<u8>,
    /// Regular expressions; empty for all.
    pub node_filter: String,
    pub service_filter: String,
    pub tag_filter: String,
    pub version: i64,
}

/// The name of Consul's event in serf's; none when serf's is not Consul's.
pub fn plain_name(serf: &str) -> Option<&str> {
    serf.strip_prefix(PREFIX)
}

pub fn serf_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

impl Payload {
    pub fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let mut event = Self::default();
        let text = |r: &mut Reader<'_>| r.text().map(str::to_owned);
        Reader::new(bytes).fields(|r, key| {
            match key {
                b"ID" => event.id = text(r)?,
                b"n" => event.name = text(r)?,
                b"p" => event.payload = r.bytes()?.to_vec(),
                b"nf" => event.node_filter = text(r)?,
                b"sf" => event.service_filter = text(r)?,
                b"tf" => event.tag_filter = text(r)?,
                b"v" => event.version = r.int()?,
                _ => r.skip()?,
            }
            Ok(())
        })?;
        Ok(event)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.payload.len());
        let mut writer = Writer(&mut out);
        let texts = [&self.id, &self.name, &self.node_filter, &self.service_filter, &self.tag_filter];
        let given = texts.iter().filter(|text| !text.is_empty()).count();
        writer.map(1 + given + usize::from(!self.payload.is_empty()));
        let text = |writer: &mut Writer<'_>, key, text: &str| {
            if !text.is_empty() {
                writer.field(key, |w| w.new_text(text));
            }
        };
        text(&mut writer, "ID", &self.id);
        text(&mut writer, "n", &self.name);
        text(&mut writer, "nf", &self.node_filter);
        if !self.payload.is_empty() {
            writer.field("p", |w| w.new_bytes(&self.payload));
        }
        text(&mut writer, "sf", &self.service_filter);
        text(&mut writer, "tf", &self.tag_filter);
        writer.field("v", |w| w.uint(self.version.unsigned_abs()));
        out
    }

    /// Consul's index of a list that ends with this event: its ID's halves folded into one. It only
    /// tells one list from another. An ID that is none, which nobody sends, counts as nothing.
    pub fn index(&self) -> u64 {
        Uuid::parse_str(&self.id).map_or(1, |id| {
            let (high, low) = id.as_u64_pair();
            high ^ low
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Consul 1.8.7 fired for `consul event`, with and without a payload and filters.
    const CAPTURED: &str = include_str!("golden/consul-1.8.7.txt");

    #[test]
    fn what_consul_sends_is_read_and_written_as_it_was() {
        let mut seen = 0;
        for line in CAPTURED.lines() {
            let bytes: Vec<u8> = (0..line.len() / 2)
                .map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).expect("hexadecimal"))
                .collect();
            let event = Payload::read(&bytes).expect("an event");
            assert_eq!(event.to_bytes(), bytes, "{event:?}");
            assert_eq!((event.version, event.id.len()), (1, 36));
            seen += 1;
        }
        assert!(seen >= 2);
    }

    #[test]
    fn an_index_is_consuls() {
        let event = Payload { id: "5a2fa1e0-04eb-c666-12b0-fdce93f913a7".to_owned(), ..Payload::default() };
        assert_eq!(event.index(), 5_233_002_647_200_650_689);
    }

    #[test]
    fn only_names_with_the_prefix_are_consuls() {
        assert_eq!(plain_name("consul:event:deploy"), Some("deploy"));
        assert_eq!(plain_name("consul:new-leader"), None);
        assert_eq!(plain_name("deploy"), None);
    }

    #[test]
    fn bytes_that_are_no_event_are_a_flaw() {
        assert!(Payload::read(b"hello").is_err());
        assert!(Payload::read(&[]).is_err());
    }
}
