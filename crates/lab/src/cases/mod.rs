//! Behaviour cases: a folder of YAML, and calls with what must come of them (`docs/cases.md`).
//!
//! Cases of one world share a running mesh. The objects of a case are put into the folder that the control plane
//! watches; when every proxy has them, the calls are made. Then its Istio objects are taken away, and the case must
//! fail: what passes either way shows nothing.

mod check;
mod format;
mod run;
mod theme;

pub use format::{Case, CaseError, Check, Expect, Metric};
pub use run::{RunError, Verdict, run};
pub use theme::Theme;
