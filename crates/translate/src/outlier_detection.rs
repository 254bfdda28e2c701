//! Outlier detection: which endpoints are left out after errors.

use envoy_api::envoy::config::cluster::v3 as envoy;
use ir::model::OutlierDetection;

use crate::proto::positive;

/// Istio's reading: success rates never eject, and a count of 0 switches its detector off.
pub(crate) fn outlier_detection(outliers: &OutlierDetection) -> envoy::OutlierDetection {
    let OutlierDetection {
        consecutive_5xx,
        consecutive_gateway,
        consecutive_local_origin,
        split_local_origin,
        interval,
        base_ejection_time,
        max_ejection_percent,
        min_health_percent: _, // the panic threshold, in common_lb_config
        error_codes: _,        // what counts as an error, in http_options
    } = outliers;
    let split = *split_local_origin;
    let local_origin = consecutive_local_origin.filter(|&count| split && count > 0);
    envoy::OutlierDetection {
        consecutive_5xx: *consecutive_5xx,
        enforcing_consecutive_5xx: consecutive_5xx.map(enforcing),
        consecutive_gateway_failure: *consecutive_gateway,
        enforcing_consecutive_gateway_failure: consecutive_gateway.map(enforcing),
        split_external_local_origin_errors: split,
        consecutive_local_origin_failure: local_origin,
        enforcing_consecutive_local_origin_failure: local_origin.map(enforcing),
        enforcing_local_origin_success_rate: split.then_some(0),
        enforcing_success_rate: Some(0),
        interval: interval.map(positive),
        base_ejection_time: base_ejection_time.map(positive),
        max_ejection_percent: max_ejection_percent.map(|percent| percent.min(100)),
        ..Default::default()
    }
}

/// The percentage of ejections that happen.
fn enforcing(count: u32) -> u32 {
    if count > 0 { 100 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_switches_a_detector_off() {
        let envoy = outlier_detection(&OutlierDetection {
            consecutive_5xx: Some(0),
            consecutive_gateway: Some(3),
            ..OutlierDetection::default()
        });
        assert_eq!(envoy.enforcing_consecutive_5xx, Some(0));
        assert_eq!(envoy.enforcing_consecutive_gateway_failure, Some(100));
        assert_eq!(envoy.enforcing_success_rate, Some(0));
        assert_eq!(envoy.enforcing_local_origin_success_rate, None);
    }
}
