//! What every object has around its `spec`: `apiVersion`, `kind`, `metadata` and `status`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::{Ignored, nullable, unset};

/// An object with a `spec`. An absent `spec` is the empty one: an AuthorizationPolicy may have none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[serde(bound(
    serialize = "S: Serialize + Default + PartialEq, T: Serialize + Default + PartialEq",
    deserialize = "S: Deserialize<'de> + Default, T: Deserialize<'de> + Default"
))]
#[schemars(bound = "S: JsonSchema + Serialize + Default + PartialEq, T: Default")]
pub struct Object<S, T = Ignored> {
    /// `apiVersion`: group and version, such as `networking.istio.io/v1`.
    #[serde(skip_serializing_if = "unset")]
    pub api_version: String,
    /// `kind`: such as `VirtualService`.
    #[serde(skip_serializing_if = "unset")]
    pub kind: String,
    /// `metadata`: name, namespace, labels and so on.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(schema_with = "any_object")]
    pub metadata: ObjectMeta,
    /// `spec`: what the user wants.
    #[serde(skip_serializing_if = "unset")]
    pub spec: S,
    /// `status`: what was observed. Of Istio objects it is dropped, whatever its shape.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(skip)]
    pub status: T,
}

/// A CRD may say no more of `metadata` than that it is an object.
fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object" })
}

/// `metadata`, as far as a mesh reads it. Kubernetes' other fields (`managedFields`, `finalizers`,
/// `ownerReferences` ...) are dropped: a reader that reports unknown fields skips those here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// `name`, unique in its kind and namespace.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
    /// `generateName`: the prefix from which an API server makes a name.
    #[serde(skip_serializing_if = "unset")]
    pub generate_name: Option<String>,
    /// `namespace`; absent in a file means `default`.
    #[serde(skip_serializing_if = "unset")]
    pub namespace: Option<String>,
    /// `labels`: what selectors match.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub labels: BTreeMap<String, String>,
    /// `annotations`: settings and notes that no selector matches.
    #[serde(deserialize_with = "nullable", skip_serializing_if = "unset")]
    pub annotations: BTreeMap<String, String>,
    /// `creationTimestamp`, RFC 3339. It decides which of two conflicting objects is the older.
    #[serde(skip_serializing_if = "unset")]
    pub creation_timestamp: Option<String>,
    /// `deletionTimestamp`, RFC 3339: set while the object is being deleted.
    #[serde(skip_serializing_if = "unset")]
    pub deletion_timestamp: Option<String>,
    /// `resourceVersion`: opaque, changes with every write.
    #[serde(skip_serializing_if = "unset")]
    pub resource_version: Option<String>,
    /// `uid`: one life of one object.
    #[serde(skip_serializing_if = "unset")]
    pub uid: Option<String>,
    /// `generation`: rises with every change of `spec`.
    #[serde(skip_serializing_if = "unset")]
    pub generation: Option<i64>,
}
