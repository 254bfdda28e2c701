//! The CRDs: exactly Istio's fields in every version, and only what an API server takes as a structural schema.

use istio_api::crd::manifests;
use serde_json::Value;

use crate::{
    fields::expected,
    schema::{kinds, rows},
};

/// The keywords that the schemas need; all are part of a structural schema.
const KEYWORDS: &[&str] = &[
    "additionalProperties",
    "description",
    "enum",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "properties",
    "required",
    "type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

fn versions(crd: &Value) -> &[Value] {
    crd["spec"]["versions"].as_array().unwrap()
}

#[test]
fn every_kind_has_one_with_exactly_its_fields_in_all_versions() {
    let crds = manifests();
    assert_eq!(crds.len(), kinds().len());
    for (file, crd) in crds {
        let names = &crd["spec"]["names"];
        let kind = names["kind"].as_str().unwrap();
        assert_eq!(
            crd["metadata"]["name"],
            format!(
                "{}.{}",
                names["plural"].as_str().unwrap(),
                crd["spec"]["group"].as_str().unwrap()
            ),
        );
        let stored: Vec<_> = versions(&crd)
            .iter()
            .map(|v| v["storage"] == true)
            .collect();
        assert!(
            stored[0] && !stored[1..].contains(&true),
            "{file} stores {stored:?}"
        );
        let first = &versions(&crd)[0];
        assert_eq!(first["name"], "v1");
        for version in versions(&crd) {
            assert_eq!(version["schema"], first["schema"], "{file}");
            assert_eq!(version["served"], true);
            assert!(version["subresources"]["status"].is_object());
            let schema = &version["schema"]["openAPIV3Schema"];
            assert_eq!(rows(schema), expected(kind), "{file}");
        }
    }
}

#[test]
fn an_api_server_finds_nothing_in_them_that_it_would_write_or_refuse() {
    for (file, crd) in manifests() {
        for version in versions(&crd) {
            check(&version["schema"]["openAPIV3Schema"], &file);
        }
    }
}

fn check(schema: &Value, path: &str) {
    let schema = schema.as_object().unwrap();
    assert!(schema["type"].is_string(), "{path} has one type");
    for (keyword, value) in schema {
        assert!(KEYWORDS.contains(&keyword.as_str()), "{path} has {keyword}");
        match keyword.as_str() {
            "properties" => {
                for (name, property) in value.as_object().unwrap() {
                    check(property, &format!("{path}.{name}"));
                }
            }
            "items" | "additionalProperties" => check(value, &format!("{path}[]")),
            "required" => {
                for name in value.as_array().unwrap() {
                    let known = &schema["properties"][name.as_str().unwrap()];
                    assert!(known.is_object(), "{path} requires {name}");
                }
            }
            "description" => {
                let text = value.as_str().unwrap();
                let own_name = format!("`{}`:", path.rsplit('.').next().unwrap());
                assert!(
                    !text.is_empty() && !text.starts_with(&own_name),
                    "{path}: {text}"
                );
            }
            _ => {}
        }
    }
}
