//! Objects that must not be applied: what is known of them, and what closes in their place.

use std::sync::Arc;

use super::notes::is_under;
use crate::{
    Diagnostic, HostPattern, HttpAction, HttpRoute, Kind, Meta, Object, ObjectKey, Place,
    PolicyTarget, Selector, Spec, VirtualService,
};

/// The longest reason that is given to callers, in characters.
const MAX_REASON: usize = 300;

/// An object that was refused: all that is known of it.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Its key.
    pub key: ObjectKey,
    /// What could be read of its metadata.
    pub meta: Meta,
    /// What closes as long as no good version is known; none: nothing does, since nobody can say what it was meant for.
    pub scope: Option<RefusedScope>,
    /// Where it stands.
    pub place: Arc<Place>,
    /// Why.
    pub diagnostics: Arc<[Diagnostic]>,
}

/// What a refused object was meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedScope {
    /// A security object for its whole namespace: it has no selector.
    Namespace,
    /// A security object for the workloads of this selector.
    Workloads(Selector),
    /// A VirtualService: the one that stands for it has its hosts, and answers their requests 503 with the reason.
    Hosts(Arc<VirtualService>),
}

impl Object {
    /// The object as one that must not be applied, for reasons that lie outside of what it says (its text has a key
    /// twice, say).
    #[must_use]
    pub fn refuse(&self, reasons: Vec<Diagnostic>) -> Refusal {
        let refusal = Refusal {
            key: self.key.clone(),
            meta: (*self.meta).clone(),
            scope: self.refused_scope(reasons.first()),
            place: Arc::clone(&self.place),
            diagnostics: Arc::clone(&self.diagnostics),
        };
        refusal.because(reasons)
    }

    fn refused_scope(&self, reason: Option<&Diagnostic>) -> Option<RefusedScope> {
        match &self.spec {
            Spec::AuthorizationPolicy(policy) => match &policy.target {
                PolicyTarget::Namespace => Some(RefusedScope::Namespace),
                PolicyTarget::Workloads(selector) => {
                    Some(RefusedScope::Workloads(selector.clone()))
                }
                PolicyTarget::Elsewhere => None,
            },
            Spec::PeerAuthentication(policy) => Some(match &policy.selector {
                Some(selector) => RefusedScope::Workloads(selector.clone()),
                None => RefusedScope::Namespace,
            }),
            Spec::VirtualService(service) => {
                let (field, message) = reason.map_or(("", ""), |d| (&d.field, &d.message));
                let reason = reason_for_callers(&self.key, field, message);
                standing_for(service, !service.http.is_empty(), reason)
            }
            Spec::DestinationRule(_)
            | Spec::ServiceEntry(_)
            | Spec::WorkloadEntry(_)
            | Spec::Service(_)
            | Spec::EndpointSlice(_)
            | Spec::Pod(_)
            | Spec::Node(_)
            | Spec::Namespace
            | Spec::ServiceAccount
            | Spec::Deployment(_)
            | Spec::MeshConfig(_) => None,
        }
    }
}

impl Refusal {
    /// The same with further reasons, which come first. Where one of them puts into doubt what the object was meant
    /// for, nothing closes.
    #[must_use]
    pub fn because(self, reasons: Vec<Diagnostic>) -> Self {
        let doubtful = |reason: &Diagnostic| {
            let field = &*reason.field;
            let mut telling = telling_fields(self.key.kind).iter();
            !field.is_empty() && telling.any(|of| is_under(field, of) || is_under(of, field))
        };
        let scope = self.scope.filter(|_| !reasons.iter().any(doubtful));
        let own = self.diagnostics.iter().cloned();
        Self {
            scope,
            diagnostics: reasons.into_iter().chain(own).collect(),
            ..self
        }
    }
}

/// The fields that say what an object is meant for.
fn telling_fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::VirtualService => &[
            "metadata.namespace",
            "spec.hosts",
            "spec.gateways",
            "spec.exportTo",
        ],
        Kind::PeerAuthentication | Kind::AuthorizationPolicy => &[
            "metadata.namespace",
            "spec.selector",
            "spec.targetRef",
            "spec.targetRefs",
        ],
        Kind::DestinationRule
        | Kind::ServiceEntry
        | Kind::WorkloadEntry
        | Kind::Service
        | Kind::EndpointSlice
        | Kind::Pod
        | Kind::Node
        | Kind::Namespace
        | Kind::ServiceAccount
        | Kind::Deployment
        | Kind::MeshConfig => &[],
    }
}

