//! `lateen translate DIR... --proxy NAMESPACE/POD`: exactly the resources that this proxy would get, offline, each
//! with the objects that it comes from.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use control::{Control, Origin, ProxyId, ProxyInfo};
use envoy_api::{Any, json::to_json};
use mesh::Workload;
use model::{EnvoyMinor, Kind, Name, Namespace, ObjectKey};
use prost::Message as _;
use serde_json::{Map, Value, json};
use sources::{Directory, MeshConfigFile};
use store::{ChangeSet, SourceId};
use wire::istio::networking::nds::v1::{NameTable, name_table::NameInfo};
use xds::Resource;

use crate::{USAGE, fail, print};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The folders of YAML, as lateend is given them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<PathBuf>,
    /// The file of the MeshConfig, as lateend is given it
    #[arg(long = "meshConfig", value_name = "FILE")]
    mesh_config: Option<PathBuf>,
    /// The proxy: the namespace and name of a Pod or WorkloadEntry in the folder
    #[arg(long, value_name = "NAMESPACE/POD")]
    proxy: String,
    /// The minor version of Envoy that it runs: 1.38, 1.39 or 1.40
    #[arg(long, value_name = "VERSION", default_value_t = EnvoyMinor::NEWEST)]
    envoy: EnvoyMinor,
    /// How it is shown
    #[arg(short, long, value_name = "FORMAT", default_value = "yaml")]
    output: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON, as Envoy's own config dumps
    Json,
    /// YAML
    Yaml,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    let shown = match translate(arguments) {
        Ok(shown) => shown,
        Err(error) => return fail(USAGE, error),
    };
    let text = match arguments.output {
        Format::Json => serde_json::to_string_pretty(&shown).map_err(|error| error.to_string()),
        Format::Yaml => serde_saphyr::to_string(&shown).map_err(|error| error.to_string()),
    };
    match text {
        Ok(text) => print(text.trim_end()),
        Err(error) => return fail(1, error),
    }
    ExitCode::SUCCESS
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
enum TranslateError {
    /// `--proxy` is not `NAMESPACE/POD`.
    #[error("{0:?} is not a proxy: write NAMESPACE/POD, such as default/reviews-v1")]
    InvalidProxy(String),
    /// Nothing in the folder is this workload.
    #[error("the folder has no Pod or WorkloadEntry {0}; it has: {1}")]
    UnknownProxy(String, String),
    /// A resource that cannot be shown.
    #[error("cannot show {0}: {1}")]
    Unshowable(String, String),
    /// The folder cannot be read.
    #[error("cannot read {0}: {1}")]
    Unreadable(String, std::io::Error),
}

/// Everything that a proxy would get from folders: by type, ordered by name.
fn translate(arguments: &Arguments) -> Result<Value, TranslateError> {
    let mut control = Control::new([]);
    control.apply(read(arguments)?);
    warn_of_addresses(&control);
    let info = find(&control, &arguments.proxy)?;
    let envoy = arguments.envoy;
    let id = control.connect(ProxyInfo { envoy, ..info });
    let view = control.view(id).unwrap_or_default();
    let mut shown = Map::new();
    for kind in xds::Kind::ALL {
        let of_kind: Result<Vec<Value>, TranslateError> = view
            .resources(kind)
            .map(|resource| show(&control, id, kind, resource))
            .collect();
        shown.insert(title(kind).to_owned(), Value::Array(of_kind?));
    }
    Ok(Value::Object(shown))
}

fn read(arguments: &Arguments) -> Result<Vec<ChangeSet>, TranslateError> {
    let unreadable = |path: &Path| {
        let path = path.display().to_string();
        |error| TranslateError::Unreadable(path, error)
    };
    let mut sets = Vec::new();
    for (number, dir) in (0..).zip(&arguments.dirs) {
        let mut directory = Directory::open(dir, SourceId(number)).map_err(unreadable(dir))?;
        sets.extend(directory.read());
    }
    if let Some(path) = &arguments.mesh_config {
        let source = SourceId(u32::MAX);
        let mut file = MeshConfigFile::open(path, source).map_err(unreadable(path))?;
        sets.extend(file.read());
    }
    Ok(sets)
}

