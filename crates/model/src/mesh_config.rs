//! Istio's MeshConfig, as far as it is translated.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::{
    DefaultExports, ExternalAuthorizer, LabelSelector, LocalityLb, Namespace, Retries,
    TcpKeepalive, TrustDomain, TrustDomains,
};

/// MeshConfig with Istio's defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MeshConfig {
    /// `outboundTrafficPolicy.mode`.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// What is said of every listener.
    pub listeners: ListenerSettings,
    /// `trustDomain`.
    pub trust_domain: TrustDomain,
    /// `trustDomainAliases`.
    pub trust_domain_aliases: Arc<[TrustDomain]>,
    /// `rootNamespace`.
    pub root_namespace: Namespace,
    /// `enableAutoMtls`.
    pub auto_mtls: bool,
    /// `localityLbSetting`: what holds where no DestinationRule says.
    pub locality: LocalityLb,
    /// `connectTimeout`; none: 10 s.
    pub connect_timeout: Option<Duration>,
    /// `tcpKeepalive`.
    pub tcp_keepalive: Option<TcpKeepalive>,
    /// `h2UpgradePolicy` is `UPGRADE`.
    pub h2_upgrade: bool,
    /// `defaultHttpRetryPolicy`; none: Istio's own.
    pub retries: Option<Retries>,
    /// `dnsRefreshRate`; none: 60 s.
    pub dns_refresh: Option<Duration>,
    /// `discoverySelectors`; empty: every namespace exists for the mesh.
    pub discovery_selectors: Arc<[LabelSelector]>,
    /// `extensionProviders` that authorize, by name.
    pub authorizers: BTreeMap<Arc<str>, ExternalAuthorizer>,
    /// Where objects are seen that do not say it.
    pub exports: DefaultExports,
}

impl MeshConfig {
    /// The trust domains whose identities are the mesh's own.
    #[must_use]
    pub fn trust_domains(&self) -> TrustDomains {
        TrustDomains::new(
            self.trust_domain.clone(),
            self.trust_domain_aliases.iter().cloned(),
        )
    }
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            outbound_traffic_policy: OutboundTrafficPolicy::AllowAny,
            listeners: ListenerSettings::default(),
            trust_domain: TrustDomain::cluster_local(),
            trust_domain_aliases: Arc::new([]),
            root_namespace: Namespace::istio_system(),
            auto_mtls: true,
            locality: LocalityLb::default(),
            connect_timeout: None,
            tcp_keepalive: None,
            h2_upgrade: false,
            retries: None,
            dns_refresh: None,
            discovery_selectors: Arc::new([]),
            authorizers: BTreeMap::new(),
            exports: DefaultExports::default(),
        }
    }
}

/// `outboundTrafficPolicy.mode`: what happens to calls to unknown hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutboundTrafficPolicy {
    /// `ALLOW_ANY`: they pass as they are.
    #[default]
    AllowAny,
    /// `REGISTRY_ONLY`: they are refused.
    RegistryOnly,
    /// `ALLOW_ANY_DYNAMIC_DNS`: requests go to the addresses of the host that they name, connections pass as they are.
    AllowAnyDynamicDns,
}

/// What MeshConfig says of every listener.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenerSettings {
    /// `accessLogFile`, `accessLogFormat`, `accessLogEncoding`; none: no access log.
    pub access_log: Option<AccessLog>,
    /// `pathNormalization.normalization`.
    pub path_normalization: PathNormalization,
    /// `protocolDetectionTimeout`: how long the first bytes of a connection are waited for, before it counts as neither
    /// TLS nor HTTP; none: as long as it takes.
    pub protocol_detection_timeout: Option<Duration>,
}

/// `pathNormalization.normalization`: into which form paths are brought before anything looks at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathNormalization {
    /// `NONE`: they stay as they are.
    None,
    /// `BASE` and `DEFAULT`: RFC 3986, so that `/a/../b` is `/b`.
    #[default]
    Base,
    /// `MERGE_SLASHES`: as `BASE`, and `//` is `/`.
    MergeSlashes,
    /// `DECODE_AND_MERGE_SLASHES`: as `MERGE_SLASHES`, and `%2F` and `%5C` are `/` and `\\`.
    DecodeAndMergeSlashes,
}

/// Where and how requests are logged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessLog {
    /// `accessLogFile`.
    pub path: Arc<str>,
    /// `accessLogFormat` and `accessLogEncoding`.
    pub format: AccessLogFormat,
}

/// How a line is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum AccessLogFormat {
    /// `TEXT` in Istio's default format.
    DefaultText,
    /// `TEXT` in this format.
    Text(Arc<str>),
    /// `JSON` with Istio's default keys.
    DefaultJson,
    /// `JSON` with these keys, ordered.
    Json(Arc<[(Arc<str>, Arc<str>)]>),
}

impl AccessLogFormat {
    /// The formats that the user wrote.
    pub fn own(&self) -> impl Iterator<Item = &Arc<str>> {
        let (text, json) = match self {
            Self::DefaultText | Self::DefaultJson => (None, None),
            Self::Text(text) => (Some(text), None),
            Self::Json(keys) => (None, Some(keys)),
        };
        let json = json.into_iter().flat_map(|keys| keys.iter());
        text.into_iter().chain(json.map(|(_, format)| format))
    }
}
