//! `kv`: the key-value store. Reading and removing here, writing in `write`, trees in `tree`.

mod tree;
mod write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use shared::api::kv::KvPair;
use shared::http::Error;

use super::{Call, Ended, Group, Reach, Verb, Word, failing};
use crate::flags::{Flag, Kind};

pub(super) const GROUP: Group = Group {
    path: "kv",
    synopsis: "Reads and writes the key-value store",
    form: "[options]",
    about: "  Reads and writes the key-value store.\n\n  \
            Write the key \"redis/config/connections\":\n\n      $ {program} kv put redis/config/connections 5\n\n  \
            Read it:\n\n      $ {program} kv get redis/config/connections\n\n  \
            Read what else is known of it:\n\n      $ {program} kv get -detailed redis/config/connections\n\n  \
            Remove it:\n\n      $ {program} kv delete redis/config/connections",
    words: &[
        Word::Verb(&DELETE),
        Word::Verb(&tree::EXPORT),
        Word::Verb(&GET),
        Word::Verb(&tree::IMPORT),
        Word::Verb(&write::PUT),
    ],
};

const GET: Verb = Verb {
    path: "kv get",
    synopsis: "Reads or lists keys",
    form: "[options] [KEY_OR_PREFIX]",
    about: "  Prints the value of a key. With -recurse or -keys the argument is a prefix,\n  \
            and without one everything is meant.\n\n      $ {program} kv get foo\n\n      \
            $ {program} kv get -recurse foo/\n\n      $ {program} kv get -keys foo/",
    flags: &[
        Flag::new("base64", Kind::Bool, "Print values in base 64."),
        Flag::new("detailed", Kind::Bool, "Print all that is known of a key, its ModifyIndex and flags among it."),
        Flag::new("keys", Kind::Bool, "Print the names of the keys below the prefix, up to the next separator."),
        Flag::new("recurse", Kind::Bool, "Print all keys below the prefix with their values."),
        Flag::new("separator", Kind::String, "Where names end with -keys; an empty one prints whole names.")
            .default("/"),
    ],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(get(call).await) }),
};

const CAS: Flag =
    Flag::new("cas", Kind::Bool, "Only if the key was not changed since -modify-index, which must be given.");
const MODIFY_INDEX: Flag = Flag::new("modify-index", Kind::Uint, "The ModifyIndex that the key must have, with -cas.");

const DELETE: Verb = Verb {
    path: "kv delete",
    synopsis: "Removes keys",
    form: "[options] KEY_OR_PREFIX",
    about: "  Removes a key, or with -recurse every key that begins with the argument.\n  \
            What is not there is no error.\n\n      $ {program} kv delete foo\n\n      $ {program} kv delete -recurse foo/",
    flags: &[CAS, MODIFY_INDEX, Flag::new("recurse", Kind::Bool, "Remove all keys below the prefix.")],
    reach: Reach::Servers,
    run: |call| Box::pin(async move { Ended::from(delete(call).await) }),
};

/// Keys are typed with or without a slash in front; none is stored with one.
fn bare(key: &str) -> &str {
    key.strip_prefix('/').unwrap_or(key)
}

/// Reading keys tells a failure's code without its text, as Consul's client does.
fn unreadable(error: Error) -> Ended {
    match error.status() {
        Some(code) => Ended::failed(format!("Error querying Consul agent: Unexpected response code: {code}")),
        None => Ended::failed(format!("Error querying Consul agent: {error}")),
    }
}

/// All pairs below a prefix; none is no error.
async fn below(call: &Call, client: &shared::http::Client, prefix: &str) -> Result<Vec<KvPair>, Ended> {
    let request = call.scoped(client.get(&format!("/v1/kv/{prefix}")).query("recurse", ""));
    Ok(request.json_if_found().await.map_err(unreadable)?.unwrap_or_default())
}

/// A value as bytes; the API has it in base 64.
fn value(pair: &KvPair) -> Result<Vec<u8>, Ended> {
    let decoded = pair.value.as_deref().map(|text| STANDARD.decode(text)).transpose();
    decoded
        .map(Option::unwrap_or_default)
        .map_err(|e| Ended::failed(format!("Error decoding value of {}: {e}", pair.key)))
}

