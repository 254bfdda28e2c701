//! Where the parser stands and what it has found so far.

use std::fmt;
use std::sync::Arc;

use super::nearest;
use super::refusal::reason_for_callers;
use crate::{Code, Diagnostic, EnvoyMinor, Finding, Namespace, ObjectKey, Place, Severity, format};

/// The path of a field, such as `spec.http[0].timeout`, kept as a chain and written out only when it is reported.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Step<'a>,
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Item(usize),
}

/// The path `spec`.
pub(super) const SPEC: At<'static> = At::root("spec");

impl<'a> At<'a> {
    /// The path of a field of the object itself.
    pub(super) const fn root(field: &'a str) -> Self {
        Self {
            parent: None,
            step: Step::Field(field),
        }
    }

    /// The path of a field of what stands here.
    pub(super) const fn field(&'a self, name: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            step: Step::Field(name),
        }
    }

    /// The path of an item of the list that stands here.
    pub(super) const fn item(&'a self, index: usize) -> At<'a> {
        At {
            parent: Some(self),
            step: Step::Item(index),
        }
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}")?;
        }
        match self.step {
            Step::Field(name) if self.parent.is_some() => write!(f, ".{name}"),
            Step::Field(name) => f.write_str(name),
            Step::Item(index) => write!(f, "[{index}]"),
        }
    }
}

/// A finding and the field that it is about.
pub(super) struct Problem {
    /// The path of the field.
    pub(super) field: String,
    /// What is wrong.
    pub(super) finding: Finding,
    /// Whether the object must not be applied.
    pub(super) refuses: bool,
}

/// How many diagnostics of an object are kept, and as many errors again.
const MAX_SAID: usize = 500;

/// Whether a field was written at all.
pub(super) trait Written {
    /// Whether it says something.
    fn is_written(&self) -> bool;
}

impl<T> Written for Option<T> {
    fn is_written(&self) -> bool {
        self.is_some()
    }
}

impl<T> Written for Vec<T> {
    fn is_written(&self) -> bool {
        !self.is_empty()
    }
}

impl<K, V> Written for std::collections::BTreeMap<K, V> {
    fn is_written(&self) -> bool {
        !self.is_empty()
    }
}

/// The diagnostics of one object.
pub(super) struct Notes<'a> {
    key: ObjectKey,
    place: &'a Place,
    diagnostics: Vec<Diagnostic>,
    /// The first reason why the object must not be applied: a field and what is wrong with it.
    refused: Option<(String, String)>,
    muted: bool,
    unsaid: Vec<String>,
    unknown: Vec<String>,
}

impl<'a> Notes<'a> {
    /// Nothing found yet.
    pub(super) fn new(key: ObjectKey, place: &'a Place) -> Self {
        Self {
            key,
            place,
            diagnostics: Vec::new(),
            refused: None,
            muted: false,
            unsaid: Vec::new(),
            unknown: Vec::new(),
        }
    }

    /// The namespace of the object.
    pub(super) fn namespace(&self) -> Namespace {
        self.key.namespace.clone()
    }

    /// Whether the object must not be applied, by what is known so far.
    pub(super) fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    /// Why the object must not be applied, by what is known so far, in words for those whose requests it concerns.
    pub(super) fn reason(&self) -> Option<Arc<str>> {
        let (field, message) = self.refused.as_ref()?;
        Some(reason_for_callers(&self.key, field, message))
    }

    /// Whether the object must not be applied, and why; ordered by line, then field.
    pub(super) fn finish(mut self) -> (bool, Arc<[Diagnostic]>) {
        self.diagnostics.sort();
        (self.is_refused(), self.diagnostics.into())
    }

    /// Adds what decoding found.
    pub(super) fn take(&mut self, problems: Vec<Problem>) {
        for problem in problems {
            if problem.refuses {
                self.must_not_apply(&problem.field, &problem.finding.message);
            }
            self.say(&problem.field, problem.finding);
        }
    }

    /// The same for the body of an object. With a wrong type in it, nothing more is said: what stands in the place of
    /// such a field is made up, and so would be the complaints about it.
    pub(super) fn take_body(&mut self, problems: Vec<Problem>) {
        self.muted = problems.iter().any(|problem| problem.refuses);
        self.take(problems);
    }

    fn note(&mut self, field: &str, finding: Finding) {
        if self.muted {
            if finding.severity == Severity::Error {
                self.unsaid.push(field.to_owned());
            }
            return;
        }
        self.say(field, finding);
    }

    fn say(&mut self, field: &str, finding: Finding) {
        if finding.code == Code::UnknownField {
            self.unknown.push(field.to_owned());
        }
        let most = match finding.severity {
            Severity::Error => 2 * MAX_SAID,
            Severity::Warning | Severity::Info => MAX_SAID,
        };
        if self.diagnostics.len() >= most {
            return;
        }
        self.diagnostics
            .push(Diagnostic::at(&self.key, self.place, field, finding));
    }

