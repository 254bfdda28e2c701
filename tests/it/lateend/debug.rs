//! What `/debug` shows.

use super::client::Proxy;
use super::process::{Home, Lateend, eventually};

#[tokio::test]
async fn it_shows_objects_proxies_and_what_they_are_to_hold() {
    let home = Home::new();
    home.write("bad.yaml", "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: shop}\nspec: {host: 1}\n");
    let lateend = Lateend::start(&home, &[]).await;
    let mut proxy = Proxy::join(&lateend, &home).await;
    proxy.accept().await;

    let objects = lateend.json("/debug/configz").await;
    let route = objects
        .as_array()
        .unwrap()
        .iter()
        .find(|object| object["kind"] == "VirtualService")
        .unwrap();
    assert_eq!(
        (&route["name"], &route["file"], &route["line"]),
        (&"reviews".into(), &"mesh.yaml".into(), &9.into())
    );

    let wrong = eventually("the diagnostic", async || {
        let all = lateend.json("/debug/diagnostics").await;
        let mut errors = all
            .as_array()
            .unwrap()
            .iter()
            .filter(|one| one["severity"] == "error");
        errors.next().cloned()
    })
    .await;
    assert_eq!(
        (&wrong["file"], &wrong["kind"], &wrong["line"]),
        (&"bad.yaml".into(), &"DestinationRule".into(), &4.into())
    );

    eventually("the first acknowledgement", async || {
        let proxies = lateend.json("/debug/syncz").await;
        let cart = &proxies[0];
        assert_eq!(
            (&cart["proxy"], &cart["istio_version"]),
            (&"cart-1.shop".into(), &"1.32.0".into())
        );
        (cart["cluster_acked"] == cart["cluster_sent"] && cart["cluster_acked"] != "").then_some(())
    })
    .await;

    let dump = lateend.json("/debug/config_dump?proxyID=cart-1.shop").await;
    let configs = dump["configs"].as_array().unwrap();
    let clusters = &configs[0]["dynamic_active_clusters"];
    let names: Vec<_> = clusters
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["cluster"]["name"].as_str().unwrap())
        .collect();
    assert!(
        names.contains(&"outbound|9080||reviews.shop.svc.cluster.local"),
        "{names:?}"
    );
    let routes = configs
        .iter()
        .find(|config| {
            config["@type"]
                .as_str()
                .unwrap()
                .ends_with("RoutesConfigDump")
        })
        .unwrap();
    assert_eq!(
        routes["dynamic_route_configs"][0]["route_config"]["name"],
        "9080"
    );
    let names = &configs.last().unwrap()["tables"][0]["table"];
    assert!(
        names.get("reviews.shop.svc.cluster.local").is_some(),
        "{names}"
    );
}
