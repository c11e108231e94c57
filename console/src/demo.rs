//! `console demo`: three servers and two clients of the bundled agent on loopback addresses, the screen on
//! them, and keys to kill, pause, start and cut them off. `console agent`: that agent by itself. The one file that
//! names the agent.
//!
//! Every node is this program run again, a real process to kill and pause. They end with the demo in
//! every case: it kills those it started; if it is killed itself, the system tells them. Whose traffic a
//! node drops it is told over its standard input, which the demo alone holds the other end of.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr, bail, eyre};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};
use serde_json::{Value, json};
use shared::http::Settings;

use crate::cli::{Options, say};
use crate::clock;
use crate::msg::Trick;
use crate::runtime::{self, Stage};

/// Tells a node of the demo which process started it, and so with whom it ends.
const PARENT: &str = "QUORATE_DEMO_PARENT";
/// Tells it what to remove when that process is gone.
const DIRECTORY: &str = "QUORATE_DEMO_DIRECTORY";
/// A node that does not listen by then is taken for stuck.
const START: Duration = Duration::from_secs(15);
const LOOK: Duration = Duration::from_millis(20);
/// How often a directory is removed that others write to as well.
const FORGETS: u32 = 100;
/// Servers and clients of a demo.
const SERVERS: u8 = 3;
const CLIENTS: u8 = 2;
/// Where the system has one loopback address, nodes differ by their ports alone.
const NO_ADDRESSES: &str = "cannot be cut off: on this system the nodes of a demo share one address";
/// Lines of a node's log that are shown when it does not start.
const LINES: usize = 12;

/// Runs the bundled agent: `console agent …`.
pub fn agent(arguments: Vec<OsString>) -> ExitCode {
    let parent = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    // Nobody's but a node of a demo: what stands on the standard input of others is nothing to obey.
    if parent.is_some() && (!follow(parent) || agent::cut::obey(std::io::stdin()).is_err()) {
        return ExitCode::FAILURE;
    }
    let directory = parent.and_then(|_| std::env::var_os(DIRECTORY)).map(PathBuf::from);
    let held = directory.as_deref().and_then(hold);
    let code = agent::cli::main("console agent", arguments.into_iter().skip(1).collect());
    if let (Some(directory), Some(held)) = (directory, held)
        && parent != getppid()
        && is_last(&held)
    {
        // Nobody else is left to do it.
        forget(&directory);
    }
    code
}

/// Says that a node is at work in the directory, until this file is closed.
fn hold(directory: &Path) -> Option<fs::File> {
    let held = fs::File::open(directory).ok()?;
    held.lock_shared().ok()?;
    Some(held)
}

/// Lets go of the directory; whether no other node holds it. Of two who let go at once one is the last.
fn is_last(held: &fs::File) -> bool {
    held.unlock().is_ok() && held.try_lock().is_ok()
}

/// Removes all that a demo wrote. A script of a check may still be at work in it.
fn forget(directory: &Path) {
    for _ in 0..FORGETS {
        match fs::remove_dir_all(directory) {
            Err(_) if directory.exists() => std::thread::sleep(LOOK),
            _ => return,
        }
    }
}

/// Makes this process end with its parent; false when that is gone already.
fn follow(parent: Option<Pid>) -> bool {
    #[cfg(target_os = "linux")]
    let _ = rustix::process::set_parent_process_death_signal(Some(Signal::TERM));
    // It may have ended before it could be followed.
    parent == getppid()
}

/// Starts the demo, shows it, and ends it. Call it on the main thread: nodes end with the thread that starts them.
pub fn run(options: &Options) -> Result<ExitCode> {
    let refused = [("addr", !options.addresses.is_empty()), ("token", options.token.is_some())];
    if let Some((flag, _)) = refused.into_iter().find(|(_, is_given)| *is_given) {
        bail!("--{flag} is of no use with demo, which shows a cluster of its own; leave out one of the two");
    }
    crate::terminal::check()?;
    let mut demo = Demo::start(SERVERS, CLIENTS)?;
    let settings = Settings { address: String::new(), ..Settings::default() };
    // Servers alone know how they vote and what they have.
    let servers = demo.nodes.iter().take(usize::from(SERVERS));
    let addresses = servers.map(|node| node.place.http().to_string()).collect();
    let options = Options { addresses, token: None, ..options.clone() };
    let shown = runtime::run(options.launch(settings), Some(&mut demo));
    demo.end();
    shown?;
    say("console closed; the demo has ended, nothing of it is left\n");
    Ok(ExitCode::SUCCESS)
}

