//! What `kubectl apply` says of Istio's objects: good ones of all versions are taken, wrong ones are refused with field and
//! hint, doubtful ones are taken with a warning.

use testkit::Space;

use super::installed::{shared, told};

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";

/// An object by kind, version and spec.
struct Written(&'static str, &'static str, &'static str);

impl Written {
    fn group(&self) -> &'static str {
        match self.0 {
            "AuthorizationPolicy" | "PeerAuthentication" => SECURITY,
            _ => NETWORKING,
        }
    }

    fn yaml(&self, name: &str) -> String {
        let (group, Self(kind, version, spec)) = (self.group(), self);
        format!(
            "apiVersion: {group}/{version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"
        )
    }
}

/// Who must refuse an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// The schema and the CEL rules of the CRD, which hold without Lateen.
    Schema,
    /// The webhook alone: the CRD lets it pass.
    Webhook,
}

const VIRTUAL_SERVICE: &str = "VirtualService";
const DESTINATION_RULE: &str = "DestinationRule";
const SERVICE_ENTRY: &str = "ServiceEntry";
const WORKLOAD_ENTRY: &str = "WorkloadEntry";
const PEER_AUTHENTICATION: &str = "PeerAuthentication";
const AUTHORIZATION_POLICY: &str = "AuthorizationPolicy";

/// What is good in each version that Istio has had.
const GOOD: &[(&str, &[&str], &str)] = &[
    (
        VIRTUAL_SERVICE,
        &["v1alpha3", "v1beta1", "v1"],
        "{hosts: [cart], http: [{timeout: 5s, route: [{destination: {host: cart, subset: v1}, weight: 90}, {destination: {host: cart, subset: v2}, weight: 10}]}]}",
    ),
    (
        DESTINATION_RULE,
        &["v1alpha3", "v1beta1", "v1"],
        "{host: cart, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}",
    ),
    (
        SERVICE_ENTRY,
        &["v1alpha3", "v1beta1", "v1"],
        "{hosts: [api.example.com], location: MESH_EXTERNAL, ports: [{number: 443, name: tls, protocol: TLS}], resolution: DNS}",
    ),
    (
        WORKLOAD_ENTRY,
        &["v1alpha3", "v1beta1", "v1"],
        "{address: 198.18.9.9, labels: {app: vm}, serviceAccount: vm}",
    ),
    (
        PEER_AUTHENTICATION,
        &["v1beta1", "v1"],
        "{selector: {matchLabels: {app: vm}}, mtls: {mode: STRICT}, portLevelMtls: {8080: {mode: PERMISSIVE}}}",
    ),
    (
        AUTHORIZATION_POLICY,
        &["v1beta1", "v1"],
        "{action: ALLOW, selector: {matchLabels: {app: vm}}, rules: [{from: [{source: {namespaces: [shop]}}], to: [{operation: {methods: [GET], paths: [/a*]}}]}]}",
    ),
];

