//! `kv export` and `kv import`: trees of keys as JSON, in the form that Consul's commands exchange.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::super::{Call, Ended, Reach, Verb};
use super::write::{decode, read, writing};
use super::{bare, below, value};

pub(super) const EXPORT: Verb = Verb {
    path: "kv export",
    synopsis: "Prints a tree of keys as JSON",
    form: "[KEY_OR_PREFIX]",
    about: "  Prints all keys that begin with the argument as JSON, for \"{program} kv import\".\n\n      \
            $ {program} kv export vault",
    flags: &[],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(export(call).await) }),
};

pub(super) const IMPORT: Verb = Verb {
    path: "kv import",
    synopsis: "Writes a tree of keys from JSON",
    form: "[DATA]",
    about: "  Writes the keys that \"{program} kv export\" printed.\n\n  \
            From a file, or from standard input:\n\n      $ {program} kv import @filename.json\n\n      \
            $ cat filename.json | {program} kv import -",
    flags: &[],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(import(call).await) }),
};

/// A key as it is exchanged. Consul reads the names in any case.
#[derive(Serialize, Deserialize)]
struct Entry {
    #[serde(default, alias = "Key")]
    key: String,
    #[serde(default, alias = "Flags")]
    flags: u64,
    #[serde(default, alias = "Value")]
    value: String,
}

async fn export(call: &Call) -> Result<Ended, Ended> {
    let prefix = bare(call.at_most_one()?.unwrap_or_default());
    let client = call.client()?;
    let mut entries = Vec::new();
    for pair in below(call, &client, prefix).await? {
        let value = STANDARD.encode(value(&pair)?);
        entries.push(Entry { key: pair.key, flags: pair.flags, value });
    }
    let mut text = Vec::new();
    let style = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    entries
        .serialize(&mut serde_json::Serializer::with_formatter(&mut text, style))
        .expect("plain data, written to memory");
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Ended::said(as_go_escapes(&text) + "\n"))
}

/// Go's JSON is safe inside HTML; none of these stands outside a string.
fn as_go_escapes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        match letter {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => text += &format!("\\u{:04x}", u32::from(letter)),
            letter => text.push(letter),
        }
    }
    text
}

async fn import(call: &Call) -> Result<Ended, Ended> {
    let data = match call.flags.rest() {
        [] => return Err(Ended::failed("Error! Missing DATA argument")),
        [data] if data.is_empty() => return Err(Ended::failed("Error! Empty DATA argument")),
        [data] => read(data)?,
        more => return Err(Ended::failed(format!("Error! Too many arguments (expected 1, got {})", more.len()))),
    };
    let client = call.client()?;
    let fault = |error: serde_json::Error| {
        let reason = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        Ended::failed(format!("Cannot unmarshal data: {reason}"))
    };
    // Whether it is JSON first, as Go looks at it.
    let data: serde_json::Value = serde_json::from_slice(&data).map_err(fault)?;
    let entries: Vec<Entry> = serde_json::from_value(data).map_err(fault)?;
    let mut ended = Ended::default();
    for Entry { key, flags, value } in entries {
        let written = async {
            let fault = |e: String| format!("Error base 64 decoding value for key {key}: {e}");
            let data = decode(value.as_bytes()).map_err(fault)?;
            let request = writing(call, &client, &key, flags).body(data);
            request.send().await.map_err(|e| format!("Error! Failed writing data for key {key}: {e}"))
        };
        match written.await {
            Ok(_) => ended.out.extend(format!("Imported: {key}\n").into_bytes()),
            // What came before is written, and said.
            Err(fault) => return Err(Ended { err: fault, code: 1, ..ended }),
        }
    }
    Ok(ended)
}

#[cfg(test)]
mod tests {
    #[test]
    fn json_is_escaped_as_go_escapes_it() {
        assert_eq!(super::as_go_escapes("[\"<a&b>é\"]"), "[\"\\u003ca\\u0026b\\u003eé\"]");
    }
}
