//! Generates Envoy's messages, two of its services and the field-constraint checks from `proto/envoy.binpb`.
//!
//! prost-types drops the options that it does not know, `validate.rules` among them, so the descriptor set is read twice:
//! by prost-build for the messages, and by prost-reflect for the rules.

mod constraints;
mod names;
mod rules;

use std::path::Path;

use prost::Message as _;
use prost_reflect::DescriptorPool;
use prost_types::FileDescriptorSet;

use constraints::ANNOTATIONS;
use rules::Result;

const DESCRIPTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/envoy.binpb");

/// The services that something here serves or calls. The others would be dead code.
const SERVICES: [&str; 2] = ["AggregatedDiscoveryService", "SecretDiscoveryService"];

fn main() -> Result<()> {
    println!("cargo:rerun-if-changed={DESCRIPTORS}");
    println!("cargo:rerun-if-changed=build");
    let bytes = std::fs::read(DESCRIPTORS)?;
    messages(&bytes)?;
    let pool = DescriptorPool::decode(bytes.as_slice())?;
    let out = std::env::var("OUT_DIR")?;
    std::fs::write(
        Path::new(&out).join("constraints.rs"),
        constraints::generate(&pool)?,
    )?;
    Ok(())
}

/// Writes one file per protobuf package and `envoy.rs`, which nests them in modules.
fn messages(bytes: &[u8]) -> Result<()> {
    let mut files = FileDescriptorSet::decode(bytes)?;
    files.file.retain(|file| {
        !ANNOTATIONS
            .iter()
            .any(|prefix| file.name().starts_with(prefix))
    });
    for file in &mut files.file {
        file.service
            .retain(|service| SERVICES.contains(&service.name()));
    }
    let mut config = prost_build::Config::new();
    config
        .btree_map(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .extern_path(".google.protobuf.Any", "crate::Any")
        .include_file("envoy.rs");
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
