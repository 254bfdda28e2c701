//! `lateen check`: what is wrong with Lateen in a cluster, line by line, each with what to do.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use k8s::Proof;
use k8s::install::{Right, Target, Who};
use serde_json::Value;
use tokio::time::Instant;

use super::manifest::{self, Images, Item};
use super::{Cluster, EVERY, Failure, Plane, control_planes, pods, text};
use crate::print;

/// The oldest minor version of Kubernetes 1 that is supported, as the chart says.
const OLDEST: u32 = 29;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    plane: Plane,
    #[command(flatten)]
    images: Images,
    /// Check whether Lateen can be installed
    #[arg(long, conflicts_with = "webhook")]
    pre: bool,
    /// Wait until the API server refuses a bad object because Lateen tells it to
    #[arg(long)]
    webhook: bool,
    /// How long to wait, with --webhook
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = crate::dev::duration)]
    timeout: Duration,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::run(check(arguments))
}

async fn check(arguments: &Arguments) -> Result<bool, Failure> {
    let target = arguments.cluster.open().await?;
    print(format_args!("checking {target}"));
    let plane = &arguments.plane;
    if arguments.webhook {
        return wait_until_ready(&target, plane, arguments.timeout).await;
    }
    let mut lines = Lines::default();
    match version(&target).await {
        Ok(version) => lines.good(format!("the API server answers: {version}")),
        Err(Failure::Refused(what, hint)) => lines.bad(what, hint),
        Err(error) => {
            lines.bad(
                error,
                "is this the right context? `kubectl cluster-info` says more",
            );
            return Ok(false);
        }
    }
    if arguments.pre {
        before(&target, &arguments.images, &mut lines).await?;
    } else {
        crds(&target, &mut lines).await?;
        deployment(&target, plane, &mut lines).await?;
        rights_of_the_control_plane(&target, plane, &mut lines).await?;
        webhooks(&target, plane, &mut lines).await?;
    }
    Ok(lines.wrong == 0)
}

/// What was found, said as it is found.
#[derive(Default)]
struct Lines {
    wrong: usize,
}

impl Lines {
    fn good(&self, what: impl std::fmt::Display) {
        print(format_args!("ok      {what}"));
    }

    fn bad(&mut self, what: impl std::fmt::Display, hint: impl std::fmt::Display) {
        self.wrong += 1;
        print(format_args!("FAIL    {what}\n        {hint}"));
    }
}

/// The version of the API server, if it is new enough.
pub async fn version(target: &Target) -> Result<String, Failure> {
    let (major, minor, text) = target.version().await?;
    if (major, minor) < (1, OLDEST) {
        let what = format!("the API server is {text}; the oldest that is supported is 1.{OLDEST}");
        return Err(Failure::Refused(what, "upgrade the cluster"));
    }
    Ok(text)
}

/// What must be so before an installation.
async fn before(target: &Target, images: &Images, lines: &mut Lines) -> Result<(), Failure> {
    let mut items = manifest::crds()?;
    items.extend(manifest::objects(images)?);
    let rights = manifest::rights_to_install(&items);
    missing_rights(target, Who::Caller, &rights, lines, |right| {
        (
            format!("you may not {right}"),
            "ask for the ClusterRole cluster-admin, or for this right".to_owned(),
        )
    })
    .await?;
    let planes = control_planes(target).await?;
    if planes.is_empty() {
        lines.good("there is no other control plane");
    }
    for plane in planes {
        let revision = text(&plane, "/metadata/labels/istio.io~1rev");
        lines.bad(
            format_args!(
                "Deployment {}/{} is a control plane of revision {revision}",
                text(&plane, "/metadata/namespace"),
                text(&plane, "/metadata/name"),
            ),
            "uninstall it first, upgrade it by what installed it, or install beside it with helm and --set revision=NAME",
        );
    }
    let image = images.control_plane();
    match pods::try_image(target, &image).await? {
        Ok(()) => lines.good(format_args!("a node gets the image {image}")),
        Err((what, hint)) => lines.bad(what, hint),
    }
    Ok(())
}

