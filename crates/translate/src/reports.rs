//! What a listener reports of its requests and connections: the user's access log, and Istio's metrics.

use envoy_api::envoy::config::accesslog::v3 as accesslog;
use ir::model::{AccessLog, EnvoyMinor};

use crate::telemetry::Reporter;
use crate::{access_log, telemetry};

/// Where a listener reports to.
#[derive(Clone, Copy)]
pub(crate) struct Reports<'a> {
    /// The access log, if there is one.
    pub log: Option<&'a AccessLog>,
    /// Who writes it.
    pub envoy: EnvoyMinor,
}

impl Reports<'_> {
    /// Of requests.
    pub fn of_requests(self, reporter: Reporter<'_>) -> Vec<accesslog::AccessLog> {
        let mut all = access_log::of_requests(self);
        all.extend(telemetry::http(reporter, self.envoy));
        all
    }

    /// Of connections.
    pub fn of_connections(self, reporter: Reporter<'_>) -> Vec<accesslog::AccessLog> {
        let mut all = access_log::of_connections(self);
        all.extend(telemetry::tcp(reporter, self.envoy));
        all
    }
}
