//! `lateen install`: the CRDs, the control plane and its webhooks, for people without helm. It returns when the API server
//! has refused a bad object because Lateen told it to.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use k8s::install::{Named, Target};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::manifest::{self, Images, Item, MANAGED_BY};
use super::{Cluster, EVERY, Failure, Plane, check, control_planes, named, pods, release, text};
use crate::print;

const NAMESPACE: &str = "istio-system";

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    images: Images,
    /// Leave the CRDs to whoever brings them, such as Istio's chart `base`
    #[arg(long, conflicts_with = "adopt_crds")]
    skip_crds: bool,
    /// Take over CRDs that somebody else brought
    #[arg(long)]
    adopt_crds: bool,
    /// How long to wait until it runs
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = crate::dev::duration)]
    timeout: Duration,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::run(install(arguments))
}

async fn install(arguments: &Arguments) -> Result<bool, Failure> {
    let target = arguments.cluster.open().await?;
    print(format_args!("installing into {target}"));
    check::version(&target).await?;
    let objects = manifest::objects(&arguments.images)?;
    let crds = match arguments.skip_crds {
        true => Vec::new(),
        false => manifest::crds()?,
    };
    no_other_control_plane(&target).await?;
    if !arguments.adopt_crds {
        crds_are_free(&target, &crds).await?;
    }
    let namespace = named("Namespace", None, NAMESPACE)?;
    if target.get(&namespace).await?.is_none() {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
        put(&target, &namespace, &object).await?;
    }
    for Item { named, object } in &crds {
        put(&target, named, object).await?;
    }
    let until = Instant::now() + arguments.timeout;
    established(&target, &crds, until).await?;
    for Item { named, object } in objects {
        let object = with_live_policy(&target, &named, object).await?;
        put(&target, &named, &object).await?;
    }
    let plane = Plane::usual();
    if let Err(problems) = pods::rolled_out(&target, &plane, until).await? {
        for (what, hint) in problems {
            print(format_args!("FAIL    {what}\n        {hint}"));
        }
        return Ok(false);
    }
    let left = until.saturating_duration_since(Instant::now());
    check::wait_until_ready(&target, &plane, left).await
}

async fn put(target: &Target, named: &Named, object: &Value) -> Result<(), Failure> {
    target.put(named, object).await?;
    print(format_args!("  {named}"));
    Ok(())
}

/// Two control planes of one revision would both write certificates and webhooks.
async fn no_other_control_plane(target: &Target) -> Result<(), Failure> {
    for plane in control_planes(target).await? {
        let revision = text(&plane, "/metadata/labels/istio.io~1rev");
        if !matches!(revision, "" | "default") || is_ours(&plane) {
            continue;
        }
        let what = format!(
            "Deployment {}/{} is a control plane already{}",
            text(&plane, "/metadata/namespace"),
            text(&plane, "/metadata/name"),
            owner(&plane),
        );
        let hint = "uninstall it first; what helm installed, helm upgrades";
        return Err(Failure::Refused(what, hint));
    }
    Ok(())
}

/// CRDs of somebody else are not changed unasked: he would change them back.
async fn crds_are_free(target: &Target, crds: &[Item]) -> Result<(), Failure> {
    for Item { named, .. } in crds {
        let Some(live) = target.get(named).await? else {
            continue;
        };
        if !is_ours(&live) {
            let what = format!("{named} is there already{}", owner(&live));
            let hint = "leave the CRDs to whoever brings them with --skip-crds, or take them over with --adopt-crds";
            return Err(Failure::Refused(what, hint));
        }
    }
    Ok(())
}

fn owner(object: &Value) -> String {
    match release(object) {
        Some(release) => format!(", of the Helm release {release}"),
        None => String::new(),
    }
}

/// Whether `lateen install` brought it.
pub fn is_ours(object: &Value) -> bool {
    let labels = object.pointer("/metadata/labels");
    labels.and_then(|labels| labels.get(MANAGED_BY.0)) == Some(&json!(MANAGED_BY.1))
}

/// Webhooks that are there keep their failure policies, which the control plane sets.
async fn with_live_policy(
    target: &Target,
    named: &Named,
    mut object: Value,
) -> Result<Value, Failure> {
    if !named.plural().ends_with("webhookconfigurations") {
        return Ok(object);
    }
    let live = target.get(named).await?;
    let live = live
        .as_ref()
        .and_then(|live| live.get("webhooks")?.as_array());
    let policy = |name: &Value| {
        let webhook = live?
            .iter()
            .find(|webhook| webhook.get("name") == Some(name))?;
        webhook.get("failurePolicy").cloned()
    };
    let webhooks = object.get_mut("webhooks").and_then(Value::as_array_mut);
    for webhook in webhooks
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        if let Some(policy) = webhook.get("name").and_then(policy) {
            webhook.insert("failurePolicy".to_owned(), policy);
        }
    }
    Ok(object)
}

/// Waits until the API server serves the kinds of the CRDs.
async fn established(target: &Target, crds: &[Item], until: Instant) -> Result<(), Failure> {
    for Item { named, .. } in crds {
        loop {
            let live = target.get(named).await?.unwrap_or_default();
            if check::condition(&live, "Established") {
                break;
            }
            if Instant::now() > until {
                let what = format!("the API server does not serve {named}");
                return Err(Failure::Refused(
                    what,
                    "kubectl describe it: its conditions say why",
                ));
            }
            tokio::time::sleep(EVERY).await;
        }
    }
    Ok(())
}
