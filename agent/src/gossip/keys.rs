//! A pool's keys while it runs: what each member does with its own ring when the pool asks it to, and
//! what came of asking all. The ring is `seal`'s, the file `keyring`'s, the asking swim's queries.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ask::AskError;
use super::journal::{self, Scope};
use super::keyring;
use super::seal::{KEYS_MAX, Key, Seal};
use super::{Gossip, Question};
pub use crate::swim::internal::KeyAction;
use crate::swim::internal::{KeyReply, key_question};
use crate::swim::query::Answers;

/// Of an answer about keys, what the envelope of 1024 bytes leaves room for.
const REPLY_BYTES_MAX: usize = 700;

/// This member's ring and its file.
pub(super) struct Keys {
    seal: Arc<Seal>,
    file: Option<PathBuf>,
    scope: Scope,
    /// One change at a time, so that the file never falls behind the ring.
    turn: Mutex<()>,
}

impl Keys {
    pub(super) fn new(seal: Arc<Seal>, file: Option<PathBuf>, scope: Scope) -> Self {
        Self { seal, file, scope, turn: Mutex::new(()) }
    }

    /// Does what the pool asks and says what came of it. Writes a file: not for a task that must not wait.
    pub(super) fn obey(&self, action: KeyAction, key: &[u8]) -> KeyReply {
        // Poisoning only says that a change panicked, and rings are replaced whole.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if action == KeyAction::List {
            return self.list();
        }
        if !self.seal.is_on() {
            journal::key_refused(self.scope, NOTHING_TO_MODIFY);
            return refused(NOTHING_TO_MODIFY);
        }
        journal::key_asked(self.scope, action);
        let keys = self.seal.keys();
        let outcome = changed(&keys, action, key).and_then(|changed| match changed {
            Some(changed) => self.replace(changed),
            None => Ok(()),
        });
        match outcome {
            Ok(()) => KeyReply { done: true, ..KeyReply::default() },
            Err(reason) => {
                journal::key_refused(self.scope, &reason);
                refused(&reason)
            }
        }
    }

    /// The file first: a ring that a restart would forget must not be in use.
    fn replace(&self, keys: Vec<Key>) -> Result<(), String> {
        if let Some(file) = &self.file {
            keyring::save(file, &keys).map_err(|error| {
                let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
                format!("{error}{}", source.unwrap_or_default())
            })?;
        }
        self.seal.replace(keys);
        Ok(())
    }

    fn list(&self) -> KeyReply {
        let keys = self.seal.keys();
        let Some(first) = keys.first() else {
            return refused("Keyring is empty (encryption not enabled)");
        };
        let mut reply = KeyReply {
            done: true,
            message: String::new(),
            keys: keys.iter().map(keyring::to_text).collect(),
            primary: keyring::to_text(first),
        };
        let all = reply.keys.len();
        while reply.to_bytes().len() > REPLY_BYTES_MAX && reply.keys.pop().is_some() {
            let shown = reply.keys.len();
            reply.message = format!("truncated key list response, showing first {shown} of {all} keys");
        }
        reply
    }
}

const NOTHING_TO_MODIFY: &str = "No keyring to modify (encryption not enabled)";

fn refused(message: &str) -> KeyReply {
    KeyReply { message: message.to_owned(), ..KeyReply::default() }
}

/// The ring after a change; none when it is so already. Texts are memberlist's.
fn changed(keys: &[Key], action: KeyAction, bytes: &[u8]) -> Result<Option<Vec<Key>>, String> {
    let at = keys.iter().position(|key| key.as_bytes() == bytes);
    let mut keys = keys.to_vec();
    match (action, at) {
        (KeyAction::List, _) | (KeyAction::Install, Some(_)) | (KeyAction::Use, Some(0)) => return Ok(None),
        (KeyAction::Install, None) => {
            let key = Key::new(bytes).map_err(|error| error.to_string())?;
            if keys.len() >= KEYS_MAX {
                return Err(format!("the keyring holds {KEYS_MAX} keys already, remove one first"));
            }
            keys.push(key);
        }
        (KeyAction::Use, None) => return Err("Requested key is not in the keyring".to_owned()),
        (KeyAction::Use, Some(at)) => {
            let key = keys.remove(at);
            keys.insert(0, key);
        }
        (KeyAction::Remove, Some(0)) => return Err("Removing the primary key is not allowed".to_owned()),
        (KeyAction::Remove, None) => return Ok(None),
        (KeyAction::Remove, Some(at)) => {
            keys.remove(at);
        }
    }
    Ok(Some(keys))
}

