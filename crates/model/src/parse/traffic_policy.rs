//! `trafficPolicy` of a DestinationRule: load balancing, ejection of failing endpoints, TLS.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use istio_api::{ClientTlsMode, SimpleLb};

use super::connection_pool;
use super::notes::{At, Notes, Written};
use super::value::{MILLISECOND, PERCENT, UNSIGNED, strings, text};
use crate::{
    ClientTls, Code, LoadBalancer, OutlierDetection, Port, PortPolicy, ServerName, TrafficPolicy,
};

/// Reads a traffic policy; an absent one says nothing.
pub(super) fn read(
    wire: Option<istio_api::TrafficPolicy>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> TrafficPolicy {
    let istio_api::TrafficPolicy {
        load_balancer,
        connection_pool,
        outlier_detection,
        tls,
        port_level_settings,
        tunnel,
        proxy_protocol,
        retry_budget,
    } = wire.unwrap_or_default();
    notes.not_yet(&at.field("tunnel"), &tunnel);
    notes.not_yet(&at.field("proxyProtocol"), &proxy_protocol);
    notes.not_yet(&at.field("retryBudget"), &retry_budget);
    let settings = Settings {
        load_balancer,
        connection_pool,
        outlier_detection,
        tls,
    };
    TrafficPolicy {
        default: settings.read(at, notes),
        ports: ports(port_level_settings, &at.field("portLevelSettings"), notes),
    }
}

/// What a policy and the settings of one of its ports have in common.
struct Settings {
    load_balancer: Option<istio_api::LoadBalancerSettings>,
    connection_pool: Option<istio_api::ConnectionPoolSettings>,
    outlier_detection: Option<istio_api::OutlierDetection>,
    tls: Option<istio_api::ClientTlsSettings>,
}

impl Settings {
    fn read(self, at: &At<'_>, notes: &mut Notes<'_>) -> PortPolicy {
        let Self {
            load_balancer: lb,
            connection_pool: pool,
            outlier_detection: ejection,
            tls,
        } = self;
        PortPolicy {
            load_balancer: lb.and_then(|lb| load_balancer(lb, &at.field("loadBalancer"), notes)),
            connection_pool: pool
                .map(|pool| connection_pool::read(pool, &at.field("connectionPool"), notes)),
            outlier_detection: ejection
                .map(|wire| outlier_detection(wire, &at.field("outlierDetection"), notes)),
            tls: tls.and_then(|wire| client_tls(wire, &at.field("tls"), notes)),
        }
    }
}

fn ports(
    wire: Vec<istio_api::PortTrafficPolicy>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> BTreeMap<Port, PortPolicy> {
    let mut found = BTreeMap::new();
    for (index, wire) in wire.into_iter().enumerate() {
        let at = at.item(index);
        let istio_api::PortTrafficPolicy {
            port,
            load_balancer,
            connection_pool,
            outlier_detection,
            tls,
        } = wire;
        let number = port.and_then(|istio_api::PortSelector { number }| number);
        let number_at = at.field("port");
        let number_at = number_at.field("number");
        if number.is_none() {
            notes.missing(&number_at, "give the number of the service's port");
        }
        let port = notes.port(&number_at, number);
        let settings = Settings {
            load_balancer,
            connection_pool,
            outlier_detection,
            tls,
        };
        let policy = settings.read(&at, notes);
        match port.map(|port| found.entry(port)) {
            Some(Entry::Vacant(entry)) => {
                entry.insert(policy);
            }
            Some(Entry::Occupied(entry)) => {
                let message = format!("the port {} stands here twice", entry.key());
                notes.error(&number_at, message, "the second is dropped; leave one out");
            }
            None => {}
        }
    }
    found
}

fn load_balancer(
    wire: istio_api::LoadBalancerSettings,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<LoadBalancer> {
    let istio_api::LoadBalancerSettings {
        simple,
        consistent_hash,
        locality_lb_setting,
        zone_aware_lb_setting,
        warmup_duration_secs,
        warmup,
    } = wire;
    if simple.is_some() && consistent_hash.is_some() {
        let message = "`simple` and `consistentHash` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    if locality_lb_setting.is_some() && zone_aware_lb_setting.is_some() {
        let message = "`localityLbSetting` and `zoneAwareLbSetting` exclude each other";
        notes.refuse(at, message, "keep one of them");
    }
    notes.not_yet(&at.field("consistentHash"), &consistent_hash);
    notes.not_yet(&at.field("localityLbSetting"), &locality_lb_setting);
    notes.not_yet(&at.field("zoneAwareLbSetting"), &zone_aware_lb_setting);
    notes.not_yet(&at.field("warmupDurationSecs"), &warmup_duration_secs);
    notes.not_yet(&at.field("warmup"), &warmup);
    simple.map(|simple| match simple {
        SimpleLb::Unspecified | SimpleLb::LeastRequest => LoadBalancer::LeastRequest,
        SimpleLb::LeastConn => {
            let message = "`LEAST_CONN` is deprecated";
            notes.warn(
                &at.field("simple"),
                Code::Deprecated,
                message,
                "write `LEAST_REQUEST`",
            );
            LoadBalancer::LeastRequest
        }
        SimpleLb::Random => LoadBalancer::Random,
        SimpleLb::Passthrough => LoadBalancer::Passthrough,
        SimpleLb::RoundRobin => LoadBalancer::RoundRobin,
    })
}

fn outlier_detection(
    wire: istio_api::OutlierDetection,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> OutlierDetection {
    let istio_api::OutlierDetection {
        consecutive_errors,
        split_external_local_origin_errors,
        consecutive_local_origin_failures: local,
        consecutive_gateway_errors: gateway,
        consecutive_5xx_errors: server,
        interval,
        base_ejection_time: base,
        max_ejection_percent: most,
        min_health_percent: least,
        outlier_detection_http_error_codes: codes,
    } = wire;
    if consecutive_errors.is_written() {
        notes.warn(
            &at.field("consecutiveErrors"),
            Code::Deprecated,
            "`consecutiveErrors` is deprecated and has no effect",
            "write `consecutive5xxErrors`",
        );
    }
    notes.not_yet(&at.field("outlierDetectionHttpErrorCodes"), &codes);
    OutlierDetection {
        consecutive_5xx: notes.number(&at.field("consecutive5xxErrors"), server, &UNSIGNED),
        consecutive_gateway: notes.number(
            &at.field("consecutiveGatewayErrors"),
            gateway,
            &UNSIGNED,
        ),
        consecutive_local_origin: notes.number(
            &at.field("consecutiveLocalOriginFailures"),
            local,
            &UNSIGNED,
        ),
        split_local_origin: split_external_local_origin_errors.unwrap_or(false),
        interval: notes.duration(&at.field("interval"), interval.as_deref(), MILLISECOND),
        base_ejection_time: notes.duration(
            &at.field("baseEjectionTime"),
            base.as_deref(),
            MILLISECOND,
        ),
        // Istio takes 0 to say nothing.
        max_ejection_percent: notes
            .number(&at.field("maxEjectionPercent"), most, &PERCENT)
            .filter(|&percent| percent > 0),
        min_health_percent: notes
            .number(&at.field("minHealthPercent"), least, &PERCENT)
            .unwrap_or(0),
    }
}

fn client_tls(
    wire: istio_api::ClientTlsSettings,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<ClientTls> {
    let mode = wire.mode.unwrap_or(ClientTlsMode::Disable);
    exclusions(&wire, mode, at, notes);
    let istio_api::ClientTlsSettings {
        mode: _,
        client_certificate,
        private_key,
        ca_certificates,
        credential_name,
        subject_alt_names,
        sni,
        insecure_skip_verify,
        ca_crl,
    } = wire;
    notes.not_yet(&at.field("caCrl"), &ca_crl);
    // Without what the Secret holds, a server that needs it refuses the connection: nothing is weakened.
    let by_secret = notes.not_yet_with(
        &at.field("credentialName"),
        &credential_name,
        "the Secret is not read: connections that need it fail",
    );
    let server = ServerName {
        sni: text(sni),
        subject_alt_names: strings(subject_alt_names),
        ca_certificates: text(ca_certificates),
        insecure_skip_verify: insecure_skip_verify.unwrap_or(false),
    };
    match mode {
        ClientTlsMode::Disable => Some(ClientTls::Disable),
        ClientTlsMode::Simple => Some(ClientTls::Simple(server)),
        ClientTlsMode::Mutual if by_secret => Some(ClientTls::Simple(server)),
        ClientTlsMode::Mutual => {
            let certificate = text(client_certificate);
            let private_key = text(private_key);
            for (name, file) in [
                ("clientCertificate", &certificate),
                ("privateKey", &private_key),
            ] {
                if file.is_none() {
                    notes.missing(
                        &at.field(name),
                        "`MUTUAL` needs the client's certificate and key",
                    );
                }
            }
            Some(ClientTls::Mutual {
                server,
                certificate: certificate?,
                private_key: private_key?,
            })
        }
        ClientTlsMode::IstioMutual => Some(ClientTls::IstioMutual {
            sni: server.sni,
            subject_alt_names: server.subject_alt_names,
        }),
    }
}

/// Fields that do not go with a mode, or not with each other.
fn exclusions(
    wire: &istio_api::ClientTlsSettings,
    mode: ClientTlsMode,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) {
    let istio_api::ClientTlsSettings {
        mode: _,
        client_certificate,
        private_key,
        ca_certificates,
        credential_name,
        subject_alt_names,
        sni: _,
        insecure_skip_verify,
        ca_crl: _,
    } = wire;
    let files = [
        ("clientCertificate", client_certificate),
        ("privateKey", private_key),
        ("caCertificates", ca_certificates),
    ];
    let files =
        files.map(|(name, file)| (name, file.as_ref().is_some_and(|file| !file.is_empty())));
    let secret = ("credentialName", credential_name.is_some());
    for (name, written) in files.into_iter().chain([secret]) {
        if written && mode == ClientTlsMode::IstioMutual {
            let message = format!("`{name}` does not go with `ISTIO_MUTUAL`");
            notes.refuse(
                &at.field(name),
                message,
                "the mesh's own certificates are used; leave it out",
            );
        }
    }
    if secret.1 && mode == ClientTlsMode::Mutual && files.iter().any(|(_, written)| *written) {
        let message = "`credentialName` and files exclude each other";
        notes.refuse(&at.field("credentialName"), message, "keep one of them");
    }
    let names_authority = ca_certificates.is_some() || !subject_alt_names.is_empty();
    if insecure_skip_verify.unwrap_or(false) && names_authority {
        notes.refuse(
            &at.field("insecureSkipVerify"),
            "`insecureSkipVerify` excludes `caCertificates` and `subjectAltNames`",
            "verify the server or do not",
        );
    }
}
