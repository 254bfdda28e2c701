//! `lateen uninstall`: the way back. It talks to the API server only, so it works with a control plane that is dead. CRDs,
//! users' objects and the root of trust stay.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use k8s::FailurePolicy;
use k8s::install::{Named, Target};
use tokio::time::Instant;

use super::install::is_ours;
use super::manifest::{self, Images};
use super::{Cluster, EVERY, Failure, Plane, control_planes, named, release, text};
use crate::print;

/// How long Pods of the control plane may take to end.
const ENDING: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    plane: Plane,
    /// Remove nothing: only tell the API server to wait for the webhooks no longer
    #[arg(long, conflicts_with_all = ["traces", "purge"])]
    webhooks: bool,
    /// Remove only what the control plane wrote while it ran, and stop it; helm removes the rest
    #[arg(long, hide = true)]
    traces: bool,
    /// Remove the root of trust too: workloads of a later installation trust none of this one
    #[arg(long)]
    purge: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::run(uninstall(arguments))
}

async fn uninstall(arguments: &Arguments) -> Result<bool, Failure> {
    let Arguments {
        cluster,
        plane,
        webhooks,
        traces,
        purge,
    } = arguments;
    let target = cluster.open().await?;
    print(format_args!("changing {target}"));
    let items = match webhooks | traces {
        true => Vec::new(),
        false => removable(&target).await?,
    };
    let free = || async {
        let webhooks = plane.webhooks();
        target
            .set_failure_policy(&webhooks, FailurePolicy::Ignore)
            .await
    };
    free().await?;
    print("  the API server waits for the webhooks no longer");
    if *webhooks {
        return not_for_long(&target, plane).await;
    }
    stop(&target, plane).await?;
    // Until its end the control plane may have written what it thinks right.
    free().await?;
    remove_traces(&target, plane, *purge).await?;
    for named in items.iter().rev() {
        remove(&target, named).await?;
    }
    Ok(true)
}

/// A control plane that runs makes the API server wait again.
async fn not_for_long(target: &Target, plane: &Plane) -> Result<bool, Failure> {
    let deployment = plane.named("Deployment", "istiod")?;
    let live = target.get(&deployment).await?.unwrap_or_default();
    let ready = live
        .pointer("/status/readyReplicas")
        .and_then(|ready| ready.as_i64());
    if ready.unwrap_or(0) == 0 {
        return Ok(true);
    }
    print(format_args!(
        "FAIL    {deployment} runs, and makes it wait again\n        stop it: kubectl scale --replicas=0 -n {} deployment/{}",
        plane.namespace,
        deployment.name(),
    ));
    Ok(false)
}

/// What `lateen install` brought, as far as it is still there. What helm brought, helm removes.
async fn removable(target: &Target) -> Result<Vec<Named>, Failure> {
    let mut found = Vec::new();
    for item in manifest::objects(&Images::usual())? {
        let Some(live) = target.get(&item.named).await? else {
            continue;
        };
        if let Some(release) = release(&live) {
            let what = format!("{} belongs to the Helm release {release}", item.named);
            return Err(Failure::Refused(what, "remove it with helm uninstall"));
        }
        if is_ours(&live) {
            found.push(item.named);
        }
    }
    Ok(found)
}

/// Stops the control plane, and waits until nobody writes any more.
async fn stop(target: &Target, plane: &Plane) -> Result<(), Failure> {
    let deployment = plane.named("Deployment", "istiod")?;
    if !target.stop(&deployment).await? {
        return Ok(());
    }
    print(format_args!("  {deployment} stops"));
    let until = Instant::now() + ENDING;
    loop {
        let pods = target
            .list("Pod", Some(&plane.namespace), &plane.labels())
            .await?;
        // A Pod on a node that is gone never ends by itself, and writes nothing.
        if pods.is_empty() || Instant::now() > until {
            return Ok(());
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Removes what the control plane wrote while it ran. The roots of trust are shared by all revisions of the cluster.
async fn remove_traces(target: &Target, plane: &Plane, purge: bool) -> Result<(), Failure> {
    remove(target, &plane.named("Lease", "lateen-leader")?).await?;
    let own = plane.revised("istiod");
    let planes = control_planes(target).await?;
    let other = planes.iter().find(|other| {
        (
            text(other, "/metadata/namespace"),
            text(other, "/metadata/name"),
        ) != (&plane.namespace, &own)
    });
    if let Some(other) = other {
        print(format_args!(
            "  the roots of trust stay: Deployment {}/{} uses them too",
            text(other, "/metadata/namespace"),
            text(other, "/metadata/name"),
        ));
        return Ok(());
    }
    for namespace in target.list("Namespace", None, "").await? {
        let namespace = text(&namespace, "/metadata/name");
        remove(
            target,
            &named("ConfigMap", Some(namespace), "istio-ca-root-cert")?,
        )
        .await?;
    }
    if purge {
        let secret = named("Secret", Some(&plane.namespace), "istio-ca-secret")?;
        remove(target, &secret).await?;
    }
    Ok(())
}

async fn remove(target: &Target, named: &Named) -> Result<(), Failure> {
    if target.remove(named).await? {
        print(format_args!("  {named} removed"));
    }
    Ok(())
}
