//! Names of other domains: recursors that answer, fail, hang, lie and lead back to us; and both agents
//! beside each other with the same recursor, where `QUORATE_REAL_CONSUL` names a real Consul.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use agent::config;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::rdata::{A, CNAME, PTR};
use hickory_proto::rr::{Name, RData, Record, RecordType};

use crate::dns::{Reference, check, lines, questions, serve};

/// How a recursor behaves.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Answers,
    Fails(ResponseCode),
    Hangs,
    /// Says something else first: another ID, another question, half a packet.
    Lies,
}

/// What it answers depends on the first label of the name.
fn answer(question: &Message, is_udp: bool) -> Message {
    let mut message = question.clone().into_response();
    message.metadata.recursion_available = true;
    message.edns = None;
    let query = question.queries[0].clone();
    let record = |owner: &Name, data| Record::from_rdata(owner.clone(), 60, data);
    let first = query.name().iter().next().map(<[u8]>::to_ascii_lowercase).unwrap_or_default();
    let end = Name::from_ascii("end.example.com.").unwrap();
    match &first[..] {
        b"nx" => message.metadata.response_code = ResponseCode::NXDomain,
        b"fails" => message.metadata.response_code = ResponseCode::ServFail,
        b"cut" if is_udp => message.metadata.truncation = true,
        b"big" => {
            message.add_answers((0..100).map(|n| record(query.name(), RData::A(A::new(9, 9, 9, n)))));
        }
        b"chain" => {
            message.add_answer(record(query.name(), RData::CNAME(CNAME(end.clone()))));
            message.add_answers((0..8).map(|n| record(&end, RData::A(A::new(9, 9, 8, n)))));
        }
        _ if query.query_type() == RecordType::PTR => {
            message.add_answer(record(query.name(), RData::PTR(PTR(end))));
        }
        _ => {
            message.add_answer(record(query.name(), RData::A(A::new(9, 9, 9, 9))));
        }
    }
    message
}

/// A recursor on loopback, until this process ends.
fn recursor(manner: Manner) -> SocketAddr {
    let (tcp, udp) = (0..100)
        .find_map(|_| {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let udp = UdpSocket::bind(tcp.local_addr().unwrap()).ok()?;
            Some((tcp, udp))
        })
        .expect("a port that is free for both");
    let addr = tcp.local_addr().unwrap();
    let reply = move |packet: &[u8], is_udp| {
        let question = Message::from_vec(packet).unwrap();
        let mut message = answer(&question, is_udp);
        if let Manner::Fails(code) = manner {
            message.metadata.response_code = code;
        }
        message
    };
    std::thread::spawn(move || {
        let mut packet = vec![0; 65_535];
        while let Ok((length, from)) = udp.recv_from(&mut packet) {
            if manner == Manner::Hangs {
                continue;
            }
            let message = reply(&packet[..length], true);
            if manner == Manner::Lies {
                let mut lie = message.clone();
                lie.metadata.id = lie.metadata.id.wrapping_add(1);
                udp.send_to(&lie.to_vec().unwrap(), from).unwrap();
                let mut lie = message.clone();
                lie.queries[0].set_name(Name::from_ascii("evil.example.com.").unwrap());
                udp.send_to(&lie.to_vec().unwrap(), from).unwrap();
                udp.send_to(&message.to_vec().unwrap()[..20], from).unwrap();
            }
            udp.send_to(&message.to_vec().unwrap(), from).unwrap();
        }
    });
    std::thread::spawn(move || {
        for mut stream in tcp.incoming().map_while(Result::ok) {
            let mut length = [0; 2];
            if manner == Manner::Hangs || stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut packet = vec![0; usize::from(u16::from_be_bytes(length))];
            stream.read_exact(&mut packet).unwrap();
            let bytes = reply(&packet, false).to_vec().unwrap();
            let length = u16::try_from(bytes.len()).unwrap();
            stream.write_all(&[&length.to_be_bytes()[..], &bytes].concat()).unwrap();
        }
    });
    addr
}

fn settings(recursors: &[SocketAddr]) -> config::Dns {
    config::Dns { recursors: recursors.iter().map(ToString::to_string).collect(), ..config::Dns::default() }
}

const GIVEN: &str = "NoError aa=false tc=false rd=true ra=true ad=false edns=None";
const FAILED: &str = "ServFail aa=false tc=false rd=true ra=true ad=false edns=Some(1232)";
const ADDRESS: &str = "answer www.example.com. 60 IN A 9.9.9.9";
const OURS: &str = "NoError aa=true tc=false rd=true ra=true ad=false edns=Some(1232)";

