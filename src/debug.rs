//! `/debug`: what the control plane knows, wants of each proxy, and was answered. For people, the lab and Istio's tools;
//! it is reached from this machine only.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use model::{Diagnostic, Labels};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use store::Snapshot;
use xds::{Kind, Mode};

use crate::dump;
use crate::http::App;
use crate::streams::{Progress, Stream};

/// The paths.
pub fn routes() -> Router<App> {
    Router::new()
        .route("/debug", get(list))
        .route("/debug/configz", get(configz))
        .route("/debug/syncz", get(syncz))
        .route("/debug/config_dump", get(config_dump))
        .route("/debug/diagnostics", get(diagnostics))
}

async fn list() -> &'static str {
    "/debug/configz\n/debug/syncz\n/debug/config_dump?proxyID=POD.NAMESPACE\n/debug/diagnostics\n"
}

/// Every object: its name, where it stands, whether its newest version was refused.
async fn configz(State(app): State<App>) -> Response {
    match app.plane.snapshot().await {
        Some(snapshot) => Json(objects(&snapshot)).into_response(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

fn objects(snapshot: &Snapshot) -> Value {
    let object = |object: &Arc<model::Object>| {
        json!({
            "kind": object.key.kind.as_str(),
            "namespace": object.key.namespace.as_str(),
            "name": object.key.name.as_str(),
            "labels": labels(&object.meta.labels),
            "annotations": labels(&object.meta.annotations),
            "file": object.place.file.as_deref(),
            "line": object.place.line_of(""),
            "stale": snapshot.is_stale(&object.key),
        })
    };
    snapshot.objects.values().map(object).collect()
}

fn labels(labels: &Labels) -> Map<String, Value> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect()
}

/// Istio's list of proxies with what each was sent and accepted, and what Lateen adds: `epoch`, the newest state; the
/// one that this proxy `wanted`; the one that it `accepted`; and whether that is all, `synced`.
async fn syncz(State(app): State<App>) -> Json<Value> {
    let streams = &app.plane.shared().streams;
    // Before the streams are read: none of this state's changes is missed then.
    let epoch = streams.epoch();
    Json(
        streams
            .all()
            .iter()
            .map(|stream| status(stream, epoch))
            .collect(),
    )
}

fn status(stream: &Stream, epoch: u64) -> Value {
    let progress = stream.progress();
    let mut status = Map::new();
    status.insert("proxy".to_owned(), stream.node.proxy_id().into());
    status.insert("proxy_type".to_owned(), "sidecar".into());
    status.insert(
        "cluster_id".to_owned(),
        stream.node.cluster_id.as_str().into(),
    );
    status.insert(
        "istio_version".to_owned(),
        stream.node.version.as_str().into(),
    );
    for (kind, name) in [
        (Kind::Cluster, "cluster"),
        (Kind::Listener, "listener"),
        (Kind::Route, "route"),
        (Kind::Endpoint, "endpoint"),
        (Kind::Extension, "extension_config"),
        (Kind::NameTable, "name_table"),
    ] {
        let nonces = progress.nonces.get(&kind).cloned().unwrap_or_default();
        status.insert(format!("{name}_sent"), nonces.sent.into());
        status.insert(format!("{name}_acked"), nonces.acked.into());
        if let Some(refused) = nonces.refused {
            status.insert(format!("{name}_refused"), refused.into());
        }
    }
    let protocol = match stream.mode {
        Mode::Sotw => "sotw",
        Mode::Delta => "delta",
    };
    status.insert("protocol".to_owned(), protocol.into());
    let is_synced = progress.is_synced();
    let Progress {
        wanted, accepted, ..
    } = progress;
    status.insert("epoch".to_owned(), epoch.into());
    status.insert("wanted".to_owned(), wanted.into());
    status.insert("accepted".to_owned(), accepted.into());
    status.insert("synced".to_owned(), is_synced.into());
    Value::Object(status)
}

#[derive(Debug, Deserialize)]
struct Proxy {
    #[serde(rename = "proxyID")]
    id: Option<String>,
}

/// What a proxy is to hold, as Envoy's own `/config_dump` would show it.
async fn config_dump(State(app): State<App>, Query(Proxy { id }): Query<Proxy>) -> Response {
    let Some(id) = id else {
        return (
            StatusCode::BAD_REQUEST,
            "say which proxy: ?proxyID=POD.NAMESPACE\n",
        )
            .into_response();
    };
    let streams = app.plane.shared().streams.all();
    // The newest stream of a proxy that has just reconnected is its last.
    let Some(stream) = streams
        .iter()
        .rev()
        .find(|stream| stream.node.proxy_id() == id)
    else {
        return (
            StatusCode::NOT_FOUND,
            "no such proxy is connected; /debug/syncz lists those that are\n",
        )
            .into_response();
    };
    let view = stream.views.borrow().clone();
    match tokio::task::spawn_blocking(move || dump::config_dump(&view)).await {
        Ok(dump) => Json(dump).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// What is to be said of the objects, as `lateen validate -o json` says it.
async fn diagnostics(State(app): State<App>) -> Json<Vec<Diagnostic>> {
    Json(app.plane.shared().diagnostics.all())
}