async fn get(call: &Call) -> Result<Ended, Ended> {
    let key = bare(call.at_most_one()?.unwrap_or_default());
    let (is_keys, is_recurse) = (call.flags.is_on("keys"), call.flags.is_on("recurse"));
    if key.is_empty() && !is_keys && !is_recurse {
        return Err(Ended::failed("Error! Missing KEY argument"));
    }
    let client = call.client()?;
    let path = format!("/v1/kv/{key}");
    if is_keys {
        let separator = Some(call.flags.text("separator")).filter(|text| !text.is_empty());
        let separator = if call.flags.given_text("separator") == Some("") { None } else { separator };
        let request = call.scoped(client.get(&path).query("keys", "").query_some("separator", separator));
        let keys: Vec<String> = request.json_if_found().await.map_err(unreadable)?.unwrap_or_default();
        return Ok(Ended::said(keys.iter().map(|key| format!("{key}\n")).collect::<String>()));
    }
    if is_recurse {
        return all(call, &below(call, &client, key).await?);
    }
    let found: Option<Vec<KvPair>> = call.scoped(client.get(&path)).json_if_found().await.map_err(unreadable)?;
    let Some(pair) = found.into_iter().flatten().next() else {
        return Err(Ended::failed(format!("Error! No key exists at: {key}")));
    };
    let mut out = if call.flags.is_on("detailed") { details(call, &pair)? } else { shown(call, &pair)? };
    out.push(b'\n');
    Ok(Ended::said(out))
}

fn all(call: &Call, pairs: &[KvPair]) -> Result<Ended, Ended> {
    let mut out = Vec::new();
    for (at, pair) in pairs.iter().enumerate() {
        if call.flags.is_on("detailed") {
            if at > 0 {
                out.push(b'\n');
            }
            out.extend(details(call, pair)?);
        } else {
            out.extend(format!("{}:", pair.key).into_bytes());
            out.extend(shown(call, pair)?);
        }
        out.push(b'\n');
    }
    Ok(Ended::said(out))
}

/// The value as asked for.
fn shown(call: &Call, pair: &KvPair) -> Result<Vec<u8>, Ended> {
    let value = value(pair)?;
    Ok(if call.flags.is_on("base64") { STANDARD.encode(value).into_bytes() } else { value })
}

/// All that is known of a pair, without the last line's end.
fn details(call: &Call, pair: &KvPair) -> Result<Vec<u8>, Ended> {
    let session = pair.session.as_deref().filter(|session| !session.is_empty()).unwrap_or("-");
    let mut out = format!(
        "CreateIndex      {}\nFlags            {}\nKey              {}\nLockIndex        {}\nModifyIndex      {}\n\
         Session          {session}\nValue",
        pair.create_index, pair.flags, pair.key, pair.lock_index, pair.modify_index
    )
    .into_bytes();
    let value = shown(call, pair)?;
    if !value.is_empty() {
        out.extend(b"            ");
        out.extend(value);
    }
    Ok(out)
}

async fn delete(call: &Call) -> Result<Ended, Ended> {
    let key = call.at_most_one()?.map(bare);
    let (is_cas, is_recurse) = (call.flags.is_on("cas"), call.flags.is_on("recurse"));
    let index = call.flags.uint("modify-index");
    let key = match key {
        Some("") | None if !is_recurse => return Err(Ended::failed("Error! Missing KEY argument")),
        key => key.unwrap_or_default(),
    };
    if is_cas && index == 0 {
        return Err(Ended::failed("Must specify -modify-index with -cas!"));
    }
    if !is_cas && index != 0 {
        return Err(Ended::failed("Cannot specify -modify-index without -cas!"));
    }
    if is_cas && is_recurse {
        return Err(Ended::failed("Cannot specify both -cas and -recurse!"));
    }
    let client = call.client()?;
    let request = call.scoped(client.delete(&format!("/v1/kv/{key}")));
    if is_recurse {
        request.query("recurse", "").send().await.map_err(failing(&format!("Error! Did not delete prefix {key}")))?;
        return Ok(Ended::said(format!("Success! Deleted keys with prefix: {key}\n")));
    }
    if is_cas {
        let complaint = format!("Error! Did not delete key {key}");
        let deleted: bool = request.query("cas", index).json().await.map_err(failing(&complaint))?;
        if !deleted {
            return Err(Ended::failed(format!("{complaint}: CAS failed")));
        }
    } else {
        request.send().await.map_err(failing(&format!("Error deleting key {key}")))?;
    }
    Ok(Ended::said(format!("Success! Deleted key: {key}\n")))
}
