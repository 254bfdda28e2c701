//! The gRPC service over a real connection: who gets a certificate, for which identity, and what is
//! counted and written down.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use ca::{CertificateService, Counters, MeshReviewer, PeerCertificates, TokenIssuer};
use model::SpiffeId;
use rustls_pki_types::CertificateDer;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::{Ascii, MetadataKey};
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Status};
use wire::istio::v1::auth::IstioCertificateRequest;
use wire::istio::v1::auth::istio_certificate_service_client::IstioCertificateServiceClient;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kit::{self, Bench, HOUR, cart, now, p256, request, self_signed, trust_domain};

struct Served {
    client: IstioCertificateServiceClient<Channel>,
    counters: Arc<Counters>,
    tokens: TokenIssuer,
    _bench: Bench,
}

/// Serves on loopback; `peer` is what the TLS listener would have verified.
async fn serve(peer: Vec<CertificateDer<'static>>) -> Served {
    let bench = Bench::new();
    let tokens = TokenIssuer::open(&bench.state()).unwrap();
    let reviewer = MeshReviewer::new(trust_domain(), tokens.verifier());
    let service = CertificateService::new(Arc::new(self_signed()), Arc::new(reviewer), now);
    let counters = service.counters();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let handshake = move |mut request: Request<()>| {
        request
            .extensions_mut()
            .insert(PeerCertificates(peer.clone()));
        Ok(request)
    };
    let service =
        tonic::service::interceptor::InterceptedService::new(service.into_server(), handshake);
    let server = Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let client = IstioCertificateServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    Served {
        client,
        counters,
        tokens,
        _bench: bench,
    }
}

impl Served {
    fn token(&self) -> String {
        let SpiffeId {
            trust_domain: _,
            namespace,
            service_account,
        } = cart();
        self.tokens
            .mint(&namespace, &service_account, HOUR, now())
            .unwrap()
    }

    async fn ask(
        &self,
        csr: Vec<u8>,
        seconds: i64,
        headers: &[(&'static str, &str)],
    ) -> Result<Vec<String>, Status> {
        let message = IstioCertificateRequest {
            csr: String::from_utf8(csr).unwrap(),
            validity_duration: seconds,
            metadata: None,
        };
        let mut message = Request::new(message);
        for (name, value) in headers {
            let name = MetadataKey::<Ascii>::from_static(name);
            message.metadata_mut().append(name, value.parse().unwrap());
        }
        let answer = self.client.clone().create_certificate(message).await?;
        Ok(answer.into_inner().cert_chain)
    }

    /// csr_count, success, authentication failures, parse errors, sign errors.
    fn counted(&self) -> [u64; 5] {
        let Counters {
            csr_count,
            success_cert_issuance_count,
            authentication_failure_count,
            csr_parsing_err_count,
            csr_sign_err_count,
        } = &*self.counters;
        [
            csr_count,
            success_cert_issuance_count,
            authentication_failure_count,
            csr_parsing_err_count,
            csr_sign_err_count,
        ]
        .map(|counter| counter.load(Ordering::Relaxed))
    }
}

/// A request as PEM that asks for somebody else's identity.
fn greedy() -> Vec<u8> {
    let bank = "spiffe://cluster.local/ns/bank/sa/vault"
        .try_into()
        .unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.subject_alt_names = vec![rcgen::SanType::URI(bank)];
    params
        .serialize_request(&p256())
        .unwrap()
        .pem()
        .unwrap()
        .into_bytes()
}

fn identity_in(leaf: &str) -> String {
    let der = kit::der(leaf);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    match san.value.general_names.as_slice() {
        [GeneralName::URI(uri)] => (*uri).to_owned(),
        other => panic!("{other:?}"),
    }
}

const CART: &str = "spiffe://cluster.local/ns/shop/sa/cart";

#[tokio::test]
async fn a_token_gets_its_own_identity_whatever_is_asked_for() {
    let served = serve(Vec::new()).await;
    let bearer = format!("Bearer {}", served.token());
    let chain = served
        .ask(greedy(), 3600, &[("authorization", &bearer)])
        .await
        .unwrap();
    assert_eq!(identity_in(&chain[0]), CART);
    assert_eq!(chain.len(), 2);
    assert_eq!(served.counted(), [1, 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_certificate_renews_its_own_identity() {
    let issued = self_signed()
        .issue(&request(&p256()), &cart(), None, now())
        .unwrap();
    let served = serve(vec![kit::der(&issued.chain[0]).into()]).await;
    let chain = served.ask(greedy(), 0, &[]).await.unwrap();
    assert_eq!(identity_in(&chain[0]), CART);
}

#[tokio::test]
async fn sec_05_no_header_and_no_loopback_makes_an_identity() {
    let served = serve(Vec::new()).await;
    let xfcc = format!("By=spiffe://cluster.local/ns/istio-system/sa/istiod;URI={CART}");
    let token = served.token();
    let bearer = format!("Bearer {token}");
    let basic = format!("Basic {token}");
    let tries: [&[(&'static str, &str)]; 7] = [
        &[],
        &[("x-forwarded-client-cert", &xfcc)],
        &[
            ("x-forwarded-client-cert", &xfcc),
            ("x-forwarded-for", "127.0.0.1"),
        ],
        &[("authorization", &token)],
        &[("authorization", &basic)],
        &[("authorization", "Bearer ")],
        &[("authorization", &bearer), ("authorization", &bearer)],
    ];
    for headers in tries {
        let refused = served.ask(greedy(), 0, headers).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{headers:?}");
    }
    assert_eq!(served.counted(), [7, 0, 7, 0, 0]);
}

#[tokio::test]
async fn refusals_are_told_and_counted() {
    let served = serve(Vec::new()).await;
    let bearer = format!("Bearer {}", served.token());
    let headers: &[(&'static str, &str)] = &[("authorization", &bearer)];
    let ask = |csr: Vec<u8>, seconds| served.ask(csr, seconds, headers);

    let refused = ask(Vec::new(), 0).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("empty"), "{refused}");
    let refused = ask(greedy(), i64::MAX).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("7776000 s"), "{refused}");
    assert_eq!(served.counted(), [2, 0, 0, 1, 1]);
    // Too long to be read at all, so it is not even counted.
    let refused = ask(vec![b'a'; 10 << 20], 0).await.unwrap_err();
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(served.counted(), [2, 0, 0, 1, 1]);
    // A negative validity is Istio's way to ask for the default.
    assert!(ask(greedy(), -1).await.is_ok());
}

/// Collects what is logged with target `ca::audit` on this thread.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Audit {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "ca::audit"
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                line += &format!("{field}={value:?} ");
            },
        );
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test]
async fn every_issue_leaves_one_audit_line_without_secrets() {
    let audit = Audit::default();
    let guard = tracing::subscriber::set_default(audit.clone());
    let served = serve(Vec::new()).await;
    let token = served.token();
    let bearer = format!("Bearer {token}");
    served
        .ask(greedy(), 60, &[("authorization", &bearer)])
        .await
        .unwrap();
    served.ask(greedy(), 60, &[]).await.unwrap_err();
    drop(guard);
    let lines = audit.0.lock().unwrap();
    let [issued, denied] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    let end = kit::seconds(now()) + 60;
    for part in [
        "certificate issued",
        CART,
        "proof=\"token\"",
        "serial=",
        "127.0.0.1",
        &format!("not_after={end} "),
    ] {
        assert!(issued.contains(part), "{part}: {issued}");
    }
    assert!(denied.contains("caller denied"), "{denied}");
    assert!(!lines.concat().contains(&token));
}