/// What came of asking every member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// Members there were.
    pub nodes: usize,
    pub responses: usize,
    pub failures: usize,
    /// What members had to say, by name.
    pub messages: BTreeMap<String, String>,
    /// How many members hold each key, in base64.
    pub keys: BTreeMap<String, usize>,
    /// How many members seal with each key, of those that tell.
    pub primary_keys: BTreeMap<String, usize>,
}

impl KeyReport {
    fn new(answers: Answers) -> Self {
        let mut report = Self { nodes: answers.nodes, responses: answers.responses.len(), ..Self::default() };
        for (name, payload) in answers.responses {
            let Some(reply) = KeyReply::read(&payload) else {
                report.failures += 1;
                report.messages.insert(name.to_string(), format!("Invalid key query response type: {payload:?}"));
                continue;
            };
            report.failures += usize::from(!reply.done);
            if !reply.done || !reply.message.is_empty() {
                report.messages.insert(name.to_string(), reply.message);
            }
            for key in reply.keys {
                *report.keys.entry(key).or_default() += 1;
            }
            if !reply.primary.is_empty() {
                *report.primary_keys.entry(reply.primary).or_default() += 1;
            }
        }
        report
    }

    /// Serf's words when not everybody did as asked.
    pub fn error_text(&self) -> Option<String> {
        let nodes = self.nodes;
        match (self.failures, self.responses) {
            (0, responses) if responses == nodes => None,
            (0, responses) => Some(format!("{responses}/{nodes} nodes reported success")),
            (failures, _) => Some(format!("{failures}/{nodes} nodes reported failure")),
        }
    }
}

/// Why nobody was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Go's words: the first byte that is no base64.
    #[error("illegal base64 data at input byte {0}")]
    NotBase64(usize),
    #[error("{0}")]
    Ask(#[from] AskError),
}

impl Gossip {
    /// Has every member of the pool do something with its keys. `key` is in base64, and empty for a list.
    pub async fn keys(&self, action: KeyAction, key: &str, relay_factor: u8) -> Result<KeyReport, KeyError> {
        let key = decode(key)?;
        let question: Question = key_question(action, &key, relay_factor);
        Ok(KeyReport::new(self.ask(question).await?))
    }
}

fn decode(text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD.decode(text).map_err(|error| {
        KeyError::NotBase64(match error {
            base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => at,
            // Go names the start of the group that is not whole.
            base64::DecodeError::InvalidLength(length) => length / 4 * 4,
            base64::DecodeError::InvalidPadding => text.len(),
        })
    })
}

#[cfg(test)]
mod tests {
    use shared::event::Pool;

    use super::*;

    fn ring(bytes: &[u8]) -> Vec<Key> {
        bytes.iter().map(|byte| Key::new(&[*byte; 16]).expect("a key's size")).collect()
    }

    #[track_caller]
    fn check(before: &[u8], action: KeyAction, key: &[u8], expected: Result<Option<&[u8]>, &str>) {
        let expected = expected.map(|ring_of| ring_of.map(ring)).map_err(str::to_owned);
        assert_eq!(changed(&ring(before), action, key), expected, "{action:?}");
    }

    #[test]
    fn a_ring_changes_as_memberlists_does() {
        check(&[1], KeyAction::Install, &[2; 16], Ok(Some(&[1, 2])));
        check(&[1, 2], KeyAction::Install, &[2; 16], Ok(None));
        check(&[1], KeyAction::Install, &[2; 15], Err("key size must be 16, 24 or 32 bytes"));
        check(&[1, 2], KeyAction::Use, &[2; 16], Ok(Some(&[2, 1])));
        check(&[1, 2], KeyAction::Use, &[3; 16], Err("Requested key is not in the keyring"));
        check(&[1, 2], KeyAction::Remove, &[2; 16], Ok(Some(&[1])));
        check(&[1, 2], KeyAction::Remove, &[3; 16], Ok(None));
        check(&[1, 2], KeyAction::Remove, &[1; 16], Err("Removing the primary key is not allowed"));
        let full: Vec<u8> = (0..KEYS_MAX as u8).collect();
        check(&full, KeyAction::Install, &[99; 16], Err("the keyring holds 16 keys already, remove one first"));
    }