/// Pods get their addresses from whoever starts them; without one a Pod is no endpoint of anything.
fn warn_of_addresses(control: &Control) {
    let mesh = control.mesh();
    let workloads = mesh.snapshot().objects.keys();
    let without = workloads
        .filter_map(|key| mesh.workload(key))
        .filter(|workload| workload.addresses.is_empty())
        .count();
    if without > 0 {
        eprintln!(
            "lateen: {without} workloads have no address (status.podIP), so no service has them as endpoints here; a \
             mesh that runs them gives them addresses"
        );
    }
}

fn find(control: &Control, proxy: &str) -> Result<ProxyInfo, TranslateError> {
    let invalid = || TranslateError::InvalidProxy(proxy.to_owned());
    let (namespace, name) = proxy.split_once('/').ok_or_else(invalid)?;
    let namespace: Namespace = namespace.parse().map_err(|_| invalid())?;
    let name: Name = name.parse().map_err(|_| invalid())?;
    let key = |kind| ObjectKey {
        kind,
        namespace: namespace.clone(),
        name: name.clone(),
    };
    let mesh = control.mesh();
    let found = [Kind::Pod, Kind::WorkloadEntry]
        .into_iter()
        .find_map(|kind| mesh.workload(&key(kind)));
    let Workload {
        labels,
        service_account,
        addresses,
        ..
    } = found.ok_or_else(|| TranslateError::UnknownProxy(proxy.to_owned(), workloads(control)))?;
    Ok(ProxyInfo {
        namespace,
        name,
        labels,
        service_account,
        addresses,
        envoy: EnvoyMinor::NEWEST,
    })
}

fn workloads(control: &Control) -> String {
    let is_workload = |key: &&ObjectKey| matches!(key.kind, Kind::Pod | Kind::WorkloadEntry);
    let keys = control.mesh().snapshot().objects.keys().filter(is_workload);
    let names: Vec<String> = keys
        .map(|key| format!("{}/{}", key.namespace, key.name))
        .collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

fn title(kind: xds::Kind) -> &'static str {
    match kind {
        xds::Kind::Cluster => "clusters",
        xds::Kind::Endpoint => "endpoints",
        xds::Kind::Extension => "extensions",
        xds::Kind::Listener => "listeners",
        xds::Kind::Route => "routes",
        xds::Kind::NameTable => "names",
    }
}

fn show(
    control: &Control,
    proxy: ProxyId,
    kind: xds::Kind,
    resource: &Resource,
) -> Result<Value, TranslateError> {
    let name = resource.name();
    let parts = resource.parts().keys();
    let mut origins: Vec<Origin> = parts
        .flat_map(|part| control.origins(proxy, kind, name, part))
        .collect();
    origins.sort();
    origins.dedup();
    let shown = match kind {
        xds::Kind::NameTable => names(resource),
        xds::Kind::Cluster
        | xds::Kind::Endpoint
        | xds::Kind::Extension
        | xds::Kind::Listener
        | xds::Kind::Route => {
            let any = Any {
                type_url: kind.type_url().to_owned(),
                value: resource.body(),
            };
            to_json(&any).map_err(|error| error.to_string())
        }
    };
    let resource = shown.map_err(|error| TranslateError::Unshowable(name.to_string(), error))?;
    Ok(
        json!({ "name": &**name, "origin": origins.iter().map(origin).collect::<Vec<_>>(), "resource": resource }),
    )
}

fn names(resource: &Resource) -> Result<Value, String> {
    let table = NameTable::decode(resource.body()).map_err(|error| error.to_string())?;
    let entry = |(host, info): (String, NameInfo)| {
        let shown = json!({
            "ips": info.ips, "registry": info.registry, "shortname": info.shortname, "namespace": info.namespace,
        });
        (host, shown)
    };
    Ok(json!({ "table": table.table.into_iter().map(entry).collect::<Map<String, Value>>() }))
}

fn origin(origin: &Origin) -> Value {
    let ObjectKey {
        kind,
        namespace,
        name,
    } = &origin.object;
    json!({
        "kind": kind.as_str(), "namespace": namespace.as_str(), "name": name.as_str(),
        "file": origin.file.as_deref(), "line": origin.line,
    })
}
