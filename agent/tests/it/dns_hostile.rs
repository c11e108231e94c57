//! DNS from clients that err or lie: packets cut at every byte, bytes changed at random, names that go
//! round, lengths that are not true, clients that fall silent. The agent goes on, and counts.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use agent::config;
use hickory_proto::op::Message;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::dns::{Served, over, questions, serve};
use crate::support::eventually;

const LONGEST: Duration = Duration::from_secs(30);
const VALID: &str = "
web.service.consul A; web.service.consul A noedns; web.service.consul SRV 4096; v1.web.service.dc1.consul SRV
_web._tcp.service.consul SRV; agent-one.node.consul ANY; many.service.consul A 512; 0a000001.addr.dc1.consul A
1.0.0.10.in-addr.arpa PTR; consul SOA; consul NS; www.example.com A; foo.query.consul A";

fn valid() -> Vec<Vec<u8>> {
    questions(VALID).iter().map(super::dns::Asked::bytes).collect()
}

/// One client of one socket: the kernel hands all it sends to one socket of the agent, in order.
struct Client {
    socket: UdpSocket,
    sent: u64,
}

impl Client {
    fn of(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(LONGEST)).unwrap();
        Self { socket, sent: 0 }
    }

    /// Sends `packets`, then a question, and reads until its answer is there. Replies to the others must
    /// be whole messages that say so themselves.
    fn send(&mut self, packets: &[Vec<u8>], mark: u16) {
        for packet in packets {
            self.socket.send(packet).unwrap();
        }
        let mut question = questions("web1.node.consul A").remove(0).bytes();
        question[..2].copy_from_slice(&mark.to_be_bytes());
        self.socket.send(&question).unwrap();
        self.sent += packets.len() as u64 + 1;
        let mut buffer = vec![0; 65_535];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("batch {mark}: {error}"));
            let reply = &buffer[..length];
            assert!(reply.len() >= 12 && reply[2] & 0x80 != 0, "no reply: {reply:?}");
            let is_marked = reply[..2] == mark.to_be_bytes();
            // A changed ID may be the mark by chance: only the question itself has this answer.
            if is_marked && Message::from_vec(reply).is_ok_and(|message| message.answers.len() == 1) {
                return;
            }
        }
    }

    /// In batches that no socket's buffer is too small for.
    fn send_all(&mut self, packets: &[Vec<u8>]) {
        for (batch, mark) in packets.chunks(32).zip(1..) {
            self.send(batch, mark);
        }
    }
}

