//! Admission: what the API server asks before it stores an object. Injection adds the sidecar to a pod, validation
//! refuses config that cannot work.

mod admission;
pub mod inject;
mod validate;

pub use admission::{Answer, Question, Request, Verdict};
pub use validate::{Advisor, validate};
