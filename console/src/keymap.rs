//! One table of keys: key, action, help text, where it is valid.
//!
//! `runtime` asks it what a key means now; footer and help print what it holds, so that no key is
//! offered that does nothing, and none works that is not told.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use crate::model::panes::Room;
use crate::model::{Model, Overlay, dialog, recovery};
use crate::msg::{Act, Action, Copied, Leap, Motion, Screen, Span, Stroke, Trick};

/// Which heading of the help a key stands under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Move,
    Look,
    /// Acts on the cluster, after asking.
    Change,
    /// Acts on the processes of the demo.
    Demo,
    Anywhere,
}

/// Where a key means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Valid {
    Always,
    On(&'static [Screen]),
    /// More than one agent was given.
    SeveralAgents,
    /// Acts on the cluster: on these screens, where a dialog has room, unless it was started to read only.
    Change(Act, &'static [Screen]),
    /// The cluster is the demo's own.
    Demo,
    /// A moment of the past is shown.
    Past,
    /// No quorum is left, or nobody answers.
    Recovery,
    /// The recovery pane is open.
    Saving,
    /// The Raft screen with its timeline, which takes some room.
    Timeline,
}

#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// As printed.
    pub keys: &'static str,
    /// As pressed, each with its action.
    pub presses: &'static [(KeyCode, KeyModifiers, Action)],
    pub help: &'static str,
    /// A word for the footer; none keeps it out.
    pub footer: Option<&'static str>,
    pub group: Group,
    pub valid: Valid,
}

const NONE: KeyModifiers = KeyModifiers::NONE;
const CONTROL: KeyModifiers = KeyModifiers::CONTROL;
const LISTS: &[Screen] = &[Screen::Members, Screen::Services, Screen::Events];
const SORTED: &[Screen] = &[Screen::Members, Screen::Services];
const KEPT: &[Screen] = &[Screen::Overview, Screen::Members, Screen::Services];
const PANES: &[Screen] = &[Screen::Overview, Screen::Raft, Screen::Services];
const TABBED: &[Screen] = &[Screen::Overview, Screen::Members, Screen::Raft, Screen::Services];
const NODES: &[Screen] = &[Screen::Overview, Screen::Members, Screen::Raft];

const fn c(c: char, action: Action) -> (KeyCode, KeyModifiers, Action) {
    (KeyCode::Char(c), NONE, action)
}

const fn k(code: KeyCode, action: Action) -> (KeyCode, KeyModifiers, Action) {
    (code, NONE, action)
}

const fn ctrl(c: char, action: Action) -> (KeyCode, KeyModifiers, Action) {
    (KeyCode::Char(c), CONTROL, action)
}

