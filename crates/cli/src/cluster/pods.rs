//! The Pods of a control plane: why they do not run; and whether their image can be had at all.

use std::time::Duration;

use k8s::install::{Named, Target};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{EVERY, Failure, Plane, named, text};

/// What is wrong, and what to do.
pub type Problem = (String, &'static str);

/// How long a node may take to get an image.
const PULLING: Duration = Duration::from_secs(60);

/// Whether a node gets an image: a Pod that ends at once tries it in the namespace `default`, and is removed.
pub async fn try_image(target: &Target, image: &str) -> Result<Result<(), Problem>, Failure> {
    let pod = named("Pod", Some("default"), "lateen-check-image")?;
    target.remove(&pod).await?;
    gone(target, &pod).await?;
    target.put(&pod, &trial(&pod, image)).await?;
    let tried = wait_for_image(target, &pod, image).await;
    target.remove(&pod).await?;
    tried
}

/// The Pod of an earlier attempt ends within moments.
async fn gone(target: &Target, pod: &Named) -> Result<(), Failure> {
    let until = Instant::now() + PULLING;
    while target.get(pod).await?.is_some() {
        if Instant::now() > until {
            let hint = "remove it: kubectl delete pod lateen-check-image --force";
            return Err(Failure::Refused(format!("{pod} does not end"), hint));
        }
        tokio::time::sleep(EVERY).await;
    }
    Ok(())
}

async fn wait_for_image(
    target: &Target,
    pod: &Named,
    image: &str,
) -> Result<Result<(), Problem>, Failure> {
    let until = Instant::now() + PULLING;
    loop {
        let live = target.get(pod).await?.unwrap_or_default();
        if !text(&live, "/status/containerStatuses/0/imageID").is_empty() {
            return Ok(Ok(()));
        }
        if let Some(problem) = problem(&live) {
            return Ok(Err(problem));
        }
        if Instant::now() > until {
            let what = format!(
                "no node got the image {image} within {} s",
                PULLING.as_secs()
            );
            return Ok(Err((what, "kubectl get events -n default says why")));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn trial(pod: &Named, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod.name(),
            "namespace": pod.namespace(),
            "labels": { "app.kubernetes.io/name": "lateen", "sidecar.istio.io/inject": "false" },
        },
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [{
                "name": "lateen",
                "image": image,
                "command": ["/usr/local/bin/lateen", "--version"],
                "resources": { "requests": { "cpu": "10m", "memory": "32Mi" } },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "runAsUser": 1337,
                    "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    })
}

/// Why Pods of the control plane do not run, and what to do.
pub async fn problems(
    target: &Target,
    plane: &Plane,
) -> Result<Vec<(String, &'static str)>, Failure> {
    let pods = target
        .list("Pod", Some(&plane.namespace), &plane.labels())
        .await?;
    Ok(pods.iter().filter_map(problem).collect())
}

fn problem(pod: &Value) -> Option<(String, &'static str)> {
    let name = format!(
        "Pod {}/{}",
        text(pod, "/metadata/namespace"),
        text(pod, "/metadata/name")
    );
    let containers = pod
        .pointer("/status/containerStatuses")
        .and_then(Value::as_array);
    for container in containers.into_iter().flatten() {
        let image = text(container, "/image");
        match text(container, "/state/waiting/reason") {
            reason @ ("ErrImagePull" | "ImagePullBackOff" | "InvalidImageName"
            | "ErrImageNeverPull") => {
                let what = format!(
                    "{name} cannot pull {image} ({reason}): {}",
                    text(container, "/state/waiting/message")
                );
                let hint = "`make images REGISTRY=...` builds and pushes images; name the registry with --hub (helm: --set global.hub, global.imagePullSecrets)";
                return Some((what, hint));
            }
            "CrashLoopBackOff" => {
                return Some((
                    format!("{name} ends again and again"),
                    "kubectl logs --previous says why",
                ));
            }
            _ => {}
        }
    }
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    let scheduled = conditions
        .into_iter()
        .flatten()
        .find(|one| text(one, "/type") == "PodScheduled")?;
    let unscheduled = text(scheduled, "/status") == "False";
    unscheduled.then(|| {
        let what = format!("{name} is on no node: {}", text(scheduled, "/message"));
        (
            what,
            "make room, or ask for less: --set pilot.resources.requests.cpu=...",
        )
    })
}

/// Waits until every Pod of a Deployment is of its newest version and available. Else why not.
pub async fn rolled_out(
    target: &Target,
    plane: &Plane,
    until: Instant,
) -> Result<Result<(), Vec<Problem>>, Failure> {
    let deployment = plane.named("Deployment", "istiod")?;
    loop {
        let live = target.get(&deployment).await?.unwrap_or_default();
        if is_rolled_out(&live) {
            return Ok(Ok(()));
        }
        if Instant::now() > until {
            let mut problems = problems(target, plane).await?;
            if problems.is_empty() {
                problems.push((
                    format!("{deployment} is not available"),
                    "kubectl describe its Pods",
                ));
            }
            return Ok(Err(problems));
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn is_rolled_out(deployment: &Value) -> bool {
    let number = |path: &str| deployment.pointer(path).and_then(Value::as_i64);
    let wanted = number("/spec/replicas");
    let all = |path: &str| number(path).unwrap_or(0) >= wanted.unwrap_or(1);
    wanted.is_some()
        && number("/status/observedGeneration") == number("/metadata/generation")
        && all("/status/updatedReplicas")
        && all("/status/availableReplicas")
        && number("/status/replicas") == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_that_cannot_have_its_image_says_so() {
        let pod = |reason: &str| {
            json!({
                "metadata": { "namespace": "istio-system", "name": "istiod-1" },
                "status": { "containerStatuses": [{
                    "image": "r.example/lateend:1",
                    "state": { "waiting": { "reason": reason, "message": "no such host" } },
                }] },
            })
        };
        let (what, hint) = problem(&pod("ImagePullBackOff")).unwrap();
        assert_eq!(
            what,
            "Pod istio-system/istiod-1 cannot pull r.example/lateend:1 (ImagePullBackOff): no such host"
        );
        assert!(hint.contains("--hub"));
        assert_eq!(problem(&pod("ContainerCreating")), None);
    }

    #[test]
    fn an_old_pod_that_still_runs_is_no_rollout() {
        let deployment = |updated: i64, all: i64| {
            json!({
                "metadata": { "generation": 2 },
                "spec": { "replicas": 1 },
                "status": { "observedGeneration": 2, "updatedReplicas": updated, "availableReplicas": 1, "replicas": all },
            })
        };
        assert!(is_rolled_out(&deployment(1, 1)));
        assert!(!is_rolled_out(&deployment(0, 1)));
        assert!(!is_rolled_out(&deployment(1, 2)));
    }
}
