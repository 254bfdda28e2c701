//! What single routes say to the filters that every connection manager has: faults and CORS.

use std::collections::BTreeMap;

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::extensions::filters::common::fault::v3 as common;
use envoy_api::envoy::extensions::filters::http::{cors::v3 as cors, fault::v3 as fault};
use envoy_api::envoy::r#type::v3 as kind;
use envoy_api::{Any, pack};
use ir::model::{AbortStatus, CorsPolicy, Fault, Share};

use crate::http_filter::{CORS, FAULT};
use crate::proto::{positive, string_match};

/// The filters' configuration for one route.
pub(crate) fn of_route(fault: Option<&Fault>, cors: Option<&CorsPolicy>) -> BTreeMap<String, Any> {
    let fault = fault.map(|fault| (FAULT.to_owned(), pack(&of_fault(fault))));
    let cors = cors.map(|cors| (CORS.to_owned(), pack(&of_cors(cors))));
    fault.into_iter().chain(cors).collect()
}

fn of_fault(faults: &Fault) -> fault::HttpFault {
    use common::fault_delay::FaultDelaySecifier;
    use fault::fault_abort::ErrorType;
    let Fault { delay, abort } = faults;
    fault::HttpFault {
        delay: delay.map(|(length, share)| common::FaultDelay {
            percentage: Some(fraction(share)),
            fault_delay_secifier: Some(FaultDelaySecifier::FixedDelay(positive(length))),
        }),
        abort: abort.map(|(status, share)| fault::FaultAbort {
            percentage: Some(fraction(share)),
            error_type: Some(match status {
                AbortStatus::Http(status) => ErrorType::HttpStatus(status.into()),
                AbortStatus::Grpc(status) => ErrorType::GrpcStatus(status),
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn of_cors(policy: &CorsPolicy) -> cors::CorsPolicy {
    let CorsPolicy {
        allow_origins,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        forwards_unmatched,
    } = policy;
    cors::CorsPolicy {
        allow_origin_string_match: allow_origins.iter().map(string_match).collect(),
        allow_methods: allow_methods.join(","),
        allow_headers: allow_headers.join(","),
        expose_headers: expose_headers.join(","),
        max_age: max_age.map(|age| age.to_string()).unwrap_or_default(),
        allow_credentials: *allow_credentials,
        filter_enabled: Some(sampled(Share::ALL)),
        forward_not_matching_preflights: Some(*forwards_unmatched),
        ..Default::default()
    }
}

/// A share, where Envoy would let its runtime overrule it.
pub(crate) fn sampled(share: Share) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent {
        default_value: Some(fraction(share)),
        ..Default::default()
    }
}

fn fraction(share: Share) -> kind::FractionalPercent {
    kind::FractionalPercent {
        numerator: share.millionths(),
        denominator: kind::fractional_percent::DenominatorType::Million.into(),
    }
}