/// Every key, in the order of the help.
pub const TABLE: &[Binding] = &[
    Binding {
        keys: "j k ↑ ↓",
        presses: &[
            c('j', Action::Move(Motion::Down)),
            c('k', Action::Move(Motion::Up)),
            k(KeyCode::Down, Action::Move(Motion::Down)),
            k(KeyCode::Up, Action::Move(Motion::Up)),
        ],
        help: "row",
        footer: None,
        group: Group::Move,
        valid: Valid::Always,
    },
    Binding {
        keys: "g G",
        presses: &[
            c('g', Action::Move(Motion::Top)),
            c('G', Action::Move(Motion::End)),
            k(KeyCode::Home, Action::Move(Motion::Top)),
            k(KeyCode::End, Action::Move(Motion::End)),
        ],
        help: "top, end",
        footer: None,
        group: Group::Move,
        valid: Valid::Always,
    },
    Binding {
        keys: "C-d C-u",
        presses: &[ctrl('d', Action::Move(Motion::HalfDown)), ctrl('u', Action::Move(Motion::HalfUp))],
        help: "half page",
        footer: None,
        group: Group::Move,
        valid: Valid::Always,
    },
    Binding {
        keys: "PgDn PgUp",
        presses: &[
            k(KeyCode::PageDown, Action::Move(Motion::PageDown)),
            k(KeyCode::PageUp, Action::Move(Motion::PageUp)),
        ],
        help: "page",
        footer: None,
        group: Group::Move,
        valid: Valid::Always,
    },
    Binding {
        keys: "enter esc",
        presses: &[k(KeyCode::Enter, Action::Open), k(KeyCode::Esc, Action::Back)],
        help: "open, back",
        footer: Some("detail"),
        group: Group::Move,
        valid: Valid::Always,
    },
    Binding {
        keys: "tab",
        presses: &[
            k(KeyCode::Tab, Action::NextPane),
            (KeyCode::BackTab, KeyModifiers::SHIFT, Action::PreviousPane),
            k(KeyCode::BackTab, Action::PreviousPane),
        ],
        help: "next pane; LAN and WAN members",
        footer: None,
        group: Group::Move,
        valid: Valid::On(TABBED),
    },
    Binding {
        keys: "/",
        presses: &[c('/', Action::FilterOpen)],
        help: "filter: text, !text, field=value, field!=value, or",
        footer: Some("filter"),
        group: Group::Look,
        valid: Valid::On(LISTS),
    },
    Binding {
        keys: "s S",
        presses: &[c('s', Action::SortNext), c('S', Action::SortReverse)],
        help: "sort, reverse",
        footer: Some("sort"),
        group: Group::Look,
        valid: Valid::On(SORTED),
    },
    Binding {
        keys: "space f",
        presses: &[c(' ', Action::Freeze), c('f', Action::Follow)],
        help: "freeze, follow the newest",
        footer: Some("freeze"),
        group: Group::Look,
        valid: Valid::On(&[Screen::Events]),
    },
    Binding {
        keys: "l",
        presses: &[c('l', Action::LevelNext)],
        help: "least level shown",
        footer: Some("level"),
        group: Group::Look,
        valid: Valid::On(&[Screen::Events]),
    },
    Binding {
        keys: "t",
        presses: &[c('t', Action::KindsNext)],
        help: "kinds shown",
        footer: Some("kinds"),
        group: Group::Look,
        valid: Valid::On(&[Screen::Events]),
    },
    Binding {
        keys: "z",
        presses: &[c('z', Action::Zoom)],
        help: "the pane alone, whole",
        footer: Some("zoom"),
        group: Group::Look,
        valid: Valid::On(PANES),
    },
    Binding {
        keys: "i",
        presses: &[c('i', Action::Impact)],
        help: "what the loss of a server does",
        footer: Some("impact"),
        group: Group::Look,
        valid: Valid::On(NODES),
    },
    Binding {
        keys: "+ -",
        presses: &[
            c('+', Action::Span(Span::Closer)),
            c('=', Action::Span(Span::Closer)),
            c('-', Action::Span(Span::Wider)),
        ],
        help: "less time on the timeline, more; about the election selected (tab)",
        footer: None,
        group: Group::Look,
        valid: Valid::Timeline,
    },
    Binding {
        keys: "o",
        presses: &[c('o', Action::Recovery)],
        help: "what is left without a quorum, and the way out",
        footer: Some("recovery"),
        group: Group::Look,
        valid: Valid::Recovery,
    },
    Binding {
        keys: "w",
        presses: &[c('w', Action::Save)],
        help: "save its peers.json here",
        footer: None,
        group: Group::Look,
        valid: Valid::Saving,
    },
    Binding {
        keys: "[ ]",
        presses: &[c('[', Action::Leap(Leap::Back)), c(']', Action::Leap(Leap::On))],
        help: "one event back in time, one on",
        footer: Some("step"),
        group: Group::Look,
        valid: Valid::Always,
    },
    Binding {
        keys: "{ }",
        presses: &[c('{', Action::Leap(Leap::LeaderBack)), c('}', Action::Leap(Leap::LeaderOn))],
        help: "to the change of leader before, after",
        footer: None,
        group: Group::Look,
        valid: Valid::Always,
    },
    Binding {
        keys: "\\",
        presses: &[c('\\', Action::Leap(Leap::Live))],
        help: "back to the present",
        footer: Some("live"),
        group: Group::Look,
        valid: Valid::Past,
    },
    Binding {
        keys: "J",
        presses: &[c('J', Action::Ask(Act::Join))],
        help: "join another agent to this one's pool",
        footer: Some("join"),
        group: Group::Change,
        valid: Valid::Change(Act::Join, NODES),
    },
    Binding {
        keys: "L",
        presses: &[c('L', Action::Ask(Act::Leave))],
        help: "let it leave: its agent stops",
        footer: Some("leave"),
        group: Group::Change,
        valid: Valid::Change(Act::Leave, NODES),
    },
    Binding {
        keys: "X",
        presses: &[c('X', Action::Ask(Act::ForceLeave))],
        help: "force out a member that failed",
        footer: Some("force-leave"),
        group: Group::Change,
        valid: Valid::Change(Act::ForceLeave, NODES),
    },
    Binding {
        keys: "P",
        presses: &[c('P', Action::Ask(Act::Prune))],
        help: "forget a member that left or failed",
        footer: Some("prune"),
        group: Group::Change,
        valid: Valid::Change(Act::Prune, NODES),
    },
    Binding {
        keys: "T",
        presses: &[c('T', Action::Ask(Act::Transfer))],
        help: "transfer the leadership",
        footer: Some("transfer"),
        group: Group::Change,
        valid: Valid::Change(Act::Transfer, NODES),
    },
    Binding {
        keys: "R",
        presses: &[c('R', Action::Ask(Act::RemovePeer))],
        help: "remove a server from Raft",
        footer: Some("remove peer"),
        group: Group::Change,
        valid: Valid::Change(Act::RemovePeer, NODES),
    },
    Binding {
        keys: "M",
        presses: &[c('M', Action::Ask(Act::Maintain))],
        help: "maintenance on or off",
        footer: Some("maintenance"),
        group: Group::Change,
        valid: Valid::Change(Act::Maintain, KEPT),
    },
    Binding {
        keys: "K",
        presses: &[c('K', Action::Trick(Trick::Kill))],
        help: "kill its process, as a crash",
        footer: Some("kill"),
        group: Group::Demo,
        valid: Valid::Demo,
    },
    Binding {
        keys: "H",
        presses: &[c('H', Action::Trick(Trick::Pause))],
        help: "let its process hang, and go on",
        footer: Some("hang"),
        group: Group::Demo,
        valid: Valid::Demo,
    },
    Binding {
        keys: "B",
        presses: &[c('B', Action::Trick(Trick::Start))],
        help: "start its process again",
        footer: Some("start"),
        group: Group::Demo,
        valid: Valid::Demo,
    },
    Binding {
        keys: "C",
        presses: &[c('C', Action::Trick(Trick::Cut))],
        help: "cut it off from all others, and join it again",
        footer: Some("cut off"),
        group: Group::Demo,
        valid: Valid::Demo,
    },
    Binding {
        keys: "y Y",
        presses: &[c('y', Action::Copy(Copied::Row)), c('Y', Action::Copy(Copied::Command))],
        help: "copy the row, or a command that shows it",
        footer: None,
        group: Group::Anywhere,
        valid: Valid::Always,
    },
    Binding {
        keys: "1-5",
        presses: &[
            c('1', Action::Show(Screen::Overview)),
            c('2', Action::Show(Screen::Members)),
            c('3', Action::Show(Screen::Raft)),
            c('4', Action::Show(Screen::Services)),
            c('5', Action::Show(Screen::Events)),
        ],
        help: "screen",
        footer: None,
        group: Group::Anywhere,
        valid: Valid::Always,
    },
    Binding {
        keys: "r",
        presses: &[c('r', Action::Refresh)],
        help: "ask again now",
        footer: Some("refresh"),
        group: Group::Anywhere,
        valid: Valid::Always,
    },
    Binding {
        keys: "a",
        presses: &[c('a', Action::OtherAgent)],
        help: "other agent",
        footer: Some("other agent"),
        group: Group::Anywhere,
        valid: Valid::SeveralAgents,
    },
    Binding {
        keys: "?",
        presses: &[c('?', Action::Help)],
        help: "this help",
        footer: Some("help"),
        group: Group::Anywhere,
        valid: Valid::Always,
    },
    Binding {
        keys: "q",
        presses: &[c('q', Action::Quit)],
        help: "back; at the top, close",
        footer: Some("quit"),
        group: Group::Anywhere,
        valid: Valid::Always,
    },
    Binding {
        keys: "C-c",
        presses: &[ctrl('c', Action::Close)],
        help: "close this console",
        footer: None,
        group: Group::Anywhere,
        valid: Valid::Always,
    },
    Binding {
        keys: "C-z",
        presses: &[ctrl('z', Action::Suspend)],
        help: "suspend it",
        footer: None,
        group: Group::Anywhere,
        valid: Valid::Always,
    },
];

