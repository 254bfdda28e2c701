//! Every real Envoy that is served takes what generated worlds become: its field constraints are ours to check, the
//! rest is not.
#![allow(clippy::unwrap_used, reason = "a broken expectation fails the test")]

mod kit;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use envoy_api::envoy::config::bootstrap::v3 as bootstrap;
use envoy_api::envoy::config::cluster::v3::Cluster;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::listener::v3::filter::ConfigType;
use envoy_api::envoy::config::listener::v3::{FilterChain, Listener};
use envoy_api::envoy::config::route::v3::RouteConfiguration;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_api::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use model::EnvoyMinor;
use prost::Message as _;
use testkit::{Run, Story, check};
use xds::{Kind, View};

/// An Envoy, fetched if it is not there yet.
fn program(envoy: EnvoyMinor) -> PathBuf {
    let hack = concat!(env!("CARGO_MANIFEST_DIR"), "/../../hack/envoy");
    let older = (envoy < EnvoyMinor::NEWEST).then(|| envoy.to_string());
    let found = Command::new(hack).args(older).output().unwrap();
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
    String::from_utf8(found.stdout).unwrap().trim_end().into()
}

/// A bootstrap that holds a view: routes stand in the listeners that ask for them.
fn bootstrap(view: &View) -> bootstrap::Bootstrap {
    let clusters = view
        .resources(Kind::Cluster)
        .map(|cluster| Cluster::decode(cluster.body()).unwrap());
    // Certificates in files are the user's to put there.
    let complete = clusters.filter(|cluster| !format!("{cluster:?}").contains("/etc/certs"));
    let nobody = ["xds-grpc", translate::SDS_CLUSTER].map(|name| Cluster {
        name: name.to_owned(),
        ..Default::default()
    });
    let listeners = view.resources(Kind::Listener).map(|listener| {
        let mut listener = Listener::decode(listener.body()).unwrap();
        let chains = listener
            .filter_chains
            .iter_mut()
            .chain(&mut listener.default_filter_chain);
        chains.for_each(|chain| inline(chain, view));
        listener
    });
    let grpc = core::grpc_service::EnvoyGrpc {
        cluster_name: "xds-grpc".to_owned(),
        ..Default::default()
    };
    bootstrap::Bootstrap {
        node: Some(core::Node {
            id: "test".to_owned(),
            cluster: "test".to_owned(),
            ..Default::default()
        }),
        static_resources: Some(bootstrap::bootstrap::StaticResources {
            clusters: complete.chain(nobody).collect(),
            listeners: listeners.collect(),
            ..Default::default()
        }),
        dynamic_resources: Some(bootstrap::bootstrap::DynamicResources {
            ads_config: Some(core::ApiConfigSource {
                api_type: core::api_config_source::ApiType::DeltaGrpc.into(),
                transport_api_version: core::ApiVersion::V3.into(),
                grpc_services: vec![core::GrpcService {
                    target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(grpc)),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn inline(chain: &mut FilterChain, view: &View) {
    for filter in &mut chain.filters {
        let Some(ConfigType::TypedConfig(any)) = &mut filter.config_type else {
            continue;
        };
        let Some(mut manager) = any.unpack::<HttpConnectionManager>().unwrap() else {
            continue;
        };
        let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier else {
            continue;
        };
        let table = view.get(Kind::Route, &rds.route_config_name).unwrap();
        let table = RouteConfiguration::decode(table.body()).unwrap();
        manager.route_specifier = Some(RouteSpecifier::RouteConfig(table));
        *any = envoy_api::pack(&manager);
    }
}

/// Tells a story to its end and shows the views of three of its proxies each to the Envoy that it runs.
fn is_accepted(envoys: &BTreeMap<EnvoyMinor, PathBuf>, story: &Story) -> Result<(), String> {
    let (mut world, sets) = story.begin();
    let mut control = kit::control();
    control.apply(sets);
    for edit in &story.edits {
        control.apply(world.edit(*edit));
    }
    for info in kit::proxies().into_iter().take(3) {
        let envoy = info.envoy;
        let id = control.connect(info);
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = dir.path().join("bootstrap.pb");
        std::fs::write(&path, bootstrap(&control.view(id).unwrap()).encode_to_vec()).unwrap();
        let run = Command::new(envoys.get(&envoy).unwrap())
            .args(["--mode", "validate", "-l", "error", "-c"])
            .arg(&path)
            .output()
            .unwrap();
        if !run.status.success() {
            let said = [&run.stderr, &run.stdout].map(|said| String::from_utf8_lossy(said));
            return Err(format!("Envoy {envoy}: {}", said.concat()));
        }
    }
    Ok(())
}

#[test]
fn stock_envoy_accepts_generated_worlds() {
    let envoys = EnvoyMinor::ALL.map(|envoy| (envoy, program(envoy))).into();
    let run = Run {
        worlds: 24,
        edits: 10,
    };
    check("stock Envoy accepts generated worlds", run, |story| {
        is_accepted(&envoys, story)
    });
}
