//! Values that several kinds have: durations, numbers, ports, names, hosts, visibility.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::notes::{At, Notes};
use crate::{Decimal, Export, ExportTo, HostPattern, Hostname, InvalidName, Namespace, Port};

/// The longest duration that is accepted: a hundred years, well below what Envoy can count in nanoseconds.
pub(super) const MAX_DURATION: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The shortest duration that Envoy's timers tell from none.
pub(super) const MILLISECOND: Duration = Duration::from_millis(1);

/// What Istio's 32-bit integers may be where they may not be negative.
pub(super) const COUNT: RangeInclusive<i64> = 0..=i32::MAX as i64;

/// What Istio's unsigned 32-bit integers may be.
pub(super) const UNSIGNED: RangeInclusive<i64> = 0..=u32::MAX as i64;

/// A percentage.
pub(super) const PERCENT: RangeInclusive<i64> = 0..=100;

impl Notes<'_> {
    /// A duration of at least `least`.
    pub(super) fn duration(
        &mut self,
        at: &At<'_>,
        text: Option<&str>,
        least: Duration,
    ) -> Option<Duration> {
        let text = text?;
        let hint = "write a duration such as 1.5s, 200ms or 1h30m";
        match read_duration(text) {
            None => self.refuse(at, format!("{text:?} is not a duration"), hint),
            Some(duration) if duration < least || duration > MAX_DURATION => {
                let message =
                    format!("{text:?} is out of range: at least {least:?}, at most 100 years");
                self.refuse(at, message, hint);
            }
            Some(duration) => return Some(duration),
        }
        None
    }

    /// An address or a CIDR.
    pub(super) fn network(&mut self, text: &str, at: &At<'_>) -> Option<IpNet> {
        let address = || text.parse::<IpAddr>().map(IpNet::from);
        let net = text.parse().or_else(|_| address());
        if net.is_err() {
            let message = format!("{text:?} is neither an IP address nor a CIDR");
            self.refuse(at, message, "write 10.1.2.3 or 10.1.0.0/16");
        }
        net.ok()
    }

    /// A list of them.
    pub(super) fn networks(&mut self, list: &[String], at: &At<'_>) -> Vec<IpNet> {
        let texts = list.iter().enumerate();
        texts
            .filter_map(|(index, text)| self.network(text, &at.item(index)))
            .collect()
    }

    /// An integer in a range, which lies within `u32`.
    pub(super) fn number(
        &mut self,
        at: &At<'_>,
        number: Option<i64>,
        range: &RangeInclusive<i64>,
    ) -> Option<u32> {
        let number = number?;
        let found = Some(number).filter(|n| range.contains(n));
        let found = found.and_then(|n| u32::try_from(n).ok());
        if found.is_none() {
            let (low, high) = (range.start(), range.end());
            let message = format!("integer `{number}` is out of range");
            self.refuse(at, message, format!("it must be {low} to {high}"));
        }
        found
    }

    /// A number with a fraction, in a range.
    pub(super) fn decimal(
        &mut self,
        at: &At<'_>,
        number: Option<f64>,
        range: &RangeInclusive<i64>,
    ) -> Option<Decimal> {
        let number = number?;
        let (low, high) = (range.start(), range.end());
        #[allow(clippy::cast_precision_loss, reason = "the ends of ranges are small")]
        let fits = (*low as f64..=*high as f64).contains(&number);
        if !fits {
            let message = format!("`{number}` is out of range");
            self.refuse(at, message, format!("it must be {low} to {high}"));
        }
        Decimal::new(number).filter(|_| fits)
    }

    /// A limit, for which Istio takes 0 to say nothing.
    pub(super) fn limit(&mut self, at: &At<'_>, number: Option<i64>) -> Option<u32> {
        self.number(at, number, &COUNT).filter(|&number| number > 0)
    }

    /// A port number.
    pub(super) fn port(&mut self, at: &At<'_>, number: Option<i64>) -> Option<Port> {
        let number = number?;
        let port = Port::new(number);
        if port.is_none() {
            self.refuse(
                at,
                format!("integer `{number}` is not a port"),
                "it must be 1 to 65535",
            );
        }
        port
    }

    /// A name of any sort.
    pub(super) fn name<T: FromStr<Err = InvalidName>>(
        &mut self,
        at: &At<'_>,
        text: &str,
    ) -> Option<T> {
        self.valid(at, text.parse())
    }

    /// What a constructor made, or its complaint as a refusal.
    pub(super) fn valid<T>(&mut self, at: &At<'_>, made: Result<T, InvalidName>) -> Option<T> {
        made.map_err(|error| self.refuse(at, error.to_string(), ""))
            .ok()
    }

    /// A host without wildcard; short names belong to the object's namespace.
    pub(super) fn host(&mut self, at: &At<'_>, text: Option<&str>) -> Option<Hostname> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            self.missing(at, "name the service that is meant");
            return None;
        };
        let namespace = self.namespace();
        let host = self.valid(at, HostPattern::resolve(text, &namespace))?;
        // A ServiceEntry may be for a whole domain.
        let service = host.service_host();
        if service.is_none() {
            self.refuse(at, "`*` is no service", "name the service that is meant");
        }
        service
    }

    /// An IP address.
    pub(super) fn ip(&mut self, at: &At<'_>, text: &str) -> Option<IpAddr> {
        let parsed = text.parse();
        if parsed.is_err() {
            self.refuse(at, format!("{text:?} is not an IP address"), "");
        }
        parsed.ok()
    }

    /// `exportTo`: names, `.` for the object's own namespace, `*` for all, `~` for none.
    pub(super) fn export_to(&mut self, at: &At<'_>, names: &[String]) -> ExportTo {
        let said = self.export(at, names);
        said.map_or(ExportTo::Unset, |said| said.of(&self.namespace()))
    }

    /// The same of no object in particular; none: nothing is said.
    pub(super) fn export(&mut self, at: &At<'_>, names: &[String]) -> Option<Export> {
        if names.is_empty() {
            return None;
        }
        let special = |name: &&String| matches!(name.as_str(), "*" | "~");
        if let Some(word) = names.iter().find(special) {
            if names.len() > 1 {
                let message = format!("`{word}` stands beside other namespaces");
                self.refuse(at, message, "write `*` for all, or the names of some");
            }
            return Some(match word.as_str() {
                "*" => Export::All,
                _ => Export::Some {
                    own: false,
                    namespaces: Arc::new([]),
                },
            });
        }
        let mut found = BTreeSet::<Namespace>::new();
        for (index, name) in names.iter().enumerate().filter(|(_, name)| *name != ".") {
            found.extend(self.name(&at.item(index), name));
        }
        Some(Export::Some {
            own: names.iter().any(|name| name == "."),
            namespaces: found.into_iter().collect(),
        })
    }
}

