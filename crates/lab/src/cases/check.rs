//! Makes the calls of a case and compares what came of them with what must.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::app::{Answer, Call, Command, Failure, Outcome};
use crate::cases::format::{Check, Expect, Metric};
use crate::mesh::{Mesh, MeshError};

/// How long a line of an access log or a metric may take to appear: Envoy writes the one when ten seconds are over, and
/// merges histograms every five.
const PATIENCE: Duration = Duration::from_secs(12);
/// How long the copy of a request may take.
const ARRIVAL: Duration = Duration::from_millis(500);
/// The port at which servers are asked what they counted.
const ECHO: u16 = 9080;
const POLL: Duration = Duration::from_millis(50);

/// Makes the calls; what is not as it must be, a line each. Who is `patient` waits for logs and metrics.
///
/// # Errors
/// The mesh is broken.
pub async fn check(mesh: &Mesh, check: &Check, patient: bool) -> Result<Vec<String>, MeshError> {
    let before = Before::look(mesh, check).await?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let number = u64::try_from(now.as_micros()).unwrap_or(0);
    let command = Command::Calls {
        call: check.call(number),
        count: check.count(),
        parallel: check.parallel.max(1),
    };
    let mut stream = mesh.tell(&check.from, &command).await?;
    let mut outcomes = Vec::new();
    while let Some(outcome) = stream
        .next()
        .await
        .map_err(|error| MeshError::Io(check.from.clone(), error))?
    {
        outcomes.push(outcome);
    }
    let mut wrong = Vec::new();
    if outcomes.len() != usize::try_from(check.count()).unwrap_or(usize::MAX) {
        wrong.push(format!(
            "{} of {} calls ended",
            outcomes.len(),
            check.count()
        ));
    }
    each(&check.expect, &outcomes, &mut wrong);
    shares(&check.expect, &outcomes, &mut wrong);
    numbers(&check.expect, &outcomes, &mut wrong);
    if wrong.is_empty() {
        received(mesh, &check.expect, number, &mut wrong).await?;
    }
    if wrong.is_empty() {
        before.compare(mesh, check, patient, &mut wrong).await?;
    }
    Ok(wrong)
}

/// What must hold for every call; the first that breaks a rule is told.
fn each(expect: &Expect, outcomes: &[Outcome], wrong: &mut Vec<String>) {
    let mut rule = |name: &str, broken: &dyn Fn(&Outcome) -> bool| {
        if let Some(outcome) = outcomes.iter().find(|outcome| broken(outcome)) {
            wrong.push(format!("{name}: {}", show(outcome)));
        }
    };
    if let Some(status) = expect.status {
        rule(&format!("not status {status}"), &|o| {
            o.status != Some(status)
        });
    }
    if expect.refused {
        rule("not refused", &|o| !is_refused(o));
    }
    if let Some(failure) = &expect.failure {
        rule(&format!("not {failure:?}"), &|o| {
            o.failure.as_ref() != Some(failure)
        });
    }
    if let Some(identity) = &expect.identity {
        let wanted = Some(identity.as_str()).filter(|identity| *identity != "none");
        rule(&format!("identity is not {identity}"), &|o| {
            answer(o).is_none_or(|a| a.peer() != wanted)
        });
    }
    if let Some(protocol) = &expect.protocol {
        rule(&format!("not {protocol}"), &|o| {
            answer(o).is_none_or(|a| a.protocol != *protocol)
        });
    }
    if let Some(tls) = &expect.tls {
        let wanted = Some(tls.as_str()).filter(|tls| *tls != "none");
        rule(&format!("TLS name is not {tls}"), &|o| {
            answer(o).is_none_or(|a| a.tls.as_deref() != wanted)
        });
    }
    if let Some(version) = &expect.proxy_protocol {
        let wanted = Some(version.as_str()).filter(|version| *version != "none");
        rule(&format!("PROXY protocol is not {version}"), &|o| {
            answer(o).is_none_or(|a| a.proxied.as_deref() != wanted)
        });
    }
    if let Some(tunnel) = &expect.tunnel {
        let wanted = Some(tunnel.as_str()).filter(|tunnel| *tunnel != "none");
        rule(&format!("not by a tunnel to {tunnel}"), &|o| {
            answer(o).is_none_or(|a| a.tunnel.as_deref() != wanted)
        });
    }
    if let Some(path) = &expect.path {
        rule(&format!("path is not {path}"), &|o| {
            answer(o).is_none_or(|a| a.path != *path)
        });
    }
    if let Some(body) = &expect.body {
        rule(&format!("body is not {body}"), &|o| !o.body.contains(body));
    }
    for (name, value) in &expect.headers {
        let got = |a: &Answer| a.headers.get(name).cloned().unwrap_or_default();
        rule(&format!("header {name} is not {value:?}"), &|o| {
            answer(o).is_none_or(|a| got(a) != *value)
        });
    }
    for (name, value) in &expect.answer {
        let got = |o: &Outcome| o.headers.get(name).cloned().unwrap_or_default();
        rule(&format!("the response's {name} is not {value:?}"), &|o| {
            got(o) != *value
        });
    }
    if let Some([least, most]) = expect.took_ms {
        rule(&format!("did not take {least} to {most} ms"), &|o| {
            !(least..=most).contains(&(o.micros / 1000))
        });
    }
}

