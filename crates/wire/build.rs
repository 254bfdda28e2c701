//! Generates the messages and the CA service from `proto/lateen`. protox compiles them, so that no protoc is needed.

const PROTOS: [&str; 2] = ["ca.proto", "nds.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto/lateen");
    println!("cargo:rerun-if-changed={folder}");
    let files = protox::compile(PROTOS, [folder])?;
    let mut config = prost_build::Config::new();
    config
        .btree_map(["."])
        .enable_type_names()
        .type_name_domain(["."], "type.googleapis.com")
        .include_file("wire.rs");
    tonic_prost_build::configure().compile_fds_with_config(files, config)?;
    Ok(())
}
