//! The certificate authority of the mesh: it gives a workload a short-lived certificate that names
//! its SPIFFE identity, and only the identity that the caller proved (invariant 11).
//!
//! [`Authority`] signs, [`Reviewer`] says who asks, [`CertificateService`] is Istio's gRPC service
//! between the two. Keys live behind a [`RootStore`]; join tokens ([`TokenIssuer`]) let a workload in
//! that has no certificate yet. Time is an argument everywhere but in the service's `clock`.

mod authority;
mod csr;
mod identity;
mod path;
mod root;
mod service;
mod service_account;
mod sign;
mod state;
mod template;
mod token;

pub use authority::{Authority, IssuedChain, Refused, Rotated, SERVING_NAMES, ServingCertificate};
pub use csr::{InvalidCsr, MAX_CSR_BYTES};
pub use identity::{Caller, Credentials, Denied, MeshReviewer, PeerCertificates, Review, Reviewer};
pub use path::InvalidCa;
pub use root::{CaFiles, FileRootStore, RootStore};
pub use service::{CertificateService, Counters};
pub use service_account::{BoundToken, InvalidKeys, ServiceAccountKeys, Unverified, digest};
pub use state::{StateDir, StateError};
pub use template::{BACKDATE, DEFAULT_TTL, MAX_TTL};
pub use token::{AUDIENCE, MAX_TOKEN_TTL, MintError, TokenIssuer, TokenVerifier};