impl Binding {
    /// Worth a place in the footer: what it acts on is selected.
    pub fn is_offered(&self, model: &Model) -> bool {
        let applies = match self.valid {
            Valid::Change(act, _) => dialog::applies(model, act),
            _ => true,
        };
        self.is_valid(model) && applies
    }

    pub fn is_valid(&self, model: &Model) -> bool {
        let is_open = || model.overlay == Overlay::Recovery;
        match self.valid {
            Valid::Always => true,
            Valid::On(screens) => screens.contains(&model.screen),
            Valid::SeveralAgents => model.moment.is_none() && model.lanes.len() > 1,
            Valid::Past => model.moment.is_some(),
            Valid::Recovery => model.room() != Room::Tiny && (recovery::is_due(model) || is_open()),
            Valid::Timeline => model.screen == Screen::Raft && !model.is_single(),
            Valid::Saving => model.moment.is_none() && is_open(),
            Valid::Demo => {
                model.moment.is_none()
                    && model.setup.demo
                    && model.room() != Room::Tiny
                    && NODES.contains(&model.screen)
            }
            Valid::Change(_, screens) => {
                model.moment.is_none()
                    && !model.setup.read_only
                    && model.room() != Room::Tiny
                    && screens.contains(&model.screen)
            }
        }
    }
}

