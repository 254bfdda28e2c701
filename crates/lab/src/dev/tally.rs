//! What came of the calls, compared with what was expected.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::app::{Failure, Outcome};
use crate::expect::{Expectation, Verdict};

/// What is printed at the end with `-o json`, exactly so.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// Calls that ended.
    pub requests: u64,
    /// Calls that should have been served and got an error.
    pub failed: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Calls of which something else came than the YAML says.
    pub unexpected: u64,
    /// Answers by the label `version` of the workload, since the last edit.
    pub by_version: BTreeMap<String, u64>,
    /// Percent of the calls that each version should answer.
    pub expected_weights: BTreeMap<String, u32>,
    /// Answers by the identity that the server's Envoy saw.
    pub by_identity: BTreeMap<String, u64>,
    /// Refused calls of callers without a proxy.
    pub plaintext_refused: u64,
    /// Half of the answers took at most so many milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 answers took at most so many milliseconds.
    pub p99_ms: f64,
    /// Seconds from the start of the command to the first answer; none: there was none.
    pub first_success_s: Option<f64>,
    /// How traffic is captured: `netns`.
    pub mode: &'static str,
    /// Envoys.
    pub proxies: usize,
    /// Whether the mesh does what the YAML says.
    pub ok: bool,
}

impl Report {
    /// What is to be said of a mesh that did not start.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self {
            ok: false,
            ..Tally::default().report(None, 0)
        }
    }
}

/// What came of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    Answer,
    Refusal,
    Error,
}

/// One caller's calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What it calls.
    pub url: String,
    /// What must come of it.
    pub expectation: Expectation,
    /// Whether it has a proxy.
    pub proxied: bool,
    /// Calls since the last edit.
    pub calls: u64,
    /// Answers since the last edit, by version; calls to workloads without that label under the empty one.
    pub versions: BTreeMap<String, u64>,
    /// Refused calls since the last edit.
    pub refused: u64,
    /// Calls with an error since the last edit.
    pub failed: u64,
    /// Calls since the last edit of which came something else than expected.
    pub unexpected: u64,
    /// The identity that the server's Envoy saw last.
    pub identity: Option<String>,
    /// What was last not as expected, for people.
    pub surprise: Option<String>,
    times: Times,
}

impl Caller {
    /// A caller that has not called yet.
    #[must_use]
    pub fn new(url: String, expectation: Expectation, proxied: bool) -> Self {
        Self {
            url,
            expectation,
            proxied,
            calls: 0,
            versions: BTreeMap::new(),
            refused: 0,
            failed: 0,
            unexpected: 0,
            identity: None,
            surprise: None,
            times: Times::default(),
        }
    }

    fn came(&self, outcome: &Outcome) -> Came {
        let cut = outcome.failure == Some(Failure::Closed)
            || (self.proxied && outcome.status == Some(503));
        match outcome.status {
            Some(200) => Came::Answer,
            Some(403) if outcome.answer.is_none() => Came::Refusal,
            _ if cut && self.expectation.may_be_cut() => Came::Refusal,
            _ => Came::Error,
        }
    }

    /// What is wrong with an outcome; none: nothing.
    fn surprise(&self, came: Came, outcome: &Outcome) -> Option<String> {
        let expectation = &self.expectation;
        if expectation.parts.is_empty() {
            return None;
        }
        match came {
            Came::Error => None,
            Came::Refusal => expectation
                .is_served()
                .then(|| "refused, and nothing in the YAML refuses it".to_owned()),
            Came::Answer => {
                let answer = outcome.answer.as_ref()?;
                if let Some(why) = expectation.refusal() {
                    return Some(format!("answered by {}, although {why}", answer.workload));
                }
                let (version, peer) = (answer.version.as_deref(), answer.peer());
                let fits = expectation.parts.iter().any(|part| match &part.verdict {
                    Verdict::Served(identity) => {
                        part.version.as_deref() == version && identity.as_deref() == peer
                    }
                    Verdict::Refused(_) => false,
                });
                let seen = peer.unwrap_or("nobody (plaintext)");
                (!fits).then(|| {
                    format!(
                        "answered by {}, who saw {seen}: the YAML says otherwise",
                        answer.workload
                    )
                })
            }
        }
    }

    /// Whether as many calls went to each version as the weights say, as far as chance allows.
    #[must_use]
    pub fn is_spread(&self) -> bool {
        let total = (self.calls - self.failed) as f64;
        self.expectation.versions().iter().all(|(version, share)| {
            let seen = self.versions.get(version).copied().unwrap_or(0) as f64;
            let deviation = (total * share * (1.0 - share)).sqrt();
            (seen - total * share).abs() <= DEVIATIONS * deviation + 1.0
        })
    }