fn answer(outcome: &Outcome) -> Option<&Answer> {
    outcome.answer.as_ref()
}

fn is_refused(outcome: &Outcome) -> bool {
    (outcome.status == Some(403) && outcome.answer.is_none())
        || outcome.failure == Some(Failure::Closed)
}

fn show(outcome: &Outcome) -> String {
    let mut text = match (&outcome.status, &outcome.failure) {
        (Some(status), _) => format!("status {status}"),
        (None, Some(failure)) => format!("{failure:?}"),
        (None, None) => "nothing".to_owned(),
    };
    if let Some(answer) = &outcome.answer {
        text.push_str(&format!(
            " from {} by {} at {} path {} peer {:?}",
            answer.workload,
            answer.protocol,
            answer.port,
            answer.path,
            answer.peer()
        ));
    }
    format!(
        "{text} {} ({} ms)",
        outcome.body.trim(),
        outcome.micros / 1000
    )
}

/// What must hold for all calls together.
fn shares(expect: &Expect, outcomes: &[Outcome], wrong: &mut Vec<String>) {
    let share = |is: &dyn Fn(&Outcome) -> bool| {
        let count = outcomes.iter().filter(|outcome| is(outcome)).count();
        count as f64 / outcomes.len().max(1) as f64
    };
    let mut within = |what: String, seen: f64, [least, most]: [f64; 2]| {
        if !(least..=most).contains(&seen) {
            wrong.push(format!(
                "{what} has {seen:.2} of the calls, not {least} to {most}"
            ));
        }
    };
    for (status, range) in &expect.statuses {
        within(
            format!("status {status}"),
            share(&|o| o.status == Some(*status)),
            *range,
        );
    }
    for (version, range) in &expect.versions {
        let is = |o: &Outcome| {
            o.status == Some(200) && answer(o).is_some_and(|a| a.version.as_ref() == Some(version))
        };
        within(format!("version {version}"), share(&is), *range);
    }
    for (workload, range) in &expect.workloads {
        let is = |o: &Outcome| {
            o.status == Some(200) && answer(o).is_some_and(|a| a.workload == *workload)
        };
        within(format!("workload {workload}"), share(&is), *range);
    }
}

/// How many there must be of what the answers come from.
fn numbers(expect: &Expect, outcomes: &[Outcome], wrong: &mut Vec<String>) {
    let answers = || outcomes.iter().filter_map(answer);
    let workloads: BTreeSet<&str> = answers().map(|a| a.workload.as_str()).collect();
    let connections: BTreeSet<_> = answers().map(|a| (&a.workload, a.connection)).collect();
    for (what, seen, range) in [
        ("workloads answered", workloads.len(), expect.spread),
        (
            "connections were used",
            connections.len(),
            expect.connections,
        ),
    ] {
        if let Some([least, most]) = range.filter(|[least, most]| !(least..=most).contains(&&seen))
        {
            wrong.push(format!("{seen} {what}, not {least} to {most}"));
        }
    }
}

