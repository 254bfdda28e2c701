//! The identities that a cluster accepts, and the same cluster made to accept others: what a stream is sent between an
//! old cluster and a new one that accepts less.

use std::sync::Arc;

use ir::{Cluster, Hashed, Node, Servers, UpstreamTls};
use model::EnvoyMinor;
use xds::{Identities, Part};

use crate::memo::part;

/// The identities of a cluster that goes by them.
pub(crate) fn identities(node: &Hashed<Node>, envoy: EnvoyMinor) -> Option<Identities> {
    let Node::Cluster(cluster) = &**node else {
        return None;
    };
    let Servers::Identities(servers) = servers(&cluster.tls)? else {
        return None;
    };
    let accepted = servers.iter().map(|server| server.to_string().into());
    let node = node.clone();
    Some(Identities::new(accepted.collect(), move |accepted| {
        accepting(&node, envoy, accepted)
    }))
}

fn accepting(node: &Node, envoy: EnvoyMinor, accepted: &[Arc<str>]) -> Part {
    let mut node = node.clone();
    if let Node::Cluster(cluster) = &mut node {
        accept(cluster, accepted);
    }
    part(translate::encode(&node, envoy))
}

fn accept(cluster: &mut Cluster, accepted: &[Arc<str>]) {
    if let UpstreamTls::Auto(mesh) | UpstreamTls::Mesh(mesh) = &mut cluster.tls {
        // They were written from identities, so all of them can be read.
        let servers = accepted.iter().filter_map(|text| text.parse().ok());
        mesh.server = Servers::Identities(servers.collect());
    }
}

fn servers(tls: &UpstreamTls) -> Option<&Servers> {
    match tls {
        UpstreamTls::Auto(mesh) | UpstreamTls::Mesh(mesh) => Some(&mesh.server),
        UpstreamTls::Plaintext | UpstreamTls::Simple(_) | UpstreamTls::Files { .. } => None,
    }
}
