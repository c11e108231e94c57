//! A network of this test's own: each host is a network namespace, and the wire between them is a thread
//! of this process, which loses, delays and cuts off as it is told.
//!
//! No name is given to a namespace and no interface to the machine: whatever happens to the test, the
//! kernel removes them with the last process in them. Wants root, `ip` and /dev/net/tun, and no qdisc:
//! not every kernel has netem. Packets lost are lost in silence, each way by itself.

use std::collections::{BTreeSet, BinaryHeap};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

const NETWORK: [u8; 3] = [10, 77, 0];
const FIRST: u8 = 10;
const HOSTS_MAX: usize = 100;
/// How soon the wire sees that it is to end.
const LOOK: Duration = Duration::from_millis(20);
const PACKETS_AT_ONCE: usize = 64;
/// Longer than any packet of an interface with the usual MTU.
const PACKET_BYTES: usize = 2_048;
/// Packets on their way, at most: what comes on top is lost.
const ON_THE_WAY_MAX: usize = 100_000;

/// One machine of the network.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) address: String,
    namespace: File,
}

impl Host {
    /// Does something on this host: processes that it starts and sockets that it opens are there.
    pub(crate) fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let enter = || {
            move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network)).expect("the host");
            act()
        };
        match std::thread::scope(|scope| scope.spawn(enter).join()) {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// What happens to packets.
#[derive(Debug, Default)]
struct Weather {
    /// From, to.
    cut: BTreeSet<(usize, usize)>,
    /// Of each packet.
    loss: f64,
    /// One way.
    delay: Duration,
    carried: u64,
    lost: u64,
}

pub(crate) struct Lan {
    pub(crate) hosts: Vec<Arc<Host>>,
    weather: Arc<Mutex<Weather>>,
    ended: Arc<AtomicBool>,
    wire: Option<JoinHandle<()>>,
}

impl Lan {
    /// Hosts 0, 1, 2 …; without the means for them says on its line that the test did not run.
    pub(crate) fn new(test: &str, count: usize) -> Option<Self> {
        assert!(count <= HOSTS_MAX);
        let mut hosts = Vec::with_capacity(count);
        let mut links = Vec::with_capacity(count);
        for place in 0..count {
            match std::thread::spawn(move || host(place)).join().expect("no panic") {
                Ok((host, link)) => {
                    hosts.push(Arc::new(host));
                    links.push(link);
                }
                Err(why) => {
                    super::did_not_run(test, &why);
                    return None;
                }
            }
        }
        let weather = Arc::new(Mutex::new(Weather::default()));
        let ended = Arc::new(AtomicBool::new(false));
        let wire =
            Wire { links, weather: Arc::clone(&weather), ended: Arc::clone(&ended), on_the_way: BinaryHeap::new() };
        Some(Self { hosts, weather, ended, wire: Some(std::thread::spawn(move || wire.carry())) })
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        change(&mut self.weather.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// From now on nothing gets from there to here.
    pub(crate) fn cut(&self, from: &[usize], to: &[usize]) {
        self.change(|weather| weather.cut.extend(from.iter().flat_map(|&a| to.iter().map(move |&b| (a, b)))));
    }

    /// Nothing gets from one of these to one of those, nor back.
    pub(crate) fn part(&self, these: &[usize], those: &[usize]) {
        self.cut(these, those);
        self.cut(those, these);
    }

    /// Everything gets through again.
    pub(crate) fn heal(&self) {
        self.change(|weather| {
            let Weather { carried, lost, .. } = *weather;
            *weather = Weather { carried, lost, ..Weather::default() };
        });
    }

    /// Each packet is lost with this chance and takes this long, on every way.
    pub(crate) fn worsen(&self, loss: f64, delay: Duration) {
        self.change(|weather| (weather.loss, weather.delay) = (loss, delay));
    }

    /// Packets so far: carried, and lost.
    pub(crate) fn packets(&self) -> (u64, u64) {
        let weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        (weather.carried, weather.lost)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        if let Some(wire) = self.wire.take() {
            // It panics only with the test.
            let _ = wire.join();
        }
    }
}

/// Makes a host, on a thread that is lost to it; gives the wire's end of its interface.
fn host(place: usize) -> Result<(Host, File), String> {
    // SAFETY: the flag concerns the network alone, and this thread runs nothing else.
    #[expect(unsafe_code, reason = "there is no other way to a namespace")]
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
        .map_err(|e| format!("no network namespace: {e}"))?;
    let namespace = File::open("/proc/thread-self/ns/net").map_err(|e| format!("no way back to a namespace: {e}"))?;
    let link = interface()?;
    let address = format!("{}.{}.{}.{}", NETWORK[0], NETWORK[1], NETWORK[2], usize::from(FIRST) + place);
    let lines = format!("link set lo up\nlink set lan0 up\naddr add {address}/24 dev lan0\n");
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("no program `ip`: {e}"))?;
    ip.stdin
        .take()
        .expect("it is piped")
        .write_all(lines.as_bytes())
        .map_err(|e| format!("`ip` does not listen: {e}"))?;
    let done = ip.wait_with_output().map_err(|e| format!("`ip`: {e}"))?;
    if !done.status.success() {
        return Err(format!("`ip`: {}", String::from_utf8_lossy(&done.stderr).trim()));
    }
    Ok((Host { address, namespace }, link))
}

/// A TUN interface `lan0` in this thread's namespace: what is sent there is read here.
fn interface() -> Result<File, String> {
    const TUNSETIFF: rustix::ioctl::Opcode = 0x4004_54ca;
    const TUN_WITHOUT_HEADER: u16 = 0x1001;
    let open = File::options().read(true).write(true).open("/dev/net/tun");
    let link = open.map_err(|e| format!("no /dev/net/tun: {e}"))?;
    let mut request = [0_u8; 40];
    request[..4].copy_from_slice(b"lan0");
    request[16..18].copy_from_slice(&TUN_WITHOUT_HEADER.to_ne_bytes());
    // SAFETY: the order takes an `ifreq`, 40 bytes: a name of 16, then the flags.
    #[expect(unsafe_code, reason = "the kernel has no other order for it")]
    unsafe { rustix::ioctl::ioctl(&link, rustix::ioctl::Setter::<TUNSETIFF, [u8; 40]>::new(request)) }
        .map_err(|e| format!("no TUN interface: {e}"))?;
    rustix::io::ioctl_fionbio(&link, true).map_err(|e| format!("the interface: {e}"))?;
    Ok(link)
}

/// A packet that arrives later: the earliest is the greatest.
#[derive(PartialEq, Eq)]
struct Late {
    due: Instant,
    to: usize,
    bytes: Vec<u8>,
}

impl Ord for Late {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.due.cmp(&self.due)
    }
}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

struct Wire {
    links: Vec<File>,
    weather: Arc<Mutex<Weather>>,
    ended: Arc<AtomicBool>,
    on_the_way: BinaryHeap<Late>,
}

impl Wire {
    fn carry(mut self) {
        let mut dice = SmallRng::seed_from_u64(u64::from(std::process::id()));
        while !self.ended.load(Ordering::Relaxed) {
            for from in self.wait() {
                for _ in 0..PACKETS_AT_ONCE {
                    let mut bytes = vec![0; PACKET_BYTES];
                    let Ok(length) = (&self.links[from]).read(&mut bytes) else { break };
                    bytes.truncate(length);
                    self.take(from, bytes, &mut dice);
                }
            }
            let now = now();
            while self.on_the_way.peek().is_some_and(|late| late.due <= now) {
                let late = self.on_the_way.pop().expect("it was there just now");
                // A host that takes no more has lost a packet.
                let _ = (&self.links[late.to]).write(&late.bytes);
            }
        }
    }

    /// Whose packets wait here, as soon as there are any or one is due.
    fn wait(&self) -> Vec<usize> {
        let until_due = self.on_the_way.peek().map_or(LOOK, |late| late.due.saturating_duration_since(now()));
        let limit = Timespec::try_from(until_due.min(LOOK)).expect("a short time");
        let mut ends: Vec<_> = self.links.iter().map(|link| PollFd::new(link, PollFlags::IN)).collect();
        // A signal only means looking again.
        let _ = poll(&mut ends, Some(&limit));
        let ready = ends.iter().enumerate().filter(|(_, end)| !end.revents().is_empty());
        ready.map(|(place, _)| place).collect()
    }

    fn take(&mut self, from: usize, bytes: Vec<u8>, dice: &mut SmallRng) {
        let Some(to) = destination(&bytes).filter(|to| *to < self.links.len()) else { return };
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        let is_cut = weather.cut.contains(&(from, to)) || self.on_the_way.len() >= ON_THE_WAY_MAX;
        if is_cut || dice.random_bool(weather.loss) {
            weather.lost += 1;
            return;
        }
        weather.carried += 1;
        self.on_the_way.push(Late { due: now() + weather.delay, to, bytes });
    }
}

/// The host that an IPv4 packet is for.
fn destination(packet: &[u8]) -> Option<usize> {
    let is_ours = packet.first()? >> 4 == 4 && *packet.get(16..19)? == NETWORK;
    packet[19..].first().filter(|_| is_ours)?.checked_sub(FIRST).map(usize::from)
}

#[expect(clippy::disallowed_methods, reason = "a wire takes time")]
fn now() -> Instant {
    Instant::now()
}
