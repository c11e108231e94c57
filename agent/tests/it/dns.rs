//! DNS over real sockets, on a state of our own; and beside a real Consul with the same catalog, where
//! `QUORATE_REAL_CONSUL` names its binary.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command as Process, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent::backend::{Backend, Options as BackendOptions, Others, Watches};
use agent::config;
use agent::dns::{self, Context, Handle, Sockets};
use agent::raft::{Options as RaftOptions, Raft};
use agent::store::command::{CheckFields, CheckStatus, Command, NodeFields, Registration, ServiceFields};
use agent::tasks::Tasks;
use hickory_proto::op::{Edns, Message, Query};
use hickory_proto::rr::{Name, RecordType};
use tokio::sync::mpsc;

const NODE: &str = "agent-one";
const ADDRESS: &str = "127.9.8.53";
const SERVER_PORT: u16 = 8300;

/// One registration, for either side.
#[derive(Clone, Default)]
struct Entry {
    node: &'static str,
    address: String,
    meta: &'static [(&'static str, &'static str)],
    service: &'static str,
    service_address: &'static str,
    tags: &'static [&'static str],
    port: u16,
    weights: Option<(u32, u32)>,
    status: Option<CheckStatus>,
}

fn catalog() -> Vec<Entry> {
    let entry = |node, address: &str, service, port| Entry {
        node,
        address: address.to_owned(),
        service,
        port,
        ..Entry::default()
    };
    let mut catalog = vec![
        Entry {
            tags: &["v1", "Prod"],
            meta: &[("k", "v"), ("rfc1035-x", "plain")],
            ..entry("web1", "10.0.0.1", "web", 801)
        },
        Entry { tags: &["v2", "prod"], ..entry("web2", "10.0.0.2", "web", 802) },
        Entry { status: Some(CheckStatus::Critical), ..entry("down", "10.0.0.3", "web", 803) },
        Entry { status: Some(CheckStatus::Critical), ..entry("crit", "10.1.0.4", "allcrit", 88) },
        Entry { status: Some(CheckStatus::Warning), weights: Some((5, 2)), ..entry("warn", "10.0.0.10", "warned", 80) },
        entry("six", "fd00::6", "six", 86),
        entry("host", "www.example.com", "hosted", 87),
        Entry { service_address: "10.2.0.2", meta: &[("k`=", "v`")], ..entry("saddr", "10.1.0.1", "svcaddr", 88) },
        Entry { service_address: "db.example.com", ..entry("sname", "10.1.0.2", "svcname", 88) },
        Entry { service_address: "web1.node.consul", ..entry("snode", "10.1.0.3", "svcnode", 88) },
        Entry { meta: &[("k", "v")], ..entry("alias", "web1.node.consul", "aliased", 88) },
        entry("alias2", "alias.node.consul", "aliased2", 88),
        entry("dotted.name", "10.1.0.5", "dotted", 88),
        entry("mapped", "::ffff:10.1.0.8", "mapped", 88),
        Entry { service_address: "itself.service.consul", ..entry("itself", "10.1.0.9", "itself", 88) },
        entry("chained", "chain.example.com", "chained", 88),
        entry("sp ace", "10.1.0.10", "sp svc", 88),
        entry("esc\\.aped", "10.1.0.11", "esc\\ svc", 88),
        entry("zeros", "10.1.0.012", "zeros", 88),
        Entry { service_address: "nx.example.com", ..entry("nxd", "10.1.0.6", "nxd", 88) },
        Entry { service_address: "fails.example.com", ..entry("failing", "10.1.0.7", "failing", 88) },
    ];
    let names: Vec<&'static str> = (1..=120).map(|n| &*format!("many{n}").leak()).collect();
    catalog.extend((1..).zip(names).map(|(n, node)| entry(node, &format!("10.3.0.{n}"), "many", 1000 + n)));
    catalog
}

