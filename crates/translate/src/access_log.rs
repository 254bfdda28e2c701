//! The access log as MeshConfig asks for it, in Istio's formats.

use envoy_api::envoy::config::accesslog::v3 as accesslog;
use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::data::accesslog::v3::AccessLogType;
use envoy_api::envoy::extensions::access_loggers::file::v3 as file;
use envoy_api::envoy::extensions::formatter::req_without_query::v3::ReqWithoutQuery;
use envoy_api::{Any, pack};
use ir::model::{AccessLog, AccessLogFormat, format};

use crate::common::Common;
use crate::proto::{format_string, string_value};

/// Istio's default text format.
const TEXT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" \
%BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \
\"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% \
%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Istio's default keys in JSON.
const JSON: [(&str, &str); 24] = [
    ("start_time", "%START_TIME%"),
    ("route_name", "%ROUTE_NAME%"),
    ("method", "%REQ(:METHOD)%"),
    ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
    ("protocol", "%PROTOCOL%"),
    ("response_code", "%RESPONSE_CODE%"),
    ("response_flags", "%RESPONSE_FLAGS%"),
    ("response_code_details", "%RESPONSE_CODE_DETAILS%"),
    (
        "connection_termination_details",
        "%CONNECTION_TERMINATION_DETAILS%",
    ),
    ("bytes_received", "%BYTES_RECEIVED%"),
    ("bytes_sent", "%BYTES_SENT%"),
    ("duration", "%DURATION%"),
    (
        "upstream_service_time",
        "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    ),
    ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
    ("user_agent", "%REQ(USER-AGENT)%"),
    ("request_id", "%REQ(X-REQUEST-ID)%"),
    ("authority", "%REQ(:AUTHORITY)%"),
    ("upstream_host", "%UPSTREAM_HOST%"),
    (
        "upstream_transport_failure_reason",
        "%UPSTREAM_TRANSPORT_FAILURE_REASON%",
    ),
    ("upstream_cluster", "%UPSTREAM_CLUSTER_RAW%"),
    ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"),
    ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
    ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    ("requested_server_name", "%REQUESTED_SERVER_NAME%"),
];

/// What Envoy writes for a value that is absent.
const ABSENT: &str = "-";

/// The log of requests.
pub(crate) fn of_requests(common: Common<'_>) -> Vec<accesslog::AccessLog> {
    file_logger(common, None)
}

/// The log of connections, one line when each ends.
pub(crate) fn of_connections(common: Common<'_>) -> Vec<accesslog::AccessLog> {
    let end = only(AccessLogType::TcpConnectionEnd);
    file_logger(common, Some(end))
}

/// The log of connections that no filter chain of the listener takes: nothing else would tell of them.
pub(crate) fn of_strays(common: Common<'_>) -> Vec<accesslog::AccessLog> {
    let no_route = accesslog::access_log_filter::FilterSpecifier::ResponseFlagFilter(
        accesslog::ResponseFlagFilter {
            flags: vec!["NR".to_owned()],
        },
    );
    file_logger(common, Some(filter(no_route)))
}

/// Lets only logs of one type through.
pub(crate) fn only(kind: AccessLogType) -> accesslog::AccessLogFilter {
    filter(
        accesslog::access_log_filter::FilterSpecifier::LogTypeFilter(accesslog::LogTypeFilter {
            types: vec![kind.into()],
            exclude: false,
        }),
    )
}

fn filter(specifier: accesslog::access_log_filter::FilterSpecifier) -> accesslog::AccessLogFilter {
    accesslog::AccessLogFilter {
        filter_specifier: Some(specifier),
    }
}

/// An access logger.
pub(crate) fn logger(
    name: &str,
    filter: Option<accesslog::AccessLogFilter>,
    config: Any,
) -> accesslog::AccessLog {
    accesslog::AccessLog {
        name: name.to_owned(),
        filter,
        config_type: Some(accesslog::access_log::ConfigType::TypedConfig(config)),
    }
}

fn file_logger(
    common: Common<'_>,
    filter: Option<accesslog::AccessLogFilter>,
) -> Vec<accesslog::AccessLog> {
    let envoy = common.envoy;
    let Some(AccessLog { path, format }) = &common.settings.access_log else {
        return Vec::new();
    };
    let fit = |format: &str| format::fitted(format, envoy, ABSENT);
    let format = match format {
        AccessLogFormat::DefaultText => format_string(TEXT),
        AccessLogFormat::Text(text) => {
            let end = if text.ends_with('\n') { "" } else { "\n" };
            custom(text, format_string(&(fit(text) + end)))
        }
        AccessLogFormat::DefaultJson => json(JSON),
        AccessLogFormat::Json(keys) => {
            let all: String = keys.iter().map(|(_, value)| &**value).collect();
            custom(
                &all,
                json(keys.iter().map(|(key, value)| (&**key, fit(value)))),
            )
        }
    };
    let config = file::FileAccessLog {
        path: path.to_string(),
        access_log_format: Some(file::file_access_log::AccessLogFormat::LogFormat(format)),
    };
    vec![logger("envoy.access_loggers.file", filter, pack(&config))]
}

fn json<'a, V: AsRef<str>>(
    keys: impl IntoIterator<Item = (&'a str, V)>,
) -> core::SubstitutionFormatString {
    let fields = keys
        .into_iter()
        .map(|(key, value)| (key.to_owned(), string_value(value.as_ref())))
        .collect();
    core::SubstitutionFormatString {
        format: Some(core::substitution_format_string::Format::JsonFormat(
            prost_types::Struct { fields },
        )),
        ..Default::default()
    }
}

/// A format of the user's, with the one operator that Envoy knows only when it is asked for.
fn custom(text: &str, format: core::SubstitutionFormatString) -> core::SubstitutionFormatString {
    if !text.contains("%REQ_WITHOUT_QUERY(") {
        return format;
    }
    core::SubstitutionFormatString {
        formatters: vec![core::TypedExtensionConfig {
            name: "envoy.formatter.req_without_query".to_owned(),
            typed_config: Some(pack(&ReqWithoutQuery::default())),
        }],
        ..format
    }
}
