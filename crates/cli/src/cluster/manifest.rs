//! What an installation consists of: the CRDs, made from the types, and the rendered chart.

use k8s::install::{Named, Right};
use serde_json::Value;

use super::Failure;

/// The chart as `hack/render` renders it.
const RENDERED: &str = include_str!("../../manifests/lateen.yaml");
/// Who installed an object, as `hack/render` writes it.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "lateen");
/// The images of the rendered chart.
const HUB: &str = "localhost/lateen";
const TAG: &str = env!("CARGO_PKG_VERSION");

/// Where the images come from, instead of from the values of the chart.
#[derive(Debug, clap::Args)]
pub struct Images {
    /// Where the images are: HUB/lateend:TAG and HUB/proxyv2:TAG
    #[arg(long, value_name = "HUB", default_value = HUB)]
    hub: String,
    /// The tag of the images
    #[arg(long, value_name = "TAG", default_value = TAG)]
    tag: String,
}

impl Images {
    /// Those of the chart.
    pub fn usual() -> Self {
        Self {
            hub: HUB.to_owned(),
            tag: TAG.to_owned(),
        }
    }

    /// The image of the control plane.
    pub fn control_plane(&self) -> String {
        format!("{}/lateend:{}", self.hub, self.tag)
    }
}

/// An object and its name.
pub struct Item {
    pub named: Named,
    pub object: Value,
}

/// The CRDs.
pub fn crds() -> Result<Vec<Item>, Failure> {
    let manifests = istio_api::crd::manifests().into_iter();
    manifests
        .map(|(_, mut object)| {
            if let Some(meta) = object
                .pointer_mut("/metadata")
                .and_then(Value::as_object_mut)
            {
                meta.insert(
                    "labels".to_owned(),
                    serde_json::json!({ MANAGED_BY.0: MANAGED_BY.1 }),
                );
            }
            item(object)
        })
        .collect()
}

/// Everything else, in an order in which nothing waits for what comes later: rights before what runs, webhooks last.
pub fn objects(images: &Images) -> Result<Vec<Item>, Failure> {
    let text = RENDERED
        .replace(
            &format!("\"{HUB}/lateend:{TAG}\""),
            &format!("{:?}", images.control_plane()),
        )
        .replace(
            &format!("\"hub\": {HUB:?}"),
            &format!("\"hub\": {:?}", images.hub),
        )
        .replace(
            &format!("\"tag\": {TAG:?}"),
            &format!("\"tag\": {:?}", images.tag),
        );
    let read = serde_saphyr::from_multiple::<Value>(&text);
    let read = read.map_err(|error| Failure::Manifest(error.to_string()))?;
    let mut items = read.into_iter().map(item).collect::<Result<Vec<_>, _>>()?;
    items.sort_by_key(|item| order(item.named.plural()));
    Ok(items)
}

fn order(plural: &str) -> usize {
    const FIRST: [&str; 6] = [
        "serviceaccounts",
        "clusterroles",
        "clusterrolebindings",
        "roles",
        "rolebindings",
        "configmaps",
    ];
    let late = plural.ends_with("webhookconfigurations");
    let first = FIRST.iter().position(|name| *name == plural);
    first.unwrap_or(if late { FIRST.len() + 1 } else { FIRST.len() })
}

fn item(object: Value) -> Result<Item, Failure> {
    let named = Named::of(&object).ok_or_else(|| {
        Failure::Manifest(format!("an object has no name or unknown kind: {object}"))
    })?;
    Ok(Item { named, object })
}

/// What whoever installs must be allowed: to create every object, and to change it later.
pub fn rights_to_install(items: &[Item]) -> Vec<Right> {
    let mut rights = Vec::new();
    for Item { named, .. } in items {
        let right = |verb: &str, name: Option<&str>| Right {
            verb: verb.to_owned(),
            group: named.group().to_owned(),
            resource: named.plural().to_owned(),
            namespace: named.namespace().map(str::to_owned),
            name: name.map(str::to_owned),
        };
        rights.push(right("create", None));
        rights.push(right("patch", Some(named.name())));
    }
    rights.sort();
    rights.dedup();
    rights
}

/// What the control plane must be allowed, as the rules of its roles say. Rights on addresses are left out.
pub fn rights_to_run(items: &[Item]) -> Vec<Right> {
    let mut rights = Vec::new();
    for Item { named, object } in items {
        if !matches!(named.plural(), "roles" | "clusterroles") {
            continue;
        }
        let rules = object.get("rules").and_then(Value::as_array);
        for rule in rules.into_iter().flatten() {
            add_rights(rule, named.namespace(), &mut rights);
        }
    }
    rights
}

fn add_rights(rule: &Value, namespace: Option<&str>, rights: &mut Vec<Right>) {
    let list = |name: &str| {
        let words = rule.get(name).and_then(Value::as_array);
        let words = words.into_iter().flatten().filter_map(Value::as_str);
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let names = list("resourceNames");
    let names: Vec<Option<String>> = match names.is_empty() {
        true => vec![None],
        false => names.into_iter().map(Some).collect(),
    };
    for group in list("apiGroups") {
        for resource in list("resources") {
            for verb in list("verbs") {
                rights.extend(names.iter().map(|name| Right {
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    namespace: namespace.map(str::to_owned),
                    name: name.clone(),
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn images(hub: &str) -> Images {
        Images {
            hub: hub.to_owned(),
            tag: TAG.to_owned(),
        }
    }

    #[test]
    fn the_rendered_chart_is_that_of_the_chart() {
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let done = Command::new(top.join("hack/render"))
            .arg("--check")
            .output()
            .unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    }

    #[test]
    fn images_come_from_where_the_user_says() {
        let items = objects(&images("registry.example/mesh")).unwrap();
        let find = |plural: &str, name: &str| {
            let found = items
                .iter()
                .find(|item| item.named.plural() == plural && item.named.name() == name);
            &found.unwrap().object
        };
        let container =
            find("deployments", "istiod").pointer("/spec/template/spec/containers/0/image");
        assert_eq!(
            container.unwrap(),
            &format!("registry.example/mesh/lateend:{TAG}")
        );
        let values = find("configmaps", "istio-sidecar-injector")["data"]["values"]
            .as_str()
            .unwrap();
        let values: Value = serde_json::from_str(values).unwrap();
        assert_eq!(values["global"]["hub"], "registry.example/mesh");
        assert_eq!(values["global"]["tag"], TAG);
    }

    #[test]
    fn the_control_plane_reads_no_secrets_but_its_own_and_has_no_wildcard() {
        let rights = rights_to_run(&objects(&images(HUB)).unwrap());
        assert!(rights.len() > 20);
        for right in &rights {
            assert!(!right.to_string().contains('*'), "{right}");
            if right.resource == "secrets" {
                assert_eq!(right.namespace.as_deref(), Some("istio-system"), "{right}");
                assert!(right.verb == "create" || right.name.is_some(), "{right}");
            }
        }
    }

    #[test]
    fn webhooks_come_last_and_wait_for_nobody() {
        let items = objects(&images(HUB)).unwrap();
        let last: Vec<&str> = items
            .iter()
            .rev()
            .take(2)
            .map(|item| item.named.plural())
            .collect();
        assert!(
            last.iter()
                .all(|plural| plural.ends_with("webhookconfigurations")),
            "{last:?}"
        );
        for item in items.iter().rev().take(2) {
            for webhook in item.object["webhooks"].as_array().unwrap() {
                assert_eq!(webhook["failurePolicy"], "Ignore");
                assert!(webhook["clientConfig"].get("caBundle").is_none());
            }
        }
    }
}
