//! Which texts are right: for annotations and for settings alike. Each check says what to write instead.

use std::net::IpAddr;

use serde_json::{Map, Value};

/// A check of a text: fine, or what would be right.
pub(super) type Check = fn(&str) -> Result<(), &'static str>;

type Checked = Result<(), &'static str>;

fn fits(is_right: bool, right: &'static str) -> Checked {
    if is_right { Ok(()) } else { Err(right) }
}

/// What Istio takes for a boolean, or nothing.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// `true` or `false`, in Istio's spellings.
pub(super) fn boolean(text: &str) -> Checked {
    fits(parse_bool(text).is_some(), "true or false")
}

/// Seconds or a count.
pub(super) fn number(text: &str) -> Checked {
    fits(
        text.parse::<u32>()
            .is_ok_and(|number| i32::try_from(number).is_ok()),
        "a whole number from 0 to 2147483647",
    )
}

/// A count of one or more, as Kubernetes wants it of periods and thresholds.
pub(super) fn positive(text: &str) -> Checked {
    fits(
        number(text).is_ok() && text.parse() != Ok(0_u32),
        "a whole number from 1 to 2147483647",
    )
}

/// The port of the agent; 0: none.
pub(super) fn status_port(text: &str) -> Checked {
    fits(
        text.parse::<u16>().is_ok(),
        "a port, or 0 for no readiness probe",
    )
}

fn all(text: &str, is_right: impl Fn(&str) -> bool) -> bool {
    text.is_empty() || text.split(',').all(|item| is_right(item.trim()))
}

/// Ports between commas, or nothing.
pub(super) fn ports(text: &str) -> Checked {
    fits(
        all(text, |port| port.parse::<u16>().is_ok()),
        "ports between commas, as 8080,9090",
    )
}

/// Ports, or `*`.
pub(super) fn ports_or_all(text: &str) -> Checked {
    fits(
        text == "*" || ports(text).is_ok(),
        "ports between commas, as 8080,9090, or * for all",
    )
}

fn is_range(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else {
        return false;
    };
    let most = match address.parse() {
        Ok(IpAddr::V4(_)) => 32,
        Ok(IpAddr::V6(_)) => 128,
        Err(_) => return false,
    };
    !bits.starts_with('+') && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
}

/// Address ranges between commas, or nothing.
pub(super) fn ranges(text: &str) -> Checked {
    fits(
        all(text, is_range),
        "address ranges between commas, as 10.0.0.0/8,192.0.2.7/32",
    )
}

/// Address ranges, or `*`.
pub(super) fn ranges_or_all(text: &str) -> Checked {
    fits(
        text == "*" || ranges(text).is_ok(),
        "address ranges between commas, as 10.0.0.0/8,192.0.2.7/32, or * for all",
    )
}

/// Names of network interfaces between commas.
pub(super) fn interfaces(text: &str) -> Checked {
    let is_name = |name: &str| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@');
        (1..=15).contains(&name.len()) && !name.starts_with('-') && name.chars().all(fits)
    };
    fits(
        all(text, is_name),
        "names of network interfaces between commas, as eth1,net1",
    )
}

/// How traffic is captured. TPROXY is Istio's, too, and not supported here.
pub(super) fn interception_mode(text: &str) -> Checked {
    fits(
        matches!(text, "REDIRECT" | "NONE"),
        "REDIRECT or NONE (TPROXY is not supported)",
    )
}

const LEVELS: [&str; 8] = [
    "trace", "debug", "info", "warning", "warn", "error", "critical", "off",
];

/// A log level of Envoy's.
pub(super) fn level(text: &str) -> Checked {
    fits(
        LEVELS.contains(&text),
        "one of trace, debug, info, warning, error, critical, off",
    )
}

fn is_word(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    !text.is_empty() && text.chars().all(fits)
}

/// Log levels of Envoy's components, or nothing.
pub(super) fn component_levels(text: &str) -> Checked {
    let is_pair = |pair: &str| {
        pair.split_once(':')
            .is_some_and(|(component, level)| is_word(component) && LEVELS.contains(&level))
    };
    fits(
        all(text, is_pair),
        "COMPONENT:LEVEL between commas, as misc:error,http:debug",
    )
}

/// Log levels of the agent, for all of it or by scope.
pub(super) fn agent_levels(text: &str) -> Checked {
    let is_level = |level: &str| {
        matches!(
            level,
            "none" | "fatal" | "error" | "warn" | "info" | "debug"
        )
    };
    let is_right = |item: &str| match item.split_once(':') {
        Some((scope, level)) => is_word(scope) && is_level(level),
        None => is_level(item),
    };
    fits(
        !text.is_empty() && all(text, is_right),
        "SCOPE:LEVEL between commas, as default:info; levels: none, error, warn, info, debug",
    )
}

