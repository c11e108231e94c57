//! Each screen from a fixture at each size, compared with the drawing that was judged good.
//!
//! One snapshot holds all screens of one fixture at one size. To judge a change, run the tests with
//! `INSTA_UPDATE=always` and read the difference as a user would.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};

use crate::fixture::{self, Story, text};

/// Compares the screens behind these keys at one size.
#[track_caller]
fn check(name: &str, make: fn() -> Story, keys: &[&str], (width, height): (u16, u16)) {
    check_look(&format!("{name}_{width}x{height}"), make, keys, (width, height));
}

#[track_caller]
fn check_look(name: &str, make: impl Fn() -> Story, keys: &[&str], (width, height): (u16, u16)) {
    let mut screens = String::new();
    for key in keys {
        let mut story = make();
        story.screen(width, height);
        story.keys(key);
        screens.push_str(&format!("keys: {key}\n{}\n\n", story.screen(width, height)));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, screens));
}

const SCREENS: [&str; 5] = ["1", "2", "3", "4", "5"];

#[test]
fn a_single_server_as_guide_one_makes_it() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("single", fixture::single, &SCREENS, size);
    }
}

#[test]
fn three_servers_of_which_one_failed() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("three", fixture::three, &SCREENS, size);
    }
}

#[test]
fn an_agent_that_has_not_answered_yet() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("connecting", fixture::connecting, &SCREENS, size);
    }
}

#[test]
fn an_agent_that_went_away_leaves_its_last_picture() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("disconnected", fixture::disconnected, &SCREENS, size);
    }
}

#[test]
fn a_cluster_without_a_leader() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("no_leader", fixture::no_leader, &SCREENS, size);
    }
}

#[test]
fn a_cluster_without_a_quorum() {
    for size in [(120, 36), (80, 24)] {
        check("no_quorum", fixture::no_quorum, &["1", "3"], size);
    }
}

#[test]
fn a_hashicorp_agent_shows_the_same_screens_with_what_it_has() {
    for size in [(120, 36), (80, 24)] {
        check("hashicorp", fixture::hashicorp, &SCREENS, size);
    }
}

#[test]
fn less_than_a_screen_still_tells_the_verdict() {
    check("tiny_three", fixture::three, &["1"], (50, 10));
    check("tiny_disconnected", fixture::disconnected, &["1"], (50, 10));
    check("tiny_connecting", fixture::connecting, &["1"], (30, 5));
    check("tiny_three", fixture::three, &["1"], (40, 10));
}

#[test]
fn help_and_details_lie_over_the_screen() {
    check(
        "over_three",
        fixture::three,
        &["?", "2 ?", "5 ?", "enter", "2 enter", "3 tab enter", "5 k enter"],
        (120, 36),
    );
    check("over_three", fixture::three, &["?", "2 enter", "2 enter C-d"], (80, 24));
}

/// The dialogs, as they open and half filled in.
const ASKING: [&str; 5] = ["2 J", "2 J 1 0 . 0 . 0 . 9 tab", "2 X", "2 X s r v - 3", "2 j j L l o s e"];

#[test]
fn what_changes_the_cluster_is_asked_first() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("asking_three", fixture::three, &ASKING, size);
    }
    check("asking_single", fixture::single, &["2 L", "2 X"], (80, 24));
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("handover_three", fixture::three, &["3 j T", "3 T tab space space", "3 G R", "3 j R l o s e"], size);
    }
    check_look("asking_ascii_80x24", || fixture::three().ascii(), &["2 X", "2 j j L"], (80, 24));
}

#[test]
fn without_a_quorum_the_way_out_is_shown() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("recovery", fixture::no_quorum, &["3 o", "3 o G"], size);
    }
    check_look("recovery_ascii_80x24", || fixture::no_quorum().ascii(), &["1 o"], (80, 24));
}

#[test]
fn the_timeline_from_nearer() {
    for size in [(120, 36), (80, 24)] {
        check("nearer_three", fixture::three, &["3 +", "3 tab + + + + +", "3 tab j + + + + + +"], size);
    }
}

#[test]
fn what_a_loss_does_and_what_was_before() {
    for size in [(120, 36), (80, 24)] {
        check("back_three", fixture::three, &["1 i", "3 [ [", "2 ["], size);
    }
}

#[test]
fn a_pane_alone_and_a_filter_being_typed() {
    check(
        "looking_three",
        fixture::three,
        &["3 tab z", "2 / s r v", "2 / x = y", "5 / k i n d = r a f t enter", "2 s S"],
        (80, 24),
    );
}