/// The nodes and their directory; dropping it ends all of it.
#[derive(Debug)]
struct Demo {
    directory: PathBuf,
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    name: String,
    place: Place,
    log: PathBuf,
    /// As it was started, to be started again.
    arguments: Vec<String>,
    process: Child,
    is_paused: bool,
    /// No traffic passes between it and the others.
    is_cut: bool,
}

impl Demo {
    fn start(servers: u8, clients: u8) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("quorate-demo-{}", getpid()));
        DirBuilder::new().mode(0o700).create(&directory).wrap_err_with(|| format!("create {}", directory.display()))?;
        let mut demo = Self { directory, nodes: Vec::new() };
        let places = Place::find(servers + clients)?;
        let (of_servers, of_clients) = places.split_at(usize::from(servers));
        for (number, place) in (1..).zip(of_servers) {
            demo.add(&format!("srv-{number}"), *place, of_servers, true)?;
        }
        for (number, place) in (1..).zip(of_clients) {
            demo.add(&format!("web-{number}"), *place, of_servers, false)?;
        }
        let until = clock::after(START);
        for node in &mut demo.nodes {
            while TcpStream::connect(node.place.http()).is_err() {
                if let Some(status) = node.process.try_wait().wrap_err("ask after a node")? {
                    bail!("{}: {}\n{}", node.name, told(status), last_lines(&node.log));
                }
                if clock::now() > until {
                    let (name, log) = (&node.name, last_lines(&node.log));
                    bail!("{name} does not listen on {} after {START:?}\n{log}", node.place.http());
                }
                std::thread::sleep(LOOK);
            }
        }
        Ok(demo)
    }

    fn add(&mut self, name: &str, place: Place, servers: &[Place], is_server: bool) -> Result<()> {
        let mut arguments = vec!["agent".to_owned(), format!("-node={name}")];
        arguments.push(format!("-data-dir={}", self.directory.join(name).display()));
        arguments.extend(place.flags());
        if is_server {
            arguments.extend(["-server".to_owned(), format!("-bootstrap-expect={}", servers.len())]);
        }
        // One that starts before the others must not wait for half a minute.
        arguments.push("-retry-interval=1s".to_owned());
        let others = servers.iter().filter(|other| **other != place);
        arguments.extend(others.map(|other| format!("-retry-join={}:{}", other.address, other.serf_lan)));
        if let Some(services) = services(name, &self.directory) {
            let file = self.directory.join(format!("{name}.json"));
            fs::write(&file, services).wrap_err_with(|| format!("write {}", file.display()))?;
            arguments.push(format!("-config-file={}", file.display()));
        }
        let log = self.directory.join(format!("{name}.log"));
        let process = spawn(name, &arguments, &log, &self.directory)?;
        let name = name.to_owned();
        self.nodes.push(Node { name, place, log, arguments, process, is_paused: false, is_cut: false });
        Ok(())
    }

    /// Kills the nodes it started and forgets what they wrote: nobody is left to whom an orderly end would be of use.
    fn end(&mut self) {
        for node in &mut self.nodes {
            // Of one that has ended this does nothing.
            let _ = node.process.kill();
        }
        for node in &mut self.nodes {
            let _ = node.process.wait();
        }
        self.nodes.clear();
        forget(&self.directory);
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        self.end();
    }
}

