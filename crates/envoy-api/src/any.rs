//! `google.protobuf.Any` with shared bytes, packing by type, and the type URLs of the resources that xDS carries.

use bytes::Bytes;
use prost::{Message, Name};

/// A message of any type. Unlike prost-types' it holds `Bytes`, so that encoded resources are shared and never copied.
#[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
pub struct Any {
    /// `type.googleapis.com/` and the full name of the message's type.
    #[prost(string, tag = "1")]
    pub type_url: String,
    /// The encoded message.
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

impl Name for Any {
    const NAME: &'static str = "Any";
    const PACKAGE: &'static str = "google.protobuf";

    fn full_name() -> String {
        "google.protobuf.Any".to_owned()
    }

    fn type_url() -> String {
        "type.googleapis.com/google.protobuf.Any".to_owned()
    }
}

impl Any {
    /// Decodes the packed message, or `None` when it has another type.
    ///
    /// # Errors
    /// When the type is `M` and the bytes are not a message of that type.
    pub fn unpack<M: Name + Default>(&self) -> Result<Option<M>, prost::DecodeError> {
        if self.type_url != M::type_url() {
            return Ok(None);
        }
        M::decode(self.value.clone()).map(Some)
    }
}

/// Packs a message under its own type URL.
pub fn pack<M: Name + Message>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: Bytes::from(message.encode_to_vec()),
    }
}

/// The type URLs of the resources that discovery carries.
pub mod type_url {
    /// Clusters (CDS).
    pub const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    /// The endpoints of a cluster (EDS).
    pub const CLUSTER_LOAD_ASSIGNMENT: &str =
        "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
    /// Listeners (LDS).
    pub const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
    /// Route tables (RDS).
    pub const ROUTE_CONFIGURATION: &str =
        "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
    /// One virtual host (VHDS).
    pub const VIRTUAL_HOST: &str = "type.googleapis.com/envoy.config.route.v3.VirtualHost";
    /// Certificates, keys and trust bundles (SDS).
    pub const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";
    /// The configuration of one filter (ECDS).
    pub const TYPED_EXTENSION_CONFIG: &str =
        "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig";
}
