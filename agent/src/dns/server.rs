//! The sockets: receive, parse, read, answer, send. `agent.rs` calls [`serve`] with what it bound.
//!
//! One task owns a UDP socket with the questions in flight on it, one a TCP listener with its
//! connections (in [`super::tcp`]). hickory's own server is not used: it starts a task for each packet, out of reach of
//! our limits and of the shutdown.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::FuturesUnordered;
use hickory_proto::rr::RecordType;

use metrics::Histogram;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};
use socket2::{Socket, Type};
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

use super::answer::{Ask, Rules, authoritative, node_alias};
use super::counters::Counters;
use super::domain::Name;
use super::known::{Known, Memo};
use super::name::{Question, Zone};
use super::record::Record;
use super::recursor::{InFlight, Recursion, Recursors};
use super::request::{HEADER_LENGTH, Refusal, Request};
use super::tcp::tcp;
use super::upstream;
use super::wire::{self, Code, Response, Transport};
use crate::backend::{self, Backend, Consistency, ReadOptions, Reply};
use crate::clock;
use crate::config;
use crate::moment::Moment;
use crate::store::query::{Answer, NodeServices, Query};
use crate::tasks::Tasks;

/// The service whose instances are the domain's name servers.
const SERVERS: &str = "consul";
/// Questions that wait for a read, for each UDP socket; more are dropped, as a full socket would.
const UDP_IN_FLIGHT_MAX: usize = 1024;
/// A socket holds a buffer of 64 KiB, and beyond these the memory is better spent.
const UDP_SOCKETS_MAX: usize = 8;
/// Consul: a name that stands for a name that stands for a name.
const ALIAS_DEPTH_MAX: u8 = 3;
/// Names that stand for addresses, looked up for one answer.
const ALIASES_MAX: usize = 16;

/// What questions are answered from.
pub struct Context {
    pub backend: Backend,
    pub settings: config::Dns,
    /// Where `settings.recursors` are.
    pub recursors: Vec<SocketAddr>,
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

/// A running DNS interface.
#[derive(Clone)]
pub struct Handle {
    server: Arc<Server>,
}

impl Handle {
    pub fn counters(&self) -> &Counters {
        &self.server.counters
    }

