//! Injection in a cluster: its settings follow two ConfigMaps, and what is known of the pod's namespace and of the nodes
//! comes from the watches.

use std::sync::Arc;

use arc_swap::ArcSwap;
use k8s::{Data, Following, Lives};
use serde_json::Value;
use webhook::inject::{Decision, Request, Settings, decide, environment_of_path};

/// The keys of the two texts in their ConfigMaps' `data`.
const VALUES: &str = "values";
const MESH: &str = "mesh";

/// Gives pods their proxies.
pub struct Injector {
    settings: ArcSwap<Settings>,
    lives: Arc<Lives>,
}

impl Injector {
    /// One whose settings are those of now.
    #[must_use]
    pub fn new(following: &Following) -> Arc<Self> {
        let settings = read(&following.injection, &following.mesh_config);
        Arc::new(Self {
            settings: ArcSwap::from_pointee(settings),
            lives: Arc::clone(&following.lives),
        })
    }

    /// Follows the ConfigMaps from then on.
    pub async fn follow(self: Arc<Self>, following: Following) {
        let (mut values, mut mesh) = (following.injection, following.mesh_config);
        loop {
            let gone = tokio::select! {
                changed = values.changed() => changed.is_err(),
                changed = mesh.changed() => changed.is_err(),
            };
            if gone {
                return;
            }
            values.mark_unchanged();
            mesh.mark_unchanged();
            self.settings.store(Arc::new(read(&values, &mesh)));
        }
    }

    /// Decides about one pod. `path` is what stands behind `/inject`.
    ///
    /// # Errors
    /// When the path is none of Istio's.
    pub fn decide(&self, pod: &Value, namespace: &str, path: &str) -> Result<Decision, String> {
        let environment = environment_of_path(path)?;
        let known = self.lives.namespace(namespace);
        let request = Request {
            pod,
            namespace,
            namespace_labels: known.as_ref().map(|known| &known.labels),
            owner: None,
            nodes_have_native_sidecars: self.lives.every_node_has_native_sidecars(),
            environment: &environment,
        };
        Ok(decide(&self.settings.load(), &request))
    }
}

/// What the two ConfigMaps say now. What is wrong in them is said, and its default stands in for it.
fn read(values: &Data, mesh: &Data) -> Settings {
    let (values, mesh) = (document(values, VALUES), document(mesh, MESH));
    let (settings, problems) = Settings::parse(&values, &mesh, value);
    for problem in problems {
        tracing::warn!("injection: {problem}");
    }
    settings
}

/// A text of a ConfigMap; one that is not there, or is no YAML, says nothing.
fn document(data: &Data, key: &str) -> Value {
    let data = data.borrow();
    let text = data.as_ref().and_then(|data| data.get(key));
    value(text.map_or("", String::as_str)).unwrap_or_else(|fault| {
        tracing::warn!("injection: key {key:?} of the ConfigMap: {fault}");
        Value::Object(serde_json::Map::new())
    })
}

fn value(text: &str) -> Result<Value, String> {
    sources::yaml::only_value(text).map_err(|fault| fault.to_string())
}