async fn missing_rights(
    target: &Target,
    who: Who<'_>,
    rights: &[Right],
    lines: &mut Lines,
    say: impl Fn(&Right) -> (String, String),
) -> Result<(), Failure> {
    let mut missing = 0;
    for right in rights {
        match target.may(who, right).await {
            Ok(true) => {}
            Ok(false) => {
                missing += 1;
                let (what, hint) = say(right);
                lines.bad(what, hint);
            }
            Err(error) if error.is_forbidden() => {
                lines.bad(
                    &error,
                    "ask somebody who may, or for the right to create subjectaccessreviews",
                );
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    if missing == 0 {
        lines.good(format_args!("no right of {} is missing", rights.len()));
    }
    Ok(())
}

/// Whether a condition of an object is true.
pub fn condition(object: &Value, name: &str) -> bool {
    let conditions = object
        .pointer("/status/conditions")
        .and_then(Value::as_array);
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|one| text(one, "/type") == name && text(one, "/status") == "True")
}

async fn crds(target: &Target, lines: &mut Lines) -> Result<(), Failure> {
    let mut wrong = 0;
    for Item { named, object } in manifest::crds()? {
        let versions = |crd: &Value| {
            let versions = crd.pointer("/spec/versions").and_then(Value::as_array);
            let served = versions
                .into_iter()
                .flatten()
                .filter(|v| v.get("served") == Some(&true.into()));
            served
                .map(|version| text(version, "/name").to_owned())
                .collect::<Vec<_>>()
        };
        let hint = "install the CRDs: `kubectl apply --server-side -f crds`, `lateen install`, or the chart";
        match target.get(&named).await? {
            None => lines.bad(format_args!("{named} is not there"), hint),
            Some(live) if !condition(&live, "Established") => {
                lines.bad(
                    format_args!("{named} is not served"),
                    "kubectl describe it: its conditions say why",
                );
            }
            Some(live) => {
                let served = versions(&live);
                let lacking: Vec<_> = versions(&object)
                    .into_iter()
                    .filter(|v| !served.contains(v))
                    .collect();
                if lacking.is_empty() {
                    continue;
                }
                lines.bad(
                    format_args!("{named} does not serve {}", lacking.join(", ")),
                    hint,
                );
            }
        }
        wrong += 1;
    }
    if wrong == 0 {
        lines.good("the CRDs are served in all versions");
    }
    Ok(())
}

async fn deployment(target: &Target, plane: &Plane, lines: &mut Lines) -> Result<(), Failure> {
    let named = plane.named("Deployment", "istiod")?;
    let Some(live) = target.get(&named).await? else {
        lines.bad(
            format_args!("{named} is not there"),
            "install it with helm or `lateen install`; --namespace and --revision name another",
        );
        return Ok(());
    };
    if live.pointer("/spec/replicas").and_then(Value::as_i64) == Some(0) {
        let hint = format!(
            "kubectl scale --replicas=1 -n {} deployment/{}",
            plane.namespace,
            named.name()
        );
        lines.bad(format_args!("{named} is scaled to 0"), hint);
        return Ok(());
    }
    if condition(&live, "Available") {
        lines.good(format_args!("{named} is available"));
        return Ok(());
    }
    let reasons = pods::problems(target, plane).await?;
    match reasons.is_empty() {
        true => lines.bad(
            format_args!("{named} is not available"),
            "kubectl describe its Pods",
        ),
        false => {
            for (what, hint) in reasons {
                lines.bad(what, hint);
            }
        }
    }
    Ok(())
}

async fn rights_of_the_control_plane(
    target: &Target,
    plane: &Plane,
    lines: &mut Lines,
) -> Result<(), Failure> {
    // The rendered rights are those of the usual namespace and revision.
    if !plane.is_usual() {
        return Ok(());
    }
    let account = plane.revised("istiod");
    let rights = manifest::rights_to_run(&manifest::objects(&Images::usual())?);
    missing_rights(
        target,
        Who::Account(&plane.namespace, &account),
        &rights,
        lines,
        |right| {
            let what = format!(
                "ServiceAccount {}/{account} may not {right}",
                plane.namespace
            );
            (
                what,
                "somebody changed its roles: install again, with helm upgrade or `lateen install`"
                    .to_owned(),
            )
        },
    )
    .await
}

async fn webhooks(target: &Target, plane: &Plane, lines: &mut Lines) -> Result<(), Failure> {
    match unready(target, plane).await? {
        None => {
            lines.good("the webhooks are asked, and waited for");
            Ok(())
        }
        Some((what, hint)) => {
            lines.bad(what, hint);
            Ok(())
        }
    }
}

/// Waits until the webhooks are asked and waited for. False, with the reason said: they are not in time.
pub async fn wait_until_ready(
    target: &Target,
    plane: &Plane,
    timeout: Duration,
) -> Result<bool, Failure> {
    let until = Instant::now() + timeout;
    let mut said = String::new();
    loop {
        let Some((what, hint)) = unready(target, plane).await? else {
            Lines::default().good("the webhooks are asked, and waited for");
            return Ok(true);
        };
        if what != said {
            print(format_args!("waiting {what}"));
            said.clone_from(&what);
        }
        if Instant::now() > until {
            let mut lines = Lines::default();
            lines.bad(what, hint);
            // Whoever may not look at Pods has heard the rest.
            for (what, hint) in pods::problems(target, plane).await.unwrap_or_default() {
                lines.bad(what, hint);
            }
            return Ok(false);
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What keeps the webhooks from being asked and waited for.
async fn unready(
    target: &Target,
    plane: &Plane,
) -> Result<Option<(String, &'static str)>, Failure> {
    let webhooks = plane.webhooks();
    for (kind, name) in [
        ("MutatingWebhookConfiguration", &webhooks.mutating),
        ("ValidatingWebhookConfiguration", &webhooks.validating),
    ] {
        let named = super::named(kind, None, name)?;
        let Some(live) = target.get(&named).await? else {
            return Ok(Some((format!("{named} is not there"), "install it again")));
        };
        let all = live.get("webhooks").and_then(Value::as_array);
        for webhook in all.into_iter().flatten() {
            if text(webhook, "/clientConfig/caBundle").is_empty() {
                let hint = "the control plane sets it: does it run, and does its log say why not?";
                return Ok(Some((format!("{named} has no caBundle yet"), hint)));
            }
            if text(webhook, "/failurePolicy") != "Fail" {
                let hint = "the control plane sets Fail when the API server reaches it: look at its log, and at firewalls between them (port 15017)";
                return Ok(Some((format!("{named} is not waited for yet"), hint)));
            }
        }
    }
    let hint = "the control plane does not answer on port 15017: look at its log";
    Ok(match target.prove(&webhooks).await {
        Proof::Refused => None,
        Proof::Accepted => Some(("the API server accepts a bad object".to_owned(), hint)),
        Proof::Unclear(why) => Some((
            format!("a bad object is not refused as it should: {why}"),
            hint,
        )),
    })
}
