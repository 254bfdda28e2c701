//! What a request says is brought into one form before routes and policies look at it, by real Envoys.

use lab::app::Call;
use serde_json::{Value, json};
use testkit::{authorization_policy, route, service, virtual_service, workload_entry};

use crate::inside::{Stage, inside, workload};
use crate::objects;

/// A server behind two names, and its caller.
fn world() -> Vec<Value> {
    let mut objects = objects![workload("shop", "client", "client", &[])];
    for (name, address) in [("front", "198.18.240.1"), ("back", "198.18.240.2")] {
        objects.extend(objects![
            service(name)
                .in_namespace("shop")
                .selecting("app", name)
                .port(9080),
            workload_entry(name, address)
                .in_namespace("shop")
                .running_as("server")
                .with("spec.labels.app", name),
        ]);
    }
    objects
}

async fn status(stage: &Stage, url: &str, host: Option<&str>) -> (Option<u16>, String) {
    let host = host.map(|host| ("host".to_owned(), host.to_owned()));
    let call = Call {
        headers: host.into_iter().collect(),
        fresh: true,
        ..Call::get(url)
    };
    let outcome = stage.mesh.call("shop/client", call).await.unwrap();
    let workload = outcome.answer.map(|answer| answer.workload);
    (outcome.status, workload.unwrap_or_default())
}

#[test]
fn sec_14_to_18_paths_and_hosts_are_brought_into_one_form() {
    let test = "normalisation::sec_14_to_18_paths_and_hosts_are_brought_into_one_form";
    inside(test, async {
        let mut stage = Stage::start(&world()).await;
        let policy = authorization_policy("no-admin")
            .in_namespace("shop")
            .action("DENY")
            .rule(json!({"to": [{"operation": {"paths": ["/admin"]}}]}));
        let routes = virtual_service("front")
            .in_namespace("shop")
            .host("front")
            .route(route().to("back"));
        let objects = objects![policy, routes];
        stage.show(&objects).await;
        for (path, is_admin) in [
            ("/admin", true),
            ("/a/../admin", true),
            ("/./admin", true),
            ("/%61dmin", true),
            ("/admin?x=/y", true),
            ("/ADMIN", false),
            ("/admin/", false),
            // neither slashes nor escaped slashes are merged (BASE)
            ("//admin", false),
            ("/admin%2Fx", false),
        ] {
            let (status, _) = status(&stage, &format!("http://back:9080{path}"), None).await;
            let expected = if is_admin { 403 } else { 200 };
            assert_eq!(status, Some(expected), "{path}");
        }
        for host in ["front", "FRONT", "front:9080", "Front.Shop:9080", "front:1"] {
            let (status, workload) = status(&stage, "http://front:9080/", Some(host)).await;
            assert_eq!((status, workload.as_str()), (Some(200), "back"), "{host}");
        }
    });
}
