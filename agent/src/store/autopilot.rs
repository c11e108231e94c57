//! Autopilot's rules: one record for the whole cluster, none before the first leader wrote it.

use std::sync::Arc;

use super::changes::{Changes, Topic};
use super::command::{AutopilotCommand, AutopilotFields, Outcome};
use super::query::AutopilotEntry;

#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Autopilot(Option<Arc<AutopilotEntry>>);

impl Autopilot {
    pub(super) fn apply(&mut self, index: u64, command: AutopilotCommand, changes: &mut Changes) -> Outcome {
        match command {
            AutopilotCommand::Set { fields } => {
                self.put(index, fields, changes);
                Outcome::Done
            }
            AutopilotCommand::Cas { fields, index: expected } => {
                let holds = self.0.as_ref().map_or(0, |entry| entry.modify_index) == expected;
                if holds {
                    self.put(index, fields, changes);
                }
                Outcome::Held(holds)
            }
        }
    }

    /// As Consul's, a write counts although it says the same again.
    fn put(&mut self, index: u64, fields: AutopilotFields, changes: &mut Changes) {
        let create_index = self.0.as_ref().map_or(index, |entry| entry.create_index);
        self.0 = Some(Arc::new(AutopilotEntry { fields, create_index, modify_index: index }));
        changes.touch(Topic::Autopilot);
    }

    pub(super) fn get(&self) -> (u64, Option<Arc<AutopilotEntry>>) {
        (self.0.as_ref().map_or(0, |entry| entry.modify_index), self.0.clone())
    }

    pub(super) fn entry(&self) -> Option<&AutopilotEntry> {
        self.0.as_deref()
    }

    pub(super) fn load(&mut self, entry: AutopilotEntry) {
        self.0 = Some(Arc::new(entry));
    }
}
