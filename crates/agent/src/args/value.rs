//! The values of arguments that need more than their own `FromStr`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

/// A host and a port, as in a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl FromStr for Authority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (host, port) = text.rsplit_once(':').ok_or("write HOST:PORT")?;
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
            return Err("write HOST:PORT, an IPv6 address in brackets".to_owned());
        }
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is not a port"))?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Labels of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels(pub BTreeMap<String, String>);

impl Labels {
    /// Reads `key="value"` lines, as Kubernetes' downward API writes them.
    ///
    /// # Errors
    /// The first line that is none.
    pub fn from_file(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let entry = |line: &str| {
            let (key, value) = line.split_once('=')?;
            // Go's quoting of what labels may contain is that of JSON.
            Some((key.to_owned(), serde_json::from_str(value).ok()?))
        };
        lines
            .map(|line| entry(line).ok_or_else(|| format!("{line:?} is not key=\"value\"")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl FromStr for Labels {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let entries = text.split(',').filter(|entry| !entry.is_empty());
        let entry = |entry: &str| {
            let (key, value) = entry.split_once('=').filter(|(key, _)| !key.is_empty())?;
            Some((key.to_owned(), value.to_owned()))
        };
        entries
            .map(|text| entry(text).ok_or_else(|| format!("{text:?} is not key=value")))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Where a workload runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// The region.
    pub region: String,
    /// The zone; may be empty.
    pub zone: String,
    /// The part of the zone; may be empty.
    pub sub_zone: String,
}

impl Locality {
    /// Splits at `separator`: `/` in arguments, `.` in the label, which may not contain `/`.
    #[must_use]
    pub fn parse(text: &str, separator: char) -> Self {
        let mut parts = text.splitn(3, separator).map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Self {
            region: next(),
            zone: next(),
            sub_zone: next(),
        }
    }
}

impl FromStr for Locality {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::parse(text, '/'))
    }
}

/// Where the app serves metrics of its own: what Istio's injector makes of the annotations `prometheus.io/*`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PrometheusScrape {
    /// Unless it is `false`, metrics are fetched.
    #[serde(default)]
    pub scrape: String,
    /// The path; `/metrics` when empty.
    #[serde(default)]
    pub path: String,
    /// The port; 80 when empty.
    #[serde(default)]
    pub port: String,
}

impl FromStr for PrometheusScrape {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        serde_json::from_str(text)
    }
}

/// A duration with a unit: `500ms`, `45s`, `10m`, `24h`, or several: `1h30m`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a duration such as 45s or 1h30m");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let number: u32 = number.parse().map_err(|_| wrong())?;
        let unit = match unit {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3600),
            _ => return Err(wrong()),
        };
        total = unit
            .checked_mul(number)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        rest = tail;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

/// A duration, or a bare number of seconds, as Istio's variable has it.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) => Ok(Duration::from_secs(seconds)),
        Err(_) => duration(text),
    }
}

/// Node metadata from the environment, as Istio's agent takes it: `ISTIO_META_X=text` is `X`, and the fields of the
/// JSON object in `ISTIO_METAJSON_*` are fields.
pub(super) fn environment_metadata() -> BTreeMap<String, serde_json::Value> {
    metadata(
        std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?))),
    )
}

fn metadata(
    variables: impl Iterator<Item = (String, String)>,
) -> BTreeMap<String, serde_json::Value> {
    let mut metadata = BTreeMap::new();
    for (key, value) in variables {
        if let Some(key) = key.strip_prefix("ISTIO_META_") {
            metadata.insert(key.to_owned(), value.into());
        } else if key.starts_with("ISTIO_METAJSON_")
            && let Ok(fields) = serde_json::from_str::<BTreeMap<_, _>>(&value)
        {
            metadata.extend(fields);
        }
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(seconds("5"), Ok(Duration::from_secs(5)));
        for wrong in ["", "5", "5x", "s", "99999999999h", "-1s"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn authorities_have_a_port() {
        let v6: Authority = "[::1]:15012".parse().unwrap();
        assert_eq!(
            (v6.host.as_str(), v6.port, v6.to_string().as_str()),
            ("::1", 15012, "[::1]:15012")
        );
        assert!("istiod:15012".parse::<Authority>().is_ok());
        for wrong in [
            "istiod",
            ":15012",
            "::1:15012",
            "istiod:http",
            "istiod:70000",
        ] {
            assert!(wrong.parse::<Authority>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_come_as_a_list_or_as_kubernetes_writes_them() {
        let labels = Labels(BTreeMap::from([
            ("app".to_owned(), "cart".to_owned()),
            ("example.com/note".to_owned(), String::new()),
        ]));
        assert_eq!("app=cart,example.com/note=".parse(), Ok(labels.clone()));
        assert_eq!(
            Labels::from_file("app=\"cart\"\nexample.com/note=\"\"\n"),
            Ok(labels)
        );
        assert!("app".parse::<Labels>().is_err());
        assert!(Labels::from_file("app=cart").is_err());
    }

    #[test]
    fn metadata_comes_from_istios_variables() {
        let variables = [
            ("ISTIO_META_NETWORK", "n1"),
            ("ISTIO_METAJSON_LABELS", r#"{"a":{"b":true}}"#),
            ("PATH", "/bin"),
        ];
        let owned = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let wanted = BTreeMap::from([
            ("NETWORK".to_owned(), "n1".into()),
            ("a".to_owned(), serde_json::json!({"b": true})),
        ]);
        assert_eq!(metadata(owned.into_iter()), wanted);
    }
}