    /// The object must not be applied: this field breaks the shape of its kind.
    pub(super) fn refuse(
        &mut self,
        at: &At<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let message = message.into();
        self.must_not_apply(&at.to_string(), &message);
        self.error(at, message, hint);
    }

    fn must_not_apply(&mut self, field: &str, message: &str) {
        self.refused
            .get_or_insert_with(|| (field.to_owned(), message.to_owned()));
    }

    /// The field is wrong by itself, but the rest can be applied.
    pub(super) fn error(
        &mut self,
        at: &At<'_>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let finding = Finding::error(Code::SchemaValidation, message, hint);
        self.note(&at.to_string(), finding);
    }

    /// The field may not do what it seems to.
    pub(super) fn warn(
        &mut self,
        at: &At<'_>,
        code: Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(&at.to_string(), Finding::warning(code, message, hint));
    }

    /// Something worth knowing of the field.
    pub(super) fn info(
        &mut self,
        at: &At<'_>,
        code: Code,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.note(&at.to_string(), Finding::info(code, message, hint));
    }

    /// Envoys before this one do not know what stands here.
    pub(super) fn needs_envoy(
        &mut self,
        at: &At<'_>,
        since: EnvoyMinor,
        what: &str,
        hint: impl Into<String>,
    ) {
        let message = format!("Envoy before {since} does not know {what}");
        self.info(at, Code::NewerEnvoy, message, hint);
    }

    /// Tells of the operators of a format that not all proxies know.
    pub(super) fn needs_operators(&mut self, at: &At<'_>, format: &str, hint: &str) {
        for (operator, since) in format::later(format) {
            self.needs_envoy(at, since, operator, hint);
        }
    }

    /// A required field is missing.
    pub(super) fn missing(&mut self, at: &At<'_>, hint: &str) {
        self.refuse(at, format!("`{at}` is required"), hint);
    }

    /// Something stands here that says nothing at all, which Istio refuses.
    pub(super) fn empty(&mut self, at: &At<'_>, hint: &str) {
        if !self.has_unknown_under(at) {
            self.error(at, "nothing is set here", hint);
        }
    }

    /// Warns of a field that is not translated yet, if it was written; says whether it was.
    pub(super) fn not_yet(&mut self, at: &At<'_>, field: &impl Written) -> bool {
        self.not_yet_with(at, field, "the field has no effect")
    }

    /// The same, with what that means here.
    pub(super) fn not_yet_with(&mut self, at: &At<'_>, field: &impl Written, hint: &str) -> bool {
        if field.is_written() {
            let message = format!("`{at}` is not translated yet");
            self.warn(at, Code::NotYet, message, hint);
        }
        field.is_written()
    }

    /// Whether a field that does not exist was written at this path or below: a condition that was dropped there
    /// would make a match wider than its author meant.
    pub(super) fn has_unknown_under(&self, at: &At<'_>) -> bool {
        self.has_unknown_beside(at, &[])
    }

    /// The same, leaving out what stands under one of some fields.
    pub(super) fn has_unknown_beside(&self, at: &At<'_>, others: &[&At<'_>]) -> bool {
        if self.unknown.is_empty() {
            return false;
        }
        let path = at.to_string();
        let others: Vec<String> = others.iter().map(ToString::to_string).collect();
        let counts = |field: &String| {
            is_under(field, &path) && !others.iter().any(|other| is_under(field, other))
        };
        self.unknown.iter().any(counts)
    }

    /// Refuses an object in which a field is absent and something like it stands beside: what it decides must not be
    /// decided by its absence.
    pub(super) fn not_misspelt(&mut self, at: &At<'_>, field: &impl Written) {
        let path = at.to_string();
        let Some((parent, name)) = path.rsplit_once('.').filter(|_| !field.is_written()) else {
            return;
        };
        let like = |field: &String| {
            let sibling = field
                .strip_prefix(parent)
                .and_then(|rest| rest.strip_prefix('.'));
            sibling.is_some_and(|sibling| nearest::is_like(sibling, name))
        };
        if self.unknown.iter().any(like) {
            self.missing(at, "an unknown field stands in its place");
        }
    }

    /// Whether this very field is wrong, so that nothing in it could be read.
    pub(super) fn has_wrong(&self, at: &At<'_>) -> bool {
        let path = at.to_string();
        self.diagnostics
            .iter()
            .any(|diagnostic| diagnostic.severity == Severity::Error && *diagnostic.field == *path)
    }

    /// Whether something at this path or below is wrong.
    pub(super) fn has_error_under(&self, at: &At<'_>) -> bool {
        let path = at.to_string();
        let said = self.diagnostics.iter();
        let said = said.filter(|diagnostic| diagnostic.severity == Severity::Error);
        let mut fields = said
            .map(|diagnostic| &*diagnostic.field)
            .chain(self.unsaid.iter().map(String::as_str));
        fields.any(|field| is_under(field, &path))
    }
}

/// Whether a path names a field or something inside of it.
pub(super) fn is_under(path: &str, field: &str) -> bool {
    path.strip_prefix(field)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}