/// What this key means on the screen as it is now; none when it means nothing there.
pub fn action(model: &Model, key: KeyEvent) -> Option<Action> {
    let model = model.shown();
    if key.kind == KeyEventKind::Release {
        return None;
    }
    // A shifted letter is its capital already.
    let modifiers = match key.code {
        KeyCode::Char(_) => key.modifiers - KeyModifiers::SHIFT,
        _ => key.modifiers,
    };
    if model.dialog.is_some() {
        return asked(key.code, modifiers);
    }
    if model.overlay == Overlay::None && model.filter().is_some_and(|filter| filter.open) {
        return typing(key.code, modifiers);
    }
    let binding = |binding: &&Binding| binding.is_valid(model);
    let mut presses = TABLE.iter().filter(binding).flat_map(|binding| binding.presses);
    let found = presses.find(|(code, with, _)| *code == key.code && *with == modifiers);
    found.map(|(_, _, action)| *action)
}

/// Keys in a dialog.
fn asked(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
    match (code, modifiers) {
        (KeyCode::Char('c'), CONTROL) => Some(Action::Close),
        (KeyCode::Char('z'), CONTROL) => Some(Action::Suspend),
        (KeyCode::Char('u'), CONTROL) => Some(Action::Dialog(Stroke::Wipe)),
        (KeyCode::Char(c), NONE) => Some(Action::Dialog(Stroke::Put(c))),
        (KeyCode::Backspace, _) => Some(Action::Dialog(Stroke::Erase)),
        (KeyCode::Enter, NONE) => Some(Action::Dialog(Stroke::Press)),
        (KeyCode::Esc, NONE) => Some(Action::Back),
        (KeyCode::Tab | KeyCode::Down, NONE) => Some(Action::Dialog(Stroke::Next)),
        (KeyCode::BackTab, _) | (KeyCode::Up, NONE) => Some(Action::Dialog(Stroke::Previous)),
        (KeyCode::PageDown, NONE) => Some(Action::Move(Motion::PageDown)),
        (KeyCode::PageUp, NONE) => Some(Action::Move(Motion::PageUp)),
        _ => None,
    }
}

