//! The Kubernetes API server as a source of objects and a place to write to: the only crate with a Kubernetes client.
//! What it hands out are plain values.