/// What the servers have counted. Copies of requests may arrive late: too few of them are waited for.
async fn received(
    mesh: &Mesh,
    expect: &Expect,
    number: u64,
    wrong: &mut Vec<String>,
) -> Result<(), MeshError> {
    let url = format!("http://127.0.0.1:{ECHO}/?seen={number}");
    for (workload, [least, most]) in &expect.received {
        let until = Instant::now() + ARRIVAL;
        let seen = loop {
            let asked = mesh.call(workload, Call::get(&url)).await?;
            let seen = asked.answer.map_or(0, |answer| answer.seen);
            if seen >= *least || Instant::now() > until {
                break seen;
            }
            tokio::time::sleep(POLL).await;
        };
        if !(*least..=*most).contains(&seen) {
            wrong.push(format!(
                "{workload} has got {seen} requests, not {least} to {most}"
            ));
        }
    }
    Ok(())
}

/// What was counted before the calls.
struct Before {
    requests: u64,
    metrics: Vec<f64>,
    logs: BTreeMap<String, usize>,
}

impl Before {
    async fn look(mesh: &Mesh, check: &Check) -> Result<Self, MeshError> {
        let mut metrics = Vec::new();
        for metric in &check.expect.metrics {
            metrics.push(value(mesh, metric).await?);
        }
        let logs = mesh
            .workloads()
            .map(|workload| (workload.key(), mesh.log(&workload.key()).len()));
        Ok(Self {
            requests: requests(mesh, check).await?,
            metrics,
            logs: logs.collect(),
        })
    }

    async fn compare(
        &self,
        mesh: &Mesh,
        check: &Check,
        patient: bool,
        wrong: &mut Vec<String>,
    ) -> Result<(), MeshError> {
        if let Some(cluster) = &check.expect.cluster {
            let through = requests(mesh, check).await?.saturating_sub(self.requests);
            if through < u64::from(check.count()) {
                wrong.push(format!(
                    "{through} of {} calls went through {cluster}",
                    check.count()
                ));
            }
        }
        let until = Instant::now() + PATIENCE;
        for (metric, before) in check.expect.metrics.iter().zip(&self.metrics) {
            while value(mesh, metric).await? <= *before {
                if !patient || Instant::now() > until {
                    wrong.push(format!(
                        "{} at {} with {:?} did not grow",
                        metric.name, metric.at, metric.labels
                    ));
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
        }
        if let Some(line) = &check.expect.log {
            while !self.is_logged(mesh, line) {
                if !patient || Instant::now() > until {
                    wrong.push(format!("no access log has {line}"));
                    break;
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    fn is_logged(&self, mesh: &Mesh, line: &str) -> bool {
        self.logs.iter().any(|(key, before)| {
            let log = mesh.log(key);
            log.get(*before..).is_some_and(|new| new.contains(line))
        })
    }
}

/// How many requests (connections, for TCP) the caller's Envoy sent through the expected cluster so far.
async fn requests(mesh: &Mesh, check: &Check) -> Result<u64, MeshError> {
    let Some(cluster) = &check.expect.cluster else {
        return Ok(0);
    };
    let asked = mesh
        .call(
            &check.from,
            Call::get("http://127.0.0.1:15000/clusters?format=json"),
        )
        .await?;
    let all: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let statuses = all
        .get("cluster_statuses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let named =
        statuses.filter(|status| status.get("name").and_then(Value::as_str) == Some(cluster));
    let hosts = named
        .filter_map(|status| status.get("host_statuses")?.as_array())
        .flatten();
    let name = if check.url.starts_with("tcp://") {
        "cx_total"
    } else {
        "rq_total"
    };
    let counted = hosts.filter_map(|host| {
        let stats = host.get("stats")?.as_array()?;
        let stat = stats
            .iter()
            .find(|stat| stat.get("name").and_then(Value::as_str) == Some(name))?;
        stat.get("value")?.as_str()?.parse::<u64>().ok()
    });
    Ok(counted.sum())
}

/// The sum of a metric over all its lines with the labels.
async fn value(mesh: &Mesh, metric: &Metric) -> Result<f64, MeshError> {
    let asked = mesh
        .call(
            &metric.at,
            Call::get("http://127.0.0.1:15020/stats/prometheus"),
        )
        .await?;
    let has_labels = |line: &&str| {
        let mut labels = metric.labels.iter();
        labels.all(|(name, value)| line.contains(&format!("{name}=\"{value}\"")))
    };
    let named = asked.body.lines().filter(|line| {
        line.strip_prefix(&metric.name)
            .is_some_and(|rest| rest.starts_with(['{', ' ']))
    });
    let values = named
        .filter(has_labels)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    Ok(values.sum())
}
