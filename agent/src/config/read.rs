//! Reading the files that flags name: the one place of this room that touches the file system.
//!
//! Called by [`super::load`] and [`super::validate`]. Nothing is looked into here but names.

use std::io::Read;
use std::path::Path;

use super::document::{Format, Source};

/// Larger than any configuration; a bound for a file named by mistake.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Some editors begin a file with it, and nobody sees it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What was read, what was left alone and said so, and what could not be read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub sources: Vec<Source>,
    pub skipped: Vec<String>,
    pub faults: Vec<String>,
}

/// Reads files, and directories by the order of names; `format` overrules extensions.
pub(super) fn paths(paths: &[String], format: Option<Format>) -> Reading {
    let mut reading = Reading::default();
    for path in paths {
        match std::fs::metadata(path) {
            Err(fault) => reading.faults.push(format!("config: Open failed on {path}. open {path}: {}", words(&fault))),
            Ok(about) if about.is_dir() => directory(path, format, &mut reading),
            Ok(_) => file(path, format, &mut reading),
        }
    }
    reading
}

fn directory(path: &str, format: Option<Format>, reading: &mut Reading) {
    let entries = match std::fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>) {
        Ok(entries) => entries,
        Err(fault) => return reading.faults.push(format!("config: Readdir failed on {path}. {}", words(&fault))),
    };
    let mut names: Vec<_> = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names {
        let inner = Path::new(path).join(&name).to_string_lossy().into_owned();
        // Only files: a pipe would keep the start waiting, and what vanished since is gone.
        if std::fs::metadata(&inner).is_ok_and(|about| about.is_file()) {
            file(&inner, format, reading);
        }
    }
}

fn file(path: &str, format: Option<Format>, reading: &mut Reading) {
    let by_name = match Path::new(path).extension().and_then(|e| e.to_str()) {
        Some("json") => Some(Format::Json),
        Some("hcl") => Some(Format::Hcl),
        _ => None,
    };
    let Some(format) = format.or(by_name) else {
        reading
            .skipped
            .push(format!("skipping file {path}, extension must be .hcl or .json, or config format must be set"));
        return;
    };
    match text(path) {
        Ok(text) => reading.sources.push(Source { name: path.to_owned(), format, text }),
        Err(fault) => reading.faults.push(format!("config: failed to read {path}: {fault}")),
    }
}

fn text(path: &str) -> Result<String, String> {
    let size = std::fs::metadata(path).map_err(|fault| words(&fault))?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("{size} bytes are too many for a configuration"));
    }
    // A pipe has no size of its own: it is read up to the limit.
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    if read.map_err(|fault| words(&fault))? as u64 > FILE_BYTES_MAX {
        return Err(format!("more than {FILE_BYTES_MAX} bytes are too many for a configuration"));
    }
    if bytes.starts_with(BYTE_ORDER_MARK) && path.ends_with(".json") {
        return Err("it begins with a byte order mark, which JSON has not: save it as UTF-8 without one".to_owned());
    }
    String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())
}

/// Whether something stands at `path` that is no directory.
pub(super) fn is_in_the_way(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| !about.is_dir())
}

/// An I/O error as Go prints it: in small letters, without the number.
fn words(fault: &std::io::Error) -> String {
    let text = fault.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_directory_are_read_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().expect("a directory");
        for name in ["b.json", "a.hcl", "c.txt", "B.json"] {
            std::fs::write(dir.path().join(name), name).expect("written");
        }
        std::fs::create_dir(dir.path().join("sub.json")).expect("made");
        let root = dir.path().to_string_lossy().into_owned();
        let reading = paths(&[root.clone(), format!("{root}/nope")], None);
        let texts: Vec<_> = reading.sources.iter().map(|s| s.text.as_str()).collect();
        assert_eq!(texts, ["B.json", "a.hcl", "b.json"]);
        assert_eq!(
            reading.skipped,
            [format!("skipping file {root}/c.txt, extension must be .hcl or .json, or config format must be set")]
        );
        assert_eq!(
            reading.faults,
            [format!("config: Open failed on {root}/nope. open {root}/nope: no such file or directory")]
        );
    }
}