    /// How long an answer took at most, in milliseconds, for a part of the answers.
    #[must_use]
    pub fn percentile(&self, part: f64) -> f64 {
        self.times.percentile(part)
    }
}

/// Beyond so many standard deviations chance is no excuse: once in 150,000 runs.
const DEVIATIONS: f64 = 4.5;

/// All callers.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By `namespace/name`.
    pub callers: BTreeMap<String, Caller>,
    requests: u64,
    failed: u64,
    refused: u64,
    unexpected: u64,
    plaintext_refused: u64,
    by_identity: BTreeMap<String, u64>,
    times: Times,
}

impl Tally {
    /// Counts a call. While an edit is on its way (`settling`) the old answer is as right as the new one.
    /// Whether it was an answer.
    pub fn count(&mut self, key: &str, outcome: &Outcome, settling: bool) -> bool {
        let Some(caller) = self.callers.get_mut(key) else {
            return false;
        };
        let came = caller.came(outcome);
        self.requests += 1;
        let surprise = if settling {
            None
        } else {
            caller.surprise(came, outcome)
        };
        if let Some(surprise) = surprise {
            self.unexpected += 1;
            caller.unexpected += 1;
            caller.surprise = Some(surprise);
        }
        caller.calls += u64::from(!settling);
        match came {
            Came::Answer => {
                self.times.add(outcome.micros);
                caller.times.add(outcome.micros);
                let answer = outcome.answer.as_ref();
                let identity = answer.and_then(|answer| answer.peer()).map(str::to_owned);
                if let Some(identity) = &identity {
                    *self.by_identity.entry(identity.clone()).or_default() += 1;
                }
                caller.identity = identity;
                let version = answer
                    .and_then(|answer| answer.version.clone())
                    .unwrap_or_default();
                *caller.versions.entry(version).or_default() += u64::from(!settling);
            }
            Came::Refusal => {
                self.refused += 1;
                caller.refused += u64::from(!settling);
                self.plaintext_refused += u64::from(!caller.proxied);
            }
            Came::Error => {
                self.failed += 1;
                caller.failed += u64::from(!settling);
                let status = outcome
                    .status
                    .map_or_else(String::new, |status| format!("status {status} "));
                let failure = outcome
                    .failure
                    .as_ref()
                    .map_or_else(String::new, |failure| format!("{failure:?} "));
                caller.surprise = Some(
                    format!("{status}{failure}{}", outcome.body.trim())
                        .trim()
                        .to_owned(),
                );
            }
        }
        came == Came::Answer
    }

    /// The calls so far, and what came of them in few words.
    #[must_use]
    pub fn summary(&self) -> String {
        let versions = self.by_version();
        let total: u64 = versions.values().sum();
        let mut text = format!("{} calls", self.requests);
        for (version, count) in versions {
            text.push_str(&format!(
                ", {version} {:.1} %",
                count as f64 * 100.0 / total.max(1) as f64
            ));
        }
        let (p50, p99) = (self.times.percentile(0.5), self.times.percentile(0.99));
        text.push_str(&format!(
            ", {} refused, {} failed, {} unexpected, p50 {p50:.1} ms, p99 {p99:.1} ms",
            self.refused, self.failed, self.unexpected
        ));
        text
    }

    /// The hosts that are called and have versions; with one only, its versions go by their own names.
    fn name(&self, host: &str, version: &str) -> String {
        let versioned = |caller: &&Caller| !caller.expectation.versions().is_empty();
        let hosts: BTreeSet<&str> = self
            .callers
            .values()
            .filter(versioned)
            .map(|caller| caller.expectation.host.as_str())
            .collect();
        if hosts.len() > 1 {
            format!("{host}/{version}")
        } else {
            version.to_owned()
        }
    }

    fn by_version(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for caller in self.callers.values() {
            for (version, count) in caller
                .versions
                .iter()
                .filter(|(version, _)| !version.is_empty())
            {
                *all.entry(self.name(&caller.expectation.host, version))
                    .or_default() += count;
            }
        }
        all
    }

    fn expected_weights(&self) -> BTreeMap<String, u32> {
        let mut all = BTreeMap::new();
        for caller in self.callers.values() {
            for (version, share) in caller.expectation.versions() {
                let percent = (share * 100.0).round() as u32;
                all.entry(self.name(&caller.expectation.host, &version))
                    .or_insert(percent);
            }
        }
        all
    }