/// A wrong object, who refuses it, at which field, and a part of what to do.
const WRONG: &[(By, Written, &str, &str)] = &[
    (
        By::Schema,
        Written(
            VIRTUAL_SERVICE,
            "v1",
            "{hosts: [a], http: [{match: [{uri: {exact: /a, prefix: /b}}], route: [{destination: {host: a}}]}]}",
        ),
        "spec.http[0].match[0].uri",
        "only one of exact, prefix, regex may be set",
    ),
    (
        By::Schema,
        Written(
            VIRTUAL_SERVICE,
            "v1beta1",
            "{hosts: [a], http: [{timeout: abc, route: [{destination: {host: a}}]}]}",
        ),
        "spec.http[0].timeout",
        "must be a duration such as 1.5s",
    ),
    (
        By::Schema,
        Written(
            VIRTUAL_SERVICE,
            "v1alpha3",
            "{hosts: [a], http: [{route: [{destination: {subset: a}}]}]}",
        ),
        "spec.http[0].route[0].destination.host",
        "Required value",
    ),
    (
        By::Schema,
        Written(
            VIRTUAL_SERVICE,
            "v1",
            "{hosts: [a], http: [{route: [{destination: {host: a, port: {number: 70000}}}]}]}",
        ),
        "spec.http[0].route[0].destination.port.number",
        "less than or equal to 65535",
    ),
    (
        By::Schema,
        Written(
            DESTINATION_RULE,
            "v1",
            "{host: a, trafficPolicy: {tls: {mode: STRICT}}}",
        ),
        "spec.trafficPolicy.tls.mode",
        "\"ISTIO_MUTUAL\"",
    ),
    (
        By::Schema,
        Written(
            DESTINATION_RULE,
            "v1",
            "{host: a, trafficPolicy: {outlierDetection: {interval: 0s}}}",
        ),
        "spec.trafficPolicy.outlierDetection.interval",
        "must be a duration of at least 1ms, such as 1.5s",
    ),
    (
        By::Schema,
        Written(
            SERVICE_ENTRY,
            "v1",
            "{hosts: ['*'], ports: [{number: 80, name: http}], resolution: NONE}",
        ),
        "spec.hosts[0]",
        "a host must not be only a wildcard",
    ),
    (
        By::Schema,
        Written(WORKLOAD_ENTRY, "v1", "{labels: {app: a}}"),
        "spec",
        "an address or a network is required",
    ),
    (
        By::Schema,
        Written(
            PEER_AUTHENTICATION,
            "v1",
            "{portLevelMtls: {8080: {mode: STRICT}}}",
        ),
        "spec",
        "portLevelMtls needs a selector",
    ),
    (
        By::Schema,
        Written(AUTHORIZATION_POLICY, "v1", "{action: PERMIT}"),
        "spec.action",
        "\"ALLOW\"",
    ),
    (
        By::Webhook,
        Written(
            VIRTUAL_SERVICE,
            "v1",
            "{hosts: [a], http: [{route: [{destination: {host: not a host}}]}]}",
        ),
        "spec.http[0].route[0].destination.host",
        "it must be a DNS name",
    ),
    (
        By::Webhook,
        Written(
            VIRTUAL_SERVICE,
            "v1beta1",
            "{hosts: [a], http: [{match: [{uri: {regex: (}}], route: [{destination: {host: a}}]}]}",
        ),
        "spec.http[0].match[0].uri.regex",
        "write an expression of RE2's syntax",
    ),
    (
        By::Webhook,
        Written(
            VIRTUAL_SERVICE,
            "v1alpha3",
            "{hosts: [a], http: [{redirect: {uri: /b}, route: [{destination: {host: a}}]}]}",
        ),
        "spec.http[0]",
        "keep one of them",
    ),
    (
        By::Webhook,
        Written(
            VIRTUAL_SERVICE,
            "v1",
            "{hosts: [a], http: [{retries: {attempts: 2, retryOn: sometimes}, route: [{destination: {host: a}}]}]}",
        ),
        "spec.http[0].retries.retryOn",
        "the conditions are 5xx",
    ),
    (
        By::Webhook,
        Written(
            DESTINATION_RULE,
            "v1",
            "{host: a, trafficPolicy: {tls: {mode: MUTUAL}}}",
        ),
        "spec.trafficPolicy.tls.clientCertificate",
        "`MUTUAL` needs the client's certificate and key",
    ),
    (
        By::Webhook,
        Written(
            DESTINATION_RULE,
            "v1",
            "{host: a, subsets: [{name: x, labels: {v: a}}, {name: x, labels: {v: b}}]}",
        ),
        "spec.subsets[1].name",
        "rename one",
    ),
    (
        By::Webhook,
        Written(
            SERVICE_ENTRY,
            "v1",
            "{hosts: [a.b], ports: [{number: 80, name: http, protocol: WEB}], resolution: DNS}",
        ),
        "spec.ports[0].protocol",
        "one of HTTP, HTTPS",
    ),
    (
        By::Webhook,
        Written(
            WORKLOAD_ENTRY,
            "v1",
            "{address: 198.18.9.9, labels: {\"no label!\": a}}",
        ),
        "spec.labels.no label!",
        "letters, digits",
    ),
    (
        By::Webhook,
        Written(
            AUTHORIZATION_POLICY,
            "v1",
            "{rules: [{to: [{operation: {ports: [http]}}]}]}",
        ),
        "spec.rules[0].to[0].operation.ports[0]",
        "it must be \"1\" to \"65535\"",
    ),
    (
        By::Webhook,
        Written(
            AUTHORIZATION_POLICY,
            "v1beta1",
            "{rules: [{when: [{key: request.path, values: [/a]}]}]}",
        ),
        "spec.rules[0].when[0].key",
        "such as request.headers[x-token]",
    ),
];

