//! The webhooks: what the API server asks over HTTPS, answered by what the loop knows now.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh::Mesh;
use model::{Diagnostic, Object};
use store::Delta;
use webhook::{Advisor, Answer, Question, Verdict};

use crate::plane::Handle;

/// The largest review: an object of 1.5 MB twice, as etcd lets it be, with room for JSON (SEC 02).
const MAX_BODY: usize = 6 << 20;

/// What the handlers look at.
#[derive(Clone)]
pub struct Admission {
    plane: Handle,
}

impl Admission {
    /// Answers by what `plane` knows.
    #[must_use]
    pub fn new(plane: Handle) -> Self {
        Self { plane }
    }

    /// The paths of `--httpsAddr`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/validate", post(validate))
            .route("/ready", get(async || "ready\n"))
            .layer(DefaultBodyLimit::max(MAX_BODY))
            .with_state(self)
    }
}

async fn validate(
    State(admission): State<Admission>,
    Json(question): Json<Question>,
) -> Json<Answer> {
    let metrics = &admission.plane.shared().metrics;
    let verdict = webhook::validate(&question.request, &Beside(metrics.mesh()));
    match &verdict {
        Verdict::Allow { .. } => metrics.admissions.validation_passed.inc(),
        Verdict::Deny { message, .. } => {
            let namespace = &question.request.namespace;
            tracing::info!(target: "admission", namespace, "refused: {message}");
            metrics.admissions.validation_failed.inc()
        }
    };
    Json(question.answer(verdict))
}

/// An object beside all others of now.
struct Beside(Arc<Mesh>);

impl Advisor for Beside {
    fn advise(&self, object: &Object) -> Vec<Diagnostic> {
        let object = dated(object);
        let mut now = self.0.snapshot().clone();
        now.refused.remove(&object.key);
        now.objects.insert(object.key.clone(), Arc::clone(&object));
        let delta = Delta {
            changed: [object.key.clone()].into(),
        };
        let (mesh, _) = self.0.next(&now, &delta);
        mesh::diagnose(&mesh, &object)
    }
}

/// An object that is not stored yet has no age; it would pass for the oldest.
fn dated(object: &Object) -> Arc<Object> {
    let mut object = object.clone();
    if object.meta.created.is_none() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let seconds = now.map(|now| now.as_secs()).unwrap_or_default();
        let meta = Arc::make_mut(&mut object.meta);
        meta.created = i64::try_from(seconds).ok();
    }
    Arc::new(object)
}
