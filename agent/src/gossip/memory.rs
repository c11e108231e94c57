//! PURE: what a pool's rejoin file says, in serf's lines: who was alive where, and the Lamport times.
//! Read once at start and written by `keeper`; serf and Consul read what we write, and we theirs.

use std::collections::BTreeMap;
use std::fmt::Write;

use shared::event::{MemberState, MemberStatus};

/// Members remembered, at most.
const MEMBERS_MAX: usize = 1 << 17;
/// The file is written anew when it is longer than this, and than twice what its members need.
const LENGTH_MIN: usize = 128 * 1024;
const BYTES_PER_MEMBER: usize = 128;

/// Lamport times that were seen, as serf counts them: one less than the next to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    pub member: u64,
    pub event: u64,
    pub query: u64,
}

/// A member that was alive when the agent ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Previous {
    pub name: String,
    /// `ip:port`.
    pub address: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    alive: BTreeMap<String, String>,
    pub(super) clocks: Clocks,
    /// Lines that say nothing we know; they are passed over.
    pub(super) unknown_lines: u64,
    /// The agent had left the pool, and nothing was written since.
    pub(super) left: bool,
}

impl Memory {
    /// Reads a file. After a leave nobody is remembered, unless `rejoin_after_leave`.
    /// A last line without an end was cut short, and never happened.
    pub(super) fn read(bytes: &[u8], rejoin_after_leave: bool) -> Self {
        let mut memory = Self::default();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { continue };
            if std::str::from_utf8(line).ok().and_then(|line| memory.take(line, rejoin_after_leave)).is_none() {
                memory.unknown_lines += 1;
            }
        }
        memory
    }

    fn take(&mut self, line: &str, rejoin_after_leave: bool) -> Option<()> {
        if line == "leave" {
            if !rejoin_after_leave {
                self.alive.clear();
                self.clocks = Clocks::default();
            }
            self.left = true;
            return Some(());
        }
        // Serf passes over these too.
        if line.starts_with('#') || line.starts_with("coordinate: ") {
            return Some(());
        }
        let (key, value) = line.split_once(": ")?;
        match key {
            "alive" => {
                let (name, address) = value.rsplit_once(' ')?;
                address.parse::<std::net::SocketAddr>().ok()?;
                self.left = false;
                if !name.is_empty() && (self.alive.len() < MEMBERS_MAX || self.alive.contains_key(name)) {
                    self.alive.insert(name.to_owned(), address.to_owned());
                }
            }
            "not-alive" => {
                self.alive.remove(value);
            }
            "clock" => self.clocks.member = value.parse().ok()?,
            "event-clock" => self.clocks.event = value.parse().ok()?,
            "query-clock" => self.clocks.query = value.parse().ok()?,
            _ => return None,
        }
        Some(())
    }

    /// Everybody but the member of this name.
    pub(super) fn others(&self, name: &str) -> Vec<Previous> {
        let others = self.alive.iter().filter(|(known, _)| *known != name);
        others.map(|(name, address)| Previous { name: name.clone(), address: address.clone() }).collect()
    }

    /// Takes how the pool is now; the lines that say what changed, and whether any tells of a member.
    /// Who was remembered and is not listed stays: it was not reached yet.
    pub(super) fn update(&mut self, members: &[MemberState], clocks: Clocks) -> (String, bool) {
        self.left = false;
        let mut lines = String::new();
        for member in members {
            // A line break in a name would be a line of its own.
            if member.name.contains('\n') {
                continue;
            }
            let name = member.name.as_str();
            if matches!(member.status, MemberStatus::Left | MemberStatus::Failed) {
                if self.alive.remove(name).is_some() {
                    put(&mut lines, format_args!("not-alive: {name}\n"));
                }
                continue;
            }
            let address = address(member);
            let known = self.alive.get(name).is_some_and(|known| *known == address);
            if !known && (self.alive.len() < MEMBERS_MAX || self.alive.contains_key(name)) {
                put(&mut lines, format_args!("alive: {name} {address}\n"));
                self.alive.insert(name.to_owned(), address);
            }
        }
        let of_members = !lines.is_empty();
        for (key, known, now) in [
            ("clock", &mut self.clocks.member, clocks.member),
            ("event-clock", &mut self.clocks.event, clocks.event),
            ("query-clock", &mut self.clocks.query, clocks.query),
        ] {
            if now > *known {
                *known = now;
                put(&mut lines, format_args!("{key}: {now}\n"));
            }
        }
        (lines, of_members)
    }

    /// We leave: whom we knew is forgotten unless we mean to come back by ourselves.
    pub(super) fn leave(&mut self, rejoin_after_leave: bool) {
        if !rejoin_after_leave {
            self.alive.clear();
        }
        self.left = true;
    }

    /// The whole file, as short as it can be.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, address) in &self.alive {
            put(&mut text, format_args!("alive: {name} {address}\n"));
        }
        let Clocks { member, event, query } = self.clocks;
        put(&mut text, format_args!("clock: {member}\nevent-clock: {event}\nquery-clock: {query}\n"));
        if self.left {
            text.push_str("leave\n");
        }
        text
    }

    /// A file of this length should be written anew.
    pub(super) fn is_too_long(&self, length: usize) -> bool {
        length > LENGTH_MIN.max(self.alive.len() * BYTES_PER_MEMBER * 2)
    }
}

