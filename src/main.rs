//! The program `lateend`: what belongs to the process as a whole, and nothing else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only if one is installed already: then that one is used.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    lateend::main()
}
