//! `spec.http[].fault` of a VirtualService: delays and errors that the client's proxy makes.

use std::time::Duration;

use super::notes::{At, Notes};
use super::value::{MILLISECOND, PERCENT};
use crate::{AbortStatus, Code, Fault, Share};

/// gRPC's status codes, by number.
const GRPC_STATUS: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Reads `fault`.
pub(super) fn read(
    wire: Option<istio_api::HttpFaultInjection>,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<Fault> {
    let istio_api::HttpFaultInjection { delay, abort } = wire?;
    if delay.is_none() && abort.is_none() {
        let hint = "write `delay` or `abort`, or leave `fault` out";
        notes.refuse(at, "the fault says nothing", hint);
    }
    Some(Fault {
        delay: delay.and_then(|wire| read_delay(wire, &at.field("delay"), notes)),
        abort: abort.and_then(|wire| read_abort(wire, &at.field("abort"), notes)),
    })
}

fn read_delay(
    wire: istio_api::FaultDelay,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<(Duration, Share)> {
    let istio_api::FaultDelay {
        percent,
        fixed_delay,
        exponential_delay,
        percentage,
    } = wire;
    if exponential_delay.is_some() {
        let message = "exponential delays are supported neither by Envoy nor by Istio";
        notes.refuse(&at.field("exponentialDelay"), message, "write `fixedDelay`");
    }
    let fixed = notes.duration(&at.field("fixedDelay"), fixed_delay.as_deref(), MILLISECOND);
    if fixed_delay.is_none() && exponential_delay.is_none() {
        says_nothing(at, "the delay has no length", "write `fixedDelay`", notes);
    }
    if percent.is_some() {
        notes.deprecated(&at.field("percent"), "percentage");
    }
    let whole = notes.number(&at.field("percent"), percent, &PERCENT);
    let whole = whole.and_then(|percent| Share::of_percent(f64::from(percent)));
    let share = notes.share(&at.field("percentage"), percentage).or(whole);
    if fixed.is_some() && share.is_none_or(Share::is_none) {
        nobody(at, "delayed", notes);
    }
    Some((fixed?, share?))
}

fn read_abort(
    wire: istio_api::FaultAbort,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<(AbortStatus, Share)> {
    let istio_api::FaultAbort {
        http_status,
        grpc_status,
        http2_error,
        percentage,
    } = wire;
    let written = [
        http_status.is_some(),
        grpc_status.is_some(),
        http2_error.is_some(),
    ];
    match written.iter().filter(|written| **written).count() {
        0 => says_nothing(
            at,
            "no status is said",
            "write `httpStatus` or `grpcStatus`",
            notes,
        ),
        1 => {}
        _ => {
            let message = "`httpStatus`, `grpcStatus` and `http2Error` exclude each other";
            notes.refuse(at, message, "keep one of them");
        }
    }
    if http2_error.is_some() {
        let message = "errors of HTTP/2 are supported neither by Envoy nor by Istio";
        let hint = "write `httpStatus` or `grpcStatus`";
        notes.refuse(&at.field("http2Error"), message, hint);
    }
    let http = notes.http_status(&at.field("httpStatus"), http_status);
    let grpc = grpc_status.and_then(|name| read_grpc(&name, &at.field("grpcStatus"), notes));
    let share = notes.share(&at.field("percentage"), percentage);
    if share.is_none_or(Share::is_none) {
        nobody(at, "aborted", notes);
    }
    let status = http.map(AbortStatus::Http).or(grpc.map(AbortStatus::Grpc));
    Some((status?, share?))
}

fn read_grpc(name: &str, at: &At<'_>, notes: &mut Notes<'_>) -> Option<u32> {
    let number = GRPC_STATUS.iter().position(|known| *known == name);
    if number.is_none() {
        let message = format!("{name:?} is not a status of gRPC");
        notes.refuse(
            at,
            message,
            format!("it is one of {}", GRPC_STATUS.join(", ")),
        );
    }
    number.and_then(|number| u32::try_from(number).ok())
}

fn says_nothing(at: &At<'_>, what: &str, hint: &str, notes: &mut Notes<'_>) {
    let message = format!("{what}, so it has no effect");
    notes.warn(at, Code::SchemaWarning, message, hint);
}

fn nobody(at: &At<'_>, what: &str, notes: &mut Notes<'_>) {
    let message = format!("without a `percentage` no request is {what}");
    let hint = "write `percentage: {value: 100}` for all requests";
    notes.warn(&at.field("percentage"), Code::SchemaWarning, message, hint);
}

impl Notes<'_> {
    /// A percentage; one without a value is 0, as in Istio's protocol.
    pub(super) fn share(
        &mut self,
        at: &At<'_>,
        percent: Option<istio_api::Percent>,
    ) -> Option<Share> {
        let istio_api::Percent { value } = percent?;
        let share = Share::of_percent(value.unwrap_or(0.0));
        if share.is_none() {
            self.refuse(
                &at.field("value"),
                "the percentage is out of range",
                "it must be 0, or 0.0001 to 100",
            );
        }
        share
    }

    /// Warns of a field that Istio has deprecated.
    pub(super) fn deprecated(&mut self, at: &At<'_>, instead: &str) {
        let message = format!("`{at}` is deprecated");
        self.warn(at, Code::Deprecated, message, format!("write `{instead}`"));
    }
}
