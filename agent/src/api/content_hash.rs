//! Consul's hash of a service's definition, bit for bit, so that who keeps one can ask agents of either kind.
//!
//! FNV-1 of 64 bits: a field is the hash of its name's and its value's hashes, fields and entries of maps
//! are joined without order, lists in order. Knows no endpoint.

use std::collections::BTreeMap;

use shared::api::agent::AgentService;
use shared::api::catalog::ServiceAddress;

const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// As it is shown: sixteen digits at most.
pub(super) fn of(service: &AgentService) -> String {
    let weight = |weight: u32| whole(u64::from(weight));
    let weights = [("Passing", weight(service.weights.passing)), ("Warning", weight(service.weights.warning))];
    let fields = [
        ("Kind", text("")),
        ("ID", text(&service.id)),
        ("Service", text(&service.service)),
        ("Tags", service.tags.iter().fold(0, |all, tag| pair(all, text(tag)))),
        ("Meta", entries(&service.meta, |value| text(value))),
        ("Port", whole(u64::from(service.port))),
        ("Address", text(&service.address)),
        ("TaggedAddresses", entries(&service.tagged_addresses, address)),
        ("Weights", object("AgentWeights", &weights)),
        ("EnableTagOverride", bytes(&[u8::from(service.enable_tag_override)])),
        ("CreateIndex", whole(0)),
        ("ModifyIndex", whole(0)),
        ("ContentHash", text("")),
        // What belongs to the mesh is not there: such a thing counts as the number 0.
        ("Proxy", whole(0)),
        ("Connect", whole(0)),
    ];
    format!("{:x}", object("AgentService", &fields))
}

fn address(address: &ServiceAddress) -> u64 {
    object("ServiceAddress", &[("Address", text(&address.address)), ("Port", whole(u64::from(address.port)))])
}

fn bytes(bytes: &[u8]) -> u64 {
    bytes.iter().fold(BASIS, |hash, byte| hash.wrapping_mul(PRIME) ^ u64::from(*byte))
}

fn text(text: &str) -> u64 {
    bytes(text.as_bytes())
}

fn whole(number: u64) -> u64 {
    bytes(&number.to_le_bytes())
}

fn pair(first: u64, second: u64) -> u64 {
    let mut both = [0; 16];
    both[..8].copy_from_slice(&first.to_le_bytes());
    both[8..].copy_from_slice(&second.to_le_bytes());
    bytes(&both)
}

fn object(name: &str, fields: &[(&str, u64)]) -> u64 {
    fields.iter().fold(text(name), |all, (field, value)| all ^ pair(text(field), *value))
}

fn entries<T>(map: &BTreeMap<String, T>, value: impl Fn(&T) -> u64) -> u64 {
    map.iter().fold(0, |all, (key, one)| all ^ pair(text(key), value(one)))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::of;

    /// The hashes are what Consul 1.8.7 says of these services.
    #[test]
    fn a_definition_has_the_hash_that_consul_gives_it() {
        let check = |changed: Value, expected: &str| {
            let mut whole = json!({
                "ID": "h", "Service": "h", "Tags": [], "Meta": {}, "Port": 1, "Address": "",
                "Weights": {"Passing": 1, "Warning": 1}, "EnableTagOverride": false,
            });
            for (name, value) in changed.as_object().expect("fields") {
                whole[name] = value.clone();
            }
            assert_eq!(of(&serde_json::from_value(whole).expect("a service")), expected, "{changed}");
        };
        check(json!({}), "88a28e11ac873242");
        check(json!({"Port": 2}), "f0e7b39201072589");
    }
}