    /// Whether all is as the YAML says.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        let answered = self
            .callers
            .values()
            .any(|caller| !caller.versions.is_empty());
        let as_said = |caller: &Caller| {
            caller.calls > 0
                && caller.is_spread()
                && (caller.expectation.refusal().is_none() || caller.refused > 0)
        };
        answered && self.failed == 0 && self.unexpected == 0 && self.callers.values().all(as_said)
    }

    /// The end's report.
    #[must_use]
    pub fn report(&self, first_success_s: Option<f64>, proxies: usize) -> Report {
        Report {
            requests: self.requests,
            failed: self.failed,
            refused: self.refused,
            unexpected: self.unexpected,
            by_version: self.by_version(),
            expected_weights: self.expected_weights(),
            by_identity: self.by_identity.clone(),
            plaintext_refused: self.plaintext_refused,
            p50_ms: self.times.percentile(0.5),
            p99_ms: self.times.percentile(0.99),
            first_success_s,
            mode: "netns",
            proxies,
            ok: self.is_ok(),
        }
    }
}

/// How long answers took: counts in buckets that grow by two percent.
#[derive(Clone, Debug, Default)]
struct Times {
    buckets: BTreeMap<u32, u64>,
    count: u64,
}

impl Times {
    fn add(&mut self, micros: u64) {
        let bucket = (micros.max(1) as f64).log(1.02).round() as u32;
        *self.buckets.entry(bucket).or_default() += 1;
        self.count += 1;
    }

    fn percentile(&self, part: f64) -> f64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= wanted {
                let millis = 1.02_f64.powf(f64::from(*bucket)) / 1000.0;
                return (millis * 100.0).round() / 100.0;
            }
        }
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::Answer;
    use crate::expect::{Part, Refusal};

    fn answer(version: &str, peer: &str) -> Outcome {
        let header = format!("By=x;URI={peer}");
        let answer = Answer {
            workload: format!("reviews-{version}"),
            version: Some(version.to_owned()),
            headers: [("x-forwarded-client-cert".to_owned(), header)].into(),
            ..Answer::default()
        };
        Outcome {
            status: Some(200),
            failure: None,
            answer: Some(answer),
            ..Outcome::failed(Failure::Closed)
        }
    }

    fn tally(verdicts: [(&str, f64, Verdict); 2]) -> Tally {
        let part = |(version, share, verdict): (&str, f64, Verdict)| Part {
            share,
            version: Some(version.to_owned()),
            verdict,
        };
        let expectation = Expectation {
            parts: verdicts.map(part).into(),
            host: "reviews".to_owned(),
        };
        let mut tally = Tally::default();
        tally.callers.insert(
            "shop/a".to_owned(),
            Caller::new("http://reviews/".to_owned(), expectation, true),
        );
        tally
    }

    fn served(share: f64, version: &str) -> (&str, f64, Verdict) {
        (version, share, Verdict::Served(Some("me".to_owned())))
    }

    #[test]
    fn weights_are_held_within_chance() {
        for (v2, ok) in [
            (100, true),
            (125, true),
            (150, false),
            (300, false),
            (0, false),
        ] {
            let mut tally = tally([served(0.9, "v1"), served(0.1, "v2")]);
            for call in 0..1000 {
                let version = if call < v2 { "v2" } else { "v1" };
                assert!(tally.count("shop/a", &answer(version, "me"), false));
            }
            assert_eq!(tally.is_ok(), ok, "{v2} of 1000 on v2");
            assert_eq!(
                tally.report(None, 0).expected_weights,
                [("v1".to_owned(), 90), ("v2".to_owned(), 10)].into()
            );
        }
    }

    #[test]
    fn an_answer_to_a_forbidden_caller_or_from_a_wrong_peer_is_unexpected() {
        let refused = |version, share| (version, share, Verdict::Refused(Refusal::NotAllowed));
        let mut forbidden = tally([refused("v1", 0.9), refused("v2", 0.1)]);
        forbidden.count("shop/a", &answer("v1", "me"), false);
        assert_eq!(forbidden.report(None, 0).unexpected, 1);
        let mut plain = tally([served(0.9, "v1"), served(0.1, "v2")]);
        plain.count("shop/a", &answer("v1", "somebody"), false);
        assert_eq!(plain.report(None, 0).unexpected, 1);
    }

    #[test]
    fn times_are_exact_to_two_percent() {
        let mut times = Times::default();
        (1..=1000).for_each(|millis| times.add(millis * 1000));
        assert!((times.percentile(0.5) - 500.0).abs() < 10.0);
        assert!((times.percentile(0.99) - 990.0).abs() < 20.0);
    }
}