/// The services of a node, whose checks look at what is really there: some pass, one warns, one fails, one turns
/// with the clock, and one is never heard of and goes.
fn services(name: &str, directory: &Path) -> Option<String> {
    let at = directory.display().to_string();
    let of = |name: &str, port: u16, tags: &[&str], check: Value| {
        json!({
            "name": name, "port": port, "tags": tags, "check": check,
            "meta": {"of": "demo"},
        })
    };
    let script = |name: &str, script: String| {
        json!({
            "name": name, "args": ["/bin/sh", "-c", script],
            "interval": "5s", "timeout": "3s",
        })
    };
    let web = |version: &str| of("web", 8080, &[version], script("files", format!("cd '{at}' && echo $(ls)")));
    let services = match name {
        "srv-3" => {
            let report = json!({"name": "report", "ttl": "20s", "deregister_critical_service_after": "3m"});
            json!([of("batch", 8083, &["nightly"], report)])
        }
        "web-1" => {
            let count = format!("n=$(ls '{at}' | wc -l); echo $n files, more than 3; [ $n -le 3 ] || exit 1");
            json!([web("v1"), of("files", 8081, &["primary"], script("count", count))])
        }
        "web-2" => {
            // Whoever makes that file sees it pass.
            let process = format!("cd '{at}' && cat redis.pid || exit 2");
            let even =
                "s=$(date +%s); [ $((s / 45 % 2)) = 0 ] && echo $s is even enough && exit; echo $s is odd; exit 1";
            json!([
                web("v2"),
                of("redis", 6379, &["primary"], script("process", process)),
                of("clock", 8082, &[], script("even", even.to_owned())),
            ])
        }
        _ => return None,
    };
    let checks = json!({
        "services": services,
        "enable_script_checks": true,
        // What they say is on screen soon.
        "check_update_interval": "1s",
    });
    Some(checks.to_string())
}

/// Starts the bundled agent with these arguments, as a child that ends with this process.
fn spawn(name: &str, arguments: &[String], log: &Path, directory: &Path) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log);
    let file = file.wrap_err_with(|| format!("open {}", log.display()))?;
    let also = file.try_clone().wrap_err("open a log twice")?;
    Command::new(std::env::current_exe().wrap_err("find this program")?)
        .args(arguments)
        .env(PARENT, getpid().to_string())
        .env(DIRECTORY, directory)
        .stdin(Stdio::piped())
        .stdout(file)
        .stderr(also)
        // Signals of the terminal are for the console.
        .process_group(0)
        .spawn()
        .and_then(|child| {
            // An order must not wait for a node that hangs and reads none.
            if let Some(orders) = &child.stdin {
                fcntl_setfl(orders, fcntl_getfl(orders)? | OFlags::NONBLOCK)?;
            }
            Ok(child)
        })
        .wrap_err_with(|| format!("start {name}"))
}

impl Stage for Demo {
    fn trick(&mut self, node: &str, trick: Trick) -> std::result::Result<String, String> {
        let has_addresses =
            self.nodes.iter().zip(self.nodes.iter().skip(1)).all(|(a, b)| a.place.address != b.place.address);
        let Some(node) = self.nodes.iter_mut().find(|known| known.name == node) else {
            return Err("is no node of this demo".to_owned());
        };
        let runs = matches!(node.process.try_wait(), Ok(None));
        match trick {
            Trick::Kill if runs => {
                let _ = node.process.kill();
                // It is gone within a moment, and its number free for another only after this.
                let _ = node.process.wait();
                node.is_paused = false;
                Ok("was killed: B starts it again".to_owned())
            }
            Trick::Pause if runs => {
                node.is_paused = !node.is_paused;
                node.signal(if node.is_paused { Signal::STOP } else { Signal::CONT });
                Ok(if node.is_paused { "hangs: H lets it go on" } else { "goes on" }.to_owned())
            }
            Trick::Start if !runs => match spawn(&node.name, &node.arguments, &node.log, &self.directory) {
                Ok(process) => {
                    node.process = process;
                    let still = if node.is_cut { ", and is still cut off: C joins it again" } else { "" };
                    self.part()?;
                    Ok(format!("was started again{still}"))
                }
                Err(error) => Err(format!("does not start: {error:#}")),
            },
            Trick::Cut if !has_addresses => Err(NO_ADDRESSES.to_owned()),
            Trick::Cut => {
                node.is_cut = !node.is_cut;
                let done =
                    if node.is_cut { "is cut off from all others: C joins it again" } else { "is reached again" };
                self.part()?;
                Ok(done.to_owned())
            }
            Trick::Start if node.is_paused => Err("hangs: H lets it go on".to_owned()),
            Trick::Start => Err("runs already".to_owned()),
            Trick::Kill | Trick::Pause => Err("does not run: B starts it".to_owned()),
        }
    }

    fn fates(&self) -> Vec<String> {
        let told = |node: &Node| match (node.is_cut, node.is_paused) {
            (false, false) => None,
            (true, false) => Some(format!("{} is cut off (C)", node.name)),
            (false, true) => Some(format!("{} hangs (H)", node.name)),
            (true, true) => Some(format!("{} is cut off (C) and hangs (H)", node.name)),
        };
        self.nodes.iter().filter_map(told).collect()
    }
}

