//! Validation: the same reading as everywhere ([`model::parse`]) decides. What cannot work is refused; what will not do
//! what it seems to is let through with a warning.

use model::{Diagnostic, Document, Object, Parsed, Place, Severity};
use serde_json::Value;

use crate::admission::{Request, Verdict};

/// Knows the other objects: what an object would mean beside them.
pub trait Advisor: Send + Sync {
    /// What should be said of `object` if it were applied now. Warnings at most are made of it.
    fn advise(&self, object: &Object) -> Vec<Diagnostic>;
}

/// Decides about one write of an Istio object.
#[must_use]
pub fn validate(request: &Request, advisor: &dyn Advisor) -> Verdict {
    if !matches!(request.operation.as_str(), "CREATE" | "UPDATE") || is_untouched(request) {
        return Verdict::allow();
    }
    let place = Place::default();
    let parsed = model::parse(Document {
        value: named(&request.object, &request.namespace),
        place,
    });
    let errors: Vec<&Diagnostic> = parsed
        .diagnostics()
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Error)
        .collect();
    let mut said: Vec<&Diagnostic> = parsed
        .diagnostics()
        .iter()
        .filter(|diagnostic| diagnostic.severity == Severity::Warning)
        .collect();
    let advice = match &parsed {
        Parsed::Object(object) => advisor.advise(object),
        Parsed::Refused(_) | Parsed::Ignored(_) | Parsed::Unreadable(_) => Vec::new(),
    };
    said.extend(advice.iter().filter(|one| one.severity != Severity::Info));
    let warnings = said.into_iter().map(sentence).collect();
    if errors.is_empty() {
        return Verdict::Allow {
            patch: None,
            warnings,
        };
    }
    let message: Vec<String> = errors.into_iter().map(sentence).collect();
    Verdict::Deny {
        message: message.join("; "),
        warnings,
    }
}

/// An update that changes nothing that is checked must pass, or an object that was there before Lateen could neither
/// get a label nor lose a finalizer.
fn is_untouched(request: &Request) -> bool {
    let is_ending = request.object.pointer("/metadata/deletionTimestamp");
    let spec = |object: &Value| object.get("spec").cloned();
    is_ending.is_some()
        || (!request.old_object.is_null() && spec(&request.object) == spec(&request.old_object))
}

/// An object that the API server has yet to name is read under its prefix.
fn named(object: &Value, namespace: &str) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(prefix) = metadata.get("generateName").and_then(Value::as_str)
            && !metadata.contains_key("name")
        {
            let name = format!("{prefix}x");
            metadata.insert("name".to_owned(), name.into());
        }
        metadata
            .entry("namespace")
            .or_insert_with(|| namespace.into());
    }
    object
}

/// Where, what, and what to do.
fn sentence(diagnostic: &Diagnostic) -> String {
    let Diagnostic {
        file: _,
        line: _,
        severity: _,
        code,
        object: _,
        field,
        message,
        hint,
    } = diagnostic;
    let at = if field.is_empty() {
        String::new()
    } else {
        format!("{field}: ")
    };
    let hint = if hint.is_empty() {
        String::new()
    } else {
        format!(": {hint}")
    };
    format!("{at}{message}{hint} [{code}]")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct Silent;

    impl Advisor for Silent {
        fn advise(&self, _: &Object) -> Vec<Diagnostic> {
            Vec::new()
        }
    }

    fn route(host: &str) -> Value {
        json!({
            "apiVersion": "networking.istio.io/v1",
            "kind": "VirtualService",
            "metadata": { "name": "cart", "namespace": "shop" },
            "spec": {
                "hosts": ["cart"],
                "http": [{ "route": [{ "destination": { "host": host } }] }],
            },
        })
    }

    fn create(object: Value) -> Verdict {
        let request = Request {
            operation: "CREATE".to_owned(),
            namespace: "shop".to_owned(),
            object,
            ..Request::default()
        };
        validate(&request, &Silent)
    }

    fn denied(verdict: Verdict) -> String {
        match verdict {
            Verdict::Deny { message, .. } => message,
            Verdict::Allow { .. } => panic!("it was allowed"),
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_field_and_hint() {
        let message = denied(create(route("not a host")));
        assert!(
            message.starts_with("spec.http[0].route[0].destination.host: "),
            "{message}"
        );
        assert!(message.contains("[IST0106]"), "{message}");
        assert_eq!(create(route("cart")), Verdict::allow());
    }

    #[test]
    fn what_was_bad_before_may_get_a_label() {
        let (old, mut new) = (route("not a host"), route("not a host"));
        new["metadata"]["labels"] = json!({ "a": "b" });
        let mut request = Request {
            operation: "UPDATE".to_owned(),
            object: new,
            old_object: old,
            ..Request::default()
        };
        assert_eq!(validate(&request, &Silent), Verdict::allow());
        request.old_object = route("cart");
        denied(validate(&request, &Silent));
        request.object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(validate(&request, &Silent), Verdict::allow());
    }

    #[test]
    fn an_object_without_a_name_yet_is_read_all_the_same() {
        let mut object = route("not a host");
        object["metadata"] = json!({ "generateName": "cart-" });
        denied(create(object));
        let mut object = route("cart");
        object["metadata"] = json!({ "generateName": "cart-" });
        assert_eq!(create(object), Verdict::allow());
    }

    #[test]
    fn what_is_doubtful_is_let_through_with_a_warning() {
        struct Doubtful;
        impl Advisor for Doubtful {
            fn advise(&self, object: &Object) -> Vec<Diagnostic> {
                let finding = model::Finding::warning(
                    model::Code::ReferencedResourceNotFound,
                    "there is no service cart",
                    "create it",
                );
                vec![Diagnostic::at(
                    &object.key,
                    &object.place,
                    "spec.hosts[0]",
                    finding,
                )]
            }
        }
        let request = Request {
            operation: "CREATE".to_owned(),
            object: route("cart"),
            ..Request::default()
        };
        let warnings = match validate(&request, &Doubtful) {
            Verdict::Allow { warnings, .. } => warnings,
            Verdict::Deny { message, .. } => panic!("{message}"),
        };
        assert_eq!(
            warnings,
            ["spec.hosts[0]: there is no service cart: create it [IST0101]"]
        );
    }

    #[test]
    fn deletes_and_other_kinds_are_not_looked_at() {
        let request = Request {
            operation: "DELETE".to_owned(),
            ..Request::default()
        };
        assert_eq!(validate(&request, &Silent), Verdict::allow());
        let pod = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" } });
        assert_eq!(create(pod), Verdict::allow());
    }
}
