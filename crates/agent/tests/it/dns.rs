//! The DNS server over real sockets, with a server of other names behind it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use agent::dns::{Bound, Dns, Resolver};
use agent::metrics::Metrics;
use agent::names::Names;
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use wire::istio::networking::nds::v1::name_table::NameInfo;

const SOON: Duration = Duration::from_secs(10);

/// Knows `known.example` and nothing else.
fn outside(question: &[u8]) -> Vec<u8> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    if query.name().to_ascii() == "known.example." {
        let address = RData::A(A("192.0.2.1".parse().unwrap()));
        answer.add_answer(Record::from_rdata(query.name().clone(), 60, address));
    } else {
        answer.metadata.response_code = ResponseCode::NXDomain;
    }
    answer.add_query(query);
    answer.to_vec().unwrap()
}

/// A name server on UDP and TCP, on one port.
async fn name_server() -> SocketAddr {
    let (udp, tcp) = loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()).await {
            break (udp, tcp);
        }
    };
    let address = udp.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, from) = udp.recv_from(&mut buffer).await.unwrap();
            let answer = outside(&buffer[..length]);
            // A forged answer comes first.
            let mut forged = answer.clone();
            forged[0] ^= 1;
            udp.send_to(&forged, from).await.unwrap();
            udp.send_to(&answer, from).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let mut stream = tcp.accept().await.unwrap().0;
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let answer = outside(&question);
            stream
                .write_u16(answer.len().try_into().unwrap())
                .await
                .unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    address
}

async fn serve(upstream: SocketAddr) -> Bound {
    let info = |ips: Vec<String>, shortname: &str| NameInfo {
        ips,
        shortname: shortname.to_owned(),
        namespace: "shop".to_owned(),
        ..NameInfo::default()
    };
    let many = (1..=200).map(|last| format!("240.240.1.{last}")).collect();
    let table = [
        (
            "reviews.shop.svc.cluster.local".to_owned(),
            info(vec!["240.240.0.1".to_owned()], "reviews"),
        ),
        ("many.shop.svc.cluster.local".to_owned(), info(many, "many")),
    ];
    let names = Names::new(table.iter().map(|(host, info)| (host, info)), "shop");
    let (_, names) = watch::channel(Arc::new(names));
    let any = "127.0.0.1:0".parse().unwrap();
    let mut resolver = Resolver::new(&[upstream], Vec::new(), any);
    resolver.search = vec![
        "shop.svc.cluster.local".to_owned(),
        "svc.cluster.local".to_owned(),
    ];
    Dns::new(names, resolver, Arc::new(Metrics::default()))
        .serve(any)
        .await
        .unwrap()
}

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Message {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        question.set_edns(edns);
    }
    question
}

async fn ask_udp(server: SocketAddr, question: &Message) -> Message {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket
        .send_to(&question.to_vec().unwrap(), server)
        .await
        .unwrap();
    let mut buffer = vec![0; 65_536];
    let length = tokio::time::timeout(SOON, socket.recv(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    let answer = Message::from_vec(&buffer[..length]).unwrap();
    assert_eq!(answer.metadata.id, question.metadata.id);
    assert_eq!(answer.queries, question.queries);
    answer
}

async fn ask_tcp(server: SocketAddr, question: &Message) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    let question = question.to_vec().unwrap();
    stream
        .write_u16(question.len().try_into().unwrap())
        .await
        .unwrap();
    stream.write_all(&question).await.unwrap();
    let mut answer = vec![0; usize::from(stream.read_u16().await.unwrap())];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

fn data(answer: &Message) -> Vec<String> {
    answer
        .answers
        .iter()
        .map(|record| record.data.to_string())
        .collect()
}

#[tokio::test]
async fn names_of_the_mesh_are_answered_here() {
    let server = serve(name_server().await).await;
    for name in [
        "reviews.",
        "reviews.shop.",
        "Reviews.Shop.svc.",
        "reviews.shop.svc.cluster.local.",
    ] {
        let answer = ask_udp(server.udp, &question(name, RecordType::A, None)).await;
        assert_eq!(data(&answer), ["240.240.0.1"], "{name}");
        assert_eq!(answer.answers[0].name.to_ascii(), name);
        assert!(answer.metadata.authoritative && answer.metadata.recursion_available);
    }
    // What a resolver with a search list and `ndots:5` tries first.
    let searched = "reviews.shop.svc.cluster.local.shop.svc.cluster.local.";
    let answer = ask_tcp(server.tcp, &question(searched, RecordType::A, None)).await;
    assert_eq!(
        data(&answer),
        ["reviews.shop.svc.cluster.local.", "240.240.0.1"]
    );

    // It exists, but not in this family: an empty answer, not "no such name", which would be about all families.
    let answer = ask_udp(
        server.udp,
        &question("reviews.", RecordType::AAAA, Some(1232)),
    )
    .await;
    assert_eq!(
        (answer.metadata.response_code, answer.answers.len()),
        (ResponseCode::NoError, 0)
    );
    assert!(answer.edns.is_some());
}

#[tokio::test]
async fn an_answer_too_large_for_udp_is_asked_for_over_tcp() {
    let server = serve(name_server().await).await;
    let small = question("many.", RecordType::A, None);
    let answer = ask_udp(server.udp, &small).await;
    assert!(answer.metadata.truncation && answer.answers.is_empty());
    let first = ask_tcp(server.tcp, &small).await;
    assert_eq!(
        (first.metadata.truncation, first.answers.len()),
        (false, 200)
    );
    let large = ask_udp(server.udp, &question("many.", RecordType::A, Some(8192))).await;
    assert_eq!(large.answers.len(), 200);
    assert_ne!(
        data(&first)[0],
        data(&large)[0],
        "each time another address is first"
    );
}

#[tokio::test]
async fn other_names_and_other_questions_go_to_the_pods_own_server() {
    let server = serve(name_server().await).await;
    let known = question("known.example.", RecordType::A, None);
    assert_eq!(data(&ask_udp(server.udp, &known).await), ["192.0.2.1"]);
    assert_eq!(data(&ask_tcp(server.tcp, &known).await), ["192.0.2.1"]);
    for (name, kind) in [
        ("unknown.example.", RecordType::A),
        ("reviews.", RecordType::SRV),
    ] {
        let answer = ask_udp(server.udp, &question(name, kind, None)).await;
        assert_eq!(
            answer.metadata.response_code,
            ResponseCode::NXDomain,
            "{name}"
        );
    }
}

#[tokio::test]
async fn garbage_and_a_server_that_is_away_hurt_nobody() {
    let gone = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let server = serve(gone).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut answer_of_nobody = question("reviews.", RecordType::A, None);
    answer_of_nobody = answer_of_nobody.into_response();
    for garbage in [
        vec![],
        vec![0xff; 11],
        vec![0xff; 2000],
        answer_of_nobody.to_vec().unwrap(),
    ] {
        socket.send_to(&garbage, server.udp).await.unwrap();
    }
    let answer = ask_udp(server.udp, &question("known.example.", RecordType::A, None)).await;
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert_eq!(
        data(&ask_udp(server.udp, &question("reviews.", RecordType::A, None)).await),
        ["240.240.0.1"]
    );
}
