//! `lateend` as its operators, proxies and attackers meet it: the real program on a folder of YAML, over real sockets.

pub mod client;
mod debug;
mod metrics;
pub mod process;
mod security;
mod serving;
