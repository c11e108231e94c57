//! `kv put`, and where its data come from.

use std::io::Read;
use std::path::Path;

use base64::DecodeError;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::http::{Client, Error, Request, open_text};

use super::super::{Call, Ended, Reach, Verb, failing};
use super::{CAS, MODIFY_INDEX};
use crate::flags::{Flag, Kind};

pub(super) const PUT: Verb = Verb {
    path: "kv put",
    synopsis: "Writes a key",
    form: "[options] KEY [DATA]",
    about: "  Writes data of any kind to a key; without data its value is empty.\n\n      \
            $ {program} kv put config/redis/maxconns 5\n\n  \
            Data may come from a file, or from standard input:\n\n      \
            $ {program} kv put config/license @license.lic\n\n      \
            $ echo \"abcd1234\" | {program} kv put config/license -",
    flags: &[
        Flag::new("acquire", Kind::Bool, "Take the lock on the key for the -session."),
        Flag::new("base64", Kind::Bool, "The data are in base 64, and stored decoded."),
        CAS,
        Flag::new("flags", Kind::Uint, "A number kept with the key for whoever reads it."),
        MODIFY_INDEX,
        Flag::new("release", Kind::Bool, "Give up the lock on the key, which the -session must hold."),
        Flag::new("session", Kind::String, "The session that -acquire and -release are for."),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(put(call).await) }),
};

async fn put(call: &Call) -> Result<Ended, Ended> {
    let (key, data) = match call.flags.rest() {
        [] => return Err(Ended::failed("Error! Missing KEY argument")),
        [key] => (key, Vec::new()),
        [key, data] => (key, read(data)?),
        more => {
            return Err(Ended::failed(format!("Error! Too many arguments (expected 1 or 2, got {})", more.len())));
        }
    };
    let data = if call.flags.is_on("base64") {
        // Consul says so too, and then writes an empty value and Success.
        decode(&data).map_err(|e| Ended::failed(format!("Error! Cannot base 64 decode data: {e}")))?
    } else {
        data
    };
    let (is_cas, index) = (call.flags.is_on("cas"), call.flags.uint("modify-index"));
    let (is_acquire, is_release) = (call.flags.is_on("acquire"), call.flags.is_on("release"));
    let session = call.flags.text("session");
    if is_cas && index == 0 {
        return Err(Ended::failed("Must specify -modify-index with -cas!"));
    }
    if (is_acquire || is_release) && session.is_empty() {
        return Err(Ended::failed("Error! Missing -session (required with -acquire and -release)"));
    }
    let client = call.client()?;
    if key.starts_with('/') {
        return Err(Ended::failed(format!(
            "Error! Failed writing data: Invalid key. Key must not begin with a '/': {key}"
        )));
    }
    let request = writing(call, &client, key, call.flags.uint("flags")).body(data);
    let complaint = "Error! Failed writing data";
    let success = if is_cas {
        let complaint = format!("Error! Did not write to {key}");
        if !done(request.query("cas", index)).await.map_err(failing(&complaint))? {
            return Err(Ended::failed(format!("{complaint}: CAS failed")));
        }
        "Data written to"
    } else if is_acquire {
        if !done(request.query("acquire", session)).await.map_err(failing(complaint))? {
            return Err(Ended::failed("Error! Did not acquire lock"));
        }
        "Lock acquired on"
    } else if is_release {
        if !done(request.query("release", session)).await.map_err(failing(complaint))? {
            return Err(Ended::failed("Error! Did not release lock"));
        }
        "Lock released on"
    } else {
        request.send().await.map_err(failing(complaint))?;
        "Data written to"
    };
    Ok(Ended::said(format!("Success! {success}: {key}\n")))
}

/// A write to a key, without its data.
pub(super) fn writing<'a>(call: &Call, client: &'a Client, key: &str, flags: u64) -> Request<'a> {
    call.scoped_to_datacenter(client.put(&format!("/v1/kv/{key}"))).query_some("flags", (flags != 0).then_some(flags))
}

/// Whether the servers did it; a condition that does not hold is no error.
async fn done(request: Request<'_>) -> Result<bool, Error> {
    request.json().await
}

/// What an argument means: `@file`, `-` for standard input, or itself.
pub(super) fn read(argument: &str) -> Result<Vec<u8>, Ended> {
    if let Some(path) = argument.strip_prefix('@') {
        let path = Path::new(path);
        return std::fs::read(path)
            .map_err(|e| Ended::failed(format!("Error! Failed to read file: {}", open_text(path, &e))));
    }
    if argument == "-" {
        let mut data = Vec::new();
        let fault = |e| Ended::failed(format!("Error! Failed to read stdin: {e}"));
        std::io::stdin().lock().read_to_end(&mut data).map_err(fault)?;
        return Ok(data);
    }
    Ok(argument.as_bytes().to_vec())
}

/// Base 64, or why not in Go's words.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, String> {
    STANDARD.decode(text).map_err(|fault| {
        let at = match fault {
            DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _) => at,
            DecodeError::InvalidLength(length) => length,
            DecodeError::InvalidPadding => text.len(),
        };
        format!("illegal base64 data at input byte {at}")
    })
}