fn address(member: &MemberState) -> String {
    match member.address.contains(':') {
        true => format!("[{}]:{}", member.address, member.port),
        false => format!("{}:{}", member.address, member.port),
    }
}

fn put(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Text takes whatever it is given.
    let _ = text.write_fmt(line);
}

#[cfg(test)]
mod tests {
    use shared::event::Pool;

    use super::*;

    /// As Consul 1.8.7 wrote it, with a kill in the middle of a line.
    const CONSULS: &str = "alive: c1 127.0.0.1:8301\nalive: c2 127.0.0.2:8301\nclock: 3\nevent-clock: 1\nalive: c3 [::1]:8301\nnot-alive: c2\nquery-clock: 4\ncoordinate: {}\n# by hand\nalive: c4 127.0.0.4";

    fn names(memory: &Memory) -> Vec<&str> {
        memory.alive.keys().map(String::as_str).collect()
    }

    fn member(name: &str, address: &str, status: MemberStatus) -> MemberState {
        let (address, tags) = (address.to_owned(), BTreeMap::new());
        MemberState {
            pool: Pool::Lan,
            name: name.to_owned(),
            address,
            port: 8301,
            status,
            incarnation: 1,
            protocol: 2,
            versions: [1, 5, 2, 2, 5, 4],
            tags,
        }
    }

    #[test]
    fn consuls_file_is_read_up_to_where_it_was_cut() {
        let memory = Memory::read(CONSULS.as_bytes(), false);
        assert_eq!(names(&memory), ["c1", "c3"]);
        assert_eq!(memory.clocks, Clocks { member: 3, event: 1, query: 4 });
        assert_eq!(memory.unknown_lines, 0);
        assert_eq!(memory.others("c1"), [Previous { name: "c3".into(), address: "[::1]:8301".into() }]);
    }

    #[test]
    fn garbage_is_passed_over_and_counted() {
        let memory =
            Memory::read(b"alive: a b 10.0.0.1:8301\nalive: x\nwhat\nclock: many\n\xff\xfe\nalive: y nowhere\n", false);
        assert_eq!((names(&memory), memory.unknown_lines), (vec!["a b"], 5));
    }

    #[test]
    fn a_leave_forgets_unless_the_agent_comes_back_by_itself() {
        let text = b"alive: a 10.0.0.1:8301\nclock: 7\nleave\n";
        let forgetful = Memory::read(text, false);
        assert_eq!((names(&forgetful), forgetful.clocks), (vec![], Clocks::default()));
        let faithful = Memory::read(text, true);
        assert_eq!((names(&faithful), faithful.clocks.member), (vec!["a"], 7));
        let again = Memory::read(b"alive: a 10.0.0.1:8301\nleave\nalive: b 10.0.0.2:8301\n", false);
        assert_eq!((names(&again), again.left), (vec!["b"], false));
    }

    #[test]
    fn only_what_changed_is_written_and_who_was_not_reached_is_kept() {
        use MemberStatus::{Alive, Failed, Leaving, Suspect};
        let mut memory = Memory::read(b"alive: gone 10.0.0.9:8301\n", false);
        let now = [member("me", "10.0.0.1", Alive), member("six", "fd00::7", Suspect)];
        let clocks = Clocks { member: 2, ..Clocks::default() };
        let (lines, of_members) = memory.update(&now, clocks);
        assert_eq!(
            (lines.as_str(), of_members),
            ("alive: me 10.0.0.1:8301\nalive: six [fd00::7]:8301\nclock: 2\n", true)
        );
        assert_eq!(memory.update(&now, clocks), (String::new(), false));
        let later = [member("me", "10.0.0.1", Leaving), member("six", "fd00::7", Failed)];
        assert_eq!(memory.update(&later, Clocks { member: 3, ..clocks }).0, "not-alive: six\nclock: 3\n");
        assert_eq!(
            memory.to_text(),
            "alive: gone 10.0.0.9:8301\nalive: me 10.0.0.1:8301\nclock: 3\nevent-clock: 0\nquery-clock: 0\n"
        );
        assert_eq!(Memory::read(memory.to_text().as_bytes(), false), memory);
    }
}
