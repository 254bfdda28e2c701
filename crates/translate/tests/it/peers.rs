//! The other sides: apps that answer, and certificates of the mesh.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::transport_sockets::tls::v3 as tls;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use tls::secret::Type;

use crate::local::at;

/// Answers every HTTP request with 200 and, as the body, the request's head as the app saw it. Returns its port.
pub fn http_app() -> u16 {
    serve(|stream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            request.push(byte[0]);
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            request.len()
        );
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&request);
    })
}

/// Speaks first (`hello\n`), then sends back what it gets. Returns its port.
pub fn tcp_app() -> u16 {
    serve(|stream| {
        let _ = stream.write_all(b"hello\n");
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let _ = stream.write_all(&buffer[..read]);
        }
    })
}

/// Says something and reads back the line after the app's greeting; none: the connection was closed before.
pub fn talk(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(at(port)).unwrap();
    stream.write_all(b"ping\n").ok()?;
    let mut lines = BufReader::new(stream).lines();
    lines.next()?.ok()?;
    lines.next()?.ok()
}

fn serve(answer: impl Fn(&mut TcpStream) + Send + Copy + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || answer(&mut stream));
        }
    });
    port
}

/// A certificate authority of the mesh.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: String,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let root = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            root,
        }
    }

    /// The two secrets of a workload.
    pub fn secrets(&self, identity: &str) -> Vec<tls::Secret> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(identity.try_into().unwrap())];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = params.signed_by(&key, &self.issuer).unwrap().pem();
        let certificate = Type::TlsCertificate(tls::TlsCertificate {
            certificate_chain: Some(inline(leaf)),
            private_key: Some(inline(key.serialize_pem())),
            ..Default::default()
        });
        let roots = Type::ValidationContext(tls::CertificateValidationContext {
            trusted_ca: Some(inline(self.root.clone())),
            ..Default::default()
        });
        [
            (translate::WORKLOAD_SECRET, certificate),
            (translate::ROOT_SECRET, roots),
        ]
        .map(|(name, secret)| tls::Secret {
            name: name.to_owned(),
            r#type: Some(secret),
        })
        .into()
    }
}

fn inline(text: String) -> core::DataSource {
    core::DataSource {
        specifier: Some(core::data_source::Specifier::InlineString(text)),
        ..Default::default()
    }
}
