//! The Kubernetes API server as a source of objects and a place to write to: the only crate with a Kubernetes client.
//! What it hands out are plain values.

mod client;
mod lives;
mod raw;
mod resources;
mod watch;

pub use client::{ConnectError, connect};
pub use kube::Client;
pub use lives::{Lives, NamespaceLife, Uid};
pub use resources::ConfigMapName;
pub use watch::{Data, Following, Health, Report, Settings, kinds, start};
