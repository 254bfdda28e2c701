//! `connectionPool` of a traffic policy.

use std::ops::RangeInclusive;
use std::time::Duration;

use istio_api::H2UpgradePolicy;

use super::notes::{At, Notes};
use super::value::{MILLISECOND, UNSIGNED};
use crate::{ConnectionPool, TcpKeepalive};

/// The kernel counts keepalive in seconds.
const SECOND: Duration = Duration::from_secs(1);

/// What HTTP/2 allows (RFC 9113).
const STREAMS: RangeInclusive<i64> = 0..=i32::MAX as i64;

/// Reads the pool of TCP and HTTP.
pub(super) fn read(
    wire: istio_api::ConnectionPoolSettings,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> ConnectionPool {
    let istio_api::ConnectionPoolSettings { tcp, http } = wire;
    if tcp.is_none() && http.is_none() {
        notes.empty(at, "write `tcp` or `http`");
    }
    let mut pool = ConnectionPool::default();
    if let Some(tcp) = tcp {
        read_tcp(tcp, &mut pool, &at.field("tcp"), notes);
    }
    if let Some(http) = http {
        read_http(http, &mut pool, &at.field("http"), notes);
    }
    pool
}

fn read_tcp(
    wire: istio_api::TcpSettings,
    pool: &mut ConnectionPool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) {
    let istio_api::TcpSettings {
        max_connections,
        connect_timeout,
        tcp_keepalive,
        max_connection_duration: longest,
        idle_timeout,
    } = wire;
    pool.max_connections = notes.limit(&at.field("maxConnections"), max_connections);
    pool.connect_timeout = notes.duration(
        &at.field("connectTimeout"),
        connect_timeout.as_deref(),
        MILLISECOND,
    );
    pool.tcp_keepalive =
        tcp_keepalive.map(|wire| read_keepalive(wire, &at.field("tcpKeepalive"), notes));
    pool.max_connection_duration = notes.duration(
        &at.field("maxConnectionDuration"),
        longest.as_deref(),
        MILLISECOND,
    );
    pool.tcp_idle_timeout = notes.duration(
        &at.field("idleTimeout"),
        idle_timeout.as_deref(),
        Duration::ZERO,
    );
}

/// Reads keepalive probes.
pub(super) fn read_keepalive(
    wire: istio_api::TcpKeepalive,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> TcpKeepalive {
    let istio_api::TcpKeepalive {
        probes,
        time,
        interval,
    } = wire;
    TcpKeepalive {
        probes: notes
            .number(&at.field("probes"), probes, &UNSIGNED)
            .filter(|&probes| probes > 0),
        time: notes.duration(&at.field("time"), time.as_deref(), SECOND),
        interval: notes.duration(&at.field("interval"), interval.as_deref(), SECOND),
    }
}

fn read_http(
    wire: istio_api::HttpSettings,
    pool: &mut ConnectionPool,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) {
    let istio_api::HttpSettings {
        http1_max_pending_requests: pending,
        http2_max_requests: requests,
        max_requests_per_connection: per_connection,
        max_retries,
        idle_timeout,
        h2_upgrade_policy,
        use_client_protocol,
        max_concurrent_streams: streams,
        http2_keep_alive,
    } = wire;
    let at_upgrade = at.field("h2UpgradePolicy");
    pool.http1_max_pending_requests = notes.limit(&at.field("http1MaxPendingRequests"), pending);
    pool.http2_max_requests = notes.limit(&at.field("http2MaxRequests"), requests);
    pool.max_requests_per_connection =
        notes.limit(&at.field("maxRequestsPerConnection"), per_connection);
    pool.max_retries = notes.limit(&at.field("maxRetries"), max_retries);
    pool.http_idle_timeout = notes.duration(
        &at.field("idleTimeout"),
        idle_timeout.as_deref(),
        Duration::ZERO,
    );
    pool.h2_upgrade = h2_upgrade_policy.and_then(|policy| match policy {
        H2UpgradePolicy::Default => None,
        H2UpgradePolicy::DoNotUpgrade => Some(false),
        H2UpgradePolicy::Upgrade => Some(true),
    });
    pool.use_client_protocol = use_client_protocol.unwrap_or(false);
    if pool.use_client_protocol && pool.h2_upgrade == Some(true) {
        let message = "`h2UpgradePolicy: UPGRADE` and `useClientProtocol` exclude each other";
        notes.refuse(&at_upgrade, message, "keep one of them");
    }
    pool.max_concurrent_streams = notes
        .number(&at.field("maxConcurrentStreams"), streams, &STREAMS)
        .filter(|&streams| streams > 0);
    if let Some(wire) = http2_keep_alive {
        let at = at.field("http2KeepAlive");
        let istio_api::Http2KeepAlive { interval, timeout } = wire;
        for (name, field) in [("interval", &interval), ("timeout", &timeout)] {
            if field.is_none() {
                notes.missing(&at.field(name), "pings need an interval and a timeout");
            }
        }
        let interval = notes.duration(&at.field("interval"), interval.as_deref(), MILLISECOND);
        let timeout = notes.duration(&at.field("timeout"), timeout.as_deref(), MILLISECOND);
        pool.http2_keepalive = interval.zip(timeout);
    }
}
