//! PURE: the text of `peers.json`, by which an operator gives a server another Raft configuration after
//! an outage, as Consul reads it; of `peers.info.json`, which has the same form; and of `peers.info`.
//! `recovery` reads and writes the files.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use shared::event::RaftPeer;
use uuid::Uuid;

/// One server, as the file has it. Go takes names in any case; these are the ones that are seen.
#[derive(Debug, Serialize, Deserialize)]
struct Written {
    #[serde(alias = "ID", alias = "Id")]
    id: String,
    #[serde(alias = "Address")]
    address: String,
    #[serde(default, alias = "NonVoter", alias = "Non_Voter")]
    non_voter: bool,
}

/// A server of the configuration to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) id: Uuid,
    pub(crate) address: String,
    pub(crate) voter: bool,
}

/// The configuration that `text` asks for, or what is wrong with it. `own` is this server, `known` the
/// servers of the configuration that is: the form of addresses alone takes the IDs from there.
pub(crate) fn parse(text: &str, own: Uuid, known: &[RaftPeer]) -> Result<Vec<Listed>, String> {
    let all: Vec<serde_json::Value> =
        serde_json::from_str(text).map_err(|error| format!("it is no JSON array: {error}"))?;
    let listed: Vec<Listed> = all.iter().map(|one| listed(one, known)).collect::<Result<_, _>>()?;
    let (mut ids, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for one in &listed {
        if !ids.insert(one.id) {
            return Err(format!("server {} is in it twice", one.id));
        }
        if !addresses.insert(&one.address) {
            return Err(format!("address {} is in it twice", one.address));
        }
    }
    if !listed.iter().any(|one| one.voter) {
        return Err("it has no voter, and at least one is needed".to_owned());
    }
    if !ids.contains(&own) {
        return Err(format!("it does not have this server, {own}"));
    }
    Ok(listed)
}

fn listed(one: &serde_json::Value, known: &[RaftPeer]) -> Result<Listed, String> {
    if let Some(address) = one.as_str() {
        let peer = known.iter().find(|peer| peer.address == address);
        let id = peer.and_then(|peer| peer.id.parse().ok()).ok_or_else(|| {
            let known = known.iter().map(|peer| peer.address.as_str()).collect::<Vec<_>>().join(", ");
            format!(
                "{address} is an address alone, and of no server of the configuration that is ({known}): \
                 say its \"id\" too"
            )
        })?;
        return Ok(Listed { id, address: address.to_owned(), voter: true });
    }
    let written: Written =
        serde_json::from_value(one.clone()).map_err(|error| format!("{one} is no server: {error}"))?;
    let id = written.id.parse().map_err(|_| format!("\"{}\" is no server ID, which is a UUID", written.id))?;
    if written.address.parse::<SocketAddr>().is_err() {
        return Err(format!("\"{}\" of server {id} is no IP address and port", written.address));
    }
    Ok(Listed { id, address: written.address, voter: !written.non_voter })
}

/// The configuration as `peers.json` would have it.
pub(crate) fn render(peers: &[RaftPeer]) -> String {
    let written =
        |peer: &RaftPeer| Written { id: peer.id.clone(), address: peer.address.clone(), non_voter: !peer.voter };
    let all: Vec<Written> = peers.iter().map(written).collect();
    let mut text = serde_json::to_string_pretty(&all).expect("strings and bools are written to memory");
    text.push('\n');
    text
}

/// What `peers.info` says.
pub(crate) const INFO: &str = r#"This file explains peers.json, which is not here while all is well.

When so many servers are lost for good that the others have no quorum, those
that remain are given another configuration with it:

1. Stop all servers that remain.
2. On one of them copy peers.info.json, which is beside this file and has the
   configuration as that server knows it, to peers.json; take the servers out
   that are lost, and correct the addresses of those that moved.
3. Put the same peers.json into the raft directory of each server that remains.
4. Start them.

A server that finds peers.json when it starts makes it its configuration,
deletes the file and goes on with all that is in its own log. What is wrong with
the file is told, and nothing is changed then.

The file is a JSON array with one object for each server:

[
  {
    "id": "5c3bf3b5-1f2b-4d8c-9a63-0d6a51f5c1a1",
    "address": "10.1.10.38:8300",
    "non_voter": false
  },
  {
    "id": "e2a7c6a4-7d0f-4f7b-8a55-3b1f0c9d2e02",
    "address": "10.1.10.39:8300",
    "non_voter": false
  }
]

id         the server's node ID: in the file node-id of its data directory, and
           in the lines it prints when it starts
address    the IP address and the port of its server RPC
non_voter  true for a server that gets the log and has no vote; false when left
           out

The form of Raft protocol 2 and before, addresses alone, is read too where each
of them is in the configuration already:

["10.1.10.38:8300", "10.1.10.39:8300"]
"#;

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "00000000-0000-0000-0000-000000000001";
    const OTHER: &str = "00000000-0000-0000-0000-000000000002";

    fn peers() -> Vec<RaftPeer> {
        let peer = |id: &str, node: &str, address: &str, voter| RaftPeer {
            id: id.to_owned(),
            node: node.to_owned(),
            address: address.to_owned(),
            voter,
        };
        vec![peer(OWN, "one", "10.0.0.1:8300", true), peer(OTHER, "two", "10.0.0.2:8300", false)]
    }

    fn read(text: &str) -> Result<Vec<Listed>, String> {
        parse(text, Uuid::from_u128(1), &peers())
    }

    fn listed(id: u128, address: &str, voter: bool) -> Listed {
        Listed { id: Uuid::from_u128(id), address: address.to_owned(), voter }
    }

    #[track_caller]
    fn check(text: &str, expected: &[Listed]) {
        assert_eq!(read(text).as_deref(), Ok(expected), "{text}");
    }

    #[track_caller]
    fn refuses(text: &str, words: &str) {
        let why = read(text).expect_err("refused");
        assert!(why.contains(words), "{text}: {why}");
    }

    #[test]
    fn both_forms_are_read() {
        let one = format!(r#"{{"id":"{OWN}","address":"10.0.0.1:8300"}}"#);
        let two = format!(r#"{{"ID":"{OTHER}","Address":"10.0.0.9:8300","non_voter":true,"more":1}}"#);
        check(&format!("[{one}]"), &[listed(1, "10.0.0.1:8300", true)]);
        check(&format!("[{one},\n{two}]"), &[listed(1, "10.0.0.1:8300", true), listed(2, "10.0.0.9:8300", false)]);
        let both = [listed(1, "10.0.0.1:8300", true), listed(2, "10.0.0.2:8300", true)];
        check(r#"["10.0.0.1:8300", "10.0.0.2:8300"]"#, &both);
    }

    #[test]
    fn what_is_wrong_is_named() {
        refuses("", "no JSON array");
        refuses("[{", "no JSON array: EOF");
        refuses("{}", "no JSON array");
        refuses("[]", "no voter");
        refuses("[1]", "1 is no server");
        refuses(&format!(r#"[{{"id":"{OWN}"}}]"#), "missing field `address`");
        refuses(r#"[{"id":"one","address":"10.0.0.1:8300"}]"#, "\"one\" is no server ID");
        let one = format!(r#"{{"id":"{OWN}","address":"10.0.0.1:8300"}}"#);
        let again = format!(r#"{{"id":"{OWN}","address":"10.0.0.2:8300"}}"#);
        refuses(&format!("[{one},{again}]"), &format!("server {OWN} is in it twice"));
        let same = format!(r#"{{"id":"{OTHER}","address":"10.0.0.1:8300"}}"#);
        refuses(&format!("[{one},{same}]"), "address 10.0.0.1:8300 is in it twice");
        refuses(&format!("[{same}]"), &format!("does not have this server, {OWN}"));
        let mute = format!(r#"[{{"id":"{OWN}","address":"10.0.0.1:8300","non_voter":true}}]"#);
        refuses(&mute, "no voter");
        let named = format!(r#"[{{"id":"{OWN}","address":"one:8300"}}]"#);
        refuses(&named, "\"one:8300\" of server");
        refuses(r#"["10.0.0.1:8300", "10.0.0.7:8300"]"#, "10.0.0.7:8300 is an address alone");
    }

    #[test]
    fn what_is_rendered_is_read_as_it_was() {
        check(&render(&peers()), &[listed(1, "10.0.0.1:8300", true), listed(2, "10.0.0.2:8300", false)]);
    }

    #[test]
    fn the_example_of_the_explanation_is_read() {
        let example = INFO.split_once("\n[\n").and_then(|(_, rest)| rest.split_once("\n]\n")).expect("an example").0;
        let own = "5c3bf3b5-1f2b-4d8c-9a63-0d6a51f5c1a1".parse().expect("an ID");
        assert_eq!(parse(&format!("[{example}]"), own, &[]).map(|all| all.len()), Ok(2));
    }
}
