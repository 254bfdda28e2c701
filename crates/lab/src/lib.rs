//! A mesh on one machine: namespaces, Envoys, echo servers, callers, cases.
//!
//! Everything lives in namespaces without a name, below one process ([`outside`]): when that process ends, in whatever
//! way, the kernel takes all of it away, and nothing of the machine's own network, files or processes was ever touched.
//!
//! ```text
//! lateen dev              outside: the process that the user started; holds the life line, hands on signals
//!  └ lateen dev           inside: pid 1 of its own pid, mount and network namespaces; bridge, names, terminal
//!     ├ lateend           198.18.0.1:15012
//!     ├ keeper            one for each workload: a network and a mount namespace, 198.18.x.y, capture rules
//!     │  ├ app            echo server and caller
//!     │  └ lateen-agent   and Envoy, uid 1337
//!     └ ...
//! ```

pub mod app;
pub mod cases;
pub mod command;
pub mod control_plane;
pub mod dev;
pub mod expect;
pub mod folder;
pub mod inside;
pub mod keeper;
pub mod kube;
pub mod mesh;
pub mod names;
pub mod outside;
pub mod prerequisites;
pub mod progress;
pub mod read;
mod running;