/// An amount of a resource, as Kubernetes writes it, and not below nothing.
pub(super) fn quantity(text: &str) -> Checked {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let suffix = text.get(number.len()..).unwrap_or_default();
    let is_number = |text: &str| {
        text.chars().any(|c| c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_digit() || c == '.')
            && text.matches('.').count() <= 1
    };
    let suffixes = [
        "", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei",
    ];
    let exponent = text.split_once(['e', 'E']).is_some_and(|(base, power)| {
        let power = power.strip_prefix(['+', '-']).unwrap_or(power);
        is_number(base)
            && (1..=2).contains(&power.len())
            && power.chars().all(|c| c.is_ascii_digit())
    });
    fits(
        text.len() <= 32 && ((is_number(number) && suffixes.contains(&suffix)) || exponent),
        "an amount, as 100m or 128Mi",
    )
}

/// A whole image reference.
pub(super) fn image(text: &str) -> Checked {
    let fits_in =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '@');
    fits(
        !text.is_empty() && text.len() <= 512 && text.chars().all(fits_in),
        "a whole image, as registry.example.com/mesh/proxyv2:1.0",
    )
}

/// A kind of image, which becomes part of the tag.
pub(super) fn image_type(text: &str) -> Checked {
    fits(
        text.is_empty() || (is_word(text) && text.len() <= 64),
        "default, debug, distroless, or another ending of the tag",
    )
}

/// The name of an object.
pub(super) fn object_name(text: &str) -> Checked {
    let fits_in = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    fits(
        text.len() <= 253
            && text.chars().all(fits_in)
            && text.starts_with(ends)
            && text.ends_with(ends),
        "the name of a ConfigMap",
    )
}

/// The volumes that injection makes itself.
pub(super) const OWN_VOLUMES: [&str; 9] = [
    "workload-socket",
    "credential-socket",
    "workload-certs",
    "istio-envoy",
    "istio-data",
    "istio-podinfo",
    "istio-token",
    "istiod-ca-cert",
    "custom-bootstrap-volume",
];

fn each_object(text: &str, is_right: impl Fn(&str, &Map<String, Value>) -> bool) -> bool {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else {
        return false;
    };
    fields.iter().all(|(name, value)| {
        let fields = value.as_object();
        !name.is_empty() && fields.is_some_and(|fields| is_right(name, fields))
    })
}

/// Volumes by name, in JSON.
pub(super) fn user_volumes(text: &str) -> Checked {
    fits(
        each_object(text, |name, _| !OWN_VOLUMES.contains(&name)),
        r#"a JSON object of volumes by name, as {"cache":{"emptyDir":{}}}, with other names than injection's own"#,
    )
}

/// Where they are mounted.
pub(super) fn user_mounts(text: &str) -> Checked {
    let own = [
        "/etc/istio/proxy",
        "/etc/istio/pod",
        "/etc/istio/custom-bootstrap",
        "/var/lib/istio/data",
    ];
    let is_own = |path: &str| {
        let path = path.trim_end_matches('/');
        own.contains(&path) || path == "/var/run/secrets" || path.starts_with("/var/run/secrets/")
    };
    let is_right = |_: &str, mount: &Map<String, Value>| {
        let path = mount.get("mountPath").and_then(Value::as_str);
        path.is_some_and(|path| path.starts_with('/') && !is_own(path))
    };
    fits(
        each_object(text, is_right),
        r#"a JSON object of mounts by the volume's name, as {"cache":{"mountPath":"/cache"}}, at other places than injection's own"#,
    )
}

/// The templates of injection. Lateen has the one that all pods use.
pub(super) fn templates(text: &str) -> Checked {
    fits(
        text.split(',').all(|name| name.trim() == "sidecar"),
        "sidecar; other templates (gateway, grpc-agent, custom ones) are not supported",
    )
}

/// What an earlier injection wrote down of the pod's own `istio-proxy`.
pub(super) fn overrides(text: &str) -> Checked {
    let is_list = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items
            .iter()
            .all(|item| item.get("name").is_some_and(Value::is_string)),
        Some(_) => false,
    };
    let is_right = serde_json::from_str::<Value>(text).is_ok_and(|value| {
        value.is_object()
            && is_list(value.get("containers"))
            && is_list(value.get("initContainers"))
    });
    fits(is_right, "nothing: injection writes this annotation itself")
}

/// `global.imagePullPolicy`.
pub(super) fn pull_policy(text: &str) -> Checked {
    fits(
        matches!(text, "Always" | "IfNotPresent" | "Never"),
        "Always, IfNotPresent or Never",
    )
}

/// `global.proxy.autoInject`.
pub(super) fn auto_inject(text: &str) -> Checked {
    fits(
        matches!(text, "enabled" | "disabled"),
        "enabled or disabled",
    )
}

/// `ENABLE_NATIVE_SIDECARS`.
pub(super) fn native_sidecars(text: &str) -> Checked {
    fits(
        matches!(text, "auto" | "true" | "false"),
        "auto, true or false",
    )
}