/// A list of strings as the model holds them.
pub(super) fn strings(list: Vec<String>) -> Arc<[Arc<str>]> {
    list.into_iter().map(Arc::from).collect()
}

/// A text that says something.
pub(super) fn text(written: Option<String>) -> Option<Arc<str>> {
    written.filter(|text| !text.is_empty()).map(Arc::from)
}

/// Reads a duration as Go does (`1h2m3.5s`, `200ms`), which covers proto JSON (`1.5s`).
pub(super) fn read_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at_checked(digits)?;
        let unit = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit)?;
        total = total.checked_add(part(number, unit)?)?;
        rest = after;
    }
    (!text.is_empty()).then_some(total)
}

fn part(number: &str, unit: &str) -> Option<Duration> {
    let nanos: u128 = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let read = |digits: &str| match digits {
        "" => Some(0),
        digits => digits.parse::<u128>().ok(),
    };
    // More digits than nanoseconds have cannot matter.
    let fraction = fraction.get(..fraction.len().min(18))?;
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let below = read(fraction)?.checked_mul(nanos)?.checked_div(scale)?;
    let total = read(whole)?.checked_mul(nanos)?.checked_add(below)?;
    let seconds = u64::try_from(total / 1_000_000_000).ok()?;
    let nanos = u32::try_from(total % 1_000_000_000).ok()?;
    Some(Duration::new(seconds, nanos))
}

/// Words in a message: `a`, `b` and `c`.
pub(super) fn listed(words: &[impl fmt::Display]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let joint = match index {
            0 => "",
            last if last + 1 == words.len() => " and ",
            _ => ", ",
        };
        text.push_str(&format!("{joint}`{word}`"));
    }
    text
}
