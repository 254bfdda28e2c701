//! The HTTP connection manager, with what Istio sets on every one of them.

use envoy_api::envoy::config::accesslog::v3::AccessLog;
use envoy_api::envoy::config::listener::v3 as listener;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3 as hcm;
use hcm::http_connection_manager as manager;
use ir::HttpFilter;
use ir::model::PathNormalization;

use crate::http_filter::http_filters;
use crate::listener::network_filter;
use crate::proto::never;

/// What differs between connection managers.
pub(crate) struct HttpConnection {
    /// The prefix of Envoy's own counters.
    pub stat_prefix: String,
    /// Where the routes come from.
    pub routes: manager::RouteSpecifier,
    /// In any order.
    pub filters: Vec<HttpFilter>,
    /// Where requests are logged and counted.
    pub access_log: Vec<AccessLog>,
    /// Into which form paths are brought.
    pub paths: PathNormalization,
    /// What the app is told of the client's certificate.
    pub client_certificate: ClientCertificate,
}

/// `x-forwarded-client-cert`.
#[derive(Clone, Copy)]
pub(crate) enum ClientCertificate {
    /// It is removed, so that nobody makes it up.
    Removed,
    /// The client's own is appended to what its proxy sent.
    Appended,
}

/// The network filter.
pub(crate) fn http_connection(connection: HttpConnection) -> listener::Filter {
    let HttpConnection {
        stat_prefix,
        routes,
        filters,
        access_log,
        paths,
        client_certificate,
    } = connection;
    let (forward, details) = match client_certificate {
        ClientCertificate::Removed => (manager::ForwardClientCertDetails::Sanitize, None),
        ClientCertificate::Appended => (
            manager::ForwardClientCertDetails::AppendForward,
            Some(manager::SetCurrentClientCertDetails {
                subject: Some(true),
                dns: true,
                uri: true,
                ..Default::default()
            }),
        ),
    };
    let websocket = manager::UpgradeConfig {
        upgrade_type: "websocket".to_owned(),
        ..Default::default()
    };
    let escaped_slashes = match paths {
        PathNormalization::None | PathNormalization::Base | PathNormalization::MergeSlashes => {
            manager::PathWithEscapedSlashesAction::KeepUnchanged
        }
        PathNormalization::DecodeAndMergeSlashes => {
            manager::PathWithEscapedSlashesAction::UnescapeAndForward
        }
    };
    network_filter(
        "envoy.filters.network.http_connection_manager",
        &hcm::HttpConnectionManager {
            codec_type: manager::CodecType::Auto.into(),
            stat_prefix,
            http_filters: http_filters(filters),
            access_log,
            server_name: "istio-envoy".to_owned(),
            use_remote_address: Some(false),
            forward_client_cert_details: forward.into(),
            set_current_client_cert_details: details,
            // Envoy's five minutes would cut streams that rest.
            stream_idle_timeout: never(),
            generate_request_id: Some(true),
            proxy_100_continue: true,
            upgrade_configs: vec![websocket],
            normalize_path: Some(paths >= PathNormalization::Base),
            merge_slashes: paths >= PathNormalization::MergeSlashes,
            path_with_escaped_slashes_action: escaped_slashes.into(),
            route_specifier: Some(routes),
            ..Default::default()
        },
    )
}