/// Asked of both, one line each: name, kind, and `tcp`, `noedns`, a size or nothing. In a label `+` is a
/// blank and `|` a dot.
const QUESTIONS: &str = "
agent-one.node.consul A; agent-one.node.consul AAAA; agent-one.node.consul ANY; agent-one.node.consul TXT
agent-one.node.consul MX; agent-one.node.consul SRV; agent-one.node.consul SOA; agent-one.node.consul NS
agent-one.node.consul CNAME; Agent-One.NODE.consul A; agent-one.node.dc1.consul A; agent-one.node.dc2.consul A
agent-one.node.dc1.x.consul A; agent-one.node.consul A noedns; agent-one.node.consul A 4096; agent-one.node.consul A 100
agent-one.node.consul A tcp; nobody.node.consul A; nobody.node.consul MX; consul.service.consul A
consul.service.consul SRV; consul.service.consul SRV noedns; consul.service.consul ANY; consul.service.consul AAAA
consul.service.CONSUL SRV; nobody.service.consul A; consul SOA; CONSUL SOA; consul NS; consul ANY; consul A; consul MX
node.consul A; service.consul A; dc1.consul A; consul.service.dc1.consul A; consul.service.dc9.consul A; foo.consul A
foo.bar.consul NS; foo.bar.consul SOA; www.example.com A; . NS; ns.consul A; xconsul SOA
web.service.consul A; web.service.consul A tcp; web.service.consul SRV; web.service.consul TXT; web.service.consul MX
web.service.consul NS; v1.web.service.consul A; V1.Web.service.consul SRV; nope.web.service.consul A
prod.web.service.dc1.consul A; _web._tcp.service.consul A; _web._tcp.service.consul SRV; _web._v2.service.consul SRV
_web._v2.service.dc1.consul SRV; _web.service.consul SRV; _web._tcp.consul SRV; _web._tcp.consul A
_web._tcp.dc1.consul SRV; _web._tcp.service.dc9.consul SRV; _web._nope.service.consul SRV; _._.service.consul A
_web._.service.consul A; a._web._tcp.service.consul SRV; web1.node.consul A; web1.node.consul ANY; web1.node.consul TXT
warned.service.consul A; warned.service.consul SRV; six.service.consul A; six.service.consul AAAA
six.service.consul SRV; six.node.consul A; six.node.consul AAAA; six.node.consul ANY; hosted.service.consul A
hosted.service.consul SRV; host.node.consul A; host.node.consul AAAA; host.node.consul ANY; host.node.consul TXT
svcaddr.service.consul A; svcaddr.service.consul SRV; svcaddr.service.consul ANY; svcaddr.service.consul AAAA
svcname.service.consul A; svcname.service.consul SRV; svcname.service.consul ANY; svcnode.service.consul A
svcnode.service.consul SRV; svcnode.service.consul AAAA; aliased.service.consul A; aliased.service.consul SRV
aliased2.service.consul A; alias.node.consul A; alias.node.consul ANY; alias2.node.consul A; alias2.node.consul TXT
allcrit.service.consul A; dotted.name.node.consul A; dotted.service.consul SRV; 0a000001.addr.dc1.consul A
0a000001.addr.consul A; 0A000001.addr.dc1.consul ANY; 0a000001.addr.dc1.consul AAAA; 0a000001.addr.dc1.consul MX
0a000001.addr.dc9.consul A; mapped.service.consul A; mapped.service.consul AAAA; mapped.service.consul SRV
mapped.node.consul A; 8.0.1.10.in-addr.arpa PTR; 01.0.0.10.in-addr.arpa PTR; 1.0.0.10.in-addr.arpa SOA
ITSELF.service.consul A; itself.service.consul A; 0a00000.addr.dc1.consul A; 0a0000010.addr.dc1.consul A; zz000001.addr.dc1.consul A
fd000000000000000000000000000006.addr.dc1.consul AAAA; fd000000000000000000000000000006.addr.dc1.consul A
a.0a000001.addr.dc1.consul A; 1.0.0.10.in-addr.arpa PTR; 1.0.0.10.IN-ADDR.ARPA ANY; 99.0.0.10.in-addr.arpa PTR
53.8.9.127.in-addr.arpa PTR; 2.0.2.10.in-addr.arpa PTR; 0.10.in-addr.arpa PTR
6.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR
7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa PTR
sp+ace.node.consul A; sp+svc.service.consul SRV; esc|aped.node.consul A; esc+svc.service.consul SRV
sp+ace.node.con|sul A; 10.0.1.10.in-addr.arpa PTR; web1.node|consul A
zeros.node.consul A; zeros.service.consul SRV; 12.0.1.10.in-addr.arpa PTR; 11.0.1.10.in-addr.arpa PTR
foo.query.consul A; foo.connect.consul A; a.b.c.d.node.dc1.consul A; node.dc1.consul A; consul AXFR";

/// As above, of which only the numbers of records can be the same.
const COUNTED: &str = "
many.service.consul A; many.service.consul A noedns; many.service.consul A 512; many.service.consul A 4096
many.service.consul A tcp; many.service.consul SRV noedns; many.service.consul SRV tcp; many.service.consul SRV 512
many.service.consul ANY 1232; many.service.consul A 8192; many.service.consul SRV 8192";

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    name: String,
    kind: RecordType,
    edns: Option<u16>,
    tcp: bool,
}