/// The Services screen: worst first, one whole, one looked for.
const SERVICES: [&str; 6] = ["4", "4 j", "4 j tab", "4 j tab enter", "4 / t a g = v 1", "1"];

#[test]
fn services_with_instances_that_pass_warn_fail_and_flap() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("services", fixture::catalog, &SERVICES, size);
    }
    check_look("services_ascii_120x36", || fixture::catalog().ascii(), &["4 j", "4 j tab enter"], (120, 36));
    check_look("services_ascii_80x24", || fixture::catalog().ascii(), &["4 j", "4 j tab M"], (80, 24));
}

#[test]
fn maintenance_is_asked_first() {
    for size in [(120, 36), (80, 24), (60, 15)] {
        check("maintenance", fixture::catalog, &["4 j tab M", "4 j tab M tab space", "2 j j M"], size);
    }
}

#[test]
fn ascii_terminals_get_ascii() {
    let make = || fixture::three().ascii();
    check_look("ascii_three_120x36", make, &SCREENS, (120, 36));
    check_look("ascii_over_three_80x24", make, &["?", "2 / x"], (80, 24));
    for key in ["1", "2", "3", "5", "?", "5 space"] {
        for make in [fixture::three, fixture::disconnected, fixture::no_leader, fixture::connecting] {
            let mut story = make().ascii();
            story.keys(key);
            let screen = story.screen(120, 36);
            assert!(screen.is_ascii(), "{key}: {:?}", screen.chars().find(|c| !c.is_ascii()));
        }
    }
}

#[test]
fn without_colour_nothing_is_coloured_and_meaning_stays() {
    for key in ["1", "2", "3", "4", "5", "?"] {
        for make in [fixture::three, fixture::disconnected, fixture::no_quorum, fixture::catalog] {
            let mut story = make().no_color();
            story.keys(key);
            let buffer = story.buffer(120, 36);
            for cell in buffer.content() {
                assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{key}: {:?}", cell.symbol());
            }
        }
    }
    let mut story = fixture::no_quorum().no_color();
    let buffer = story.buffer(120, 36);
    let at = position(&buffer, "NO QUORUM");
    assert!(buffer[at].modifier.contains(Modifier::REVERSED), "a missing quorum stands out without colour");
}

#[test]
fn old_data_are_dimmed_and_dated_and_live_ones_are_not() {
    let (live, old) = (fixture::three().buffer(120, 36), fixture::disconnected().buffer(120, 36));
    let node = position(&live, "srv-2 ");
    assert!(!live[node].modifier.contains(Modifier::DIM));
    assert!(old[position(&old, "srv-2 ")].modifier.contains(Modifier::DIM));
    assert!(!old[position(&old, "DISCONNECTED")].modifier.contains(Modifier::DIM));
    assert!(text(&old).contains("data from 10:00:59"), "{}", text(&old));
}

/// Every size is drawn without panic and within its bounds, on every screen of every fixture.
#[test]
fn no_size_is_too_odd() {
    for make in [
        fixture::connecting,
        fixture::three,
        fixture::disconnected,
        fixture::no_leader,
        fixture::hashicorp,
        fixture::catalog,
    ] {
        for key in [
            "1", "2", "3", "4", "5", "?", "4 tab", "4 z", "4 tab z", "2 enter", "1 z", "1 tab", "3 tab", "2 / x",
            "3 + + +",
        ] {
            let mut story = make();
            if story.model.members.lan().count() > 0 || !key.contains("enter") {
                story.keys(key);
            }
            for (width, height) in [
                (0, 0),
                (1, 1),
                (3, 40),
                (200, 2),
                (20, 5),
                (59, 15),
                (60, 14),
                (61, 16),
                (80, 19),
                (99, 30),
                (100, 20),
                (300, 100),
            ] {
                story.screen(width, height);
            }
        }
    }
}

#[track_caller]
fn position(buffer: &Buffer, needle: &str) -> (u16, u16) {
    for y in 0..buffer.area.height {
        // By cells: columns, not bytes.
        let cells: Vec<&str> = (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect();
        for x in 0..cells.len() {
            if cells[x..].concat().starts_with(needle) {
                return (u16::try_from(x).expect("a column"), y);
            }
        }
    }
    panic!("{needle} is nowhere on:\n{}", text(buffer));
}
