//! Every metric is moved by the event that it is about.

use xds::Kind;
use xds::client::nack;

use super::client::{Proxy, all, bearer, certificate, one, secure};
use super::process::{Home, Lateend, MESH, eventually};

#[tokio::test]
async fn each_metric_is_moved_by_its_event() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    assert_eq!(
        lateend.metric("pilot_info{version=\"0.1.0\"}").await,
        Some(1.0)
    );
    let up = lateend.metric("istiod_uptime_seconds").await.unwrap();
    lateend
        .metric_reaches("istiod_uptime_seconds", up + 0.001)
        .await;

    let (issued, asked) = (
        "citadel_server_success_cert_issuance_count",
        "citadel_server_csr_count",
    );
    assert_eq!(
        (lateend.metric(issued).await, lateend.metric(asked).await),
        (Some(0.0), Some(0.0))
    );
    let channel = secure(&lateend, &home.roots(), None).await.unwrap();
    assert!(
        certificate(channel.clone(), bearer("nonsense"))
            .await
            .is_err()
    );
    assert_eq!(
        lateend
            .metric("citadel_server_authentication_failure_count")
            .await,
        Some(1.0)
    );
    certificate(
        channel,
        bearer(&home.token("shop", "cart", std::time::Duration::ZERO)),
    )
    .await
    .unwrap();
    assert_eq!(
        (lateend.metric(issued).await, lateend.metric(asked).await),
        (Some(1.0), Some(2.0))
    );

    let (services, routes) = ("pilot_services", "pilot_virt_services");
    assert_eq!(
        (lateend.metric(services).await, lateend.metric(routes).await),
        (Some(1.0), Some(1.0))
    );

    let connected = "pilot_xds{version=\"1.32.0\"}";
    assert_eq!(lateend.metric(connected).await, None);
    let mut proxy = Proxy::join(&lateend, &home).await;
    proxy.accept().await;
    assert_eq!(lateend.metric(connected).await, Some(1.0));
    assert_eq!(
        lateend.metric("pilot_xds_pushes{type=\"cds\"}").await,
        Some(1.0)
    );
    let size = "pilot_xds_config_size_bytes_count{type=\"type.googleapis.com/envoy.config.cluster.v3.Cluster\"}";
    assert_eq!(lateend.metric(size).await, Some(1.0));

    proxy.send(all(Kind::Listener)).await;
    proxy.accept().await;
    synced(&lateend).await;
    assert_eq!(
        lateend.metric("pilot_proxy_convergence_time_count").await,
        Some(0.0),
        "nothing has changed yet"
    );
    home.write(
        "more.yaml",
        &MESH.replace("reviews", "ratings").replace("128.9", "128.8"),
    );
    let changed = proxy.accept().await;
    assert_eq!(changed.type_url, Kind::Cluster.type_url());
    lateend.metric_reaches(services, 2.0).await;
    assert_eq!(lateend.metric(routes).await, Some(2.0));
    let accept = async {
        loop {
            proxy.accept().await;
        }
    };
    tokio::select! {
        () = accept => {}
        () = lateend.metric_reaches("pilot_proxy_convergence_time_count", 1.0) => {}
    }

    drop(proxy);
    eventually("a goodbye", async || {
        lateend.metric(connected).await.is_none().then_some(())
    })
    .await;
}

/// Waits until every proxy has accepted all that it is to hold.
async fn synced(lateend: &Lateend) {
    eventually("all proxies to be synced", async || {
        let status = lateend.json("/debug/syncz").await;
        status
            .as_array()
            .unwrap()
            .iter()
            .all(|proxy| proxy["synced"] == true)
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn refusals_are_counted_by_type_and_node() {
    let home = Home::new();
    let lateend = Lateend::start(&home, &[]).await;
    let cluster = "outbound|9080||reviews.shop.svc.cluster.local";
    for (kind, request) in [
        (Kind::Cluster, all(Kind::Cluster)),
        (Kind::Endpoint, one(Kind::Endpoint, cluster)),
        (Kind::Listener, all(Kind::Listener)),
        (Kind::Route, one(Kind::Route, "9080")),
    ] {
        let mut proxy = Proxy::join(&lateend, &home).await;
        if kind != Kind::Cluster {
            proxy.accept().await;
            proxy.send(request).await;
        }
        let response = proxy.next_of(kind).await;
        proxy.send(nack(&response, "no")).await;
        let kind = kind.short();
        lateend
            .metric_reaches(&format!("pilot_total_xds_rejects{{type=\"{kind}\"}}"), 1.0)
            .await;
        let by_node = format!("pilot_xds_{kind}_reject{{node=\"cart-1.shop\",err=\"Internal\"}}");
        lateend.metric_reaches(&by_node, 1.0).await;
    }
}
