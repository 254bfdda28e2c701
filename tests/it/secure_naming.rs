//! Who is taken for whom, by real Envoys: a service is only who has one of its identities, and a principal in a policy
//! is only who bears that name to the letter.

use lab::app::{Call, Failure, Outcome};
use serde_json::{Value, json};
use testkit::{authorization_policy, peer_authentication, service, workload_entry};

use crate::inside::{Stage, eventually, inside, workload};
use crate::objects;

/// Where the server lives, and who it is.
const ADDRESS: &str = "198.18.240.1";
const ACCOUNT: &str = "vm";

/// A server in namespace `shop` and callers there, each called as its service account.
fn world(callers: &[&str]) -> Vec<Value> {
    let mut objects = objects![
        peer_authentication("default")
            .in_namespace("istio-system")
            .mode("STRICT"),
        service("vm")
            .in_namespace("shop")
            .selecting("app", "vm")
            .port(9080)
            .tcp_port(9000),
        workload_entry("vm", ADDRESS)
            .in_namespace("shop")
            .running_as(ACCOUNT)
            .with("spec.labels.app", "vm"),
    ];
    for account in callers {
        objects.extend(objects![workload(
            "shop",
            &account.replace('.', "-"),
            account,
            &[]
        )]);
    }
    objects
}

/// A service of one endpoint: the server's address, under the name of some account.
fn ledger(namespace: &str, account: &str) -> Vec<Value> {
    objects![
        service("ledger")
            .in_namespace(namespace)
            .selecting("app", "ledger")
            .port(9080)
            .tcp_port(9000),
        workload_entry("ledger", ADDRESS)
            .in_namespace(namespace)
            .running_as(account)
            .with("spec.labels.app", "ledger"),
    ]
}

async fn call(stage: &Stage, from: &str, url: &str) -> Outcome {
    stage
        .mesh
        .call(
            from,
            Call {
                fresh: true,
                ..Call::get(url)
            },
        )
        .await
        .unwrap()
}

/// The server's address answers under the name of a service that it is an endpoint of.
async fn is_answered(stage: &Stage) {
    let honest = call(stage, "shop/client", "http://ledger.shop:9080/").await;
    assert_eq!(honest.status, Some(200), "{honest:?}");
    let answer = honest.answer.unwrap();
    let peer = Some("spiffe://cluster.local/ns/shop/sa/client");
    assert_eq!((answer.workload.as_str(), answer.peer()), ("vm", peer));
    let line = call(stage, "shop/client", "tcp://ledger.shop:9000").await;
    assert_eq!(line.answer.unwrap().workload, "vm");
}

#[test]
fn sec_38_who_has_another_identity_is_not_taken_for_the_service() {
    let test = "secure_naming::sec_38_who_has_another_identity_is_not_taken_for_the_service";
    inside(test, async {
        let mut stage = Stage::start(&world(&["client"])).await;
        stage.show(&ledger("shop", ACCOUNT)).await;
        is_answered(&stage).await;
        // Another account, and the same account's name in another namespace.
        for (namespace, account) in [("shop", "ledger"), ("other", ACCOUNT)] {
            stage.show(&ledger(namespace, account)).await;
            let url = format!("http://ledger.{namespace}:9080/");
            let refused = call(&stage, "shop/client", &url).await;
            assert_eq!(refused.status, Some(503), "{url}: {refused:?}");
            assert!(refused.answer.is_none(), "{refused:?}");
            let url = format!("tcp://ledger.{namespace}:9000");
            let closed = call(&stage, "shop/client", &url).await;
            assert_eq!(closed.failure, Some(Failure::Closed), "{url}: {closed:?}");
        }
        stage.show(&ledger("shop", ACCOUNT)).await;
        is_answered(&stage).await;
        let clusters = ["shop", "other"].map(|namespace| {
            [9080, 9000]
                .map(|port| format!(" outbound|{port}||ledger.{namespace}.svc.cluster.local "))
        });
        let why = [
            "CERTIFICATE_VERIFY_FAILED",
            "certificate_SANs_are_[spiffe://cluster.local/ns/shop/sa/vm]",
        ];
        eventually("the reason in the caller's access log", async || {
            let log = stage.mesh.log("shop/client");
            let says = |cluster: &String| {
                log.lines()
                    .any(|line| line.contains(cluster) && why.iter().all(|why| line.contains(why)))
            };
            clusters.iter().flatten().all(says).then_some(())
        })
        .await;
    });
}

#[test]
fn sec_12_13_principals_are_taken_to_the_letter_over_http_and_tcp() {
    inside(
        "secure_naming::sec_12_13_principals_are_taken_to_the_letter_over_http_and_tcp",
        async {
            let mut stage = Stage::start(&world(&["a.b", "axb"])).await;
            let whole = "cluster.local/ns/shop/sa/a.b";
            for principal in [whole, "*/sa/a.b", "cluster.local/ns/shop/sa/a.*"] {
                let rule = json!({ "from": [{ "source": { "principals": [principal] } }] });
                let policy = authorization_policy("letters")
                    .in_namespace("shop")
                    .action("ALLOW")
                    .rule(rule);
                let objects = objects![policy];
                stage.show(&objects).await;
                for (caller, is_meant) in [("shop/a-b", true), ("shop/axb", false)] {
                    let request = call(&stage, caller, "http://vm:9080/").await;
                    let status = if is_meant { 200 } else { 403 };
                    assert_eq!(
                        request.status,
                        Some(status),
                        "{principal}, {caller}: {request:?}"
                    );
                    let line = call(&stage, caller, "tcp://vm:9000").await;
                    let failure = (!is_meant).then_some(Failure::Closed);
                    assert_eq!(line.failure, failure, "{principal}, {caller}: {line:?}");
                }
            }
        },
    );
}
