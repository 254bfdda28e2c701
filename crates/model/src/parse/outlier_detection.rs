//! `outlierDetection` of a traffic policy.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use super::notes::{At, Notes};
use super::value::{COUNT, MILLISECOND, PERCENT, UNSIGNED};
use crate::{Code, OutlierDetection};

/// What an HTTP status may be.
const STATUS: RangeInclusive<i64> = 100..=599;

/// Reads when a failing endpoint is left out.
pub(super) fn read(
    wire: istio_api::OutlierDetection,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> OutlierDetection {
    let istio_api::OutlierDetection {
        consecutive_errors,
        split_external_local_origin_errors,
        consecutive_local_origin_failures: local,
        consecutive_gateway_errors: gateway,
        consecutive_5xx_errors: server,
        interval,
        base_ejection_time: base,
        max_ejection_percent: most,
        min_health_percent: least,
        outlier_detection_http_error_codes: codes,
    } = wire;
    let at_errors = at.field("consecutiveErrors");
    if notes
        .number(&at_errors, consecutive_errors, &COUNT)
        .is_some()
    {
        notes.warn(
            &at_errors,
            Code::Deprecated,
            "`consecutiveErrors` is deprecated and has no effect",
            "write `consecutive5xxErrors`",
        );
    }
    let split = split_external_local_origin_errors.unwrap_or(false);
    let at_local = at.field("consecutiveLocalOriginFailures");
    if !split && local.is_some_and(|count| count > 0) {
        let message = "failures to connect are not counted apart from answers";
        let hint = "add `splitExternalLocalOriginErrors: true`";
        notes.refuse(&at_local, message, hint);
    }
    OutlierDetection {
        consecutive_5xx: notes.number(&at.field("consecutive5xxErrors"), server, &UNSIGNED),
        consecutive_gateway: notes.number(
            &at.field("consecutiveGatewayErrors"),
            gateway,
            &UNSIGNED,
        ),
        consecutive_local_origin: notes.number(&at_local, local, &UNSIGNED),
        split_local_origin: split,
        interval: notes.duration(&at.field("interval"), interval.as_deref(), MILLISECOND),
        base_ejection_time: notes.duration(
            &at.field("baseEjectionTime"),
            base.as_deref(),
            MILLISECOND,
        ),
        // Istio takes 0 to say nothing.
        max_ejection_percent: notes
            .number(&at.field("maxEjectionPercent"), most, &PERCENT)
            .filter(|&percent| percent > 0),
        min_health_percent: notes
            .number(&at.field("minHealthPercent"), least, &PERCENT)
            .unwrap_or(0),
        error_codes: error_codes(&codes, &at.field("outlierDetectionHttpErrorCodes"), notes),
    }
}

fn error_codes(codes: &[i64], at: &At<'_>, notes: &mut Notes<'_>) -> Arc<[u16]> {
    let mut found = BTreeSet::new();
    for (index, code) in codes.iter().enumerate() {
        let code = notes.number(&at.item(index), Some(*code), &STATUS);
        found.extend(code.and_then(|code| u16::try_from(code).ok()));
    }
    found.into_iter().collect()
}