/// Every packet was a question or was refused, and none was lost.
#[track_caller]
fn check_counted(served: &Served, sent: u64) {
    let counters = served.handle.counters();
    assert_eq!(counters.questions() + counters.refused(), sent, "some packets were neither asked nor refused");
    assert!(counters.refused() > 0, "nothing was refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_cut_anywhere_are_refused_and_counted() {
    let served = serve(config::Dns::default()).await;
    let mut client = Client::of(served.addr);
    let valid = valid();
    let cut: Vec<_> = valid.iter().flat_map(|packet| (0..packet.len()).map(|end| packet[..end].to_vec())).collect();
    client.send_all(&cut);
    check_counted(&served, client.sent);
    let batches = cut.chunks(32).count() as u64;
    assert_eq!(served.handle.counters().refused(), cut.len() as u64, "a part of a question was answered");
    assert_eq!(served.handle.counters().questions(), batches);
    assert!(served.tasks.end(LONGEST).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bytes_and_rubbish_stop_nothing() {
    let served = serve(config::Dns::default()).await;
    let mut client = Client::of(served.addr);
    let valid = valid();
    let mut dice = SmallRng::seed_from_u64(53);
    let mut packets = Vec::new();
    for packet in valid.iter().cycle().take(3000) {
        let mut packet = packet.clone();
        for _ in 0..dice.random_range(1..4) {
            let at = dice.random_range(0..packet.len());
            match dice.random_range(0..4) {
                0 => packet.insert(at, dice.random()),
                1 => packet.truncate(at + 1),
                _ => packet[at] = dice.random(),
            }
        }
        packets.push(packet);
    }
    for _ in 0..500 {
        let length = dice.random_range(0..600);
        packets.push((0..length).map(|_| dice.random()).collect());
    }
    client.send_all(&packets);
    check_counted(&served, client.sent);
    assert!(served.tasks.end(LONGEST).await, "the tasks did not end");
}

/// A question whose name is these bytes.
fn named(name: &[u8]) -> Vec<u8> {
    [&[7, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0], name, &[0, 1, 0, 1]].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_go_round_or_on_for_ever_are_refused() {
    let served = serve(config::Dns::default()).await;
    let mut client = Client::of(served.addr);
    let label = [&[63][..], &[b'x'; 63]].concat();
    let header = |counts: [u8; 4], flags: u8| {
        let [questions, answers, authorities, additionals] = counts;
        vec![7, 7, flags, 0, 0, questions, 0, answers, 0, authorities, 0, additionals]
    };
    let plain = [1, b'x', 0, 0, 1, 0, 1];
    let many = (0..5).flat_map(|_| plain).collect::<Vec<_>>();
    let packets = vec![
        named(&[0xc0, 12]),
        named(&[1, b'x', 0xc0, 12]),
        named(&[0xc0, 14, 0xc0, 12]),
        named(&[0xc0, 0xff]),
        named(&[0x40, 0]),
        named(&[0x80, 0]),
        named(&[label.repeat(4), vec![0]].concat()),
        named(&label.repeat(1000)),
        [header([5, 0, 0, 0], 1), many].concat(),
        header([0, 0, 0, 0], 1),
        [header([1, 2, 0, 0], 1), plain.to_vec()].concat(),
        [header([1, 0, 0, 9], 1), plain.to_vec()].concat(),
        [header([1, 0, 0, 0], 0x10), plain.to_vec()].concat(),
        [header([1, 0, 0, 0], 0x28), plain.to_vec()].concat(),
        [header([1, 0, 0, 0], 0x81), plain.to_vec()].concat(),
    ];
    let count = packets.len() as u64;
    client.send(&packets, 1);
    check_counted(&served, client.sent);
    assert_eq!(served.handle.counters().refused(), count, "one of these was taken for a question");
    // Another class is a question, and answered as Consul answers it.
    let mut chaos = named(&[1, b'x', 6, b'c', b'o', b'n', b's', b'u', b'l', 0]);
    *chaos.last_mut().unwrap() = 3;
    client.send(&[chaos], 2);
    assert_eq!(served.handle.counters().refused(), count);
    assert!(served.tasks.end(LONGEST).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn lengths_that_lie_end_their_connection_and_no_other() {
    let served = serve(config::Dns::default()).await;
    let question = questions("web1.node.consul A").remove(0).bytes();
    let connect = || {
        let stream = TcpStream::connect(served.addr).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream
    };
    // This one says a byte and no more while all else happens.
    let mut silent = connect();
    silent.write_all(&[0]).unwrap();
    let framed = [&u16::try_from(question.len()).unwrap().to_be_bytes()[..], &question].concat();
    let cuts = 1..framed.len();
    let count = cuts.len() as u64;
    for end in cuts {
        let mut stream = connect();
        stream.write_all(&framed[..end]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // The agent may have reset the connection: all that matters is that nothing came.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "an answer to a question cut at {end}");
    }
    eventually("connections cut", || served.handle.counters().tcp_cut(), |cut| *cut >= count);
    // Longer than it says: what is left over is the next packet's length.
    let mut stream = connect();
    let mut long = framed.clone();
    long[1] -= 1;
    stream.write_all(&long).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(&answer[..2], [0, 12], "a header that refuses");
    assert_eq!(answer[5] & 0x0f, 1, "not FORMERR");
    // The largest length there is, and the one of nothing.
    for bytes in [[0xff, 0xff], [0, 0]] {
        let mut stream = connect();
        stream.write_all(&bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    }
    assert_eq!(Message::from_vec(&over(&mut connect(), &question)).unwrap().answers.len(), 1);
    drop(silent);
    assert!(served.tasks.end(LONGEST).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_answers_in_order_what_it_may_and_nothing_is_lost_at_its_end() {
    let served = serve(config::Dns::default()).await;
    let question = questions("web1.node.consul A").remove(0).bytes();
    let framed = |id: u16, packet: &[u8]| {
        let mut packet = packet.to_vec();
        packet[..2].copy_from_slice(&id.to_be_bytes());
        [&u16::try_from(packet.len()).unwrap().to_be_bytes()[..], &packet].concat()
    };
    let connect = || {
        let stream = TcpStream::connect(served.addr).unwrap();
        stream.set_read_timeout(Some(LONGEST)).unwrap();
        stream
    };
    let mut stream = connect();
    let all: Vec<u8> = (0..140).flat_map(|id| framed(id, &question)).collect();
    stream.write_all(&all).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    let (mut ids, mut rest) = (Vec::new(), &rest[..]);
    while let [high, low, after @ ..] = rest {
        let (answer, after) = after.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        ids.push(u16::from_be_bytes([answer[0], answer[1]]));
        rest = after;
    }
    assert_eq!(ids, (0..128).collect::<Vec<_>>());
    // An answer and half a header are met with silence, and what follows is a question again.
    let mut stream = connect();
    let mut response = question.clone();
    response[2] |= 0x80;
    stream.write_all(&[framed(1, &response), vec![0, 2, 1, 2], vec![0, 0]].concat()).unwrap();
    assert_eq!(Message::from_vec(&over(&mut stream, &question)).unwrap().answers.len(), 1);
    drop(stream);
    assert!(served.tasks.end(LONGEST).await, "the tasks did not end");
}
