//! Whose outbound half is the same.

use mesh::Scope;
use model::{EnvoyMinor, Families};

use crate::memo::Value;

/// Proxies that see the same, and take it in the same form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Class {
    pub scope: Scope,
    pub envoy: EnvoyMinor,
}

impl Class {
    /// The class that the base of these families is made for.
    pub fn base(families: Families) -> Self {
        Self {
            scope: Scope::base(families),
            envoy: EnvoyMinor::NEWEST,
        }
    }

    /// Whether it has a form of its own of what all others are sent as it stands.
    pub fn reforms(&self, value: &Value) -> bool {
        self.envoy < value.since
    }
}