pub(crate) fn questions(text: &str) -> Vec<Asked> {
    let lines = text.split([';', '\n']).map(str::trim).filter(|line| !line.is_empty());
    let asked = lines.map(|line| {
        let words: Vec<_> = line.split(' ').collect();
        let how = words.get(2).copied().unwrap_or("1232");
        Asked {
            name: words[0].to_owned(),
            kind: words[1].parse().expect("a kind of record"),
            edns: (how != "noedns").then(|| how.parse().unwrap_or(1232)),
            tcp: how == "tcp",
        }
    });
    asked.collect()
}

impl Asked {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        let labels: Vec<_> = self.name.split('.').map(|label| label.replace('+', " ").replace('|', ".")).collect();
        let labels = labels.iter().filter(|label| !label.is_empty()).map(|label| label.as_bytes());
        let mut name = Name::from_labels(labels).unwrap();
        name.set_fqdn(true);
        message.add_query(Query::query(name, self.kind));
        let mut bytes = message.to_vec().unwrap();
        if let Some(size) = self.edns {
            // By hand: hickory sends no size below 512.
            bytes[11] = 1;
            let [high, low] = size.to_be_bytes();
            bytes.extend([0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
        }
        bytes
    }

    /// The answer as bytes.
    pub(crate) fn of(&self, server: SocketAddr) -> Vec<u8> {
        let question = self.bytes();
        if self.tcp {
            let mut stream = TcpStream::connect(server).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            return over(&mut stream, &question);
        }
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket.send_to(&question, server).unwrap();
        let mut buffer = vec![0; 65_535];
        let (length, _) = socket.recv_from(&mut buffer).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        buffer.truncate(length);
        buffer
    }
}

pub(crate) fn over(stream: &mut TcpStream, question: &[u8]) -> Vec<u8> {
    let length = u16::try_from(question.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes()[..], question].concat()).unwrap();
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut answer).unwrap();
    answer
}

/// What can be the same of two answers: flags, EDNS, and the records in order of their text.
pub(crate) fn lines(bytes: &[u8]) -> Vec<String> {
    let message = Message::from_vec(bytes).unwrap();
    let metadata = &message.metadata;
    let mut lines = vec![format!(
        "{:?} aa={} tc={} rd={} ra={} ad={} edns={:?}",
        metadata.response_code,
        metadata.authoritative,
        metadata.truncation,
        metadata.recursion_desired,
        metadata.recursion_available,
        metadata.authentic_data,
        message.edns.as_ref().map(Edns::max_payload),
    )];
    let sections =
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)];
    for (section, records) in sections {
        let mut texts: Vec<_> =
            records.iter().map(|record| format!("{section} {}", without_serial(record.to_string()))).collect();
        texts.sort();
        lines.extend(texts);
    }
    lines
}

fn without_serial(text: String) -> String {
    let words: Vec<_> = text.split(' ').collect();
    match words[..] {
        [owner, ttl, class, "SOA", primary, mailbox, _, ref rest @ ..] => {
            format!("{owner} {ttl} {class} SOA {primary} {mailbox} SERIAL {}", rest.join(" "))
        }
        _ => text,
    }
}

pub(crate) struct Served {
    pub(crate) addr: SocketAddr,
    pub(crate) handle: Handle,
    pub(crate) tasks: Tasks,
}

/// A server's state in memory with the catalog in it, and DNS on it.
pub(crate) async fn serve(settings: config::Dns) -> Served {
    let tasks = Tasks::new();
    let watches = Watches::new();
    let options = RaftOptions {
        dir: None,
        node_id: uuid::Uuid::from_u128(1),
        node_name: NODE.to_owned(),
        address: format!("{ADDRESS}:{SERVER_PORT}"),
        multiplier: 1,
        bootstrap: true,
        snapshot_threshold: 16_384,
        snapshot_interval: Duration::from_secs(30),
        trailing_logs: 10_240,
    };
    let (notices, _) = mpsc::channel(16);
    let raft = Raft::open(options, &tasks, notices, watches.on_applied()).await.unwrap();
    let backend = Backend::server(raft, watches, Others::nobody(&tasks), BackendOptions::default());
    let own = Entry {
        node: NODE,
        address: ADDRESS.to_owned(),
        meta: &[("consul-network-segment", "")],
        service: "consul",
        port: SERVER_PORT,
        ..Entry::default()
    };
    for entry in std::iter::once(own).chain(catalog()) {
        backend.write(Command::Register(Box::new(entry.registration()))).await.unwrap();
    }
    let sockets = Sockets::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let addr = sockets.local_addr().unwrap();
    let recursors = dns::recursors(&settings.recursors).await.unwrap();
    let context = Context { backend, settings, recursors, datacenter: "dc1".to_owned() };
    let handle = dns::serve(sockets, context, &tasks);
    Served { addr, handle, tasks }
}

