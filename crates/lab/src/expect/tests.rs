//! The oracle on the folder that newcomers meet.

use std::fs;

use super::*;

const FOLDER: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {selector: {app: reviews}, ports: [{name: http, port: 9080}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
    - match: [{uri: {prefix: /beta}}]
      route: [{destination: {host: reviews, subset: v2}}]
    - route:
        - {destination: {host: reviews, subset: v1}, weight: 70}
        - {destination: {host: reviews, subset: v2}, weight: 30}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: shop}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: viewer, namespace: shop}
spec:
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/friend, cluster.local/ns/shop/sa/foe]}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-foes, namespace: shop}
spec:
  action: DENY
  rules: [{from: [{source: {principals: ["*/foe"]}}]}]
"#;

fn pod(name: &str, app: &str, version: &str, inject: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop, labels: {{app: {app}, \
         version: {version}, sidecar.istio.io/inject: \"{inject}\"}}}}\nspec: {{serviceAccountName: {name}}}\n"
    )
}

fn expect(caller: &str, url: &str) -> Expectation {
    let dir = tempfile::tempdir().unwrap();
    let mut text = FOLDER.to_owned();
    for (name, app, version, inject) in [
        ("r1", "reviews", "v1", "true"),
        ("r2", "reviews", "v2", "true"),
        ("friend", "friend", "v1", "true"),
        ("foe", "foe", "v1", "true"),
        ("stranger", "stranger", "v1", "true"),
        ("plain", "plain", "v1", "false"),
    ] {
        text.push_str(&pod(name, app, version, inject));
    }
    fs::write(dir.path().join("all.yaml"), text).unwrap();
    let reading = crate::read::read(dir.path()).unwrap();
    Oracle::new(&reading).expect(&reading.folder.workloads[&format!("shop/{caller}")], url)
}

#[test]
fn a_friend_is_served_by_weight() {
    let friend = Some("spiffe://cluster.local/ns/shop/sa/friend".to_owned());
    let part = |version: &str, share| Part {
        share,
        version: Some(version.to_owned()),
        verdict: Verdict::Served(friend.clone()),
    };
    assert_eq!(
        expect("friend", "http://reviews:9080/").parts,
        [part("v1", 0.7), part("v2", 0.3)]
    );
    assert_eq!(
        expect("friend", "http://reviews.shop:9080/beta").parts,
        [part("v2", 1.0)]
    );
}

#[test]
fn others_are_refused_each_for_a_reason() {
    let refusal = |caller| expect(caller, "http://reviews:9080/").refusal().cloned();
    assert_eq!(
        refusal("foe"),
        Some(Refusal::Denied("shop/no-foes".to_owned()))
    );
    assert_eq!(refusal("stranger"), Some(Refusal::NotAllowed));
    assert_eq!(refusal("plain"), Some(Refusal::Plaintext));
}

#[test]
fn nothing_is_expected_of_what_is_not_known() {
    assert!(expect("friend", "http://elsewhere/").parts.is_empty());
}
