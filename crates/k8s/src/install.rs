//! What installing, removing and checking need of a cluster, for somebody with a kubeconfig: objects as JSON in and out,
//! each call one step, each error saying which step it was.

mod objects;
mod rights;
mod target;

pub(crate) use objects::said;
pub use objects::{CallError, Named};
pub use rights::{Right, Who};
pub use target::{Choice, Target, TargetError};
