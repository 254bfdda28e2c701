//! The container `istio-proxy`: the agent, which runs Envoy.

use serde_json::{Value, json};

use crate::inject::annotations as names;
use crate::inject::context::{Context, PROXY};
use crate::inject::pod::Container;

use super::{environment, volumes};

/// The program of the image, where Istio's is `pilot-agent`.
const AGENT: &str = "lateen-agent";
/// The port of Envoy's own readiness.
const READY_PORT: u16 = 15021;

/// The container.
pub(super) fn container(context: &Context<'_>) -> Container {
    let settings = context.settings;
    let mut fields = json!({
        "image": context.image(&settings.image.name),
        "ports": [{ "containerPort": 15090, "protocol": "TCP", "name": "http-envoy-prom" }],
        "args": arguments(context),
        "env": environment::variables(context),
        "resources": super::resources(context, &settings.resources),
        "securityContext": {
            "allowPrivilegeEscalation": settings.is_privileged,
            "privileged": settings.is_privileged,
            "capabilities": { "drop": ["ALL"] },
            "readOnlyRootFilesystem": true,
            "runAsGroup": 1337,
            "runAsNonRoot": true,
            "runAsUser": 1337,
        },
        "volumeMounts": volumes::mounts(context.annotations),
    });
    if let Some(lifecycle) = lifecycle(context) {
        super::set(&mut fields, "lifecycle", lifecycle);
    }
    if context.is_native {
        super::set(&mut fields, "restartPolicy", "Always".into());
    }
    if context.status_port() != 0 {
        super::set(&mut fields, "readinessProbe", readiness(context));
        if let Some(threshold) = settings.probes.startup_threshold {
            super::set(&mut fields, "startupProbe", probe(0, 1, threshold));
        }
    }
    super::common(&mut fields, settings);
    Container::new(PROXY, fields)
}

fn arguments(context: &Context<'_>) -> Vec<String> {
    let settings = context.settings;
    let annotations = context.annotations;
    let logging = &settings.logging;
    let mut words = vec![
        "proxy".to_owned(),
        "sidecar".to_owned(),
        "--domain".to_owned(),
        format!("$(POD_NAMESPACE).svc.{}", settings.mesh.cluster_domain),
    ];
    let level = annotations.or(names::LOG_LEVEL, &logging.level);
    words.push(format!("--proxyLogLevel={level}"));
    let levels = annotations.or(names::COMPONENT_LOG_LEVEL, &logging.component_level);
    words.push(format!("--proxyComponentLogLevel={levels}"));
    words.push(super::agent_log_level(context));
    if logging.is_json {
        words.push("--log_as_json".to_owned());
    }
    words
}

/// What is run besides the container itself: the settings' choice, or the app's start waits for the proxy's, or the
/// proxy's end begins with the pod's.
fn lifecycle(context: &Context<'_>) -> Option<Value> {
    if let Some(lifecycle) = &context.settings.lifecycle {
        return Some(lifecycle.clone());
    }
    if context.holds_application() {
        let wait = [AGENT, "wait"].map(str::to_owned).to_vec();
        return Some(json!({ "postStart": { "exec": { "command": with_port(wait, context) } } }));
    }
    let port = context.status_port();
    let port = if port == 0 { 15020 } else { port };
    let drain = json!([
        AGENT,
        "request",
        format!("--debug-port={port}"),
        "POST",
        "drain"
    ]);
    context
        .is_native
        .then(|| json!({ "preStop": { "exec": { "command": drain } } }))
}

/// Istio's `wait` asks the usual port; it must be told of another.
fn with_port(mut command: Vec<String>, context: &Context<'_>) -> Vec<String> {
    let port = context.status_port();
    if !matches!(port, 0 | 15020) {
        command.extend([
            "--url".to_owned(),
            format!("http://localhost:{port}/healthz/ready"),
        ]);
    }
    command
}

fn readiness(context: &Context<'_>) -> Value {
    let probes = &context.settings.probes;
    let number = |name, default| context.annotations.number(name, default);
    probe(
        number(names::INITIAL_DELAY, probes.initial_delay),
        number(names::PERIOD, probes.period),
        number(names::FAILURE_THRESHOLD, probes.failure_threshold),
    )
}

fn probe(initial_delay: u32, period: u32, failure_threshold: u32) -> Value {
    json!({
        "httpGet": { "path": "/healthz/ready", "port": READY_PORT },
        "initialDelaySeconds": initial_delay,
        "periodSeconds": period,
        "timeoutSeconds": 3,
        "failureThreshold": failure_threshold,
    })
}
