//! The laws of the house that no compiler knows: what stands at the top, how long files and functions
//! are, what they are called, what they must not say. On the files of the checkout, or of the tree.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::floors;
use super::source::{blank, functions, tokens};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const HEADER_LINES_MAX: usize = 10;
const TOP: &[&str] =
    &["agent", "console", "shared", "assets", "Cargo.toml", "Cargo.lock", "LICENSE", "README.md", "Vagrantfile"];
/// Words that say nothing of what is inside.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "manager", "misc", "util", "utils"];
/// Left behind by a hand that meant to come back.
const UNFINISHED: &[&[&str]] =
    &[&["todo", "!"], &["unimplemented", "!"], &["dbg", "!"], &["#", "[", "ignore", "]"], &["#", "[", "ignore", "="]];
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the project, by its path from the top.
fn files() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect::<Vec<_>>());
    let mut files = match listed {
        // A tree that was unpacked inside somebody else's checkout lists nothing.
        Some(files) if files.iter().any(|file| file == "Cargo.toml") => files,
        _ => {
            let mut files = Vec::new();
            walk(&root(), "", &mut files);
            files
        }
    };
    files.retain(|file| root().join(file).is_file());
    files.sort();
    files
}

fn walk(dir: &Path, prefix: &str, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).expect("the directory was listed just now").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && name != "target" && name != ".git" => {
                walk(&entry.path(), &format!("{path}/"), files);
            }
            Ok(kind) if kind.is_file() => files.push(path),
            _ => {}
        }
    }
}

fn top_level(file: &str) -> Option<String> {
    let top = file.split('/').next().unwrap_or(file);
    let is_known = TOP.contains(&top) || top.starts_with('.');
    (!is_known).then(|| format!("{file}: `{top}` has no place at the top"))
}

fn empty_name(file: &str) -> Option<String> {
    let says_nothing = |part: &str| {
        let stem = part.split('.').next().unwrap_or(part);
        stem.split(['_', '-']).any(|word| EMPTY_NAMES.contains(&word))
    };
    file.split('/').any(says_nothing).then(|| format!("{file}: the name does not say what is inside"))
}

/// Places of one machine, which another does not have.
fn machine_path(file: &str, text: &str) -> Vec<String> {
    // In two parts, so that this file keeps its own law.
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tmp/", "wt/")];
    let breaches = text.lines().enumerate().filter(|(_, line)| {
        // The same letters inside a longer path are a place in a project.
        let starts_path = |at: usize| at == 0 || !line.as_bytes()[at - 1].is_ascii_alphanumeric();
        places.iter().any(|place| line.match_indices(place).any(|(at, _)| starts_path(at)))
    });
    breaches.map(|(at, _)| format!("{file}:{}: a path of one machine", at + 1)).collect()
}

/// Crates come from crates.io by its own name, wherever this machine fetches them.
fn other_registry(file: &str, text: &str) -> Vec<String> {
    let is_lock = file == "Cargo.lock";
    let is_setting = file.ends_with("Cargo.toml") || file.starts_with(".cargo/");
    let breaches = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        let elsewhere = is_lock && line.starts_with("source = ") && !line.contains(CRATES_IO);
        let words = ["[registries", "[registry]", "[source", "replace-with", "registry ="];
        elsewhere || (is_setting && words.iter().any(|word| line.contains(word)))
    });
    breaches.map(|(at, _)| format!("{file}:{}: a registry other than crates.io", at + 1)).collect()
}

fn header(file: &str, text: &str) -> Option<String> {
    let lines = text.lines().take_while(|line| line.starts_with("//!")).count();
    match lines {
        0 => Some(format!("{file}:1: no `//!` says what the file is for")),
        lines if lines > HEADER_LINES_MAX => {
            Some(format!("{file}:1: the header has {lines} lines, {HEADER_LINES_MAX} are enough"))
        }
        _ => None,
    }
}

fn too_long(file: &str, text: &str) -> Vec<String> {
    let lines = text.lines().count();
    let whole = (lines > FILE_LINES_MAX).then(|| format!("{file}: {lines} lines, at most {FILE_LINES_MAX}"));
    let functions = functions(&tokens(&blank(text)));
    let long = functions.into_iter().filter(|function| function.length > FUNCTION_LINES_MAX);
    let long = long.map(|function| {
        format!(
            "{file}:{}: `{}` has {} lines, at most {FUNCTION_LINES_MAX}",
            function.line, function.name, function.length
        )
    });
    whole.into_iter().chain(long).collect()
}

fn unfinished(file: &str, text: &str) -> Vec<String> {
    let tokens = tokens(&blank(text));
    let is_unfinished = |at: &usize| {
        UNFINISHED.iter().any(|words| {
            words
                .iter()
                .enumerate()
                .all(|(ahead, word)| tokens.get(at + ahead).is_some_and(|token| token.text == *word))
        })
    };
    let found = (0..tokens.len()).filter(is_unfinished);
    found.map(|at| format!("{file}:{}: `{}` is unfinished", tokens[at].line, tokens[at].text)).collect()
}

