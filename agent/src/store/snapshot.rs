//! The whole state as bytes: a header, then one length-prefixed postcard record after another, then
//! the count. Records are written as they are met, so a large state needs no second copy.
//!
//! The format number is in the header; the record enum only grows at the end, and a changed record
//! is a new variant. Integrity on disk (checksum, rename) is the caller's.

use std::io::{self, Read, Write};
use std::sync::Arc;

use imbl::OrdMap;
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Name, NodeRow, ServiceRow};
use super::changes::fold;
use super::index::{NodeIndexes, ServiceIndexes, TableIndexes};
use super::kv::{Kv, Tombstone};
use super::query::{AutopilotEntry, Check, KvEntry, Node, Service};
use super::{LoadError, Store};

const MAGIC: [u8; 8] = *b"QRTSTATE";
const FORMAT: u16 = 1;

/// The longest record: a key's value is far below that.
const RECORD_LEN_MAX: usize = 64 << 20;

/// What is written; [`Record`] is the same for reading.
#[derive(Serialize)]
enum RecordRef<'a> {
    Time(i64),
    Tables(&'a TableIndexes),
    Node(&'a Node, NodeIndexes),
    Service(&'a Service),
    ServiceIndexes(&'a str, ServiceIndexes),
    Check(&'a Check),
    KvMarks { index: u64, floor: u64 },
    Kv(&'a KvEntry),
    Tombstone { key: &'a str, index: u64, at: i64 },
    End { records: u64 },
    Autopilot(&'a AutopilotEntry),
}

#[derive(Debug, Deserialize)]
enum Record {
    Time(i64),
    Tables(TableIndexes),
    Node(Node, NodeIndexes),
    Service(Service),
    /// After the services: their indexes by folded name.
    ServiceIndexes(String, ServiceIndexes),
    Check(Check),
    KvMarks {
        index: u64,
        floor: u64,
    },
    Kv(KvEntry),
    /// After the keys, oldest first.
    Tombstone {
        key: String,
        index: u64,
        at: i64,
    },
    End {
        records: u64,
    },
    Autopilot(AutopilotEntry),
}

struct Records<W> {
    out: W,
    count: u64,
    buffer: Vec<u8>,
}

impl<W: Write> Records<W> {
    fn write(&mut self, record: &RecordRef<'_>) -> io::Result<()> {
        self.buffer.clear();
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = postcard::to_extend(record, buffer).map_err(io::Error::other)?;
        let len = u32::try_from(self.buffer.len()).map_err(io::Error::other)?;
        self.out.write_all(&len.to_le_bytes())?;
        self.out.write_all(&self.buffer)?;
        self.count += 1;
        Ok(())
    }
}

pub(super) fn dump(store: &Store, mut out: impl Write) -> io::Result<()> {
    out.write_all(&MAGIC)?;
    out.write_all(&FORMAT.to_le_bytes())?;
    let mut records = Records { out, count: 0, buffer: Vec::new() };
    let Store { time, catalog, kv, autopilot } = store;
    records.write(&RecordRef::Time(*time))?;
    records.write(&RecordRef::Tables(&catalog.indexes))?;
    for row in catalog.nodes.values() {
        records.write(&RecordRef::Node(&row.node, row.indexes))?;
        for service in row.services.values() {
            records.write(&RecordRef::Service(service))?;
        }
        for check in row.checks.values() {
            records.write(&RecordRef::Check(check))?;
        }
    }
    for (name, row) in &catalog.services {
        records.write(&RecordRef::ServiceIndexes(name, row.indexes))?;
    }
    let (index, floor) = kv.marks();
    records.write(&RecordRef::KvMarks { index, floor })?;
    for entry in kv.entries() {
        records.write(&RecordRef::Kv(entry))?;
    }
    for Tombstone { key, index, at } in kv.tombstones() {
        records.write(&RecordRef::Tombstone { key, index: *index, at: *at })?;
    }
    if let Some(entry) = autopilot.entry() {
        records.write(&RecordRef::Autopilot(entry))?;
    }
    let count = records.count;
    records.write(&RecordRef::End { records: count })?;
    records.out.flush()
}

pub(super) fn load(mut input: impl Read) -> Result<Store, LoadError> {
    let mut magic = [0; MAGIC.len()];
    input.read_exact(&mut magic)?;
    if magic != MAGIC {
        return Err(LoadError::Damaged("it does not begin as one".to_owned()));
    }
    let mut format = [0; 2];
    input.read_exact(&mut format)?;
    let format = u16::from_le_bytes(format);
    if format != FORMAT {
        return Err(LoadError::Format(format));
    }
    let mut store = Store::default();
    let mut buffer = Vec::new();
    let mut count = 0;
    loop {
        let mut len = [0; 4];
        input.read_exact(&mut len)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > RECORD_LEN_MAX {
            return Err(LoadError::Damaged(format!("record {count} claims {len} bytes")));
        }
        // Grows as bytes come, so that a forged length costs nothing.
        buffer.clear();
        if input.by_ref().take(len as u64).read_to_end(&mut buffer)? < len {
            return Err(LoadError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let record = postcard::from_bytes(&buffer)
            .map_err(|problem| LoadError::Damaged(format!("record {count} does not decode: {problem}")))?;
        match record {
            Record::End { records } if records == count => return Ok(store),
            Record::End { records } => {
                return Err(LoadError::Damaged(format!("it holds {count} of {records} records")));
            }
            record => store.put(record).map_err(LoadError::Damaged)?,
        }
        count += 1;
    }
}

impl Store {
    fn put(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Time(time) => self.time = time,
            Record::Tables(indexes) => self.catalog.indexes = indexes,
            Record::Node(node, indexes) => self.catalog.load_node(node, indexes),
            Record::Service(service) => self.catalog.load_service(service)?,
            Record::ServiceIndexes(name, indexes) => match self.catalog.services.get_mut(&*name) {
                Some(row) => Arc::make_mut(row).indexes = indexes,
                None => return Err(format!("indexes of a service that is not there: {name}")),
            },
            Record::Check(check) => self.catalog.load_check(check)?,
            Record::KvMarks { index, floor } => self.kv.set_marks(index, floor),
            Record::Kv(entry) => self.kv.insert(entry),
            Record::Tombstone { key, index, at } => Kv::bury(&mut self.kv, Tombstone { key: key.into(), index, at }),
            Record::Autopilot(entry) => self.autopilot.load(entry),
            Record::End { .. } => {}
        }
        Ok(())
    }
}

impl Catalog {
    fn load_node(&mut self, node: Node, indexes: NodeIndexes) {
        let name: Name = fold(&node.fields.name).into();
        if !node.fields.id.is_empty() {
            self.node_ids.insert(fold(&node.fields.id).into(), Arc::clone(&name));
        }
        self.addresses.move_node(&name, None, node.ip());
        let row = NodeRow { node: Arc::new(node), services: OrdMap::new(), checks: OrdMap::new(), indexes };
        self.nodes.insert(name, Arc::new(row));
    }

    fn load_service(&mut self, service: Service) -> Result<(), String> {
        let node: Name = fold(&service.node).into();
        let id: Name = fold(&service.fields.id).into();
        let name: Name = fold(&service.fields.name).into();
        let row = self.nodes.get_mut(&*node).ok_or_else(|| format!("a service of an unknown node: {node}"))?;
        self.addresses.move_service(&node, &id, None, service.ip());
        let service = Arc::new(service);
        Arc::make_mut(row).services.insert(Arc::clone(&id), Arc::clone(&service));
        if !self.services.contains_key(&*name) {
            self.services.insert(Arc::clone(&name), Arc::new(ServiceRow::default()));
        }
        if let Some(row) = self.services.get_mut(&*name) {
            Arc::make_mut(row).instances.insert((node, id), service);
        }
        Ok(())
    }

    fn load_check(&mut self, check: Check) -> Result<(), String> {
        let node = fold(&check.node);
        let id: Name = fold(&check.fields.id).into();
        let row = self.nodes.get_mut(&*node).ok_or_else(|| format!("a check of an unknown node: {node}"))?;
        Arc::make_mut(row).checks.insert(id, Arc::new(check));
        Ok(())
    }
}
