//! Istio's ProxyConfig as injection handles it: a JSON object whose fields are checked by type, and that is merged field
//! by field: the defaults, then MeshConfig's `defaultConfig`, then the pod's `proxy.istio.io/config`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::check;

/// The fields that are set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ProxyConfig {
    fields: BTreeMap<&'static str, Value>,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    Port,
    Count,
    Flag,
    Duration,
    Mode,
    Texts,
    Object,
    List,
    Any,
}

/// Every field of ProxyConfig.
const FIELDS: &[(&str, Kind)] = &[
    ("availabilityZone", Kind::Text),
    ("binaryPath", Kind::Text),
    ("caCertificatesPem", Kind::List),
    ("concurrency", Kind::Count),
    ("configPath", Kind::Text),
    ("connectionSettings", Kind::Any),
    ("controlPlaneAuthPolicy", Kind::Any),
    ("customConfigFile", Kind::Text),
    ("discoveryAddress", Kind::Text),
    ("discoveryRefreshDelay", Kind::Duration),
    ("drainDuration", Kind::Duration),
    ("envoyAccessLogService", Kind::Object),
    ("envoyMetricsService", Kind::Object),
    ("extraStatTags", Kind::List),
    ("fileFlushInterval", Kind::Duration),
    ("fileFlushMinSizeKb", Kind::Count),
    ("gatewayTopology", Kind::Object),
    ("holdApplicationUntilProxyStarts", Kind::Flag),
    ("image", Kind::Object),
    ("interceptionMode", Kind::Mode),
    ("meshId", Kind::Text),
    ("parentShutdownDuration", Kind::Duration),
    ("privateKeyProvider", Kind::Object),
    ("proxyAdminPort", Kind::Port),
    ("proxyBootstrapTemplatePath", Kind::Text),
    ("proxyHeaders", Kind::Object),
    ("proxyMetadata", Kind::Texts),
    ("proxyStatsMatcher", Kind::Object),
    ("readinessProbe", Kind::Object),
    ("runtimeValues", Kind::Texts),
    ("sds", Kind::Object),
    ("serviceCluster", Kind::Text),
    ("statNameLength", Kind::Count),
    ("statsCompression", Kind::Any),
    ("statsdUdpAddress", Kind::Text),
    ("statusPort", Kind::Port),
    ("terminationDrainDuration", Kind::Duration),
    ("tracing", Kind::Object),
    ("tracingServiceName", Kind::Any),
    ("zipkinAddress", Kind::Text),
];

/// What a sidecar does without being told, so that the pod need not say it.
const DEFAULTS: &[(&str, &str)] = &[
    ("binaryPath", "/usr/local/bin/envoy"),
    ("configPath", "./etc/istio/proxy"),
    ("discoveryAddress", "istiod.istio-system.svc:15012"),
    ("drainDuration", "45s"),
    ("parentShutdownDuration", "60s"),
    ("serviceCluster", "istio-proxy"),
    ("terminationDrainDuration", "5s"),
    ("interceptionMode", "REDIRECT"),
];

impl ProxyConfig {
    /// Reads what can be read, and says what cannot.
    pub(super) fn lenient(value: &Value) -> (Self, Vec<String>) {
        let mut config = Self::default();
        let Value::Object(fields) = value else {
            return (
                config,
                vec![format!("{value} is not an object; it is not used")],
            );
        };
        let mut wrong = Vec::new();
        for (name, value) in fields {
            match read(name, value) {
                Ok(Some((name, value))) => drop(config.fields.insert(name, value)),
                Ok(None) => {}
                Err(error) => wrong.push(format!("{error}; it is not used")),
            }
        }
        (config, wrong)
    }

    /// Reads a pod's annotation, and says which fields no ProxyConfig has.
    ///
    /// # Errors
    /// The fields that have the wrong type.
    pub(super) fn strict(value: &Value) -> Result<(Self, Vec<String>), String> {
        let fields = match value {
            Value::Null => return Ok(Default::default()),
            Value::Object(fields) => fields,
            other => return Err(format!("{other} is not a ProxyConfig: write its fields")),
        };
        let mut config = Self::default();
        let (mut wrong, mut unknown) = (Vec::new(), Vec::new());
        for (name, value) in fields {
            match read(name, value) {
                Ok(Some((name, value))) => drop(config.fields.insert(name, value)),
                Ok(None) => {}
                Err(Wrong::Unknown(name)) => unknown.push(name),
                Err(error @ Wrong::Type(..)) => wrong.push(error.to_string()),
            }
        }
        if wrong.is_empty() {
            Ok((config, unknown))
        } else {
            Err(wrong.join("; "))
        }
    }

