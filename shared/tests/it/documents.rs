//! What the documents promise to list, listed: every kind and type of event, every room of the table
//! of floors.

use std::path::Path;

use shared::event::KINDS;

use super::floors;
use super::source::{Token, blank, tokens};

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The variants of each enum whose name ends in `Event`, as they are on the wire.
fn types(code: &str) -> Vec<String> {
    let tokens = tokens(&blank(code));
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text.as_str());
    let enums = (0..tokens.len()).filter(|at| text(*at) == "enum" && text(at + 1).ends_with("Event"));
    enums.flat_map(|at| variants(&tokens[at + 3..])).collect()
}

fn variants(tokens: &[Token]) -> Vec<String> {
    let mut found = Vec::new();
    let mut depth = 0_i32;
    let mut starts = true;
    for token in tokens {
        match token.text.as_str() {
            "}" if depth == 0 => return found,
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => depth -= 1,
            "," if depth == 0 => starts = true,
            "#" => {}
            name if depth == 0 && starts => {
                found.push(kebab(name));
                starts = false;
            }
            _ => {}
        }
    }
    found
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

#[test]
fn every_kind_and_type_of_event_is_in_the_document() {
    let document = read("assets/docs/events.md");
    let mut types =
        types(&(read("shared/src/event.rs") + &read("shared/src/member_event.rs") + &read("shared/src/user_event.rs")));
    assert!(types.len() > 20, "the types were not found: {types:?}");
    types.extend(KINDS.map(str::to_owned));
    types.retain(|name| !document.contains(&format!("`{name}`")));
    assert!(types.is_empty(), "events.md does not tell of {types:?}");
}

#[test]
fn every_room_of_the_floors_is_in_the_architecture() {
    let document = read("assets/docs/ARCHITECTURE.md");
    let mut rooms: Vec<_> = floors::rooms().map(|room| room.split("::").next().unwrap_or(room)).collect();
    rooms.dedup();
    rooms.retain(|room| {
        !["lib", "checks", "discovery", "record"].contains(room) && !document.contains(&format!("`{room}"))
    });
    assert!(rooms.is_empty(), "ARCHITECTURE.md does not tell of {rooms:?}");
}

#[test]
fn types_are_read_from_code() {
    let code = "/// x\nenum AEvent { #[serde(a)] One { x: u8 }, /* c */ TwoParts(State), Three }\nenum Other { Four }";
    assert_eq!(types(code), ["one", "two-parts", "three"]);
}
