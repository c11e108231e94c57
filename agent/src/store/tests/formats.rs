//! Bytes that were once written decode for ever.

use super::super::LoadError;
use std::time::Duration;

use super::super::command::{AutopilotCommand, AutopilotFields, Deregistration};
use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hexadecimal");
    digits.chunks(2).map(byte).collect()
}

#[track_caller]
fn check_golden(command: Command, golden: &str) {
    assert_eq!(hex(&postcard::to_allocvec(&command).expect("encodes")), golden, "{command:?}");
    assert_eq!(postcard::from_bytes::<Command>(&unhex(golden)).expect("decodes"), command);
}

fn full_registration() -> Registration {
    let text = |s: &str| s.to_owned();
    let mut service = service("w", "web", &["t"]);
    service.address = text("a");
    service.tagged_addresses = [(text("lan"), (text("b"), 80))].into();
    service.meta = [(text("k"), text("v"))].into();
    service.port = 8080;
    service.weights = (10, 1);
    service.enable_tag_override = true;
    let mut check = check("c", "w", CheckStatus::Warning);
    (check.notes, check.output, check.kind) = (text("n"), text("o"), text("ttl"));
    let mut registration = node("n", "1");
    registration.node.id = text("id");
    registration.node.datacenter = text("dc1");
    registration.node.tagged_addresses = [(text("lan"), text("1"))].into();
    registration.node.meta = [(text("m"), text("x"))].into();
    Registration { skip_node_update: true, service: Some(service), checks: vec![check], ..registration }
}

#[test]
fn how_a_check_works_rides_behind_its_kind() {
    let fields =
        CheckFields { kind: "tcp".to_owned(), definition: "{}".to_owned(), ..check("c", "", CheckStatus::Critical) };
    let bytes = postcard::to_allocvec(&fields).expect("encodes");
    assert_eq!(hex(&bytes), "01630163020000000674637000 7b7d".replace(' ', ""));
    assert_eq!(postcard::from_bytes::<CheckFields>(&bytes), Ok(fields));
}

#[test]
fn commands_of_the_first_format_decode() {
    let kv = Command::Kv;
    let key = || "k".to_owned();
    check_golden(
        full_registration().into(),
        "00016e02696401310364633101036c616e013101016d017801010177037765620101740161\
         01036c616e01625001016b0176903f0a0101010163016301016e016f01770374746c",
    );
    check_golden(Command::Deregister(Deregistration::Node { node: key() }), "0100016b");
    check_golden(
        Command::Deregister(Deregistration::Service { node: key(), service_id: "s".to_owned() }),
        "0101016b0173",
    );
    check_golden(Command::Deregister(Deregistration::Check { node: key(), check_id: "c".to_owned() }), "0102016b0163");
    check_golden(kv(KvCommand::Set { key: key(), value: vec![1, 2], flags: 300 }), "0200016b020102ac02");
    check_golden(kv(KvCommand::Cas { key: key(), value: vec![1], flags: 0, index: 7 }), "0201016b01010007");
    check_golden(kv(KvCommand::Delete { key: key() }), "0202016b");
    check_golden(kv(KvCommand::DeleteCas { key: key(), index: 7 }), "0203016b07");
    check_golden(kv(KvCommand::DeleteTree { prefix: key() }), "0204016b");
}

fn rules() -> AutopilotFields {
    AutopilotFields {
        cleanup_dead_servers: true,
        last_contact_threshold: Duration::from_millis(200),
        max_trailing_logs: 250,
        min_quorum: 3,
        server_stabilization_time: Duration::from_secs(10),
        redundancy_zone_tag: "z".to_owned(),
        disable_upgrade_migration: false,
        upgrade_version_tag: "v".to_owned(),
    }
}

#[test]
fn later_commands_and_records_decode() {
    check_golden(AutopilotCommand::Set { fields: rules() }.into(), "030001008084af5ffa01030a00017a000176");
    check_golden(AutopilotCommand::Cas { fields: rules(), index: 7 }.into(), "030101008084af5ffa01030a00017a00017607");
    let mut world = World::at(2);
    world.apply(AutopilotCommand::Set { fields: rules() }.into());
    let mut bytes = Vec::new();
    world.store.dump(&mut bytes).expect("memory takes all");
    let golden = "515254535441544501000300000000a01f0a000000010000000000000000000300000006000013000000\
                  0a01008084af5ffa01030a00017a0001760202020000000904";
    assert_eq!(hex(&bytes), golden);
    assert_eq!(Store::load(&*unhex(golden)).expect("loads"), world.store);
}

/// One record of each kind of the first format.
fn small() -> Store {
    let mut world = World::at(2);
    world.apply(full_registration().into());
    world.apply(set("a", "1"));
    world.apply(set("b", "2"));
    world.apply(delete("a"));
    world.store
}

const SNAPSHOT: &str = "\
    515254535441544501000300000000904e0a000000010202020200020000001d00000002016e02696401310364633101036c \
    616e013101016d017802020202022200000003016e017703776562010174016101036c616e01625001016b0176903f0a0101 \
    02021b00000005016e0163016301016e016f01770374746c0377656201017402020800000004037765620202020300000006 \
    0500090000000701620132000004040600000008016105904e020000000909";

#[test]
fn a_snapshot_of_the_first_format_loads() {
    let mut bytes = Vec::new();
    small().dump(&mut bytes).expect("memory takes all");
    assert_eq!(hex(&bytes), SNAPSHOT.replace(char::is_whitespace, ""));
    assert_eq!(Store::load(&*unhex(SNAPSHOT)).expect("loads"), small());
}

#[track_caller]
fn check_refused(edit: impl FnOnce(&mut Vec<u8>), expected: &str) {
    let mut bytes = Vec::new();
    small().dump(&mut bytes).expect("memory takes all");
    edit(&mut bytes);
    let error: LoadError = Store::load(&*bytes).expect_err("refused");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn what_is_no_snapshot_of_ours_is_refused_in_words() {
    check_refused(|b| b[0] = b'x', "the state snapshot is damaged: it does not begin as one");
    check_refused(|b| b[8] = 9, "the state snapshot has format 9, which this version does not read");
    check_refused(|b| b.truncate(40), "read the state snapshot");
    check_refused(|b| b[13] = 0xff, "the state snapshot is damaged: record 0 claims 4278190083 bytes");
}
