//! AuthorizationPolicy (`security.istio.io`): who may call a workload.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Object,
    common::{PolicyTargetReference, WorkloadSelector},
    schema::{exclusive, require, rule, size, values_up_to},
    wire::{proto_enum, unset},
};

/// An AuthorizationPolicy as users write it.
pub type AuthorizationPolicy = Object<AuthorizationPolicySpec>;

/// The `spec` of an AuthorizationPolicy. Absent `rules` and an empty list are the same: nothing
/// matches. `rules: [{}]` is one rule that matches everything.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = exclusive("selector, targetRef, targetRefs"))]
pub struct AuthorizationPolicySpec {
    /// `selector`: workloads to which it applies; absent means the whole namespace, in the root
    /// namespace the mesh. Exclusive with `targetRef` and `targetRefs`.
    #[serde(skip_serializing_if = "unset")]
    pub selector: Option<WorkloadSelector>,
    /// `targetRef`: the object to which it is attached. Deprecated: `targetRefs`.
    #[serde(skip_serializing_if = "unset", alias = "target_ref")]
    pub target_ref: Option<PolicyTargetReference>,
    /// `targetRefs`: objects to which it is attached; such a policy does not apply to sidecars.
    #[serde(skip_serializing_if = "unset", alias = "target_refs")]
    #[schemars(transform = size(0, 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// `rules`: rules, one of which must match.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 512))]
    pub rules: Vec<Rule>,
    /// `action`: what happens on a match; absent means `ALLOW`.
    #[serde(skip_serializing_if = "unset")]
    pub action: Option<Action>,
    /// `provider`: who decides, for `CUSTOM` only.
    #[serde(skip_serializing_if = "unset")]
    pub provider: Option<ExtensionProvider>,
}

proto_enum! {
    /// What happens when a policy matches (`AuthorizationPolicy.Action`).
    Action {
        /// The request is allowed; what no policy allows is denied.
        Allow = 0 => "ALLOW",
        /// The request is denied.
        Deny = 1 => "DENY",
        /// The request is marked for auditing.
        Audit = 2 => "AUDIT",
        /// The provider decides.
        Custom = 3 => "CUSTOM",
    }
}

/// An external authorizer (`spec.provider`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// `name`: its name in MeshConfig's `extensionProviders`.
    #[serde(skip_serializing_if = "unset")]
    pub name: Option<String>,
}

/// One rule: all three parts must match, an empty part matches everything (`spec.rules[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// `from`: callers, one of which must match.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 512))]
    pub from: Vec<RuleFrom>,
    /// `to`: operations, one of which must match.
    #[serde(skip_serializing_if = "unset")]
    #[schemars(transform = size(0, 512))]
    pub to: Vec<RuleTo>,
    /// `when`: conditions, all of which must hold.
    #[serde(skip_serializing_if = "unset")]
    pub when: Vec<Condition>,
}

/// A wrapper around a caller (`spec.rules[].from[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleFrom {
    /// `source`: the caller. Required.
    #[serde(skip_serializing_if = "unset")]
    pub source: Option<Source>,
}

/// A wrapper around an operation (`spec.rules[].to[]`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleTo {
    /// `operation`: the operation. Required.
    #[serde(skip_serializing_if = "unset")]
    pub operation: Option<Operation>,
}

const ACCOUNTS_ALONE: &str = "serviceAccounts exclude principals and namespaces";
const ACCOUNTS_ALONE_RULE: &str = "!has(self.serviceAccounts) && !has(self.notServiceAccounts) || \
    !has(self.principals) && !has(self.notPrincipals) && !has(self.namespaces) && !has(self.notNamespaces)";

