//! The proxy's configuration as injection hands it over: Istio's ProxyConfig as JSON in `PROXY_CONFIG`. Its fields are
//! the defaults of the arguments of the same meaning.

use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::value::duration;

/// The fields that are read. Others are the control plane's matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshProxyConfig {
    /// Envoy's worker threads.
    pub concurrency: Option<u32>,
    /// The agent's port.
    pub status_port: Option<u16>,
    /// Envoy's admin interface.
    #[serde(rename = "proxyAdminPort")]
    pub admin_port: Option<u16>,
    /// How long Envoy lets connections of changed listeners finish.
    #[serde(deserialize_with = "wire_duration")]
    pub drain_duration: Option<Duration>,
    /// How long connections may finish after SIGTERM.
    #[serde(deserialize_with = "wire_duration")]
    pub termination_drain_duration: Option<Duration>,
}

impl FromStr for MeshProxyConfig {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// What stands in the environment. What is wrong with it is said where the argument itself is read.
#[must_use]
pub fn from_environment() -> MeshProxyConfig {
    let text = std::env::var("PROXY_CONFIG").unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// Protobuf's durations are seconds with a fraction: `1.5s`.
fn wire_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let seconds = text
        .strip_suffix('s')
        .and_then(|number| number.parse().ok());
    let parsed = seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    match parsed {
        Some(duration) => Ok(Some(duration)),
        None => duration(&text).map(Some).map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_are_not_the_agents_are_left_alone() {
        let text = r#"{"concurrency":1,"statusPort":16020,"terminationDrainDuration":"1.5s","drainDuration":"1m30s","tracing":{}}"#;
        let wanted = MeshProxyConfig {
            concurrency: Some(1),
            status_port: Some(16020),
            admin_port: None,
            drain_duration: Some(Duration::from_secs(90)),
            termination_drain_duration: Some(Duration::from_millis(1500)),
        };
        assert_eq!(text.parse::<MeshProxyConfig>().unwrap(), wanted);
        for wrong in [
            r#"{"drainDuration":"soon"}"#,
            r#"{"statusPort":70000}"#,
            "[]x",
        ] {
            assert!(wrong.parse::<MeshProxyConfig>().is_err(), "{wrong}");
        }
    }
}
