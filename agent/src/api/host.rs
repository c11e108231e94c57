//! `/v1/agent/host`: the machine, for who cannot log in to it. Read from `/proc` and `/etc` when asked;
//! what cannot be read is zero or empty, and named in `Errors`.

use std::collections::HashMap;
use std::fs;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::Refusal;
use super::extract::Call;
use super::reply;
use super::router::Method;
use crate::clock;

pub(super) async fn host(call: Call, _: Method) -> Result<Response, Refusal> {
    let mut machine = Machine { errors: Vec::new() };
    let host = json!({
        "Memory": machine.memory(),
        "CPU": machine.cpus(),
        "Host": machine.system(),
        "Disk": machine.disk(),
        "CollectionTime": clock::wall().micros().saturating_mul(1000),
        "Errors": if machine.errors.is_empty() { Value::Null } else { json!(machine.errors) },
    });
    reply::json(&call, &host)
}

/// Memory by Consul's name and the kernel's; none where there is no such figure on Linux.
const MEMORY: &[(&str, Option<&str>)] = &[
    ("active", Some("Active")),
    ("inactive", Some("Inactive")),
    ("wired", None),
    ("laundry", None),
    ("buffers", Some("Buffers")),
    ("cached", Some("Cached")),
    ("writeback", Some("Writeback")),
    ("dirty", Some("Dirty")),
    ("writebacktmp", Some("WritebackTmp")),
    ("shared", Some("Shmem")),
    ("slab", Some("Slab")),
    ("sreclaimable", Some("SReclaimable")),
    ("sunreclaim", Some("SUnreclaim")),
    ("pagetables", Some("PageTables")),
    ("swapcached", Some("SwapCached")),
    ("commitlimit", Some("CommitLimit")),
    ("committedas", Some("Committed_AS")),
    ("hightotal", Some("HighTotal")),
    ("highfree", Some("HighFree")),
    ("lowtotal", Some("LowTotal")),
    ("lowfree", Some("LowFree")),
    ("swaptotal", Some("SwapTotal")),
    ("swapfree", Some("SwapFree")),
    ("mapped", Some("Mapped")),
    ("vmalloctotal", Some("VmallocTotal")),
    ("vmallocused", Some("VmallocUsed")),
    ("vmallocchunk", Some("VmallocChunk")),
    ("hugepagestotal", Some("HugePages_Total")),
    ("hugepagesfree", Some("HugePages_Free")),
    ("hugepagesize", Some("Hugepagesize")),
];

struct Machine {
    errors: Vec<String>,
}

