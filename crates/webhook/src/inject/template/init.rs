//! The container `istio-init`: it sets the rules that lead the pod's traffic through the proxy, and ends.

use serde_json::{Value, json};

use crate::inject::annotations::{self as names, Annotations};
use crate::inject::context::{Context, INIT};
use crate::inject::pod::Container;

/// The container, with `istio-iptables`' flags.
pub(super) fn container(context: &Context<'_>) -> Container {
    let settings = context.settings;
    let own = settings.init_resources.as_ref();
    let mut fields = json!({
        "image": context.image(&settings.image.init_name),
        "args": arguments(context),
        "resources": own.map_or_else(|| super::resources(context, &settings.resources), Clone::clone),
        "securityContext": {
            "allowPrivilegeEscalation": settings.is_privileged,
            "privileged": settings.is_privileged,
            "capabilities": { "add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"] },
            "readOnlyRootFilesystem": false,
            "runAsGroup": 0,
            "runAsNonRoot": false,
            "runAsUser": 0,
        },
    });
    let variables: Vec<Value> = context
        .config
        .metadata()
        .map(|(name, value)| json!({ "name": name, "value": value }))
        .collect();
    if !variables.is_empty() {
        super::set(&mut fields, "env", variables.into());
    }
    super::common(&mut fields, settings);
    Container::new(INIT, fields)
}

fn arguments(context: &Context<'_>) -> Vec<String> {
    let capture = &context.settings.capture;
    let annotations = context.annotations;
    let mut words = vec!["istio-iptables".to_owned()];
    let mut flag = |flag: &str, value: &str| words.extend([flag.to_owned(), value.to_owned()]);
    flag("-p", &capture.outbound_port.to_string());
    flag("-z", &capture.inbound_port.to_string());
    flag("-u", "1337");
    flag("-m", context.interception_mode());
    flag(
        "-i",
        annotations.or(names::INCLUDE_RANGES, &capture.include_ranges),
    );
    flag(
        "-x",
        annotations.or(names::EXCLUDE_RANGES, &capture.exclude_ranges),
    );
    flag(
        "-b",
        annotations.or(names::INCLUDE_INBOUND, &capture.include_inbound),
    );
    flag("-d", &excluded_inbound(context));
    let optional = [
        (
            "-q",
            annotations.get(names::INCLUDE_OUTBOUND),
            capture.include_outbound.as_str(),
        ),
        (
            "-o",
            annotations.get(names::EXCLUDE_OUTBOUND),
            &capture.exclude_outbound,
        ),
        ("-k", virtual_interfaces(annotations), ""),
        ("-c", annotations.get(names::EXCLUDE_INTERFACES), ""),
    ];
    for (name, annotation, setting) in optional {
        match (annotation, setting) {
            (None, "") => {}
            (Some(value), _) | (None, value) => flag(name, value),
        }
    }
    words.push(super::agent_log_level(context));
    if context.settings.logging.is_json {
        words.push("--log_as_json".to_owned());
    }
    words
}

/// The newer annotation beats the older one.
fn virtual_interfaces<'a>(annotations: Annotations<'a>) -> Option<&'a str> {
    annotations
        .get(names::REROUTE_INTERFACES)
        .or_else(|| annotations.get(names::KUBEVIRT_INTERFACES))
}

/// The ports of Envoy and of the agent, to which no traffic is led, and those that the pod excludes.
fn excluded_inbound(context: &Context<'_>) -> String {
    let setting = &context.settings.capture.exclude_inbound;
    let excluded = context.annotations.or(names::EXCLUDE_INBOUND, setting);
    let status = context.status_port().to_string();
    let more = excluded
        .split(',')
        .map(str::trim)
        .filter(|port| !port.is_empty());
    let mut ports: Vec<&str> = vec!["15090", "15021"];
    for port in more.chain(Some(status.as_str()).filter(|port| *port != "0")) {
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(",")
}
