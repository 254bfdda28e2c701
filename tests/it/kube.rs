//! Lateen in a real Kubernetes, installed by its chart: pods injected by the webhook, certificates from service-account
//! tokens, the YAML that people have.

mod apps;
mod injection;
mod installed;
mod rolling;
mod rotation;
mod shop;
mod workloads;