impl Entry {
    fn registration(&self) -> Registration {
        let meta: BTreeMap<_, _> =
            self.meta.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let check = self.status.map(|status| CheckFields {
            id: "c".to_owned(),
            name: "x".to_owned(),
            status,
            ..CheckFields::default()
        });
        Registration {
            node: NodeFields {
                name: self.node.to_owned(),
                address: self.address.clone(),
                datacenter: "dc1".to_owned(),
                meta,
                ..NodeFields::default()
            },
            service: Some(ServiceFields {
                id: self.service.to_owned(),
                name: self.service.to_owned(),
                tags: self.tags.iter().map(|tag| (*tag).to_owned()).collect(),
                address: self.service_address.to_owned(),
                port: self.port,
                weights: self.weights.unwrap_or((1, 1)),
                ..ServiceFields::default()
            }),
            checks: check.into_iter().collect(),
            ..Registration::default()
        }
    }

    /// The same, for `/v1/catalog/register`.
    fn json(&self) -> String {
        let meta: BTreeMap<_, _> = self.meta.iter().copied().collect();
        let mut service = serde_json::json!({
            "Service": self.service, "Address": self.service_address, "Tags": self.tags, "Port": self.port,
        });
        if let Some((passing, warning)) = self.weights {
            service["Weights"] = serde_json::json!({"Passing": passing, "Warning": warning});
        }
        let mut entry = serde_json::json!({
            "Node": self.node, "Address": self.address, "NodeMeta": meta, "Service": service,
        });
        if let Some(status) = self.status {
            entry["Check"] =
                serde_json::json!({"Node": self.node, "CheckID": "c", "Name": "x", "Status": status.as_str()});
        }
        entry.to_string()
    }
}