impl Demo {
    /// Tells every node that runs whose traffic it drops: of who is cut off everybody's, of the others theirs.
    fn part(&mut self) -> std::result::Result<(), String> {
        let cut: Vec<(Ipv4Addr, bool)> = self.nodes.iter().map(|node| (node.place.address, node.is_cut)).collect();
        for node in &mut self.nodes {
            let others = cut.iter().filter(|(address, _)| *address != node.place.address);
            let dropped = others.filter(|(_, is_cut)| node.is_cut || *is_cut).map(|(address, _)| address.to_string());
            let order = format!("{}\n", dropped.collect::<Vec<_>>().join(" "));
            if !matches!(node.process.try_wait(), Ok(None)) {
                continue;
            }
            let told = node.process.stdin.as_mut().map(|orders| orders.write_all(order.as_bytes()));
            if !matches!(told, Some(Ok(()))) {
                return Err(format!("cannot be parted: {} takes no order", node.name));
            }
        }
        Ok(())
    }
}

impl Node {
    fn signal(&self, signal: Signal) {
        // It was not waited for yet, so this number is still its own.
        if let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Where one node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    address: Ipv4Addr,
    server: u16,
    serf_lan: u16,
    http: u16,
    dns: u16,
}

impl Place {
    /// Addresses of the loopback net on which Consul's own ports are free; where there is only 127.0.0.1
    /// (not on Linux), other ports on that.
    fn find(count: u8) -> Result<Vec<Self>> {
        let mut dice = SmallRng::from_os_rng();
        for _ in 0..16 {
            let (second, third) = (dice.random_range(64..=254), dice.random_range(1..=254));
            let places: Vec<Self> =
                (1..=count).map(|last| Self::usual(Ipv4Addr::new(127, second, third, last))).collect();
            if places.iter().all(Self::is_free) {
                return Ok(places);
            }
        }
        (0..count).map(|_| Self::anywhere().ok_or_else(|| eyre!("no free ports on 127.0.0.1"))).collect()
    }

    fn usual(address: Ipv4Addr) -> Self {
        Self { address, server: 8300, serf_lan: 8301, http: 8500, dns: 8600 }
    }

    fn anywhere() -> Option<Self> {
        let address = Ipv4Addr::LOCALHOST;
        // All are held until all are known, so that none is given twice.
        let held: Vec<TcpListener> = (0..4).filter_map(|_| TcpListener::bind((address, 0)).ok()).collect();
        let ports: Vec<u16> = held.iter().filter_map(|one| Some(one.local_addr().ok()?.port())).collect();
        let [server, serf_lan, http, dns] = ports.try_into().ok()?;
        Some(Self { address, server, serf_lan, http, dns })
    }

    fn is_free(&self) -> bool {
        let tcp = |port: u16| TcpListener::bind((self.address, port)).is_ok();
        let udp = |port: u16| UdpSocket::bind((self.address, port)).is_ok();
        [self.server, self.serf_lan, self.http, self.dns].into_iter().all(tcp) && udp(self.serf_lan) && udp(self.dns)
    }

    fn http(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.address, self.http)
    }

    fn flags(&self) -> Vec<String> {
        let Self { address, server, serf_lan, http, dns } = self;
        vec![
            format!("-bind={address}"),
            format!("-client={address}"),
            format!("-server-port={server}"),
            format!("-serf-lan-port={serf_lan}"),
            "-serf-wan-port=-1".to_owned(),
            format!("-http-port={http}"),
            format!("-dns-port={dns}"),
        ]
    }
}

fn told(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

/// The end of a node's log, which tells why it did not start.
fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let first = lines.len().saturating_sub(LINES);
    lines[first..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_until_somebody_listens_there() {
        let place = Place::anywhere().expect("free ports");
        assert!(place.is_free());
        let taken = TcpListener::bind(place.http()).expect("its port");
        assert!(!place.is_free());
        drop(taken);
    }

    #[test]
    fn the_end_of_a_log_is_its_last_lines() {
        let path = std::env::temp_dir().join(format!("demo-log-{}", getpid()));
        let text: String = (1..=20).map(|n| format!("line {n}\n\n")).collect();
        fs::write(&path, text).expect("a file");
        let seen = last_lines(&path);
        fs::remove_file(&path).expect("the file");
        assert!(seen.starts_with("line 9\n") && seen.ends_with("line 20"), "{seen}");
    }
}
