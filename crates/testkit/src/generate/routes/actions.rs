//! Random actions of routes: rewrites, answers, headers, faults, mirrors, cross-origin policies.

use serde_json::{Value, json};

use super::{destination, text};
use crate::dice::Dice;
use crate::generate::{duration, sprinkle};

/// What a route does beside its action; sometimes what that excludes.
pub(super) fn sprinkle_actions(dice: &mut Dice, route: &mut Value) {
    sprinkle(
        dice,
        6,
        route,
        &[
            ("rewrite", &rewrite),
            ("headers", &headers),
            ("fault", &fault),
            ("mirror", &destination),
            ("mirrors", &|dice| dice.many(1, 2, mirror).into()),
            ("mirrorPercentage", &percentage),
            ("mirrorPercent", &|dice| dice.one(&[0, 50, 101]).into()),
            ("mirror_percent", &|dice| dice.one(&[0, 50]).into()),
            ("corsPolicy", &cors),
        ],
    );
}

pub(super) fn redirect(dice: &mut Dice) -> Value {
    let mut redirect = json!({"authority": "elsewhere.example"});
    sprinkle(
        dice,
        2,
        &mut redirect,
        &[
            ("scheme", &|dice| dice.one(&["http", "https", "ftp"]).into()),
            ("redirectCode", &|dice| dice.one(&[302, 308, 304]).into()),
        ],
    );
    if dice.once_in(2) {
        redirect["uri"] = dice.one(&["/", "/new"]).into();
    } else {
        redirect["prefixRewrite"] = dice.one(&["/", "/new"]).into();
    }
    if dice.once_in(2) {
        redirect["port"] = dice.one(&[80, 443, 8443]).into();
    } else {
        redirect["derivePort"] = "FROM_REQUEST_PORT".into();
    }
    redirect
}

pub(super) fn direct_response(dice: &mut Dice) -> Value {
    let body = dice.one(&[
        json!({"string": "text"}),
        json!({"bytes": "_-8="}),
        json!({"bytes": "*"}),
        json!({}),
    ]);
    json!({"status": dice.one(&[200, 404, 599, 600]), "body": body})
}

fn rewrite(dice: &mut Dice) -> Value {
    dice.one(&[
        json!({"uri": "/"}),
        json!({"uri": "/b/", "authority": "b.example"}),
        json!({"authority": "b.example"}),
        json!({"uriRegexRewrite": {"match": "^/(a.*)$", "rewrite": "/b/\\1"}}),
        json!({"uriRegexRewrite": {"match": "a", "rewrite": "\\1"}}),
        json!({}),
    ])
}

pub(super) fn headers(dice: &mut Dice) -> Value {
    let operations = |dice: &mut Dice| {
        dice.one(&[
            json!({"set": {"x-set": "%REQ(:PATH)%"}, "add": {"X-Add": "100%%"}}),
            json!({"remove": ["x-user"]}),
            json!({"set": {"x-set": "%"}}),
            json!({"add": {"host": "c.example"}}),
            json!({}),
        ])
    };
    json!({"request": operations(dice), "response": operations(dice)})
}

fn fault(dice: &mut Dice) -> Value {
    let mut delay = json!({"fixedDelay": duration(dice)});
    match dice.below(4) {
        0 => delay["percent"] = dice.one(&[0, 50, 101]).into(),
        1 => delay = json!({"exponentialDelay": duration(dice)}),
        _ => delay["percentage"] = percentage(dice),
    }
    let status = dice.one(&[
        json!({"httpStatus": 500}),
        json!({"grpcStatus": "UNAVAILABLE"}),
        json!({"http2Error": "x"}),
    ]);
    let mut abort = status;
    abort["percentage"] = percentage(dice);
    match dice.below(4) {
        0 => json!({}),
        1 => json!({"delay": delay}),
        2 => json!({"abort": abort}),
        _ => json!({"delay": delay, "abort": abort}),
    }
}

fn percentage(dice: &mut Dice) -> Value {
    json!({"value": dice.one(&[0.0, 0.0001, 33.3, 100.0, 101.0])})
}

fn mirror(dice: &mut Dice) -> Value {
    let mut mirror = json!({"destination": destination(dice)});
    if dice.once_in(2) {
        mirror["percentage"] = percentage(dice);
    }
    mirror
}

fn cors(dice: &mut Dice) -> Value {
    let mut cors = json!({});
    sprinkle(
        dice,
        2,
        &mut cors,
        &[
            ("allowOrigins", &|dice| {
                json!([text(dice, &["http://a.example", "*"])])
            }),
            ("allowOrigin", &|_| json!(["http://b.example"])),
            ("allowMethods", &|dice| {
                json!([dice.one(&["GET", "*", "get"])])
            }),
            ("allowHeaders", &|_| json!(["x-user"])),
            ("exposeHeaders", &|_| json!(["x-set", "x-add"])),
            ("maxAge", &|dice| dice.one(&["1h", "1.5s"]).into()),
            ("allowCredentials", &|dice| json!(dice.once_in(2))),
            ("unmatchedPreflights", &|dice| {
                dice.one(&["FORWARD", "IGNORE", "UNSPECIFIED"]).into()
            }),
        ],
    );
    cors
}