/// Keys while a filter is typed.
fn typing(code: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
    match (code, modifiers) {
        (KeyCode::Char('c'), CONTROL) => Some(Action::Close),
        (KeyCode::Char('z'), CONTROL) => Some(Action::Suspend),
        (KeyCode::Char('u'), CONTROL) => Some(Action::FilterWipe),
        (KeyCode::Char(c), NONE) => Some(Action::FilterPut(c)),
        (KeyCode::Backspace, _) => Some(Action::FilterErase),
        (KeyCode::Enter, NONE) => Some(Action::FilterKeep),
        (KeyCode::Esc, NONE) => Some(Action::Back),
        (KeyCode::Down, NONE) => Some(Action::Move(Motion::Down)),
        (KeyCode::Up, NONE) => Some(Action::Move(Motion::Up)),
        (KeyCode::PageDown, NONE) => Some(Action::Move(Motion::PageDown)),
        (KeyCode::PageUp, NONE) => Some(Action::Move(Motion::PageUp)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Setup;

    fn model(screen: Screen) -> Model {
        let setup = Setup { addresses: vec!["127.0.0.1:8500".into()], ..Setup::default() };
        Model { screen, ..Model::new(setup) }
    }

    fn press(model: &Model, code: KeyCode) -> Option<Action> {
        action(model, KeyEvent::new(code, NONE))
    }

    #[test]
    fn no_key_means_two_things_on_one_screen() {
        for screen in Screen::ALL {
            let mut model = model(screen);
            model.lanes.push(model.lanes[0].clone());
            let valid = TABLE.iter().filter(|binding| binding.is_valid(&model));
            let mut seen = Vec::new();
            for (code, with, _) in valid.flat_map(|binding| binding.presses) {
                assert!(!seen.contains(&(*code, *with)), "{code:?} twice on {screen:?}");
                seen.push((*code, *with));
            }
        }
    }

    #[test]
    fn every_key_has_help_and_every_screen_its_number() {
        assert!(TABLE.iter().all(|binding| !binding.help.is_empty() && !binding.keys.is_empty()));
        for screen in Screen::ALL {
            let pressed = press(&model(Screen::Overview), KeyCode::Char(screen.number()));
            assert_eq!(pressed, Some(Action::Show(screen)));
        }
    }

    #[test]
    fn keys_mean_nothing_where_they_do_nothing() {
        assert_eq!(press(&model(Screen::Raft), KeyCode::Char('l')), None);
        assert_eq!(press(&model(Screen::Overview), KeyCode::Char('a')), None);
        assert_eq!(press(&model(Screen::Events), KeyCode::Char('l')), Some(Action::LevelNext));
    }

    #[test]
    fn while_a_filter_is_typed_letters_are_letters() {
        let mut model = model(Screen::Members);
        model.members.listing.filter.open = true;
        assert_eq!(press(&model, KeyCode::Char('q')), Some(Action::FilterPut('q')));
        let close = action(&model, KeyEvent::new(KeyCode::Char('c'), CONTROL));
        assert_eq!(close, Some(Action::Close));
    }

    #[test]
    fn a_capital_needs_no_shift_to_be_told() {
        let key = KeyEvent::new(KeyCode::Char('G'), KeyModifiers::SHIFT);
        assert_eq!(action(&model(Screen::Members), key), Some(Action::Move(Motion::End)));
    }
}
