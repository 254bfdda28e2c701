//! What a pod gets: containers, volumes and pull secrets, as values.

mod environment;
mod init;
mod proxy;
mod volumes;

use serde_json::{Value, json};

use super::annotations as names;
use super::context::Context;
use super::pod::Container;
use super::settings::Settings;

/// The parts that are laid over a pod.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub(super) init_containers: Vec<Container>,
    pub(super) containers: Vec<Container>,
    pub(super) volumes: Vec<Value>,
    pub(super) image_pull_secrets: Vec<Value>,
}

impl Template {
    pub(super) fn new(context: &Context<'_>) -> Self {
        let mut init_containers = Vec::new();
        let mut containers = Vec::new();
        if context.captures() {
            init_containers.push(init::container(context));
        }
        if context.is_native {
            init_containers.push(proxy::container(context));
        } else {
            containers.push(proxy::container(context));
        }
        let secrets = context.settings.image.pull_secrets.iter();
        Self {
            init_containers,
            containers,
            volumes: volumes::volumes(context.annotations),
            image_pull_secrets: secrets.map(|name| json!({ "name": name })).collect(),
        }
    }
}

/// The resources that annotations ask for; without any, the settings'.
fn resources(context: &Context<'_>, settings: &Value) -> Value {
    let amount = |name: &str| context.annotations.get(name);
    let cpu = (amount(names::PROXY_CPU), amount(names::PROXY_CPU_LIMIT));
    let memory = (
        amount(names::PROXY_MEMORY),
        amount(names::PROXY_MEMORY_LIMIT),
    );
    let all = |cpu: Option<&str>, memory: Option<&str>| {
        let amounts = [("cpu", cpu), ("memory", memory)];
        let set = amounts
            .into_iter()
            .filter_map(|(name, amount)| Some((name.to_owned(), amount?.into())));
        let set: serde_json::Map<String, Value> = set.collect();
        (!set.is_empty()).then_some(Value::Object(set))
    };
    let requests = all(cpu.0, memory.0);
    let limits = all(cpu.1, memory.1);
    if requests.is_none() && limits.is_none() {
        return settings.clone();
    }
    let both = [("requests", requests), ("limits", limits)];
    both.into_iter()
        .filter_map(|(name, amounts)| Some((name.to_owned(), amounts?)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn agent_log_level(context: &Context<'_>) -> String {
    let setting = &context.settings.logging.agent_level;
    let level = context.annotations.or(names::AGENT_LOG_LEVEL, setting);
    format!("--log_output_level={level}")
}

/// What both containers have from the settings.
fn common(fields: &mut Value, settings: &Settings) {
    if let Some(policy) = &settings.image.pull_policy {
        set(fields, "imagePullPolicy", policy.as_str().into());
    }
    if let (Some(profile), Some(security)) =
        (&settings.seccomp_profile, fields.get_mut("securityContext"))
    {
        set(security, "seccompProfile", profile.clone());
    }
}

fn set(fields: &mut Value, name: &str, value: Value) {
    if let Value::Object(fields) = fields {
        fields.insert(name.to_owned(), value);
    }
}