#[track_caller]
pub(crate) fn check(server: SocketAddr, question: &str, expected: &[&str]) {
    let asked = questions(question).remove(0);
    assert_eq!(lines(&asked.of(server)), expected, "{question}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_answered_over_udp_and_tcp() {
    let served = serve(config::Dns::default()).await;
    let server = served.addr;
    let head = "NoError aa=true tc=false rd=true ra=false ad=false edns=Some(1232)";
    for how in ["", " tcp"] {
        let node = format!("Agent-one.node.consul A{how}");
        let meta = "additional Agent-one.node.consul. 0 IN TXT consul-network-segment=";
        check(server, &node, &[head, "answer Agent-one.node.consul. 0 IN A 127.9.8.53", meta]);
        let alias = "answer svcnode.service.consul. 0 IN CNAME web1.node.consul.";
        let address = "answer web1.node.consul. 0 IN A 10.0.0.1";
        check(server, &format!("svcnode.service.consul A{how}"), &[head, alias, address]);
    }
    let refused = "Refused aa=false tc=false rd=true ra=false ad=false edns=None";
    check(server, "www.example.com A", &[refused]);
    let missing = "NXDomain aa=true tc=false rd=true ra=false ad=false edns=Some(1232)";
    let soa = "authority consul. 0 IN SOA ns.consul. hostmaster.consul. SERIAL 3600 600 86400 0";
    check(server, "agent-one.node.dc2.consul A", &[missing, soa]);
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn ttls_limits_and_domains_are_the_configured_ones() {
    let settings = config::Dns {
        domain: "quorate.".to_owned(),
        alt_domain: Some("consul.".to_owned()),
        node_ttl: Duration::from_secs(7),
        service_ttl: [("many".to_owned(), Duration::from_secs(9))].into(),
        enable_truncate: true,
        udp_answer_limit: 2,
        only_passing: true,
        enable_additional_node_meta_txt: false,
        ..config::Dns::default()
    };
    let served = serve(settings).await;
    let head = "NoError aa=true tc=false rd=true ra=false ad=false edns=Some(1232)";
    check(served.addr, "web1.node.quorate A", &[head, "answer web1.node.quorate. 7 IN A 10.0.0.1"]);
    check(
        served.addr,
        "dotted.service.consul SRV",
        &[
            head,
            "answer dotted.service.consul. 0 IN SRV 1 1 88 dotted.name.node.dc1.quorate.",
            "additional dotted.name.node.dc1.quorate. 0 IN A 10.1.0.5",
        ],
    );
    let cut = Message::from_vec(&questions("many.service.quorate A noedns").remove(0).of(served.addr)).unwrap();
    assert_eq!((cut.answers.len(), cut.metadata.truncation, cut.answers[0].ttl), (2, true, 9));
    let none = Message::from_vec(&questions("warned.service.quorate A").remove(0).of(served.addr)).unwrap();
    assert_eq!(none.answers.len(), 0);
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_many_questions_and_survives_rubbish_elsewhere() {
    let served = serve(config::Dns::default()).await;
    let asked = questions("web1.node.consul A").remove(0);
    let mut cut = TcpStream::connect(served.addr).unwrap();
    cut.write_all(&[0, 200, 1, 2, 3]).unwrap();
    drop(cut);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in 0..40 {
        socket.send_to(&vec![0xff; length], served.addr).unwrap();
    }
    let mut stream = TcpStream::connect(served.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    for _ in 0..20 {
        assert_eq!(Message::from_vec(&over(&mut stream, &asked.bytes())).unwrap().answers.len(), 1);
    }
    assert_eq!(Message::from_vec(&asked.of(served.addr)).unwrap().answers.len(), 1);
    let refused = served.handle.counters().refused();
    assert!(refused > 0, "rubbish was not counted");
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_the_limit_are_closed_at_once() {
    let served = serve(config::Dns::default()).await;
    let mut open: Vec<_> = (0..256).map(|_| TcpStream::connect(served.addr).unwrap()).collect();
    let asked = questions("web1.node.consul A").remove(0);
    // The last one is served once it is accepted, and so all are open.
    over(open.last_mut().unwrap(), &asked.bytes());
    let mut one_more = TcpStream::connect(served.addr).unwrap();
    one_more.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    assert!(matches!(one_more.read(&mut [0; 1]), Ok(0) | Err(_)), "it was not closed");
    assert_eq!(served.handle.counters().tcp_dropped(), 1);
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

/// A real Consul with the same catalog; ends with this value.
pub(crate) struct Reference {
    process: Child,
    pub(crate) dns: SocketAddr,
    /// The server's port is in the answers, so there is one at a time.
    _alone: MutexGuard<'static, ()>,
}

impl Drop for Reference {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Reference {
    pub(crate) fn start(program: &str, more: &[String]) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        // Ports that were free a moment ago; the address is this test's own.
        let port = || TcpListener::bind((ADDRESS, 0)).unwrap().local_addr().unwrap().port();
        let [dns, http, lan, wan] = [port(), port(), port(), port()];
        let flags = [
            format!("-node={NODE}"),
            format!("-bind={ADDRESS}"),
            format!("-client={ADDRESS}"),
            format!("-dns-port={dns}"),
            format!("-http-port={http}"),
            // It is in the answers.
            format!("-server-port={SERVER_PORT}"),
            format!("-serf-lan-port={lan}"),
            format!("-serf-wan-port={wan}"),
            "-grpc-port=-1".to_owned(),
        ];
        let mut process = Process::new(program)
            .args(["agent", "-dev"])
            .args(flags)
            .args(more)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let reference = Self { process, dns: format!("{ADDRESS}:{dns}").parse().unwrap(), _alone: alone };
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.contains("Synced node info")), "the real Consul did not start");
        // It must not block on a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let api = format!("{ADDRESS}:{http}").parse().unwrap();
        catalog().iter().for_each(|entry| register(api, &entry.json()));
        reference
    }
}

fn register(api: SocketAddr, body: &str) {
    let mut stream = TcpStream::connect(api).unwrap();
    write!(
        stream,
        "PUT /v1/catalog/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{body}: {answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_those_of_the_real_consul() {
    let Ok(program) = std::env::var("QUORATE_REAL_CONSUL") else {
        println!("did not run: QUORATE_REAL_CONSUL does not name a real Consul");
        return;
    };
    let served = serve(config::Dns::default()).await;
    let reference = Reference::start(&program, &[]);
    let mut differences = Vec::new();
    for asked in questions(QUESTIONS) {
        let (ours, theirs) = (lines(&asked.of(served.addr)), lines(&asked.of(reference.dns)));
        if ours != theirs {
            differences.push(format!("{asked:?}\n  ours   {ours:#?}\n  theirs {theirs:#?}"));
        }
    }
    for asked in questions(COUNTED) {
        let count = |bytes: &[u8]| {
            lines(bytes).iter().map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
        };
        let (ours, theirs) = (count(&asked.of(served.addr)), count(&asked.of(reference.dns)));
        if ours != theirs {
            differences.push(format!("{asked:?}: {} records, Consul {}", ours.len() - 1, theirs.len() - 1));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}
