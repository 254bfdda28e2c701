//! Which AuthorizationPolicies guard a workload, in which order, and what broken ones deny.

use ir::{Policy, Rules};
use serde_json::json;
use testkit::{AuthorizationPolicy, Document, authorization_policy, pod};

use crate::kit::World;

/// The policies that refuse and those that allow, by name; `!` marks one that refuses everything.
fn guards(policies: Vec<AuthorizationPolicy>) -> (Vec<String>, Vec<String>) {
    let cart: Document = pod("cart")
        .in_namespace("shop")
        .labelled("app", "cart")
        .into();
    let world = World::of(std::iter::once(cart).chain(policies.into_iter().map(Into::into)));
    let workload = world.workload("shop/cart");
    let found = world.0.authorization(&workload.namespace, &workload.labels);
    let name = |policy: &Policy| {
        let everything = if policy.rules == Rules::Everything {
            "!"
        } else {
            ""
        };
        format!("{everything}{}/{}", policy.namespace, policy.name)
    };
    (
        found.deny.iter().map(name).collect(),
        found.allow.iter().map(name).collect(),
    )
}

fn policy(name: &str, action: &str) -> AuthorizationPolicy {
    let policy = authorization_policy(name)
        .in_namespace("shop")
        .action(action)
        .rule(json!({}));
    if action == "CUSTOM" {
        policy.with("spec.provider.name", "ext")
    } else {
        policy
    }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

#[test]
fn policies_of_the_namespace_the_root_and_the_selector_apply() {
    let elsewhere =
        json!([{"kind": "Gateway", "group": "gateway.networking.k8s.io", "name": "gw"}]);
    let all = vec![
        policy("b-own", "DENY"),
        policy("a-own", "DENY"),
        policy("root", "DENY").in_namespace("istio-system"),
        policy("root-cart", "DENY")
            .in_namespace("istio-system")
            .selecting("app", "cart"),
        policy("root-pay", "DENY")
            .in_namespace("istio-system")
            .selecting("app", "pay"),
        policy("other", "DENY").in_namespace("web"),
        policy("cart", "ALLOW").selecting("app", "cart"),
        policy("pay", "ALLOW").selecting("app", "pay"),
        policy("gateway", "DENY").with("spec.targetRefs", elsewhere),
        policy("audit", "AUDIT"),
        policy("custom", "CUSTOM"),
    ];
    let deny = [
        "istio-system/root",
        "istio-system/root-cart",
        "shop/a-own",
        "shop/b-own",
    ];
    assert_eq!(guards(all), (names(&deny), names(&["shop/cart"])));
}

#[test]
fn an_allow_policy_without_rules_stays_and_allows_nothing() {
    let nothing = authorization_policy("nothing").in_namespace("shop");
    assert_eq!(guards(vec![nothing]), (vec![], names(&["shop/nothing"])));
}

#[test]
fn sec_40_a_refused_policy_denies_its_own_workloads_only() {
    let broken = |name: &str| policy(name, "ALLOW").with("spec.action", "PERMIT");
    let table: Vec<(AuthorizationPolicy, &[&str])> = vec![
        (broken("all"), &["!shop/all"]),
        (broken("cart").selecting("app", "cart"), &["!shop/cart"]),
        (broken("pay").selecting("app", "pay"), &[]),
        (broken("other").in_namespace("web"), &[]),
        (broken("root").in_namespace("istio-system"), &[]),
        (
            broken("unreadable").with("spec.selector", json!("cart")),
            &[],
        ),
        (policy("unreadable", "DENY").with("spec", json!([])), &[]),
    ];
    for (policy, denied) in table {
        let described = format!("{policy:?}");
        assert_eq!(guards(vec![policy]), (names(denied), vec![]), "{described}");
    }
}

#[test]
fn a_refused_policy_with_a_good_version_keeps_it() {
    let mut store = testkit::store([policy("cart", "ALLOW")]);
    store.apply(testkit::load([policy("cart", "PERMIT")]));
    let mesh = mesh::Mesh::new(store.snapshot());
    let found = mesh.authorization(&"shop".parse().unwrap(), &model::Labels::default());
    assert!(found.deny.is_empty());
    assert_eq!(found.allow.len(), 1);
}

#[test]
fn a_provider_that_is_one_and_there_is_asked() {
    use ir::Custom;
    let asked = |documents: Vec<Document>| {
        let provider = |name: &str, port| {
            let service = "authz.web.svc.cluster.local";
            json!({"name": name, "envoyExtAuthzGrpc": {"service": service, "port": port}})
        };
        let providers = [
            provider("ext", 80),
            provider("second", 80),
            provider("closed", 81),
        ];
        let config = testkit::mesh_config().with("extensionProviders", json!(providers));
        let world = World::of(std::iter::once(config.into()).chain(documents));
        let found = world
            .0
            .authorization(&"shop".parse().unwrap(), &model::Labels::default());
        match found.custom {
            Some(Custom::Ask(provider, _)) => format!("ask {}", provider.cluster),
            Some(Custom::Refuse(policies)) => format!("refuse {}", policies.len()),
            None => "pass".to_owned(),
        }
    };
    let authz = || -> Document {
        testkit::service("authz")
            .in_namespace("web")
            .port(80)
            .into()
    };
    let custom = |name: &str, provider: &str| {
        let policy = policy(name, "CUSTOM");
        policy.with("spec.provider.name", provider)
    };
    let one = || custom("one", "ext");
    let cluster = "ask outbound|80||authz.web.svc.cluster.local";
    assert_eq!(asked(vec![authz(), one().into()]), cluster);
    assert_eq!(
        asked(vec![authz(), one().into(), custom("two", "ext").into()]),
        cluster
    );
    assert_eq!(asked(vec![one().into()]), "refuse 1");
    assert_eq!(
        asked(vec![authz(), custom("one", "nobody").into()]),
        "refuse 1"
    );
    assert_eq!(
        asked(vec![authz(), custom("one", "closed").into()]),
        "refuse 1"
    );
    assert_eq!(
        asked(vec![authz(), one().into(), custom("two", "second").into()]),
        "refuse 2"
    );
    let dry = one().with("metadata.annotations", json!({"istio.io/dry-run": "true"}));
    assert_eq!(asked(vec![authz(), dry.into()]), "pass");
}