    /// Answers from now on by these; the domains stay.
    pub fn reload(&self, settings: &config::Dns, recursors: Vec<SocketAddr>) {
        let live = Live::new(settings, recursors);
        let was = self.server.live.swap(Arc::new(live.clone()));
        match (was.recursors.addrs.is_empty(), live.recursors.addrs.is_empty()) {
            (_, false) => tracing::debug!(target: "agent.dns", "recursor enabled"),
            (false, true) => tracing::debug!(target: "agent.dns", "recursor disabled"),
            (true, true) => {}
        }
    }
}

/// Starts answering; ends with `tasks`.
pub fn serve(sockets: Sockets, context: Context, tasks: &Tasks) -> Handle {
    let server = Arc::new(Server::new(context));
    if !server.live.load().recursors.addrs.is_empty() {
        tracing::debug!(target: "agent.dns", "recursor enabled");
    }
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

pub(super) struct Server {
    backend: Backend,
    zone: Zone,
    live: ArcSwap<Live>,
    datacenter: String,
    in_flight: InFlight,
    memo: Memo,
    pub(super) counters: Counters,
    seed: u64,
    /// Consul's names of the times of answers.
    domain_query: Histogram,
    ptr_query: Histogram,
}

/// What may change while an agent runs; one question is answered by one of these.
#[derive(Clone)]
struct Live {
    rules: Rules,
    allow_stale: bool,
    max_stale: Duration,
    recursors: Recursors,
}

impl Live {
    fn new(settings: &config::Dns, addrs: Vec<SocketAddr>) -> Self {
        Self {
            rules: rules(settings),
            allow_stale: settings.allow_stale,
            max_stale: settings.max_stale,
            recursors: Recursors { addrs, timeout: settings.recursor_timeout },
        }
    }

    /// Whether an answer of a server that has not heard of a leader for so long is good enough.
    fn may_use(&self, last_contact_ms: u64) -> bool {
        Duration::from_millis(last_contact_ms) <= self.max_stale
    }
}

impl Server {
    fn new(context: Context) -> Self {
        let Context { backend, settings, recursors, datacenter } = context;
        Self {
            backend,
            zone: Zone::new(&settings.domain, settings.alt_domain.as_deref(), &datacenter),
            live: ArcSwap::from_pointee(Live::new(&settings, recursors)),
            datacenter,
            in_flight: InFlight::default(),
            memo: Memo::default(),
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
    pub(super) fn accept(&self, packet: &[u8]) -> Result<Request, Option<[u8; HEADER_LENGTH]>> {
        Request::parse(packet).map_err(|refusal| {
            self.counters.count(&self.counters.refused, "quorate.dns.refused");
            match refusal {
                Refusal::Ignore => None,
                Refusal::Reply(header) => Some(header),
            }
        })
    }

    pub(super) async fn reply(&self, request: &Request, client: SocketAddr, transport: Transport) -> Vec<u8> {
        let start = clock::now();
        self.counters.questions.fetch_add(1, Ordering::Relaxed);
        let live = self.live.load_full();
        let ours = match request.kind {
            // What a zone is signed by is its parent's to say.
            RecordType::DS if !live.recursors.addrs.is_empty() => None,
            _ => self.respond(&live, request, transport, ALIAS_DEPTH_MAX).await,
        };
        let is_ours = ours.is_some();
        let (response, limit) = match ours {
            Some(response) => (response, wire::size_limit(request, transport)),
            None => match self.elsewhere(&live, request, client, transport).await {
                Ok(packet) => {
                    log_recursed(request, start, client, transport);
                    return packet;
                }
                Err(response) => (response, wire::size_limit(request, transport)),
            },
        };
        if response.code == Code::ServerFailure {
            self.counters.count(&self.counters.failed, "quorate.dns.failed");
        }
        let response = Response {
            recursion_available: response.recursion_available || is_ours && !live.recursors.addrs.is_empty(),
            ..response
        };
        let bytes = wire::encode(request, &response, limit, live.rules.compress);
        let latency = clock::now().since(start);
        let times = if request.kind == RecordType::PTR { &self.ptr_query } else { &self.domain_query };
        times.record(latency.as_secs_f64() * 1000.0);
        match (is_ours, response.code) {
            // Consul has nobody for such names, and so nobody who says it.
            (false, Code::Refused) => {}
            (false, _) => log_recursed(request, start, client, transport),
            (true, _) => tracing::debug!(
                target: "agent.dns",
                name = %request.name, r#type = %request.kind, class = %request.class,
                ?latency, %client,
                client_network = network(transport),
                "request served from client"
            ),
        }
        bytes
    }

    /// Names that are not ours: a recursor's packet, or why there is none.
    async fn elsewhere(
        &self,
        live: &Live,
        request: &Request,
        client: SocketAddr,
        transport: Transport,
    ) -> Result<Vec<u8>, Response> {
        let is_reverse = request.name.labels().last().is_some_and(|label| label.eq_ignore_ascii_case(b"arpa"));
        let refused = Response { code: Code::Refused, ..Response::default() };
        if live.recursors.addrs.is_empty() && !is_reverse {
            return Err(refused);
        }
        if self.in_flight.is_own(client) {
            self.counters.count(&self.counters.recursor_loops, "quorate.dns.recursor_loops");
            tracing::warn!(target: "agent.dns", name = %request.name, "a recursor leads back to this agent: take it out of recursors");
            return Err(refused);
        }
        let recursion = self.recursion(live);
        if !live.recursors.addrs.is_empty()
            && let Some(packet) = recursion.forward(request, transport).await
        {
            let limit = wire::size_limit(request, transport);
            return Ok(upstream::hand_over(request, packet, limit, live.rules.compress));
        }
        tracing::error!(
            target: "agent.dns",
            question = question_text(request), %client, client_network = network(transport),
            "all resolvers failed for question from client"
        );
        // Consul: a reverse name that nobody knows fails, recursors or not.
        Err(Response { code: Code::ServerFailure, recursion_available: true, with_edns: true, ..Response::default() })
    }

    fn recursion<'a>(&'a self, live: &'a Live) -> Recursion<'a> {
        Recursion { recursors: &live.recursors, in_flight: &self.in_flight, counters: &self.counters }
    }

    /// None when the name is not ours to answer for.
    fn respond<'a>(
        &'a self,
        live: &'a Live,
        request: &'a Request,
        transport: Transport,
        depth: u8,
    ) -> BoxFuture<'a, Option<Response>> {
        Box::pin(async move {
            let question = self.zone.parse(&request.name, request.kind);
            self.resolve(live, request, transport, depth, question).await.unwrap_or_else(|error| {
                tracing::error!(target: "agent.dns", %error, "rpc error");
                Some(authoritative(Code::ServerFailure))
            })
        })
    }

    async fn resolve(
        &self,
        live: &Live,
        request: &Request,
        transport: Transport,
        depth: u8,
        question: Question,
    ) -> Result<Option<Response>, Error> {
        let datacenter = match &question {
            Question::Service { datacenter, .. }
            | Question::Node { datacenter, .. }
            | Question::Nobody { datacenter } => datacenter.clone(),
            _ => self.datacenter.clone(),
        };
        let nothing = BTreeMap::new();
        let ask = Ask {
            request,
            transport,
            rules: &live.rules,
            domain: self.zone.domain(),
            datacenter: &datacenter,
            now: u32::try_from(clock::wall().micros() / 1_000_000).unwrap_or(u32::MAX),
            resolved: &nothing,
        };
        if datacenter != self.datacenter {
            if !self.backend.knows_servers() {
                return Err(backend::Error::NoServers.into());
            }
            // Consul asks the other datacenter's servers; without a path to it there is no such name.
            tracing::error!(target: "agent.dns", error = "No path to datacenter", "rpc error");
            return Ok(Some(ask.no_such_name()));
        }
        Ok(Some(match question {
            Question::Service { service, .. } if service.is_empty() => return Err(Error::NoServiceName),
            Question::Service { service, tag, .. } => {
                let known = self.service(live, &service, tag).await?;
                let resolved = self.aliases(live, known.aliases.iter().map(String::as_str), depth).await;
                Ask { resolved: &resolved, ..ask }.service(&service, &known.instances, &mut self.dice())
            }
            Question::Node { .. } if !Ask::answers_node(request.kind) => authoritative(Code::NoError),
            Question::Node { node, .. } => {
                let found = self.node(live, Query::Node { node }).await?;
                // Metadata alone needs no address.
                let nodes = found.iter().filter(|_| request.kind != RecordType::TXT);
                let resolved = self.aliases(live, nodes.filter_map(|found| node_alias(&found.node)), depth).await;
                Ask { resolved: &resolved, ..ask }.node(found.as_ref())
            }
            // Consul answers for the domain without its servers when it cannot ask who they are.
            Question::Authority => ask.authority(&self.servers(live).await.instances, &mut self.dice()),
            Question::NameServers => ask.name_servers(&self.servers(live).await.instances, &mut self.dice()),
            Question::Nobody { .. } => {
                // Consul looks, and fails where it cannot.
                self.read(live, Query::Node { node: String::new() }).await?;
                ask.no_such_name()
            }
            Question::Address(ip) => ask.address(&self.zone.before(&request.name), ip),
            Question::Reverse(ip) => return Ok(self.reverse(live, &ask, ip).await),
            Question::Invalid => {
                tracing::warn!(target: "agent.dns", qname = self.zone.before(&request.name), "QName invalid");
                ask.no_such_name()
            }
            Question::Transfer => authoritative(Code::NotImplemented),
            Question::Outside => return Ok(None),
        }))
    }

    async fn reverse(&self, live: &Live, ask: &Ask<'_>, ip: Option<IpAddr>) -> Option<Response> {
        // Consul: who cannot ask knows nobody.
        let found = self.node(live, Query::AtAddress { address: ip? }).await.ok()?;
        ask.pointer(found.as_ref())
    }

    /// What names that stand for addresses stand for: ours from the catalog, others by the recursors.
    async fn aliases(
        &self,
        live: &Live,
        names: impl Iterator<Item = &str>,
        depth: u8,
    ) -> BTreeMap<String, Vec<Record>> {
        let mut wanted = BTreeMap::new();
        for text in names {
            let is_ours = self.zone.holds(text);
            let can_be = if is_ours { depth > 0 } else { !live.recursors.addrs.is_empty() };
            if can_be && wanted.len() < ALIASES_MAX {
                wanted.entry(text.to_ascii_lowercase()).or_insert((text, is_ours));
            }
        }
        if wanted.is_empty() {
            return BTreeMap::new();
        }
        let looked_up = wanted.into_iter().map(move |(key, (text, is_ours))| async move {
            let records = match is_ours {
                true => self.alias(live, text, depth.saturating_sub(1)).await,
                false => self.recursion(live).alias(text).await,
            };
            (key, records)
        });
        join_all(looked_up).await.into_iter().collect()
    }

    async fn alias(&self, live: &Live, text: &str, depth: u8) -> Vec<Record> {
        let Some(name) = Name::of(&[text]) else { return Vec::new() };
        let request = Request::inner(name, RecordType::ANY);
        self.respond(live, &request, Transport::Udp, depth).await.map_or(Vec::new(), |response| response.answers)
    }

    async fn servers(&self, live: &Live) -> Arc<Known> {
        self.service(live, SERVERS, None).await.unwrap_or_else(|error| {
            tracing::warn!(target: "agent.dns", %error, "Unable to get list of servers");
            Arc::default()
        })
    }

    async fn service(&self, live: &Live, service: &str, tag: Option<String>) -> Result<Arc<Known>, Error> {
        let query = Query::ServiceHealth { service: service.to_owned(), tag, passing_only: false };
        if live.allow_stale
            && let Some((index, known)) = self.memo.get(&query)
            && self.backend.still(&query, index).is_some_and(|last_contact_ms| live.may_use(last_contact_ms))
        {
            return Ok(known);
        }
        let Reply { index, answer: Answer::Health(instances), .. } = self.read(live, query.clone()).await? else {
            return Err(Error::OtherAnswer);
        };
        let known = Arc::new(Known::of(instances));
        if self.backend.still(&query, index).is_some() {
            self.memo.put(query, index, &known);
        }
        Ok(known)
    }

    async fn node(&self, live: &Live, query: Query) -> Result<Option<NodeServices>, Error> {
        match self.read(live, query).await?.answer {
            Answer::Node(node) => Ok(node),
            _ => Err(Error::OtherAnswer),
        }
    }

    async fn read(&self, live: &Live, query: Query) -> Result<Reply, Error> {
        if live.allow_stale {
            let stale = ReadOptions { consistency: Consistency::Stale, ..ReadOptions::default() };
            let reply = self.backend.read(query.clone(), stale).await?;
            if live.may_use(reply.last_contact_ms) {
                return Ok(reply);
            }
            // Consul: too old for `max_stale`, so the leader is asked after all.
        }
        Ok(self.backend.read(query, ReadOptions::default()).await?)
    }
}

fn network(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
    }
}

/// As Go shows it: name, type and class.
fn question_text(request: &Request) -> String {
    format!("{{{} {} {}}}", request.name, u16::from(request.kind), u16::from(request.class))
}

fn log_recursed(request: &Request, start: Moment, client: SocketAddr, transport: Transport) {
    let latency = clock::now().since(start);
    let network = network(transport);
    tracing::debug!(
        target: "agent.dns",
        question = question_text(request), network, ?latency, %client, client_network = network,
        "request served from client"
    );
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
        service_ttl: settings.service_ttl.iter().map(|(name, ttl)| (name.clone(), seconds(*ttl))).collect(),
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
