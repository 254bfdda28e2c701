//! The cluster's name server: it knows Services, as CoreDNS would, and the names of the world outside.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use crate::inside::{NAME_SERVER, NAME_SERVER_V6, has_ipv6};

/// Names, lower case and without the last dot, and their addresses.
pub type Names = BTreeMap<String, Vec<IpAddr>>;

/// Serves these names until the process ends.
///
/// # Errors
/// The port cannot be bound.
pub async fn serve(names: watch::Receiver<Names>) -> io::Result<()> {
    if has_ipv6() {
        serve_at(NAME_SERVER_V6.into(), names.clone()).await?;
    }
    serve_at(NAME_SERVER.into(), names).await
}

async fn serve_at(address: IpAddr, names: watch::Receiver<Names>) -> io::Result<()> {
    let udp = Arc::new(UdpSocket::bind((address, 53)).await?);
    let tcp = TcpListener::bind((address, 53)).await?;
    let known = names.clone();
    tokio::spawn(async move {
        let mut buffer = vec![0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer).await {
            let answer = answer(buffer.get(..length).unwrap_or_default(), &known.borrow());
            if let Some(answer) = answer {
                let _ = udp.send_to(&answer, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = tcp.accept().await {
            tokio::spawn(serve_stream(stream, names.clone()));
        }
    });
    Ok(())
}

async fn serve_stream(mut stream: TcpStream, names: watch::Receiver<Names>) -> io::Result<()> {
    loop {
        let length = stream.read_u16().await?;
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await?;
        let answer = answer(&query, &names.borrow());
        let Some(answer) = answer else {
            return Ok(());
        };
        stream
            .write_u16(u16::try_from(answer.len()).map_err(io::Error::other)?)
            .await?;
        stream.write_all(&answer).await?;
    }
}

fn answer(query: &[u8], names: &Names) -> Option<Vec<u8>> {
    let query = Message::from_vec(query).ok()?;
    if query.metadata.message_type != MessageType::Query {
        return None;
    }
    let asked = query.queries.first()?.clone();
    let mut response = Message::response(query.metadata.id, query.metadata.op_code);
    response.metadata.recursion_desired = query.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    let name = asked.name().to_lowercase().to_ascii();
    match names.get(name.trim_end_matches('.')) {
        None => response.metadata.response_code = ResponseCode::NXDomain,
        Some(addresses) => {
            let records = addresses.iter();
            let records =
                records.filter_map(|address| record(asked.name(), asked.query_type(), *address));
            response.add_answers(records.collect::<Vec<_>>());
        }
    }
    response.add_query(asked);
    response.to_vec().ok()
}

/// Short-lived, so that an edit is soon seen.
const TTL: u32 = 1;

fn record(name: &Name, asked: RecordType, address: IpAddr) -> Option<Record> {
    let data = match (asked, address) {
        (RecordType::A, IpAddr::V4(address)) => RData::A(A(address)),
        (RecordType::AAAA, IpAddr::V6(address)) => RData::AAAA(AAAA(address)),
        _ => return None,
    };
    Some(Record::from_rdata(name.clone(), TTL, data))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::{OpCode, Query};

    fn ask(name: &str, kind: RecordType) -> Message {
        let names = Names::from([(
            "a.example.com".to_owned(),
            vec!["198.18.1.1".parse().unwrap()],
        )]);
        let mut query = Message::new(7, MessageType::Query, OpCode::Query);
        query.add_query(Query::query(name.parse().unwrap(), kind));
        Message::from_vec(&answer(&query.to_vec().unwrap(), &names).unwrap()).unwrap()
    }

    #[test]
    fn a_known_name_has_its_addresses_and_no_others() {
        let found = ask("A.example.com.", RecordType::A);
        assert_eq!((found.metadata.id, found.answers.len()), (7, 1));
        let other = ask("a.example.com.", RecordType::AAAA);
        assert_eq!(
            (other.metadata.response_code, other.answers.len()),
            (ResponseCode::NoError, 0)
        );
        assert_eq!(
            ask("b.example.com.", RecordType::A).metadata.response_code,
            ResponseCode::NXDomain
        );
    }
}