    /// With the fields of `other` instead of these, and `proxyMetadata` united.
    pub(super) fn merged(&self, other: Self) -> Self {
        let mut merged = self.clone();
        for (name, value) in other.fields {
            match (merged.fields.get_mut(name), value) {
                (Some(Value::Object(ours)), Value::Object(theirs)) if name == "proxyMetadata" => {
                    ours.extend(theirs);
                }
                (_, value) => drop(merged.fields.insert(name, value)),
            }
        }
        merged
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name)?.as_str()
    }

    /// How traffic is captured.
    pub(super) fn interception_mode(&self) -> Option<&str> {
        self.text("interceptionMode")
    }

    /// The port of the agent.
    pub(super) fn status_port(&self) -> Option<u16> {
        self.fields
            .get("statusPort")?
            .as_u64()
            .and_then(|port| u16::try_from(port).ok())
    }

    /// Where the control plane is.
    pub(super) fn discovery_address(&self) -> Option<&str> {
        self.text("discoveryAddress")
            .filter(|address| !address.is_empty())
    }

    /// The kind of image.
    pub(super) fn image_type(&self) -> Option<&str> {
        self.fields.get("image")?.get("imageType")?.as_str()
    }

    /// Whether the app waits for the proxy.
    pub(super) fn holds_application(&self) -> Option<bool> {
        self.fields
            .get("holdApplicationUntilProxyStarts")?
            .as_bool()
    }

    /// Variables of the proxy's environment.
    pub(super) fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        let fields = self.fields.get("proxyMetadata").and_then(Value::as_object);
        fields
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// What the agent must be told: everything but the defaults.
    pub(super) fn to_json(&self) -> Value {
        let is_default = |name: &str, value: &Value| {
            let is = |(of, default): &(&str, &str)| *of == name && value == default;
            DEFAULTS.iter().any(is) || (name == "statusPort" && *value == 15020)
        };
        let fields = self.fields.iter();
        let told = fields.filter(|(name, value)| !is_default(name, value));
        Value::Object(
            told.map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<Map<_, _>>(),
        )
    }

    /// Sets the port of the agent.
    pub(super) fn with_status_port(mut self, port: u16) -> Self {
        self.fields.insert("statusPort", port.into());
        self
    }
}

/// Why a field cannot be read.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("ProxyConfig has no field {0:?}")]
    Unknown(String),
    #[error("{0}: {1} is wrong: write {2}")]
    Type(&'static str, Value, &'static str),
}

type Field = (&'static str, Value);

/// A field under its own name, whichever of its spellings was written. Null is nothing.
fn read(name: &str, value: &Value) -> Result<Option<Field>, Wrong> {
    let camel = camel_case(name);
    let known = FIELDS.iter().find(|(field, _)| *field == camel);
    let Some(&(name, kind)) = known else {
        return Err(Wrong::Unknown(name.to_owned()));
    };
    if value.is_null() {
        return Ok(None);
    }
    match kind.read(value) {
        Ok(value) => Ok(Some((name, value))),
        Err(right) => Err(Wrong::Type(name, value.clone(), right)),
    }
}

fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut letters = word.chars();
        camel.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(letters.as_str());
    }
    camel
}

impl Kind {
    fn read(self, value: &Value) -> Result<Value, &'static str> {
        let keep = |is_right: bool, right| {
            if is_right {
                Ok(value.clone())
            } else {
                Err(right)
            }
        };
        match self {
            Self::Text => keep(value.is_string(), "a text"),
            Self::Port => number(value, u16::MAX.into(), "a port"),
            Self::Count => number(value, i32::MAX.unsigned_abs().into(), "a whole number"),
            Self::Flag => keep(value.is_boolean(), "true or false"),
            Self::Duration => keep(value.as_str().is_some_and(is_duration), "a duration, as 5s"),
            Self::Mode => match value.as_str() {
                Some(mode) => check::interception_mode(mode).map(|()| value.clone()),
                None => keep(*value == 0, "REDIRECT or NONE").map(|_| "REDIRECT".into()),
            },
            Self::Texts => texts(value),
            Self::Object => keep(value.is_object(), "an object"),
            Self::List => keep(value.is_array(), "a list"),
            Self::Any => Ok(value.clone()),
        }
    }
}

/// Protobuf's JSON has numbers as texts, too.
fn number(value: &Value, most: u64, right: &'static str) -> Result<Value, &'static str> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    number
        .filter(|number| *number <= most)
        .map(Value::from)
        .ok_or(right)
}

/// YAML reads `"true"` without quotes as a boolean, which Istio refuses, and this does not.
fn texts(value: &Value) -> Result<Value, &'static str> {
    const RIGHT: &str = "a map of texts";
    let text = |(name, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return Err(RIGHT),
        };
        Ok((name.clone(), text.into()))
    };
    let fields = value.as_object().ok_or(RIGHT)?.iter();
    fields
        .map(text)
        .collect::<Result<_, _>>()
        .map(Value::Object)
}

/// Protobuf's form (`1.5s`), and Go's, which Istio takes, too (`1m30s`).
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
        let digits = rest.len() - number.len();
        let unit = ["ms", "us", "ns", "s", "m", "h"]
            .into_iter()
            .find(|unit| number.starts_with(unit));
        match unit.and_then(|unit| number.strip_prefix(unit)) {
            Some(tail) if digits > 0 => rest = tail,
            Some(_) | None => return false,
        }
    }
    !text.is_empty()
}
