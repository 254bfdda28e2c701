//! Paths that stand for the request's: of what is sent on, and of the address that a redirect names.

use envoy_api::envoy::r#type::matcher::v3::RegexMatchAndSubstitute;
use ir::{NewPath, PathMatch, RouteMatch};

use crate::proto::{quote, regex};

/// A path in Envoy's words.
pub(crate) enum Rewrite {
    /// `path_redirect`.
    Whole(String),
    /// `prefix_rewrite`.
    Prefix(String),
    /// `regex_rewrite`.
    Regex(RegexMatchAndSubstitute),
}

/// What a new path is on a route that matches so. Where the prefix `/foo` becomes `/`, a slash behind it goes with it:
/// `/foo/a` is `/a` then, not `//a`.
pub(crate) fn rewrite(path: &NewPath, matcher: &RouteMatch) -> Rewrite {
    match path {
        NewPath::Whole(path) => Rewrite::Whole(path.to_string()),
        NewPath::Regex {
            pattern,
            substitution,
        } => Rewrite::Regex(replace(pattern.to_string(), substitution.to_string())),
        NewPath::Matched(path) => match &matcher.path {
            PathMatch::Prefix(prefix) if path.ends_with('/') && !prefix.ends_with('/') => {
                let flags = if matcher.ignore_path_case { "(?i)" } else { "" };
                let pattern = format!("{flags}^{}/?", quote(prefix));
                Rewrite::Regex(replace(pattern, path.replace('\\', r"\\")))
            }
            PathMatch::Prefix(_) | PathMatch::Exact(_) | PathMatch::Regex(_) => {
                Rewrite::Prefix(path.to_string())
            }
        },
    }
}

fn replace(pattern: String, substitution: String) -> RegexMatchAndSubstitute {
    RegexMatchAndSubstitute {
        pattern: Some(regex(pattern)),
        substitution,
    }
}
