//! The sockets: receive, parse, read, answer, send. `agent.rs` calls [`serve`] with what it bound.
//!
//! One task owns a UDP socket with the questions in flight on it, one a TCP listener with its
//! connections. hickory's own server is not used: it starts a task for each packet, out of reach of
//! our limits and of the shutdown.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use hickory_proto::rr::RecordType;

use metrics::Histogram;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use socket2::{Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::answer::{Ask, Rules, authoritative};
use super::name::{Domain, Question, Zone};
use super::record::{Record, fqdn};
use super::request::{HEADER_LENGTH, Refusal, Request};
use super::wire::{self, Code, Response, Transport};
use crate::backend::{self, Backend, Consistency, ReadOptions};
use crate::clock;
use crate::config;
use crate::store::query::{Answer, InstanceHealth, NodeHealth, NodeServices, Query};
use crate::tasks::Tasks;

/// The service whose instances are the domain's name servers.
const SERVERS: &str = "consul";
/// Questions that wait for a read, for each UDP socket; more are dropped, as a full socket would.
const UDP_IN_FLIGHT_MAX: usize = 1024;
/// A socket holds a buffer of 64 KiB, and beyond these the memory is better spent.
const UDP_SOCKETS_MAX: usize = 8;
const TCP_CONNECTIONS_MAX: usize = 256;
/// Consul's DNS library closes a connection after as many.
const TCP_QUESTIONS_MAX: usize = 128;
const TCP_IDLE: Duration = Duration::from_secs(8);
const TCP_WRITE: Duration = Duration::from_secs(2);
/// After an error of accept, such as no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Consul: a name that stands for a name that stands for a name.
const ALIAS_DEPTH_MAX: u8 = 3;
/// Names that stand for addresses, looked up for one answer.
const ALIASES_MAX: usize = 16;

/// What questions are answered from.
pub struct Context {
    pub backend: Backend,
    pub settings: config::Dns,
    pub datacenter: String,
}

/// Bound already, all of them to one address.
pub struct Sockets {
    pub udp: Vec<UdpSocket>,
    pub tcp: Vec<TcpListener>,
}

impl Sockets {
    /// One TCP listener and a UDP socket for each core; port 0 takes one that is free for both.
    /// The listener comes first and shares with nobody: it keeps a second agent off the sockets that
    /// share their port.
    /// The error says which network's port is taken.
    pub async fn bind(addr: SocketAddr) -> Result<Self, (&'static str, io::Error)> {
        let tcp = TcpListener::bind(addr).await.map_err(|error| ("tcp", error))?;
        let addr = tcp.local_addr().map_err(|error| ("tcp", error))?;
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let udp = (0..cores.min(UDP_SOCKETS_MAX)).map(|_| udp_socket(addr)).collect::<io::Result<_>>();
        let udp = udp.map_err(|error| ("udp", error))?;
        Ok(Self { udp, tcp: vec![tcp] })
    }

    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match (&self.tcp[..], &self.udp[..]) {
            ([tcp, ..], _) => tcp.local_addr(),
            (_, [udp, ..]) => udp.local_addr(),
            _ => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

fn udp_socket(addr: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(socket2::Domain::for_address(addr), Type::DGRAM, None)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    UdpSocket::from_std(socket.into())
}

/// Since the start; the metrics `quorate.dns.…` count the same.
#[derive(Debug, Default)]
pub struct Counters {
    questions: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    udp_dropped: AtomicU64,
    tcp_dropped: AtomicU64,
}

impl Counters {
    pub fn questions(&self) -> u64 {
        self.questions.load(Ordering::Relaxed)
    }

    /// Packets that were no question.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Answers SERVFAIL.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Questions dropped because too many were waiting.
    pub fn udp_dropped(&self) -> u64 {
        self.udp_dropped.load(Ordering::Relaxed)
    }

    /// Connections closed at once because too many were open.
    pub fn tcp_dropped(&self) -> u64 {
        self.tcp_dropped.load(Ordering::Relaxed)
    }

    fn count(&self, counter: &AtomicU64, metric: &'static str) {
        counter.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(metric).increment(1);
    }
}

/// A running DNS interface.
#[derive(Clone)]
pub struct Handle {
    server: Arc<Server>,
}

impl Handle {
    pub fn counters(&self) -> &Counters {
        &self.server.counters
    }
}

/// Starts answering; ends with `tasks`.
pub fn serve(sockets: Sockets, context: Context, tasks: &Tasks) -> Handle {
    let server = Arc::new(Server::new(context));
    log_start(sockets.udp.first().map(UdpSocket::local_addr), "udp");
    for socket in sockets.udp {
        tasks.spawn("dns udp", udp(Arc::clone(&server), socket, tasks.token()));
    }
    log_start(sockets.tcp.first().map(TcpListener::local_addr), "tcp");
    for listener in sockets.tcp {
        tasks.spawn("dns tcp", tcp(Arc::clone(&server), listener, tasks.token()));
    }
    Handle { server }
}

fn log_start(addr: Option<io::Result<SocketAddr>>, network: &str) {
    if let Some(Ok(address)) = addr {
        tracing::info!(target: "agent", %address, network, "Started DNS server");
    }
}

async fn udp(server: Arc<Server>, socket: UdpSocket, token: CancellationToken) {
    // Questions are small, but nothing forbids a client to send a large one.
    let mut buffer = vec![0; wire::TCP_SIZE_MAX];
    let mut waiting = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            Some(()) = waiting.next() => {}
            received = socket.recv_from(&mut buffer) => {
                // An error is that of an earlier answer (port unreachable): no reason to stop.
                let Ok((length, client)) = received else { continue };
                let request = match server.accept(&buffer[..length]) {
                    Ok(request) => request,
                    Err(refusal) => {
                        // A client that went away is nobody's loss, here and below.
                        let _ = refusal.map(|bytes| socket.try_send_to(&bytes, client));
                        continue;
                    }
                };
                let (server, socket) = (&server, &socket);
                let mut reply = Box::pin(async move {
                    let bytes = server.reply(&request, client, Transport::Udp).await;
                    let _ = socket.send_to(&bytes, client).await;
                });
                // Most answers are here at once: a server reads its own state.
                let is_done = poll_fn(|cx| Poll::Ready(reply.as_mut().poll(cx).is_ready())).await;
                if !is_done && waiting.len() < UDP_IN_FLIGHT_MAX {
                    waiting.push(reply);
                } else if !is_done {
                    server.counters.count(&server.counters.udp_dropped, "quorate.dns.udp_dropped");
                }
            }
        }
    }
}

async fn tcp(server: Arc<Server>, listener: TcpListener, token: CancellationToken) {
    let mut open = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = token.cancelled() => return,
            Some(()) = open.next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) if open.len() < TCP_CONNECTIONS_MAX => {
                    let server = &server;
                    // What ends a connection early (silence, a cut frame) concerns its client alone.
                    open.push(async move { let _ = connection(server, stream, client).await; });
                }
                Ok(_) => {
                    server.counters.count(&server.counters.tcp_dropped, "quorate.dns.tcp_dropped");
                }
                Err(error) => {
                    tracing::warn!(target: "agent.dns", %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn connection(server: &Server, mut stream: TcpStream, client: SocketAddr) -> io::Result<()> {
    let mut packet = Vec::new();
    for _ in 0..TCP_QUESTIONS_MAX {
        let length = timeout(TCP_IDLE, stream.read_u16()).await??;
        packet.resize(usize::from(length), 0);
        timeout(TCP_IDLE, stream.read_exact(&mut packet)).await??;
        let answer = match server.accept(&packet) {
            Ok(request) => server.reply(&request, client, Transport::Tcp).await,
            Err(Some(refusal)) => refusal.to_vec(),
            Err(None) => return Ok(()),
        };
        // A length that does not fit cannot happen: the encoder was told the limit.
        let length = u16::try_from(answer.len()).map_err(io::Error::other)?;
        let framed = [&length.to_be_bytes()[..], &answer].concat();
        timeout(TCP_WRITE, stream.write_all(&framed)).await??;
    }
    Ok(())
}

struct Server {
    backend: Backend,
    zone: Zone,
    rules: Rules,
    datacenter: String,
    allow_stale: bool,
    max_stale: Duration,
    counters: Counters,
    seed: u64,
    /// Consul's names of the times of answers.
    domain_query: Histogram,
    ptr_query: Histogram,
}

impl Server {
    fn new(context: Context) -> Self {
        let Context { backend, settings, datacenter } = context;
        Self {
            backend,
            zone: Zone::new(&settings.domain, settings.alt_domain.as_deref(), &datacenter),
            rules: rules(&settings),
            datacenter,
            allow_stale: settings.allow_stale,
            max_stale: settings.max_stale,
            counters: Counters::default(),
            seed: SmallRng::from_os_rng().next_u64(),
            domain_query: metrics::histogram!("consul.dns.domain_query"),
            ptr_query: metrics::histogram!("consul.dns.ptr_query"),
        }
    }

    /// Fairness needs no secret: a small generator for each question, so that none waits for another.
    fn dice(&self) -> SmallRng {
        SmallRng::seed_from_u64(self.seed.wrapping_add(self.counters.questions()))
    }

    /// A question, or the bytes to send back instead, if any.
    fn accept(&self, packet: &[u8]) -> Result<Request, Option<[u8; HEADER_LENGTH]>> {
        Request::parse(packet).map_err(|refusal| {
            self.counters.count(&self.counters.refused, "quorate.dns.refused");
            match refusal {
                Refusal::Ignore => None,
                Refusal::Reply(header) => Some(header),
            }
        })
    }

    async fn reply(&self, request: &Request, client: SocketAddr, transport: Transport) -> Vec<u8> {
        let start = clock::now();
        self.counters.questions.fetch_add(1, Ordering::Relaxed);
        let response = self.respond(request, transport, ALIAS_DEPTH_MAX).await;
        if response.code == Code::ServerFailure {
            self.counters.count(&self.counters.failed, "quorate.dns.failed");
        }
        let limit = wire::size_limit(request, transport);
        let bytes = wire::encode(request, &response, limit, self.rules.compress);
        let latency = clock::now().since(start);
        let times = if request.kind == RecordType::PTR { &self.ptr_query } else { &self.domain_query };
        times.record(latency.as_secs_f64() * 1000.0);
        tracing::debug!(
            target: "agent.dns",
            name = %request.name, r#type = %request.kind, class = %request.class,
            ?latency, %client,
            client_network = match transport { Transport::Udp => "udp", Transport::Tcp => "tcp" },
            "request served from client"
        );
        bytes
    }

    fn respond<'a>(&'a self, request: &'a Request, transport: Transport, depth: u8) -> BoxFuture<'a, Response> {
        Box::pin(async move {
            let (question, domain) = self.zone.parse(&request.name, request.kind);
            self.resolve(request, transport, depth, question, domain).await.unwrap_or_else(|error| {
                tracing::error!(target: "agent.dns", %error, "rpc error");
                authoritative(Code::ServerFailure)
            })
        })
    }

    async fn resolve(
        &self,
        request: &Request,
        transport: Transport,
        depth: u8,
        question: Question,
        domain: Domain,
    ) -> Result<Response, Error> {
        let domain = self.zone.text(domain);
        let datacenter = match &question {
            Question::Service { datacenter, .. } | Question::Node { datacenter, .. } => datacenter.clone(),
            _ => self.datacenter.clone(),
        };
        let nothing = BTreeMap::new();
        let ask = Ask {
            request,
            transport,
            rules: &self.rules,
            domain: &domain,
            datacenter: &datacenter,
            now: u32::try_from(clock::wall().micros() / 1_000_000).unwrap_or(u32::MAX),
            resolved: &nothing,
        };
        if datacenter != self.datacenter {
            // Consul asks the other datacenter's servers; without a path to it there is no such name.
            return Ok(ask.no_such_name());
        }
        Ok(match question {
            Question::Service { service, .. } if service.is_empty() => return Err(Error::NoServiceName),
            Question::Service { service, tag, .. } => {
                let instances = self.instances(&service, tag).await?;
                let resolved = self.aliases(Ask::names(std::iter::empty(), &instances), depth).await;
                Ask { resolved: &resolved, ..ask }.service(&service, &instances, &mut self.dice())
            }
            Question::Node { .. } if !Ask::answers_node(request.kind) => authoritative(Code::NoError),
            Question::Node { node, .. } => {
                let found = self.node(node).await?;
                let names = Ask::names(found.iter().map(|found| &*found.node), &[]);
                let resolved = self.aliases(names, depth).await;
                Ask { resolved: &resolved, ..ask }.node(found.as_ref())
            }
            // Consul answers for the domain without its servers when it cannot ask who they are.
            Question::Authority => ask.authority(&self.servers().await, &mut self.dice()),
            Question::NameServers => ask.name_servers(&self.servers().await, &mut self.dice()),
            Question::Address(ip) => ask.address(ip),
            Question::Reverse(ip) => self.reverse(&ask, ip).await,
            Question::Invalid => {
                tracing::warn!(target: "agent.dns", qname = %request.name, "QName invalid");
                ask.no_such_name()
            }
            Question::Transfer => authoritative(Code::NotImplemented),
            Question::Outside => Response { code: Code::Refused, ..Response::default() },
        })
    }

    async fn reverse(&self, ask: &Ask<'_>, ip: Option<IpAddr>) -> Response {
        // Consul hands a reverse name that it does not know to the recursors, and fails without any.
        let unknown =
            Response { code: Code::ServerFailure, recursion_available: true, with_edns: true, ..Response::default() };
        let Some(ip) = ip else { return unknown };
        let nodes = self.nodes().await.unwrap_or_default();
        ask.pointer(ip, &nodes).unwrap_or(unknown)
    }

    /// What names of our own zone stand for; other names are for the client to resolve.
    async fn aliases(&self, names: impl Iterator<Item = &str>, depth: u8) -> BTreeMap<String, Vec<Record>> {
        let mut resolved = BTreeMap::new();
        let Some(depth) = depth.checked_sub(1) else { return resolved };
        for text in names.filter(|name| self.zone.holds(name)) {
            let key = text.to_ascii_lowercase();
            if resolved.len() == ALIASES_MAX || resolved.contains_key(&key) {
                continue;
            }
            let Some(name) = fqdn(text) else { continue };
            let request = Request::inner(name, RecordType::ANY);
            let response = self.respond(&request, Transport::Udp, depth).await;
            resolved.insert(key, response.answers);
        }
        resolved
    }

    async fn servers(&self) -> Vec<InstanceHealth> {
        self.instances(SERVERS, None).await.unwrap_or_else(|error| {
            tracing::warn!(target: "agent.dns", %error, "Unable to get list of servers");
            Vec::new()
        })
    }

    async fn instances(&self, service: &str, tag: Option<String>) -> Result<Vec<InstanceHealth>, Error> {
        let query = Query::ServiceHealth { service: service.to_owned(), tag, passing_only: false };
        match self.read(query).await? {
            Answer::Health(instances) => Ok(instances),
            _ => Err(Error::OtherAnswer),
        }
    }

    async fn node(&self, node: String) -> Result<Option<NodeServices>, Error> {
        match self.read(Query::Node { node }).await? {
            Answer::Node(node) => Ok(node),
            _ => Err(Error::OtherAnswer),
        }
    }

    async fn nodes(&self) -> Result<Vec<NodeHealth>, Error> {
        match self.read(Query::NodeHealth { node: None }).await? {
            Answer::NodeHealth(nodes) => Ok(nodes),
            _ => Err(Error::OtherAnswer),
        }
    }

    async fn read(&self, query: Query) -> Result<Answer, Error> {
        if self.allow_stale {
            let stale = ReadOptions { consistency: Consistency::Stale, ..ReadOptions::default() };
            let reply = self.backend.read(query.clone(), stale).await?;
            if Duration::from_millis(reply.last_contact_ms) <= self.max_stale {
                return Ok(reply.answer);
            }
            // Consul: too old for `max_stale`, so the leader is asked after all.
        }
        Ok(self.backend.read(query, ReadOptions::default()).await?.answer)
    }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Backend(#[from] backend::Error),
    #[error("Must provide service name")]
    NoServiceName,
    #[error("the backend answered another question")]
    OtherAnswer,
}

fn rules(settings: &config::Dns) -> Rules {
    let seconds = |ttl: Duration| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX);
    Rules {
        node_ttl: seconds(settings.node_ttl),
        service_ttl: settings
            .service_ttl
            .iter()
            .map(|(name, ttl)| (name.to_ascii_lowercase(), seconds(*ttl)))
            .collect(),
        only_passing: settings.only_passing,
        udp_answer_limit: settings.udp_answer_limit,
        a_record_limit: settings.a_record_limit,
        enable_truncate: settings.enable_truncate,
        compress: !settings.disable_compression,
        node_meta_txt: settings.enable_additional_node_meta_txt,
        soa_refresh: settings.soa.refresh,
        soa_retry: settings.soa.retry,
        soa_expire: settings.soa.expire,
        soa_min_ttl: settings.soa.min_ttl,
    }
}