#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_asked_of_the_recursor_and_ours_are_not() {
    let served = serve(settings(&[recursor(Manner::Answers)])).await;
    let server = served.addr;
    check(server, "www.example.com A", &[GIVEN, ADDRESS]);
    check(server, "www.example.com A tcp", &[GIVEN, ADDRESS]);
    check(server, "nx.example.com A", &["NXDomain aa=false tc=false rd=true ra=true ad=false edns=None"]);
    check(server, "fails.example.com A", &[FAILED]);
    let pointer = "answer 4.3.2.1.in-addr.arpa. 60 IN PTR end.example.com.";
    check(server, "4.3.2.1.in-addr.arpa PTR", &[GIVEN, pointer]);
    let recursed = served.handle.counters().recursed();
    assert_eq!(recursed, 5);
    check(
        server,
        "web1.node.consul TXT",
        &[OURS, "answer web1.node.consul. 0 IN TXT k=v", "answer web1.node.consul. 0 IN TXT plain"],
    );
    check(server, "1.0.0.10.in-addr.arpa PTR", &[OURS, "answer 1.0.0.10.in-addr.arpa. 0 IN PTR web1.node.dc1.consul."]);
    assert_eq!(served.handle.counters().recursed(), recursed, "names of ours were asked of a recursor");
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn recursors_are_asked_in_turn_until_one_knows() {
    let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let useless = [
        recursor(Manner::Fails(ResponseCode::ServFail)),
        recursor(Manner::Fails(ResponseCode::Refused)),
        closed,
        recursor(Manner::Hangs),
    ];
    let impatient =
        |recursors: &[SocketAddr]| config::Dns { recursor_timeout: Duration::from_millis(50), ..settings(recursors) };
    let served = serve(impatient(&useless)).await;
    for how in ["", " tcp"] {
        check(served.addr, &format!("www.example.com A{how}"), &[FAILED]);
    }
    assert_eq!(served.handle.counters().failed(), 2);
    let all = [&useless[..3], &[recursor(Manner::Answers)]].concat();
    served.handle.reload(&settings(&all), all.clone());
    for how in ["", " tcp"] {
        check(served.addr, &format!("www.example.com A{how}"), &[GIVEN, ADDRESS]);
    }
    served.handle.reload(&config::Dns { node_ttl: Duration::from_secs(7), ..config::Dns::default() }, Vec::new());
    check(served.addr, "www.example.com A", &["Refused aa=false tc=false rd=true ra=false ad=false edns=None"]);
    let ours = OURS.replace("ra=true", "ra=false");
    check(served.addr, "six.node.consul AAAA", &[&ours, "answer six.node.consul. 7 IN AAAA fd00::6"]);
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_answers_are_passed_over_and_counted() {
    let served = serve(settings(&[recursor(Manner::Lies)])).await;
    check(served.addr, "www.example.com A", &[GIVEN, ADDRESS]);
    assert_eq!(served.handle.counters().recursor_noise(), 3);
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_too_large_for_the_client_is_cut_and_whole_over_tcp() {
    let served = serve(settings(&[recursor(Manner::Answers)])).await;
    let of = |text: &str| Message::from_vec(&questions(text).remove(0).of(served.addr)).unwrap();
    for (question, answers, is_cut) in [
        ("big.example.com A noedns", 0, true),
        ("big.example.com A", 0, true),
        ("big.example.com A 4096", 100, false),
        ("big.example.com A tcp", 100, false),
        ("cut.example.com A", 0, true),
        ("cut.example.com A tcp", 1, false),
    ] {
        let message = of(question);
        assert_eq!((message.answers.len(), message.metadata.truncation), (answers, is_cut), "{question}");
    }
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recursor_that_is_ourselves_ends_in_a_failure() {
    let first = serve(settings(&[recursor(Manner::Answers)])).await;
    first.handle.reload(&config::Dns::default(), vec![first.addr]);
    for how in ["", " tcp"] {
        check(first.addr, &format!("www.example.com A{how}"), &[FAILED]);
    }
    assert_eq!(first.handle.counters().recursor_loops(), 2);
    // Two agents that name each other: the loop ends by the limits, and ours go on being answered.
    let second = serve(settings(&[first.addr])).await;
    first.handle.reload(&config::Dns::default(), vec![second.addr]);
    check(first.addr, "www.example.com A", &[FAILED]);
    check(first.addr, "six.node.consul AAAA", &[OURS, "answer six.node.consul. 0 IN AAAA fd00::6"]);
    assert!(first.handle.counters().recursor_dropped() > 0, "nothing ended the loop");
    for served in [first, second] {
        assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_at_names_of_others_get_their_addresses_too() {
    let served = serve(settings(&[recursor(Manner::Answers)])).await;
    let alias = "answer hosted.service.consul. 0 IN CNAME www.example.com.";
    check(served.addr, "hosted.service.consul A", &[OURS, alias, "answer www.example.com. 0 IN A 9.9.9.9"]);
    let location = "answer hosted.service.consul. 0 IN SRV 1 1 87 www.example.com.";
    check(served.addr, "hosted.service.consul SRV", &[OURS, location, "additional www.example.com. 0 IN A 9.9.9.9"]);
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}

/// Asked of both, with the same recursor, a second domain and times to live.
const QUESTIONS: &str = "
www.example.com A; www.example.com A noedns; www.example.com A tcp; nx.example.com A; fails.example.com A
fails.example.com A tcp; fails.example.com A noedns; cut.example.com A tcp; big.example.com A 4096; big.example.com A tcp
chain.example.com A; WWW.example.com A; . NS; 1.2.3.4.in-addr.arpa PTR; 1.0.0.10.in-addr.arpa PTR; x.in-addr.arpa PTR
1.2.3.4.in-addr.arpa A; agent-one.node.consul A; nobody.node.consul A; nobody.service.consul A; foo.consul A
consul SOA; consul NS; 0a000001.addr.dc1.consul MX; foo.query.consul A; foo.connect.consul A; consul AXFR
hosted.service.consul A; hosted.service.consul AAAA; hosted.service.consul SRV; hosted.service.consul ANY
hosted.service.consul MX; hosted.service.consul TXT; hosted.service.consul CNAME; host.node.consul A
host.node.consul AAAA; host.node.consul ANY; host.node.consul TXT; svcname.service.consul A; svcname.service.consul SRV
svcnode.service.consul A; svcnode.service.consul SRV; aliased.service.consul A; aliased2.service.consul A
alias2.node.consul ANY; consul SOA; alt.example SOA; alt.example NS; nobody.service.alt.example A
web.service.alt.example SRV; web1.node.alt.example A; 0a000001.addr.alt.example A; hosted.service.alt.example A; svcaddr.service.alt.example SRV
web.service.consul A; warned.service.consul A; six.service.consul SRV; dotted.service.consul SRV; xalt.example A
allcrit.service.consul A; svcaddr.service.consul SRV; chained.service.consul A; chained.service.consul SRV
chained.service.consul A 4096; chained.node.consul A; chained.node.consul A noedns; chained.service.consul A noedns
chained.service.consul SRV noedns; chained.service.consul A 512; chained.service.consul A tcp; chained.node.consul A tcp
consul DS; web.service.consul DS; nxd.service.consul A; nxd.service.consul SRV; failing.service.consul A";

#[tokio::test(flavor = "multi_thread")]
async fn answers_with_recursors_are_those_of_the_real_consul() {
    let Ok(program) = std::env::var("QUORATE_REAL_CONSUL") else {
        println!("did not run: QUORATE_REAL_CONSUL does not name a real Consul");
        return;
    };
    let recursor = recursor(Manner::Answers);
    let ttl = [("w*", 9), ("web", 7), ("*", 3), ("Six", 4)];
    let ours = config::Dns {
        alt_domain: Some("alt.example.".to_owned()),
        node_ttl: Duration::from_secs(5),
        service_ttl: ttl.map(|(name, ttl)| (name.to_owned(), Duration::from_secs(ttl))).into(),
        only_passing: true,
        enable_truncate: true,
        ..settings(&[recursor])
    };
    let theirs = [
        format!("-recursor={recursor}"),
        "-alt-domain=alt.example".to_owned(),
        r#"-hcl=dns_config { node_ttl = "5s" only_passing = true enable_truncate = true service_ttl { "w*" = "9s" web = "7s" "*" = "3s" "Six" = "4s" } }"#
            .to_owned(),
    ];
    let served = serve(ours).await;
    let reference = Reference::start(&program, &theirs);
    let mut differences = Vec::new();
    for asked in questions(QUESTIONS) {
        let (ours, theirs) = (lines(&asked.of(served.addr)), lines(&asked.of(reference.dns)));
        if ours != theirs {
            differences.push(format!("{asked:?}\n  ours   {ours:#?}\n  theirs {theirs:#?}"));
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert!(served.tasks.end(Duration::from_secs(5)).await, "the tasks did not end");
}
