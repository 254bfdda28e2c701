//! Texts: lists, the ConfigMap `istio`, faults, and the source in memory.

use model::{Severity, Spec};
use store::SourceId;

use super::*;
use crate::{Memory, parse_text};

#[test]
fn lists_are_taken_apart_with_their_lines() {
    let text = "kind: List\napiVersion: v1\nitems:\n- apiVersion: v1\n  kind: ServiceAccount\n  metadata:\n    name: a\n\
- apiVersion: networking.istio.io/v1\n  kind: VirtualService\n  metadata: {name: b}\n  spec:\n    hosts: [b]\n    hosts: [c]\n\
- apiVersion: v1\n  kind: ServiceAccount\n  metadata: {nam: c}\n---\n\
{\"kind\": \"ServiceAccountList\", \"apiVersion\": \"v1\",\n \"items\": [{\"metadata\": {\"name\": \"d\"}}]}\n";
    let read = parse_text(text, Some(&"l.yaml".into()));
    let names: Vec<&str> = read.objects.iter().map(|o| o.key.name.as_str()).collect();
    assert_eq!(names, ["a", "d"]);
    assert_eq!(read.objects[0].place.line_of("metadata.name"), Some(7));
    assert_eq!(read.objects[1].place.line_of("metadata.name"), Some(19));
    let twice = &read.refused[0].diagnostics;
    assert_eq!(
        (twice[0].line, &*twice[0].field, twice[0].code.as_str()),
        (Some(13), "spec.hosts", "LAT0001")
    );
    assert!(read.is_broken, "the third item has no name");
    assert_eq!(codes(&read.diagnostics), ["IST0106 l.yaml:16"]);
}

#[test]
fn lists_in_lists_are_taken_apart_down_to_a_depth() {
    let nested = |depth: usize| {
        let inner = r#"{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}}"#;
        let list = |inner: String, _| {
            format!(r#"{{"apiVersion": "v1", "kind": "List", "items": [{inner}]}}"#)
        };
        let text = (0..depth).fold(inner.to_owned(), list);
        parse_text(&text, Some(&"l.yaml".into()))
    };
    assert_eq!((nested(4).objects.len(), nested(4).is_broken), (1, false));
    let deeper = nested(5);
    assert_eq!((deeper.objects.len(), deeper.is_broken), (0, true));
    assert_eq!(codes(&deeper.diagnostics), ["LAT0001 l.yaml:1"]);
}

#[test]
fn the_config_map_istio_is_the_mesh_config() {
    let map = |mesh: &str| {
        let head = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: istio\n  namespace: istio-system\ndata:\n  mesh: |\n";
        let mesh = mesh.lines().map(|line| format!("    {line}\n"));
        parse_text(&(head.to_owned() + &mesh.collect::<String>()), None)
    };
    let read = map("trustDomain: a.org\nenableTracing: true");
    let Spec::MeshConfig(config) = &read.objects[0].spec else {
        panic!()
    };
    assert_eq!(config.trust_domain.as_str(), "a.org");
    let warning = &read.objects[0].diagnostics[0];
    assert_eq!(
        (warning.line, warning.severity),
        (Some(9), Severity::Warning)
    );
    assert_eq!(map("a: }").diagnostics[0].line, Some(8));
    let two = map("trustDomain: a.org\n---\nenableTracing: true");
    assert_eq!((two.objects.len(), two.is_broken), (0, true));
    assert_eq!(codes(&two.diagnostics), ["LAT0001 :10"]);
    let other = parse_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio}\n",
        None,
    );
    assert!(other.objects.is_empty());
}

#[test]
fn a_key_twice_refuses_the_object_and_keeps_its_scope() {
    let text = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata:\n  name: a\nspec:\n  mtls: {mode: STRICT}\n  mtls: {mode: DISABLE}\n";
    let read = parse_text(text, None);
    assert_eq!(read.refused[0].scope, Some(store::RefusedScope::Namespace));
    assert_eq!(read.refused[0].diagnostics[0].line, Some(7));
}

#[test]
fn a_key_twice_that_leaves_in_doubt_whom_it_concerns_closes_nothing() {
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}\nspec:\n  action: DENY\n  selector: {matchLabels: {app: a}}\n";
    let routes = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a]\n  http: [{route: [{destination: {host: b}}]}]\n";
    let table = [
        (policy, "  action: ALLOW\n", true),
        (policy, "  selector: {matchLabels: {app: b}}\n", false),
        (policy, "spec: {}\n", false),
        (routes, "  http: []\n", true),
        (routes, "  hosts: [b]\n", false),
        (routes, "  exportTo: [a]\n  exportTo: [b]\n", false),
        (routes, "spec: {}\n", false),
        // Refused by what it says as well.
        (routes, "  tcp: 5\n  hosts: [b]\n", false),
        (routes, "  tcp: 5\n  tcp: 6\n", true),
    ];
    for (text, more, closes) in table {
        let read = parse_text(&format!("{text}{more}"), None);
        assert_eq!(read.refused[0].scope.is_some(), closes, "{text}{more}");
    }
}

#[test]
fn memory_says_everything_and_then_the_differences() {
    let mut memory = Memory::new(SourceId(3));
    memory.put("a", &account("a", "v1"));
    memory.put("b", &account("b", "v1"));
    assert_eq!(words(&memory.read()), ["=a", "=b"]);
    assert!(memory.read().is_empty());
    memory.put("a", &account("a", "v2"));
    memory.remove("b");
    let sets = memory.read();
    assert_eq!(
        (words(&sets), &sets[0].source),
        (vec!["-b".to_owned(), "+a".to_owned()], &SourceId(3))
    );
}

#[test]
fn the_lower_place_loses_a_duplicate() {
    let mut memory = Memory::new(SourceId(0));
    memory.put(
        "b.yaml",
        &format!("{}---\n{}", account("x", "v2"), account("z", "v1")),
    );
    memory.put("a.yaml", &account("x", "v1"));
    let sets = memory.read();
    let mut store = Store::default();
    for set in sets {
        store.apply(set);
    }
    assert_eq!(accounts(&store), ["x:v1", "z:v1"]);
    let diagnostics = memory.diagnostics();
    assert_eq!(codes(&diagnostics), ["LAT0005 b.yaml:1"]);
    assert!(
        diagnostics[0].message.contains("a.yaml:1") && diagnostics[0].message.contains("b.yaml:1")
    );
    memory.remove("a.yaml");
    assert_eq!(words(&memory.read()), ["+x"]);
    assert!(memory.diagnostics().is_empty());
}

#[test]
fn every_code_is_explained() {
    let page = include_str!("../../../../docs/diagnostics.md");
    for code in model::Code::ALL {
        let heading = format!("\n## {code} ");
        assert_eq!(
            page.matches(&heading).count(),
            1,
            "docs/diagnostics.md needs one section {heading:?}"
        );
    }
    let sections = page.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(sections, model::Code::ALL.len(), "a section without a code");
}
