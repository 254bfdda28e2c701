//! What holds for a listener and all that is in it: among others what it reports of its requests and connections, to the
//! user's access log and as Istio's metrics.

use envoy_api::envoy::config::accesslog::v3 as accesslog;
use ir::model::{EnvoyMinor, ListenerSettings};

use crate::telemetry::Reporter;
use crate::{access_log, telemetry};

/// What holds for a listener.
#[derive(Clone, Copy)]
pub(crate) struct Common<'a> {
    /// What the mesh says of it.
    pub settings: &'a ListenerSettings,
    /// Whose listener it is.
    pub envoy: EnvoyMinor,
}

impl Common<'_> {
    /// Reports of requests.
    pub fn of_requests(self, reporter: Reporter<'_>) -> Vec<accesslog::AccessLog> {
        let mut all = access_log::of_requests(self);
        all.extend(telemetry::http(reporter, self.envoy));
        all
    }

    /// Reports of connections.
    pub fn of_connections(self, reporter: Reporter<'_>) -> Vec<accesslog::AccessLog> {
        let mut all = access_log::of_connections(self);
        all.extend(telemetry::tcp(reporter, self.envoy));
        all
    }
}
