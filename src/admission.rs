//! The webhooks: what the API server asks over HTTPS, answered by what the loop knows now.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::Uri;
use axum::routing::{get, post};
use axum::{Json, Router};
use mesh::Mesh;
use model::{Diagnostic, Object};
use store::Delta;
use webhook::inject::{Decision, Injection};
use webhook::{Advisor, Answer, Question, Request, Verdict};

use crate::injector::Injector;
use crate::metrics::Admissions;
use crate::plane::Handle;

/// The largest review: an object of 1.5 MB twice, as etcd lets it be, with room for JSON (SEC 02).
const MAX_BODY: usize = 6 << 20;

/// What the handlers look at.
#[derive(Clone)]
pub struct Admission {
    plane: Handle,
    injector: Arc<Injector>,
}

impl Admission {
    /// Answers by what `plane` knows, and gives pods proxies by `injector`.
    #[must_use]
    pub fn new(plane: Handle, injector: Arc<Injector>) -> Self {
        Self { plane, injector }
    }

    /// The paths of `--httpsAddr`.
    pub fn routes(self) -> Router {
        Router::new()
            .route("/validate", post(validate))
            .route("/inject", post(inject))
            .route("/inject/{*environment}", post(inject))
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

async fn inject(
    State(admission): State<Admission>,
    uri: Uri,
    Json(question): Json<Question>,
) -> Json<Answer> {
    let Request {
        uid: _,
        operation: _,
        namespace,
        object,
        old_object: _,
    } = &question.request;
    let metrics = &admission.plane.shared().metrics.admissions;
    metrics.injection_requests.inc();
    let decision = admission.injector.decide(object, namespace, uri.path());
    let name = ["name", "generateName"]
        .iter()
        .find_map(|field| object.pointer(&format!("/metadata/{field}"))?.as_str())
        .unwrap_or_default();
    let verdict = match decision {
        Ok(Decision::Skip(reason)) => {
            metrics.injection_skip.inc();
            tracing::info!(target: "admission", namespace, name, "not injected: {reason}");
            Verdict::allow()
        }
        Ok(Decision::Inject(Injection { patch, warnings })) => {
            metrics.injection_success.inc();
            tracing::info!(target: "admission", namespace, name, "injected");
            Verdict::Allow {
                patch: Some(patch),
                warnings,
            }
        }
        Ok(Decision::Refuse(refusals)) => {
            let reasons: Vec<String> = refusals.iter().map(ToString::to_string).collect();
            failed(metrics, namespace, name, reasons.join("; "))
        }
        Err(reason) => failed(metrics, namespace, name, reason),
    };
    Json(question.answer(verdict))
}

fn failed(metrics: &Admissions, namespace: &str, name: &str, message: String) -> Verdict {
    metrics.injection_failure.inc();
    tracing::warn!(target: "admission", namespace, name, "refused: {message}");
    Verdict::Deny {
        message,
        warnings: Vec::new(),
    }
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
