//! The CustomResourceDefinitions of Istio's kinds, made from the types: what `crds/` holds.
//!
//! All versions of a kind have one schema, so nothing is ever converted. There is no `default:` anywhere: an API
//! server would write it into users' objects.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    AuthorizationPolicySpec, DestinationRuleSpec, KINDS, KindInfo, PeerAuthenticationSpec,
    ServiceEntrySpec, VirtualServiceSpec, WorkloadEntrySpec,
};

/// What the table of kinds does not say of a kind with a CRD.
struct Details {
    kind: &'static str,
    about: &'static str,
    spec: fn() -> Value,
    /// Whether an object without `spec` is refused.
    needs_spec: bool,
    columns: &'static [Column],
}

/// A column of `kubectl get`: name, type, path and meaning.
struct Column(&'static str, &'static str, &'static str, &'static str);

const AGE: Column = Column(
    "Age",
    "date",
    ".metadata.creationTimestamp",
    "When the object was made",
);

const DETAILS: &[Details] = &[
    Details {
        kind: "VirtualService",
        about: "How requests to a host are routed.",
        spec: spec::<VirtualServiceSpec>,
        needs_spec: false,
        columns: &[
            Column(
                "Gateways",
                "string",
                ".spec.gateways",
                "The gateways and sidecars that apply the routes",
            ),
            Column(
                "Hosts",
                "string",
                ".spec.hosts",
                "The hosts that are called",
            ),
            AGE,
        ],
    },
    Details {
        kind: "DestinationRule",
        about: "What happens to traffic to a service after it was routed: subsets, load balancing, limits, TLS.",
        spec: spec::<DestinationRuleSpec>,
        needs_spec: true,
        columns: &[
            Column("Host", "string", ".spec.host", "The service it applies to"),
            AGE,
        ],
    },
    Details {
        kind: "ServiceEntry",
        about: "A service that no Kubernetes Service describes.",
        spec: spec::<ServiceEntrySpec>,
        needs_spec: true,
        columns: &[
            Column("Hosts", "string", ".spec.hosts", "The hosts of the service"),
            Column(
                "Location",
                "string",
                ".spec.location",
                "Whether it is part of the mesh",
            ),
            Column(
                "Resolution",
                "string",
                ".spec.resolution",
                "How its endpoints are found",
            ),
            AGE,
        ],
    },
    Details {
        kind: "WorkloadEntry",
        about: "A workload that is no Pod, such as a virtual machine.",
        spec: spec::<WorkloadEntrySpec>,
        needs_spec: true,
        columns: &[
            AGE,
            Column(
                "Address",
                "string",
                ".spec.address",
                "Where the workload is",
            ),
        ],
    },
    Details {
        kind: "PeerAuthentication",
        about: "Whether workloads ask for mutual TLS.",
        spec: spec::<PeerAuthenticationSpec>,
        needs_spec: false,
        columns: &[
            Column(
                "Mode",
                "string",
                ".spec.mtls.mode",
                "The mode for all ports",
            ),
            AGE,
        ],
    },
    Details {
        kind: "AuthorizationPolicy",
        about: "Who may call a workload.",
        spec: spec::<AuthorizationPolicySpec>,
        needs_spec: false,
        columns: &[
            Column("Action", "string", ".spec.action", "What a match does"),
            AGE,
        ],
    },
];

/// Every CRD with the name of its file, `networking.istio.io_virtualservices.yaml`.
#[must_use]
pub fn manifests() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for details in DETAILS {
        for info in KINDS.iter().filter(|info| info.kind == details.kind) {
            let file = format!("{}_{}.yaml", info.group, info.plural);
            found.push((file, manifest(info, details)));
        }
    }
    found
}

fn manifest(info: &KindInfo, details: &Details) -> Value {
    let schema = schema(details);
    let versions = info.versions.iter().enumerate().map(|(index, version)| {
        json!({
            "name": version,
            "served": true,
            "storage": index == 0,
            "additionalPrinterColumns": details.columns.iter().map(column).collect::<Vec<_>>(),
            "schema": { "openAPIV3Schema": schema },
            "subresources": { "status": {} },
        })
    });
    let family = info.group.split('.').next().unwrap_or_default();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": format!("{}.{}", info.plural, info.group) },
        "spec": {
            "group": info.group,
            "names": {
                "categories": ["istio-io", format!("{family}-istio-io")],
                "kind": info.kind,
                "listKind": format!("{}List", info.kind),
                "plural": info.plural,
                "shortNames": info.short_names,
                "singular": info.kind.to_lowercase(),
            },
            "scope": "Namespaced",
            "versions": versions.collect::<Vec<_>>(),
        },
    })
}

fn column(column: &Column) -> Value {
    let Column(name, kind, path, meaning) = column;
    json!({ "name": name, "type": kind, "jsonPath": path, "description": meaning })
}

fn schema(details: &Details) -> Value {
    let mut schema = json!({
        "type": "object",
        "description": details.about,
        "properties": {
            "spec": (details.spec)(),
            // Whoever observes writes here; a schema would have to know them all.
            "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        },
    });
    if let Some(schema) = schema.as_object_mut().filter(|_| details.needs_spec) {
        schema.insert("required".to_owned(), json!(["spec"]));
    }
    schema
}

fn spec<S: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        settings.transforms = Vec::new();
    });
    structural(
        settings
            .into_generator()
            .into_root_schema_for::<S>()
            .to_value(),
    )
}

/// What an API server takes of a schema: without titles and formats, and without the alternative `null`, since a
/// field that is not set is left out.
fn structural(schema: Value) -> Value {
    let Value::Object(fields) = schema else {
        return schema;
    };
    let mut kept = Map::new();
    for (name, value) in fields {
        match (name.as_str(), value) {
            ("anyOf", Value::Array(choices)) => {
                let present = choices.into_iter().find(|choice| !is_null(choice));
                if let Some(Value::Object(present)) = present.map(structural) {
                    for (name, value) in present {
                        // What is said of the field comes before what is said of its type.
                        kept.entry(name).or_insert(value);
                    }
                }
            }
            ("properties", Value::Object(properties)) => {
                let properties = properties.into_iter();
                let properties: Map<_, _> = properties.map(|(n, v)| (n, structural(v))).collect();
                kept.insert(name, properties.into());
            }
            ("items" | "additionalProperties", inner) => {
                kept.insert(name, structural(inner));
            }
            ("type", Value::Array(names)) => {
                kept.extend(names.into_iter().find(|n| n != "null").map(|n| (name, n)));
            }
            ("enum", Value::Array(names)) => {
                let names = names.into_iter().filter(|name| !name.is_null());
                kept.insert(name, names.collect::<Vec<_>>().into());
            }
            ("description", Value::String(text)) => {
                kept.insert(name, description(&text).into());
            }
            ("title" | "format", _) => {}
            (_, value) => {
                kept.insert(name, value);
            }
        }
    }
    kept.into()
}

fn is_null(schema: &Value) -> bool {
    schema.get("type").is_some_and(|name| name == "null")
}

/// The comment on a field begins with its name, which a reader of a CRD has already seen.
fn description(comment: &str) -> String {
    let text = comment.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = match text
        .strip_prefix('`')
        .and_then(|text| text.split_once("`: "))
    {
        Some((_, meaning)) => meaning,
        None => &text,
    };
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