/// A doubtful object, the field of the warning, and a part of what to do.
const DOUBTFUL: &[(Written, &str, &str)] = &[
    (
        Written(
            VIRTUAL_SERVICE,
            "v1",
            "{hosts: [cart], http: [{route: [{destination: {host: nowhere}}]}]}",
        ),
        "spec.http[0].route[0].destination.host",
        "create the Service or ServiceEntry, or correct the host",
    ),
    (
        Written(
            VIRTUAL_SERVICE,
            "v1beta1",
            "{hosts: [basket], http: [{route: [{destination: {host: a}}]}, {match: [{uri: {prefix: /b}}], route: [{destination: {host: b}}]}]}",
        ),
        "spec.http[1]",
        "put the routes with narrower conditions first",
    ),
    (
        Written(
            DESTINATION_RULE,
            "v1alpha3",
            "{host: a, trafficPolicy: {loadBalancer: {simple: LEAST_CONN}}}",
        ),
        "spec.trafficPolicy.loadBalancer.simple",
        "write `LEAST_REQUEST`",
    ),
    (
        Written(
            DESTINATION_RULE,
            "v1",
            "{host: b, trafficPolicy: {outlierDetection: {consecutiveErrors: 5}}}",
        ),
        "spec.trafficPolicy.outlierDetection.consecutiveErrors",
        "write `consecutive5xxErrors`",
    ),
    (
        Written(DESTINATION_RULE, "v1", "{host: c, subsets: [{name: v1}]}"),
        "spec.subsets[0].labels",
        "name the labels of its endpoints",
    ),
    (
        Written(
            SERVICE_ENTRY,
            "v1",
            "{hosts: [db.example.com], ports: [{number: 3306, name: tcp-db, protocol: TCP}], resolution: DNS}",
        ),
        "spec.ports[0]",
        "give it addresses",
    ),
    (
        Written(DESTINATION_RULE, "v1", "{host: nowhere}"),
        "spec.host",
        "create the Service or ServiceEntry, or correct the host",
    ),
    (
        Written(
            AUTHORIZATION_POLICY,
            "v1beta1",
            "{rules: [{from: [{source: {principals: [\"spiffe://cluster.local/ns/a/sa/b\"]}}]}]}",
        ),
        "spec.rules[0].from[0].source.principals[0]",
        "leave `spiffe://` out",
    ),
    (
        Written(
            AUTHORIZATION_POLICY,
            "v1",
            "{targetRefs: [{kind: Service, name: a, group: \"\"}], rules: [{}]}",
        ),
        "spec.targetRefs",
        "to guard workloads, select them by `selector`",
    ),
    (
        Written(
            PEER_AUTHENTICATION,
            "v1",
            "{selector: {matchLabels: {app: nobody}}, mtls: {mode: STRICT}}",
        ),
        "spec.selector.matchLabels",
        "correct the labels, or create the workload",
    ),
];

#[test]
fn good_objects_of_every_version_are_taken() {
    let space = shared().space("good");
    let mut taken = 0;
    for (kind, versions, spec) in GOOD {
        for version in *versions {
            let name = format!("{}-{version}", kind.to_lowercase());
            space.apply(&Written(kind, version, spec).yaml(&name));
            taken += 1;
        }
        let shown = space.kubectl_ok(&["get", kind, "-o", "name"]);
        assert_eq!(shown.lines().count(), versions.len(), "{kind}: {shown}");
    }
    println!("{taken} good objects taken");
}

#[test]
fn wrong_objects_are_refused_with_field_and_hint() {
    let space = shared().space("wrong");
    for (by, written, field, hint) in WRONG {
        let done = space.try_apply(&written.yaml("wrong"));
        let said = told(&done);
        let shown = format!("{} {}\n{said}", written.0, written.2);
        assert!(!done.status.success(), "{shown}");
        let refused_by = match said.contains("admission webhook \"validation.istio.io\" denied") {
            true => By::Webhook,
            false => By::Schema,
        };
        assert_eq!(refused_by, *by, "{shown}");
        assert!(names(&said, field), "{field} is not named: {shown}");
        assert!(said.contains(hint), "no hint {hint:?}: {shown}");
    }
    let left = space.kubectl_ok(&["get", &kinds(), "-o", "name"]);
    assert_eq!(left, "");
    println!("{} wrong objects refused", WRONG.len());
}

#[test]
fn doubtful_objects_are_taken_with_a_warning() {
    let space = shared().space("doubtful");
    for (number, (written, field, hint)) in DOUBTFUL.iter().enumerate() {
        let done = space.try_apply(&written.yaml(&format!("doubtful-{number}")));
        let shown = format!("{} {}\n{}", written.0, written.2, told(&done));
        assert!(done.status.success(), "{shown}");
        let said = String::from_utf8_lossy(&done.stderr);
        let is_it = |line: &str| {
            let warning = line.strip_prefix("Warning: ");
            warning.is_some_and(|warning| {
                warning.starts_with(&format!("{field}: ")) && warning.contains(hint)
            })
        };
        assert!(said.lines().any(is_it), "no warning of {field}: {shown}");
    }
    let taken = count(&space);
    assert_eq!(taken, DOUBTFUL.len());
    println!("{taken} doubtful objects taken with a warning");
}

#[test]
fn a_field_that_does_not_exist_is_named() {
    let space = shared().space("unknown");
    let misspelled = Written(VIRTUAL_SERVICE, "v1", "{hosts: [a], htpp: []}");
    let said = told(&space.try_apply(&misspelled.yaml("misspelled")));
    assert!(said.contains("unknown field \"spec.htpp\""), "{said}");
    assert_eq!(count(&space), 0);
}

/// Whether a message is about this field and not about one inside of it.
fn names(said: &str, field: &str) -> bool {
    said.match_indices(field).any(|(at, _)| {
        let end = said.get(at + field.len()..).unwrap_or_default();
        end.starts_with(": ")
    })
}

fn kinds() -> String {
    let kinds = GOOD.iter().map(|(kind, ..)| kind.to_lowercase());
    kinds.collect::<Vec<_>>().join(",")
}

fn count(space: &Space) -> usize {
    let all = space.kubectl_ok(&["get", &kinds(), "-o", "name"]);
    all.lines().count()
}
