//! The API server as programs call it, without the time that kubectl takes.

use std::collections::BTreeMap;

use http::{Method, Request};
use serde_json::{Value, json};
use testkit::Cluster;

/// A client with all rights; it works inside of the cluster's network.
#[derive(Clone)]
pub struct Api(k8s::Client);

/// Kinds that tests write: kind, apiVersion, plural.
pub const SERVICE: Sort = ("Service", "v1", "services");
pub const VIRTUAL_SERVICE: Sort = (
    "VirtualService",
    "networking.istio.io/v1",
    "virtualservices",
);
pub const DESTINATION_RULE: Sort = (
    "DestinationRule",
    "networking.istio.io/v1",
    "destinationrules",
);
/// Kind, apiVersion, plural.
pub type Sort = (&'static str, &'static str, &'static str);

/// The annotation that says which version of an object it is.
pub const CHANGE: &str = "example.com/change";

/// An object: its kind, namespace and name; and which version of it.
pub type Versions = BTreeMap<(String, String, String), String>;

impl Api {
    /// The API server of a cluster.
    pub async fn of(cluster: &Cluster) -> Self {
        Self(k8s::connect(Some(&cluster.kubeconfig())).await.unwrap())
    }

    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, String> {
        let content = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder().method(method).uri(path);
        let request = request.header("content-type", content);
        let request = request.body(body.to_string().into_bytes()).unwrap();
        let answer = self.0.request::<Value>(request).await;
        answer.map_err(|error| error.to_string())
    }

    /// Makes an object.
    pub async fn create(
        &self,
        sort: Sort,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, String> {
        let (kind, version, _) = sort;
        let mut object = object.clone();
        object["apiVersion"] = version.into();
        object["kind"] = kind.into();
        object["metadata"]["name"] = name.into();
        let path = path(sort, Some(namespace), "");
        self.call(Method::POST, &path, &object).await
    }

    /// Changes fields of an object.
    pub async fn patch(
        &self,
        sort: Sort,
        namespace: &str,
        name: &str,
        fields: &Value,
    ) -> Result<Value, String> {
        let path = path(sort, Some(namespace), name);
        self.call(Method::PATCH, &path, fields).await
    }

    /// Deletes an object.
    pub async fn delete(&self, sort: Sort, namespace: &str, name: &str) -> Result<Value, String> {
        let path = path(sort, Some(namespace), name);
        self.call(Method::DELETE, &path, &json!({})).await
    }

    /// All objects of some kinds.
    pub async fn versions(&self, sorts: &[Sort]) -> Versions {
        let mut versions = Versions::new();
        for sort in sorts {
            let (method, path) = (Method::GET, path(*sort, None, ""));
            let list = self.call(method, &path, &json!({})).await.unwrap();
            for object in list["items"].as_array().unwrap() {
                let meta = &object["metadata"];
                versions.extend([version(sort.0, meta, &meta["annotations"])]);
            }
        }
        versions
    }
}

fn path((_, version, plural): Sort, namespace: Option<&str>, name: &str) -> String {
    let root = match version.contains('/') {
        true => "/apis",
        false => "/api",
    };
    let namespace = namespace.map(|namespace| format!("/namespaces/{namespace}"));
    let name = match name {
        "" => String::new(),
        name => format!("/{name}"),
    };
    let namespace = namespace.unwrap_or_default();
    format!("{root}/{version}{namespace}/{plural}{name}")
}

/// What `/debug/configz` says of the objects of some kinds.
pub fn configz(page: &Value, sorts: &[Sort]) -> Versions {
    let objects = page.as_array().unwrap().iter();
    let of_kind = objects.filter_map(|object| {
        let kind = object["kind"].as_str()?;
        let is_asked_for = sorts.iter().any(|sort| sort.0 == kind);
        is_asked_for.then(|| version(kind, object, &object["annotations"]))
    });
    of_kind.collect()
}

fn version(kind: &str, names: &Value, annotations: &Value) -> ((String, String, String), String) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = (
        kind.to_owned(),
        text(&names["namespace"]),
        text(&names["name"]),
    );
    (key, text(&annotations[CHANGE]))
}
