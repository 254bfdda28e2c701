//! How a case is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::theme::Theme;
use crate::app::{Call, Failure, Protocol};
use crate::read;

/// Why a case cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// `calls.yaml` is not as it should be.
    #[error("{0}: {1}")]
    Format(PathBuf, String),
}

/// The file in a case's folder that says what is called.
const CALLS: &str = "calls.yaml";

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name of its folder.
    pub name: String,
    /// What it is about.
    pub theme: Theme,
    /// The world in which it is played.
    pub world: String,
    /// The objects that are wrong on purpose: `VirtualService shop/reviews`.
    pub rejected: BTreeSet<String>,
    /// Its calls.
    pub calls: Vec<Check>,
    /// Its objects of Istio's, and its MeshConfig.
    pub istio: Vec<Value>,
    /// Its other objects.
    pub others: Vec<Value>,
}

/// `calls.yaml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallsFile {
    #[serde(rename = "about")]
    _about: String,
    theme: Theme,
    world: String,
    #[serde(default)]
    rejected: BTreeSet<String>,
    calls: Vec<Check>,
}

/// A call, and what must come of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Check {
    /// `namespace/name` of the workload that calls.
    pub from: String,
    /// What it calls. `{n}` is another number each time that the check is made.
    pub url: String,
    /// The method; absent: GET. For TCP the line that is sent.
    pub method: String,
    /// The headers.
    pub headers: BTreeMap<String, String>,
    /// How many bytes of body a request has.
    pub sends: u32,
    /// What is spoken; absent: HTTP/1.1, or lines for `tcp://`.
    pub protocol: Option<Protocol>,
    /// Whether every call has a connection of its own.
    pub fresh: bool,
    /// How long a call may take, in milliseconds; absent: 5000.
    pub timeout_ms: u64,
    /// How often; absent: once.
    pub count: u32,
    /// How many calls at a time; absent: one.
    pub parallel: u32,
    /// What must come of it.
    pub expect: Expect,
}

/// What must come of a call; all that is named must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Expect {
    /// Every call is answered with this status.
    pub status: Option<u16>,
    /// The share of the calls that are answered with a status: at least and at most, 0 to 1.
    pub statuses: BTreeMap<u16, [f64; 2]>,
    /// Every call is refused: with 403 by Envoy, or by a connection that is closed without a response.
    pub refused: bool,
    /// Every call ends so, without a response.
    pub failure: Option<Failure>,
    /// The share of the answers that come from workloads with a label `version`.
    pub versions: BTreeMap<String, [f64; 2]>,
    /// The share of the answers that come from a workload, by name.
    pub workloads: BTreeMap<String, [f64; 2]>,
    /// The caller's identity as the server's Envoy saw it; `none`: plaintext.
    pub identity: Option<String>,
    /// What the server spoke: `HTTP/1.1`, `HTTP/2.0` or `TCP`.
    pub protocol: Option<String>,
    /// Headers that the server got; an empty value: the header is absent.
    pub headers: BTreeMap<String, String>,
    /// The server name that the server's TLS was asked for; `none`: no TLS reached the server itself.
    pub tls: Option<String>,
    /// The version of the PROXY protocol's header that the server got, `V1` or `V2`; `none`: no header.
    pub proxy_protocol: Option<String>,
    /// What the tunnel that ended at the server was opened to; `none`: no tunnel.
    pub tunnel: Option<String>,
    /// How many workloads answered, at least and at most.
    pub spread: Option<[usize; 2]>,
    /// On how many connections the servers were asked, at least and at most.
    pub connections: Option<[usize; 2]>,
    /// The path that the server got.
    pub path: Option<String>,
    /// Headers of the response; an empty value: the header is absent.
    pub answer: BTreeMap<String, String>,
    /// How many of the requests with the id `{n}` (`id={n}` in the URL) a workload has had, at least and at most.
    pub received: BTreeMap<String, [u32; 2]>,
    /// A part of the body, where no echo server wrote it.
    pub body: Option<String>,
    /// The cluster of the caller's Envoy that all calls went through.
    pub cluster: Option<String>,
    /// What must stand in some proxy's access log, such as a policy's name.
    pub log: Option<String>,
    /// How many milliseconds each call takes, at least and at most.
    pub took_ms: Option<[u64; 2]>,
    /// Metrics that must grow.
    pub metrics: Vec<Metric>,
}

/// A metric of a workload's merged endpoint that must grow by the calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The workload whose agent is asked.
    pub at: String,
    /// The metric's name.
    pub name: String,
    /// Labels that it must have.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Check {
    /// The call.
    #[must_use]
    pub fn call(&self, number: u64) -> Call {
        let usual = Call::get(&self.url.replace("{n}", &number.to_string()));
        Call {
            method: self.method.clone(),
            headers: self.headers.clone(),
            sends: self.sends,
            protocol: self.protocol.unwrap_or(usual.protocol),
            fresh: self.fresh,
            timeout_ms: self.timeout_ms,
            ..usual
        }
    }

    /// How often.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.count.max(1)
    }
}

impl Case {
    /// Reads a case.
    ///
    /// # Errors
    /// [`CaseError`], when its folder cannot be read or understood, or expects the same of all its calls.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let file = path.join(CALLS);
        let text = fs::read_to_string(&file).map_err(|error| CaseError::Io(file.clone(), error))?;
        let wrong = |what: String| CaseError::Format(file.clone(), what);
        let value = read::yaml(&text).map_err(wrong)?;
        let CallsFile {
            _about: _,
            theme,
            world,
            rejected,
            calls,
        } = serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        if !calls
            .iter()
            .any(|call| calls.iter().any(|other| other.expect != call.expect))
        {
            return Err(wrong(
                "a case needs two calls with different outcomes".to_owned(),
            ));
        }
        let documents = documents(path).map_err(|error| CaseError::Io(path.to_owned(), error))?;
        let (istio, others): (Vec<_>, Vec<_>) = documents.into_iter().partition(is_istio);
        Ok(Self {
            name: path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned(),
            theme,
            world,
            rejected,
            calls,
            istio,
            others,
        })
    }
}

fn documents(path: &Path) -> io::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for file in read::files(path)? {
        if file.file_name().is_none_or(|name| name != CALLS) {
            documents.extend(read::documents(&fs::read_to_string(&file)?));
        }
    }
    Ok(documents)
}

fn is_istio(document: &Value) -> bool {
    let text = |path: &str| {
        document
            .pointer(path)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let group = text("/apiVersion").split('/').next().unwrap_or_default();
    group.ends_with("istio.io")
        || (text("/kind") == "ConfigMap" && text("/metadata/name") == "istio")
}
