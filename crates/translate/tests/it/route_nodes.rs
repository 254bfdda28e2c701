//! Virtual hosts whose routes set everything that can be set, at its bounds and beyond.

use std::sync::Arc;
use std::time::Duration;

use ir::model::*;
use ir::*;

use crate::world::*;

/// A route whose clusters hash everything that can be hashed.
fn hashed() -> Route {
    let cookie = HashCookie {
        name: "user".into(),
        path: Some("/".into()),
        ttl: Some(Duration::ZERO),
        attributes: Arc::new([("SameSite".into(), "Strict".into())]),
    };
    let keys = [
        HashKey::Header("x-user".into()),
        HashKey::Cookie(cookie),
        HashKey::SourceIp,
        HashKey::QueryParameter("user".into()),
    ];
    let to = |key| WeightedBackend {
        backend: Backend::Cluster {
            name: outbound("v1"),
            service: None,
            alpn: None,
            hash: Some(key),
        },
        weight: 1,
        headers: Headers::default(),
    };
    forward(keys.map(to).to_vec())
}

fn headers() -> Headers {
    let operations = HeaderOperations {
        set: Arc::new([(
            "x-set".into(),
            "%REQ(x-user)% 100%% %UPSTREAM_TLS_GROUP%".into(),
        )]),
        add: Arc::new([("x-add".into(), "a".into())]),
        remove: Arc::new(["x-remove".into()]),
    };
    Headers {
        authority: Some("c.example".into()),
        request: operations.clone(),
        response: operations,
    }
}

fn with_filters() -> Route {
    let changing = WeightedBackend {
        headers: headers(),
        ..to(outbound("v1"), 1)
    };
    Route {
        stat_prefix: Some("stats".into()),
        matcher: RouteMatch {
            path: PathMatch::Prefix("/Foo".into()),
            ignore_path_case: true,
            scheme: Some(StringMatch::Exact("http".into())),
            authority: Some(StringMatch::Prefix("cart".into())),
            ..RouteMatch::default()
        },
        headers: headers(),
        fault: Some(Fault {
            delay: Some((Duration::ZERO, Share::ALL)),
            abort: Some((AbortStatus::Grpc(14), Share::ALL)),
        }),
        cors: Some(Arc::new(CorsPolicy {
            allow_origins: Arc::new([StringMatch::Prefix("".into())]),
            allow_methods: Arc::new(["GET".into(), "*".into()]),
            allow_headers: Arc::new([]),
            expose_headers: Arc::new(["x-a".into()]),
            max_age: Some(60),
            allow_credentials: Some(true),
            forwards_unmatched: false,
        })),
        action: RouteAction::Forward(Forward {
            path: Some(NewPath::Regex {
                pattern: "^/(.*)$".into(),
                substitution: r"/\1\\".into(),
            }),
            ..Forward::among([changing.clone(), changing])
        }),
        ..forward(Vec::new())
    }
}

fn redirect() -> Route {
    Route {
        matcher: RouteMatch {
            path: PathMatch::Prefix("/old".into()),
            ..RouteMatch::default()
        },
        action: RouteAction::Redirect(Redirect {
            path: Some(NewPath::Matched("/".into())),
            authority: Some("d.example".into()),
            scheme: Some(RedirectScheme::Https),
            port: Some(port(8443)),
            code: RedirectCode::PermanentRedirect,
        }),
        ..forward(Vec::new())
    }
}

pub fn virtual_hosts() -> Vec<VirtualHost> {
    let regex = |text: &str| StringMatch::Regex(Regex::new(text).unwrap());
    let matched = |path, method, header: StringMatch| Route {
        matcher: RouteMatch {
            path,
            method: Some(method),
            headers: Arc::new([("x-user".into(), header.clone())]),
            without_headers: Arc::new([("x-none".into(), header.clone())]),
            query_params: Arc::new([("q".into(), header)]),
            ..RouteMatch::default()
        },
        ..forward(vec![to(outbound("v1"), 1)])
    };
    let exact = StringMatch::Exact("GET".into());
    let retried = Route {
        action: RouteAction::Forward(Forward {
            backends: Arc::new([to(outbound("v1"), u32::MAX), to(outbound("v2"), u32::MAX)]),
            timeout: Some(Duration::from_millis(1500)),
            retry: Some(Retry {
                attempts: 2,
                on: "connect-failure,retriable-status-codes".into(),
                status_codes: Arc::new([503]),
                per_try_timeout: Some(Duration::from_secs(1)),
                backoff: Some(Duration::ZERO),
                avoid_previous_hosts: true,
                remote_localities: true,
            }),
            path: Some(NewPath::Matched("/".into())),
            authority: Some("b.example".into()),
            mirrors: Arc::new([ir::Mirror {
                cluster: outbound("v1"),
                in_mesh: false,
                share: Share::of_percent(0.0001).unwrap(),
            }]),
        }),
        ..forward(Vec::new())
    };
    vec![virtual_host(vec![
        matched(PathMatch::Exact("/a".into()), exact, StringMatch::Present),
        matched(
            PathMatch::Prefix("/a".into()),
            StringMatch::Prefix("".into()),
            StringMatch::Prefix("a".into()),
        ),
        matched(
            PathMatch::Regex("/[a-z]{1,9}".into()),
            regex("G.*"),
            regex("[0-9]+"),
        ),
        retried,
        hashed(),
        with_filters(),
        redirect(),
        forward(vec![missing("gone", 1), to(outbound(""), 1)]),
        forward(vec![missing("gone", 1)]),
        Route {
            action: RouteAction::Respond {
                status: 1,
                body: b"no".as_slice().into(),
            },
            ..forward(Vec::new())
        },
    ])]
}