/// A caller; all fields that are set must match (`spec.rules[].from[].source`). Values may begin or
/// end with `*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = rule(ACCOUNTS_ALONE, ACCOUNTS_ALONE_RULE))]
pub struct Source {
    /// `principals`: identities from the peer's certificate,
    /// `trust-domain/ns/namespace/sa/account`.
    #[serde(skip_serializing_if = "unset")]
    pub principals: Vec<String>,
    /// `notPrincipals`: identities that the peer must not have.
    #[serde(skip_serializing_if = "unset", alias = "not_principals")]
    pub not_principals: Vec<String>,
    /// `requestPrincipals`: identities from the request's token, `issuer/subject`.
    #[serde(skip_serializing_if = "unset", alias = "request_principals")]
    pub request_principals: Vec<String>,
    /// `notRequestPrincipals`: identities that the token must not have.
    #[serde(skip_serializing_if = "unset", alias = "not_request_principals")]
    pub not_request_principals: Vec<String>,
    /// `namespaces`: namespaces from the peer's certificate.
    #[serde(skip_serializing_if = "unset")]
    pub namespaces: Vec<String>,
    /// `notNamespaces`: namespaces that the peer must not be in.
    #[serde(skip_serializing_if = "unset", alias = "not_namespaces")]
    pub not_namespaces: Vec<String>,
    /// `serviceAccounts`: service accounts from the peer's certificate, `account` or
    /// `namespace/account`; without `*`.
    #[serde(skip_serializing_if = "unset", alias = "service_accounts")]
    #[schemars(transform = size(0, 16))]
    #[schemars(transform = values_up_to(320))]
    pub service_accounts: Vec<String>,
    /// `notServiceAccounts`: service accounts that the peer must not have.
    #[serde(skip_serializing_if = "unset", alias = "not_service_accounts")]
    #[schemars(transform = size(0, 16))]
    #[schemars(transform = values_up_to(320))]
    pub not_service_accounts: Vec<String>,
    /// `trustDomains`: trust domains from the peer's certificate.
    #[serde(skip_serializing_if = "unset", alias = "trust_domains")]
    pub trust_domains: Vec<String>,
    /// `notTrustDomains`: trust domains that the peer must not be of.
    #[serde(skip_serializing_if = "unset", alias = "not_trust_domains")]
    pub not_trust_domains: Vec<String>,
    /// `ipBlocks`: addresses or CIDRs of the connection's other end.
    #[serde(skip_serializing_if = "unset", alias = "ip_blocks")]
    pub ip_blocks: Vec<String>,
    /// `notIpBlocks`: addresses or CIDRs that the other end must not have.
    #[serde(skip_serializing_if = "unset", alias = "not_ip_blocks")]
    pub not_ip_blocks: Vec<String>,
    /// `remoteIpBlocks`: addresses or CIDRs of the original client, from `X-Forwarded-For` or the
    /// PROXY protocol.
    #[serde(skip_serializing_if = "unset", alias = "remote_ip_blocks")]
    pub remote_ip_blocks: Vec<String>,
    /// `notRemoteIpBlocks`: addresses or CIDRs that the original client must not have.
    #[serde(skip_serializing_if = "unset", alias = "not_remote_ip_blocks")]
    pub not_remote_ip_blocks: Vec<String>,
}

/// An operation; all fields that are set must match (`spec.rules[].to[].operation`). Values may
/// begin or end with `*`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// `hosts`: values of the `Host` or `:authority` header, without regard to case.
    #[serde(skip_serializing_if = "unset")]
    pub hosts: Vec<String>,
    /// `notHosts`: hosts that must not match.
    #[serde(skip_serializing_if = "unset", alias = "not_hosts")]
    pub not_hosts: Vec<String>,
    /// `ports`: ports of the workload, in decimal.
    #[serde(skip_serializing_if = "unset")]
    pub ports: Vec<String>,
    /// `notPorts`: ports that must not match.
    #[serde(skip_serializing_if = "unset", alias = "not_ports")]
    pub not_ports: Vec<String>,
    /// `methods`: HTTP methods.
    #[serde(skip_serializing_if = "unset")]
    pub methods: Vec<String>,
    /// `notMethods`: methods that must not match.
    #[serde(skip_serializing_if = "unset", alias = "not_methods")]
    pub not_methods: Vec<String>,
    /// `paths`: paths, also as templates with `{*}` and `{**}`.
    #[serde(skip_serializing_if = "unset")]
    pub paths: Vec<String>,
    /// `notPaths`: paths that must not match.
    #[serde(skip_serializing_if = "unset", alias = "not_paths")]
    pub not_paths: Vec<String>,
}

/// A condition on an attribute (`spec.rules[].when[]`). `values`, `notValues` or both are set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(transform = require("key"))]
pub struct Condition {
    /// `key`: name of the attribute, such as `request.headers[x-token]` or `source.ip`. Required.
    #[serde(skip_serializing_if = "unset")]
    pub key: Option<String>,
    /// `values`: values of which one must match.
    #[serde(skip_serializing_if = "unset")]
    pub values: Vec<String>,
    /// `notValues`: values of which none may match.
    #[serde(skip_serializing_if = "unset", alias = "not_values")]
    pub not_values: Vec<String>,
}
