//! Routes that answer with another address.

use envoy::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
use envoy_api::envoy::config::route::v3 as envoy;
use ir::model::{RedirectCode, RedirectScheme};
use ir::{Redirect, RouteMatch};

use crate::path_rewrite::{Rewrite, rewrite};

/// The action of such a route.
pub(crate) fn redirect(redirect: &Redirect, matcher: &RouteMatch) -> envoy::route::Action {
    let Redirect {
        path,
        authority,
        scheme,
        port,
        code,
    } = redirect;
    let scheme = scheme.map(|scheme| match scheme {
        RedirectScheme::Http => "http",
        RedirectScheme::Https => "https",
    });
    let path = path.as_ref().map(|path| match rewrite(path, matcher) {
        Rewrite::Whole(path) => PathRewriteSpecifier::PathRedirect(path),
        Rewrite::Prefix(path) => PathRewriteSpecifier::PrefixRewrite(path),
        Rewrite::Regex(regex) => PathRewriteSpecifier::RegexRewrite(regex),
    });
    envoy::route::Action::Redirect(envoy::RedirectAction {
        host_redirect: authority.as_deref().unwrap_or_default().to_owned(),
        port_redirect: port.map_or(0, |port| port.get().into()),
        response_code: match code {
            RedirectCode::MovedPermanently => RedirectResponseCode::MovedPermanently,
            RedirectCode::Found => RedirectResponseCode::Found,
            RedirectCode::SeeOther => RedirectResponseCode::SeeOther,
            RedirectCode::TemporaryRedirect => RedirectResponseCode::TemporaryRedirect,
            RedirectCode::PermanentRedirect => RedirectResponseCode::PermanentRedirect,
        }
        .into(),
        scheme_rewrite_specifier: scheme
            .map(|scheme| SchemeRewriteSpecifier::SchemeRedirect(scheme.to_owned())),
        path_rewrite_specifier: path,
        ..Default::default()
    })
}
