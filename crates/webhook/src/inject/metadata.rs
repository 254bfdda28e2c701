//! Labels and annotations of an injected pod.

use std::collections::BTreeMap;

use super::annotations as names;
use super::context::Context;
use super::pod::Pod;
use super::status::Status;

/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// Sets what other parts of the mesh, kubectl and dashboards look for.
pub(super) fn apply(context: &Context<'_>, pod: &mut Pod, status: &Status) {
    let labels = &mut pod.metadata.labels;
    set_labels(context, labels);
    let annotations = &mut pod.metadata.annotations;
    let mut set = |name: &str, value: &str| annotations.insert(name.to_owned(), value.to_owned());
    set("istio.io/rev", context.settings.revision());
    set(names::STATUS, &status.to_text());
    if let Some(app) = context.apps.first() {
        for name in [names::DEFAULT_CONTAINER, names::DEFAULT_LOGS_CONTAINER] {
            if context.annotations.get(name).is_none() {
                set(name, &app.name);
            }
        }
    }
    for (name, value) in &context.settings.policy.annotations {
        set(name, value);
    }
}

fn set_labels(context: &Context<'_>, labels: &mut BTreeMap<String, String>) {
    let first = |names: &[&str]| {
        let values = names.iter().filter_map(|name| context.labels.get(*name));
        values.map(String::as_str).find(|value| !value.is_empty())
    };
    let name = first(&[
        "service.istio.io/canonical-name",
        "app.kubernetes.io/name",
        "app",
    ]);
    let name = label(name.unwrap_or(&context.owner.name));
    let revision = first(&[
        "service.istio.io/canonical-revision",
        "app.kubernetes.io/version",
        "version",
    ]);
    let tls = first(&["security.istio.io/tlsMode"]);
    let set = [
        ("security.istio.io/tlsMode", tls.unwrap_or("istio")),
        ("service.istio.io/canonical-name", name),
        (
            "service.istio.io/canonical-revision",
            revision.unwrap_or("latest"),
        ),
        ("topology.istio.io/network", &context.network),
    ];
    for (name, value) in set.into_iter().filter(|(_, value)| !value.is_empty()) {
        labels.insert(name.to_owned(), value.to_owned());
    }
}

/// A workload's name may be longer than a label, which must end with a letter or digit.
fn label(name: &str) -> &str {
    let end = name.floor_char_boundary(LONGEST_LABEL);
    let cut = name.get(..end).unwrap_or(name);
    cut.trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
}