impl Machine {
    fn read(&mut self, path: &str) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| {
            self.errors.push(format!("read {path}: {error}"));
            String::new()
        })
    }

    fn memory(&mut self) -> Value {
        let text = self.read("/proc/meminfo");
        let figures: HashMap<&str, u64> = text.lines().filter_map(meminfo_line).collect();
        let of = |name: &str| figures.get(name).copied().unwrap_or(0);
        let (total, free) = (of("MemTotal"), of("MemFree"));
        let cached = of("Cached") + of("SReclaimable");
        let used = total.saturating_sub(free + of("Buffers") + cached);
        let mut memory = Map::new();
        memory.insert("total".to_owned(), total.into());
        memory.insert("available".to_owned(), of("MemAvailable").into());
        memory.insert("used".to_owned(), used.into());
        memory.insert("usedPercent".to_owned(), percent(used, total));
        memory.insert("free".to_owned(), free.into());
        for (name, figure) in MEMORY {
            let bytes = if *name == "cached" { cached } else { figure.map_or(0, of) };
            memory.insert((*name).to_owned(), bytes.into());
        }
        Value::Object(memory)
    }

    fn cpus(&mut self) -> Value {
        let text = self.read("/proc/cpuinfo");
        let cpus = text.split("\n\n").filter(|block| !block.trim().is_empty()).enumerate().map(|(at, block)| {
            let fields: HashMap<&str, &str> =
                block.lines().filter_map(|line| line.split_once(':')).map(|(k, v)| (k.trim(), v.trim())).collect();
            let of = |name: &str| fields.get(name).copied().unwrap_or_default();
            let number = |name: &str| of(name).split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            json!({
                "cpu": at,
                "vendorId": of("vendor_id"),
                "family": of("cpu family"),
                "model": of("model"),
                "stepping": number("stepping"),
                "physicalId": of("physical id"),
                "coreId": of("core id"),
                "cores": 1,
                "modelName": of("model name"),
                "mhz": of("cpu MHz").parse().unwrap_or(0.0),
                "cacheSize": number("cache size"),
                "flags": of("flags").split_whitespace().collect::<Vec<_>>(),
                "microcode": of("microcode"),
            })
        });
        Value::Array(cpus.collect())
    }

    fn system(&mut self) -> Value {
        let name = rustix::system::uname();
        let release = self.read("/etc/os-release");
        let of = |key: &str| {
            let line = release.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches('"').to_owned()
        };
        let up = self.read("/proc/uptime");
        let up: f64 = up.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
        let stat = self.read("/proc/stat");
        let boot: u64 =
            stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok()).unwrap_or_default();
        let processes = fs::read_dir("/proc").map_or(0, |entries| {
            let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
            entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_process)).count()
        });
        let family = of("ID_LIKE").split(' ').next().map(str::to_owned).filter(|id| !id.is_empty());
        json!({
            "hostname": name.nodename().to_string_lossy(),
            "uptime": up as u64,
            "bootTime": boot,
            "procs": processes,
            "os": std::env::consts::OS,
            "platform": of("ID"),
            "platformFamily": family.unwrap_or_else(|| of("ID")),
            "platformVersion": of("VERSION_ID"),
            "kernelVersion": name.release().to_string_lossy(),
            "kernelArch": name.machine().to_string_lossy(),
            "virtualizationSystem": "",
            "virtualizationRole": "",
            "hostid": fs::read_to_string("/sys/class/dmi/id/product_uuid").unwrap_or_default().trim().to_lowercase(),
        })
    }

    /// The file system at `/`, as the reference does.
    fn disk(&mut self) -> Value {
        let disk = match rustix::fs::statvfs("/") {
            Ok(disk) => disk,
            Err(error) => {
                self.errors.push(format!("look at the disk: {error}"));
                return Value::Null;
            }
        };
        let mounts = self.read("/proc/mounts");
        let kind = mounts.lines().rev().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            (fields.next() == Some("/")).then(|| fields.next()).flatten()
        });
        let used = disk.f_blocks.saturating_sub(disk.f_bfree) * disk.f_frsize;
        let free = disk.f_bavail * disk.f_frsize;
        let nodes_used = disk.f_files.saturating_sub(disk.f_ffree);
        json!({
            "path": "/",
            "fstype": kind.unwrap_or_default(),
            "total": disk.f_blocks * disk.f_frsize,
            "free": free,
            "used": used,
            "usedPercent": percent(used, used + free),
            "inodesTotal": disk.f_files,
            "inodesUsed": nodes_used,
            "inodesFree": disk.f_ffree,
            "inodesUsedPercent": percent(nodes_used, disk.f_files),
        })
    }
}

fn percent(part: u64, whole: u64) -> Value {
    if whole == 0 { 0.into() } else { (part as f64 / whole as f64 * 100.0).into() }
}

/// `MemFree:  19726573 kB` in bytes; a line without a unit counts pieces.
fn meminfo_line(line: &str) -> Option<(&str, u64)> {
    let (name, rest) = line.split_once(':')?;
    let mut parts = rest.split_whitespace();
    let value: u64 = parts.next()?.parse().ok()?;
    Some((name, if parts.next() == Some("kB") { value.saturating_mul(1024) } else { value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        assert_eq!(meminfo_line("MemFree:        1024 kB"), Some(("MemFree", 1_048_576)));
        assert_eq!(meminfo_line("HugePages_Total:       3"), Some(("HugePages_Total", 3)));
        assert_eq!(meminfo_line("nonsense"), None);
    }

    #[test]
    fn this_machine_has_memory_a_processor_and_a_disk() {
        let mut machine = Machine { errors: Vec::new() };
        assert!(machine.memory()["total"].as_u64() > Some(0));
        assert!(machine.cpus().as_array().is_some_and(|cpus| !cpus.is_empty()));
        assert!(machine.disk()["total"].as_u64() > Some(0));
        assert!(machine.system()["bootTime"].as_u64() > Some(0));
        assert_eq!(machine.errors, Vec::<String>::new());
    }
}
