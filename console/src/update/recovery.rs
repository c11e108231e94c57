//! The file of the recovery pane: asked for, written.

use shared::event::Level;
use shared::time::WallTime;

use crate::model::journal::{Kind, News};
use crate::model::mark::Mark;
use crate::model::recovery::{FILE, Plan};
use crate::model::{Model, Remark};
use crate::msg::Effect;

pub(super) fn save(model: &mut Model) -> Vec<Effect> {
    match Plan::of(model).file() {
        Some(text) => vec![Effect::Save { name: FILE.to_owned(), text }],
        None => {
            let text = "there is no file to save: no voter that is up, with its ID, is seen from here".to_owned();
            model.remark = Some(Remark { at: model.now, mark: Mark::Warning, text });
            Vec::new()
        }
    }
}

pub(super) fn saved(model: &mut Model, at: WallTime, done: Result<String, String>) -> bool {
    model.now = model.now.max(at);
    let (mark, level, text) = match done {
        Ok(place) => (Mark::Good, Level::Info, format!("saved as {place}")),
        Err(why) => (Mark::Failed, Level::Warn, format!("not saved: {why}")),
    };
    model.remark = Some(Remark { at, mark, text: text.clone() });
    model.journal.push(News { at, node: "you".into(), kind: Kind::Action, level, mark, text });
    true
}
