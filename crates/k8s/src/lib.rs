//! The Kubernetes API server as a source of objects and a place to write to: the only crate with a Kubernetes client.
//! What it hands out are plain values.

mod client;
mod endpoints;
pub mod install;
mod lease;
mod lives;
mod raw;
mod resources;
mod retry;
mod root_certs;
mod secrets;
mod tokens;
mod watch;
mod webhooks;

pub use client::{ConnectError, connect};
pub use endpoints::ready_endpoints;
pub use kube::Client;
pub use lease::Candidate;
pub use lives::{Alive, Lives, NamespaceLife, Uid};
pub use resources::Only;
pub use root_certs::publish_roots;
pub use secrets::{SecretData, SecretError, Secrets};
pub use tokens::{Judgement, PublishedKeys, Tokens, Unavailable};
pub use watch::{Data, Following, Health, Report, Settings, WatchHealth, kinds, start};
pub use webhooks::{FailurePolicy, Proof, Webhooks};