/// The VirtualService that stands for a refused one; none when not one of its hosts could be read. One that says
/// nothing of HTTP keeps its place among those for the same hosts, and answers nothing.
pub(super) fn standing_for(
    service: &VirtualService,
    says_http: bool,
    reason: Arc<str>,
) -> Option<RefusedScope> {
    // No sidecar's VirtualService may claim all hosts.
    let may_claim = |host: &&HostPattern| !service.in_mesh || **host != HostPattern::Any;
    let hosts: Arc<[HostPattern]> = service.hosts.iter().filter(may_claim).cloned().collect();
    let answer = says_http.then(|| HttpRoute::of(HttpAction::Unavailable(reason)));
    (!hosts.is_empty()).then(|| {
        RefusedScope::Hosts(Arc::new(VirtualService {
            hosts,
            in_mesh: service.in_mesh,
            at_gateways: service.at_gateways,
            export_to: service.export_to.clone(),
            http: answer.into_iter().collect(),
            tls: Arc::new([]),
            tcp: Arc::new([]),
        }))
    })
}

/// Why requests are answered 503, for whoever sends them: one line of bounded length, without the values that the
/// object's author wrote.
pub(super) fn reason_for_callers(key: &ObjectKey, field: &str, message: &str) -> Arc<str> {
    let place = match field {
        "" => String::new(),
        field => format!("{field}: "),
    };
    let text = format!("{key} is rejected: {place}{}", without_values(message));
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let short: String = printable.clone().take(MAX_REASON).collect();
    match printable.count() {
        0..=MAX_REASON => short.into(),
        _ => format!("{short}...").into(),
    }
}

/// What stands before a value in backticks, in serde's messages and in ours.
const BEFORE_VALUES: [&str; 4] = [
    "boolean `",
    "integer `",
    "floating point `",
    "unknown variant `",
];

/// A message with `...` for each value in it: text stands in double quotes, others in backticks.
fn without_values(message: &str) -> String {
    let mut text = String::with_capacity(message.len());
    let mut rest = message.chars();
    while let Some(c) = rest.next() {
        text.push(c);
        let begins_value = BEFORE_VALUES.iter().any(|before| text.ends_with(before));
        if c != '"' && !begins_value {
            continue;
        }
        text.push_str("...");
        while let Some(skipped) = rest.next() {
            if skipped == '\\' {
                rest.next();
            } else if skipped == c {
                text.push(c);
                break;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_learn_what_is_wrong_and_no_value() {
        let table = [
            (r#""5x" is not a duration"#, r#""..." is not a duration"#),
            (
                r#"invalid type: string "a \"secret\" b", expected an object"#,
                r#"invalid type: string "...", expected an object"#,
            ),
            (
                "invalid type: integer `4711`, expected a string",
                "invalid type: integer `...`, expected a string",
            ),
            (
                "unknown variant `4711`, expected one of `A`, `B`",
                "unknown variant `...`, expected one of `A`, `B`",
            ),
            ("`route` is required", "`route` is required"),
            (r#"cut "short"#, r#"cut "..."#),
        ];
        for (message, expected) in table {
            assert_eq!(without_values(message), expected);
        }
    }

    #[test]
    fn a_reason_is_one_short_line() {
        let key = ObjectKey {
            kind: Kind::VirtualService,
            namespace: "shop".parse().unwrap(),
            name: "reviews".parse().unwrap(),
        };
        let plain = reason_for_callers(&key, "spec.http", "wrong");
        assert_eq!(
            &*plain,
            "VirtualService shop/reviews is rejected: spec.http: wrong"
        );
        let long = reason_for_callers(&key, "", &"a\r\nb \u{e4}".repeat(1000));
        assert_eq!(long.chars().count(), MAX_REASON + 3);
        assert!(!long.contains(['\r', '\n']));
    }
}