fn empty_type(file: &str, text: &str) -> Vec<String> {
    let tokens = tokens(&blank(text));
    let pairs = tokens.windows(2).filter(|pair| matches!(pair[0].text.as_str(), "struct" | "enum" | "trait" | "mod"));
    let empty = pairs.filter(|pair| {
        let name = &pair[1].text;
        ["Manager", "Helper", "Utils", "Util"].iter().any(|word| name.ends_with(word))
            || EMPTY_NAMES.contains(&name.as_str())
    });
    empty.map(|pair| format!("{file}:{}: `{}` does not say what it is", pair[1].line, pair[1].text)).collect()
}

fn breaches(file: &str, text: &str) -> Vec<String> {
    let mut found: Vec<String> = top_level(file).into_iter().chain(empty_name(file)).collect();
    found.extend(machine_path(file, text));
    found.extend(other_registry(file, text));
    if file.ends_with(".rs") {
        found.extend(header(file, text));
        found.extend(too_long(file, text));
        found.extend(unfinished(file, text));
        found.extend(empty_type(file, text));
        found.extend(floors::breaches(file, text));
    }
    found
}

#[test]
fn the_house_is_tidy() {
    let files = files();
    assert!(files.iter().any(|file| file == "agent/src/lib.rs"), "the files were not found: {files:?}");
    let mut found = Vec::new();
    for file in &files {
        // A picture has no lines.
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        found.extend(breaches(file, &text));
    }
    assert!(found.is_empty(), "{} breaches:\n{}", found.len(), found.join("\n"));
}

#[track_caller]
fn check(file: &str, text: &str, expected: &[&str]) {
    assert_eq!(breaches(file, text), expected);
}

#[test]
fn each_law_catches_its_breach() {
    check("README.md", "fine", &[]);
    check("notes.txt", "", &["notes.txt: `notes.txt` has no place at the top"]);
    check("assets/lab/utils.sh", "", &["assets/lab/utils.sh: the name does not say what is inside"]);
    check(
        "agent/src/store/kv_helper.rs",
        "//! Fine.",
        &["agent/src/store/kv_helper.rs: the name does not say what is inside"],
    );
    check("README.md", concat!("see /wo", "rk/x"), &["README.md:1: a path of one machine"]);
    check("README.md", concat!("a\nand /ho", "me/me"), &["README.md:2: a path of one machine"]);
    check("README.md", concat!("git", "/wo", "rk/"), &[]);
    let lock = "source = \"registry+https://crates.example.com/index\"";
    check("Cargo.lock", lock, &["Cargo.lock:1: a registry other than crates.io"]);
    check("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"", &[]);
    check(".cargo/config.toml", "[source.crates-io]", &[".cargo/config.toml:1: a registry other than crates.io"]);
}

#[test]
fn each_law_of_code_catches_its_breach() {
    let file = "agent/src/store/kv.rs";
    check(file, "//! Fine.\nfn f() {}", &[]);
    check(file, "fn f() {}", &["agent/src/store/kv.rs:1: no `//!` says what the file is for"]);
    check(file, &"//! x\n".repeat(11), &["agent/src/store/kv.rs:1: the header has 11 lines, 10 are enough"]);
    check(file, &("//! x\n".to_owned() + &"\n".repeat(600)), &["agent/src/store/kv.rs: 601 lines, at most 600"]);
    let long = format!("//! x\nfn long() {{\n{}}}\n", "    x();\n".repeat(69));
    check(file, &long, &["agent/src/store/kv.rs:2: `long` has 71 lines, at most 70"]);
    let screen = format!("//! x\nfn screen() {{\n{}}}\n", "    x();\n".repeat(68));
    check(file, &screen, &[]);
    check(
        file,
        "//! x\n#[ignore]\nfn f() { todo!() }",
        &["agent/src/store/kv.rs:2: `#` is unfinished", "agent/src/store/kv.rs:3: `todo` is unfinished"],
    );
    check(
        file,
        "//! x\nfn f() { dbg!(1); unimplemented!() }",
        &["agent/src/store/kv.rs:2: `dbg` is unfinished", "agent/src/store/kv.rs:2: `unimplemented` is unfinished"],
    );
    check(file, "//! x\n// todo!() and \"dbg!\"\nconst S: &str = \"todo!()\";", &[]);
    check(file, "//! x\nstruct KeyManager;", &["agent/src/store/kv.rs:2: `KeyManager` does not say what it is"]);
    check(file, "//! x\nuse tokio::net;", &["agent/src/store/kv.rs:2: `store::kv` must not name `tokio::net`"]);
}
