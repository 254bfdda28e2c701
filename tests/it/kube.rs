//! Lateen in a real Kubernetes, installed by its chart: pods injected by the webhook, certificates from service-account
//! tokens, the YAML that people have.

mod api;
mod apps;
mod discovery;
mod injection;
mod installed;
mod outage;
mod plane;
mod release;
mod rights;
mod rolling;
mod rotation;
mod shop;
mod speed;
mod tokens;
mod validation;
mod workloads;
