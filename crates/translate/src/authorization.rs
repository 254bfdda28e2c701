//! The filters that authorize, in the order in which every inbound chain has them: AUDIT and CUSTOM policies are matched,
//! the provider is asked, then DENY, then ALLOW. Each is discovered by its name; one that has nothing to do lets pass.

use envoy_api::envoy::config::core::v3 as core;
use envoy_api::envoy::config::rbac::v3 as rbac;
use envoy_api::envoy::extensions::filters::{http, network};
use envoy_api::{Any, pack};
use ir::{
    Authorization, AuthorizationFilter, AuthorizationFilterName, AuthorizationLayer as Layer,
    AuthorizationStage as Stage, Custom, DryRun, Policy,
};
use prost::Name as _;

use crate::ext_authz;
use crate::proto::ads;
use crate::rbac::{Naming, rules};

/// What begins the names of rules about which a provider is asked.
pub(crate) const ASKED: &str = "istio-ext-authz-";
/// What begins the metadata of the filter that matches them.
pub(crate) const ASKED_METADATA: &str = "istio_ext_authz_";
/// What ends the names of rules whose provider cannot be asked.
const REFUSED: &str = "-deny-due-to-bad-CUSTOM-action";

/// What one of the filters does.
#[must_use]
pub fn authorization_filter(filter: &AuthorizationFilter) -> core::TypedExtensionConfig {
    let AuthorizationFilter {
        name,
        authorization,
    } = filter;
    core::TypedExtensionConfig {
        name: name.to_string(),
        typed_config: Some(config(*name, authorization)),
    }
}

/// How a filter is discovered, and what it may turn out to be.
pub(crate) fn discovered(name: AuthorizationFilterName) -> core::ExtensionConfigSource {
    let rbac = match name.layer {
        Layer::Http => http::rbac::v3::Rbac::type_url(),
        Layer::Tcp => network::rbac::v3::Rbac::type_url(),
    };
    let ext_authz = match (name.stage, name.layer) {
        (Stage::Custom, Layer::Http) => Some(http::ext_authz::v3::ExtAuthz::type_url()),
        (Stage::Custom, Layer::Tcp) => Some(network::ext_authz::v3::ExtAuthz::type_url()),
        (Stage::Match | Stage::Deny | Stage::Allow, Layer::Http | Layer::Tcp) => None,
    };
    core::ExtensionConfigSource {
        config_source: Some(ads()),
        type_urls: [rbac].into_iter().chain(ext_authz).collect(),
        ..Default::default()
    }
}

fn config(name: AuthorizationFilterName, authorization: &Authorization) -> Any {
    use rbac::rbac::Action::{Allow, Deny, Log};
    let Authorization {
        custom,
        audit,
        deny,
        allow,
        dry_run,
    } = authorization;
    let AuthorizationFilterName { layer, stage } = name;
    let some = |policies: &[Policy], action, naming| {
        (!policies.is_empty()).then(|| rules(policies, action, layer, naming))
    };
    let plain = Naming::default();
    let DryRun {
        deny: dry_deny,
        allow: dry_allow,
    } = dry_run;
    match stage {
        Stage::Match => Rules {
            enforced: some(audit, Log, plain),
            shadow: asked(custom.as_ref(), layer),
            shadow_prefix: ASKED_METADATA,
        }
        .pack(layer),
        Stage::Custom => custom_filter(custom.as_ref(), layer),
        Stage::Deny => Rules {
            enforced: some(deny, Deny, plain),
            shadow: some(dry_deny, Deny, plain),
            shadow_prefix: "istio_dry_run_deny_",
        }
        .pack(layer),
        // ALLOW without a rule left denies all. That is what policies mean whose rules never match.
        Stage::Allow => Rules {
            enforced: some(allow, Allow, plain),
            shadow: some(dry_allow, Allow, plain),
            shadow_prefix: "istio_dry_run_allow_",
        }
        .pack(layer),
    }
}

/// The rules about which a provider is asked. On TCP one that knows only requests is not.
fn asked(custom: Option<&Custom>, layer: Layer) -> Option<rbac::Rbac> {
    match custom {
        Some(Custom::Ask(provider, policies)) if ext_authz::knows(provider, layer) => {
            let prefix = format!("{ASKED}{}-", provider.name);
            let naming = Naming {
                prefix: &prefix,
                suffix: "",
            };
            Some(rules(policies, rbac::rbac::Action::Deny, layer, naming))
        }
        Some(Custom::Ask(..) | Custom::Refuse(_)) | None => None,
    }
}

fn custom_filter(custom: Option<&Custom>, layer: Layer) -> Any {
    let refused = |policies: &[Policy]| {
        let naming = Naming {
            prefix: ASKED,
            suffix: REFUSED,
        };
        rules(policies, rbac::rbac::Action::Deny, layer, naming)
    };
    match custom {
        Some(Custom::Ask(provider, _)) if ext_authz::knows(provider, layer) => match layer {
            Layer::Http => pack(&ext_authz::http(provider)),
            Layer::Tcp => pack(&ext_authz::network(provider)),
        },
        Some(Custom::Refuse(policies)) => Rules {
            enforced: Some(refused(policies)),
            ..Rules::default()
        }
        .pack(layer),
        Some(Custom::Ask(..)) | None => Rules::default().pack(layer),
    }
}

/// What an RBAC filter enforces, and what it only notes.
#[derive(Default)]
struct Rules {
    enforced: Option<rbac::Rbac>,
    shadow: Option<rbac::Rbac>,
    shadow_prefix: &'static str,
}

impl Rules {
    fn pack(self, layer: Layer) -> Any {
        let Self {
            enforced: rules,
            shadow: shadow_rules,
            shadow_prefix,
        } = self;
        let prefix = shadow_rules.as_ref().map_or("", |_| shadow_prefix);
        match layer {
            Layer::Http => pack(&http::rbac::v3::Rbac {
                rules,
                shadow_rules,
                shadow_rules_stat_prefix: prefix.to_owned(),
                ..Default::default()
            }),
            Layer::Tcp => pack(&network::rbac::v3::Rbac {
                rules,
                shadow_rules,
                shadow_rules_stat_prefix: prefix.to_owned(),
                stat_prefix: "tcp.".to_owned(),
                ..Default::default()
            }),
        }
    }
}