    #[test]
    fn the_file_is_what_the_ring_is() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("local.keyring");
        let seal = Seal::new(ring(&[1]), true, true);
        let keys = Keys::new(Arc::clone(&seal), Some(file.clone()), Scope::new(Pool::Lan, true));
        assert!(keys.obey(KeyAction::Install, &[2; 16]).done);
        assert!(keys.obey(KeyAction::Use, &[2; 16]).done);
        assert_eq!(*seal.keys(), ring(&[2, 1]));
        assert_eq!(keyring::open(&file, None).expect("the file"), ring(&[2, 1]));
        let listed = keys.obey(KeyAction::List, &[]);
        assert_eq!(listed.keys, ["AgICAgICAgICAgICAgICAg==", "AQEBAQEBAQEBAQEBAQEBAQ=="]);
        assert_eq!(listed.primary, listed.keys[0]);
    }

    #[test]
    fn a_file_that_cannot_be_written_leaves_the_ring_as_it_was() {
        let dir = tempfile::tempdir().expect("a directory");
        let seal = Seal::new(ring(&[1]), true, true);
        let in_the_way = dir.path().join("file");
        std::fs::write(&in_the_way, "x").expect("a file");
        let keys = Keys::new(Arc::clone(&seal), Some(in_the_way.join("ring")), Scope::new(Pool::Lan, true));
        let reply = keys.obey(KeyAction::Install, &[2; 16]);
        assert!(!reply.done && reply.message.starts_with("write keyring"), "{reply:?}");
        assert_eq!(*seal.keys(), ring(&[1]));
    }

    #[test]
    fn without_encryption_there_is_nothing_to_change() {
        let keys = Keys::new(Seal::new(Vec::new(), true, true), None, Scope::new(Pool::Lan, true));
        assert_eq!(keys.obey(KeyAction::Install, &[2; 16]), refused(NOTHING_TO_MODIFY));
        assert_eq!(keys.obey(KeyAction::List, &[]), refused("Keyring is empty (encryption not enabled)"));
    }

    #[test]
    fn a_list_that_is_too_long_is_cut_and_says_so() {
        let keys = (0..16).map(|byte| Key::new(&[byte; 32]).expect("a key's size")).collect();
        let keys = Keys::new(Seal::new(keys, true, true), None, Scope::new(Pool::Lan, true));
        let reply = keys.obey(KeyAction::List, &[]);
        assert!(reply.to_bytes().len() <= REPLY_BYTES_MAX);
        let shown = reply.keys.len();
        assert_eq!(reply.message, format!("truncated key list response, showing first {shown} of 16 keys"));
    }

    #[test]
    fn answers_are_counted_and_failures_told() {
        let reply = |done, message: &str, keys: &[&str]| {
            let keys = keys.iter().map(|key| (*key).to_owned()).collect();
            KeyReply { done, message: message.to_owned(), keys, primary: String::new() }.to_bytes()
        };
        let responses = vec![("a".into(), reply(true, "", &["x", "y"])), ("b".into(), reply(true, "", &["x"]))];
        let report = KeyReport::new(Answers { nodes: 3, acks: Vec::new(), responses });
        assert_eq!(report.keys, BTreeMap::from([("x".to_owned(), 2), ("y".to_owned(), 1)]));
        assert_eq!(report.error_text().as_deref(), Some("2/3 nodes reported success"));
        let responses = vec![("a".into(), reply(false, "no", &[])), ("b".into(), vec![1])];
        let report = KeyReport::new(Answers { nodes: 2, acks: Vec::new(), responses });
        assert_eq!(report.error_text().as_deref(), Some("2/2 nodes reported failure"));
        assert_eq!(report.messages["a"], "no");
    }

    #[test]
    fn a_key_that_is_no_base64_is_told_in_gos_words() {
        let check =
            |text: &str, expected: usize| assert_eq!(decode(text), Err(KeyError::NotBase64(expected)), "{text}");
        check("!AAA", 0);
        check("AA!A", 2);
    }
}
