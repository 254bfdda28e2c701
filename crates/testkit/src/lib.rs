//! What tests of a mesh are made of: builders that read as sentences, and generated worlds.
//!
//! [`service`], [`virtual_service`] and their like write objects as users do, as JSON text that is YAML too.
//! [`load`] parses them and hands them to a store. [`World`] and [`Edit`] are the stories that properties are
//! tried on: documents that collide on purpose, some of them broken, and changes to them. The same seed makes the
//! same story; [`check`] prints it. [`Cluster`] is a real Kubernetes on this machine.

mod builder;
mod check;
mod cluster;
mod clutter;
mod dice;
mod generate;
mod istio;
mod kubernetes;
mod load;
mod world;

pub use builder::Document;
pub use check::{Run, check, find_failure, seed, soak};
pub use cluster::{Cluster, Space, in_network_of};
pub use dice::Dice;
pub use generate::Sort;
pub use istio::{
    AuthorizationPolicy, DestinationRule, MeshConfig, PeerAuthentication, Route, ServiceEntry,
    VirtualService, WorkloadEntry, authorization_policy, destination_rule, mesh_config,
    peer_authentication, route, service_entry, to, virtual_service, workload_entry,
};
pub use kubernetes::{
    Deployment, EndpointSlice, Pod, Service, deployment, endpoint_slice, pod, service,
};
pub use load::{change, load, object, read, store};
pub use world::{Edit, Story, World, stories};
