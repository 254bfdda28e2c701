//! What the user should know about an object: a value, never only a log line.

use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::{ObjectKey, Place};

/// How bad it is. Ordered from harmless to wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Info,
    /// The object is applied, but may not do what it seems to.
    Warning,
    /// The object is wrong by itself.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $code:literal,)*) => {
        /// What a diagnostic is about. `IST` codes mean what Istio's analyzers mean by them; `LAT` codes are Lateen's own.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $variant,)*
        }

        impl Code {
            /// Every code.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable text, such as `IST0106`.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                }
            }
        }
    };
}

codes! {
    /// Something that the object names does not exist.
    ReferencedResourceNotFound = "IST0101",
    /// The object does not have the shape of its kind: type, enum value, range, exclusive or missing field.
    SchemaValidation = "IST0106",
    /// A destination host has several ports and the route names none.
    DestinationPortSelectorRequired = "IST0112",
    /// A port's name does not declare its protocol.
    PortNameNotUnderConvention = "IST0118",
    /// A selector matches no workload.
    NoMatchingWorkloads = "IST0127",
    /// A route that an earlier one hides.
    UnreachableRule = "IST0130",
    /// A match of a route that earlier routes hide.
    IneffectiveMatch = "IST0131",
    /// The object is applied, but a part of it looks wrong.
    SchemaWarning = "IST0133",
    /// A TCP ServiceEntry without addresses takes the whole port.
    ServiceEntryAddressesRequired = "IST0134",
    /// A field that Istio has deprecated.
    Deprecated = "IST0002",
    /// A subset selects no endpoint.
    SubsetSelectsNothing = "IST0173",
    /// A DestinationRule for a host that does not exist.
    UnknownDestinationRuleHost = "IST0174",
    /// The text is not YAML.
    Syntax = "LAT0001",
    /// A field that the kind does not have; it is dropped.
    UnknownField = "LAT0002",
    /// A kind that Lateen does not read.
    UnknownKind = "LAT0003",
    /// A field of Istio's that Lateen does not translate yet.
    NotYet = "LAT0004",
    /// The same object twice; the second is ignored.
    DuplicateObject = "LAT0005",
    /// Two objects claim the same thing; the younger is ignored.
    Conflict = "LAT0006",
    /// Labels are matched by Deployment templates only; without Kubernetes nothing makes pods of them.
    OnlyTemplates = "LAT0007",
    /// The object was refused and its last good version still holds.
    Stale = "LAT0008",
    /// A security condition that cannot be enforced on this traffic.
    Ineffective = "LAT0009",
    /// A file or folder that cannot be read.
    Unreadable = "LAT0010",
    /// The object was refused and no good version of it is known.
    Rejected = "LAT0011",
    /// Something that only newer Envoys know than the oldest that are served.
    NewerEnvoy = "LAT0012",
    /// A part of the object that does nothing, by what it is for.
    NoEffect = "LAT0013",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One thing to tell the author of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic {
    /// The file, relative to the folder that was given.
    pub file: Option<Arc<str>>,
    /// The line in the file, from 1.
    pub line: Option<u32>,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// The object; none when the text could not be read that far.
    pub object: Option<ObjectKey>,
    /// The field, such as `spec.http[0].timeout`; empty for the whole object.
    pub field: Arc<str>,
    /// What is wrong.
    pub message: Arc<str>,
    /// What to do about it.
    pub hint: Arc<str>,
}

impl Diagnostic {
    /// A diagnostic about a field of an object; its line comes from the object's place.
    #[must_use]
    pub fn at(object: &ObjectKey, place: &Place, field: &str, finding: Finding) -> Self {
        Self {
            file: place.file.clone(),
            line: place.line_of(field),
            severity: finding.severity,
            code: finding.code,
            object: Some(object.clone()),
            field: field.into(),
            message: finding.message.into(),
            hint: finding.hint.into(),
        }
    }

    /// A diagnostic about text that cannot be said to be an object.
    #[must_use]
    pub fn without_object(place: &Place, field: &str, finding: Finding) -> Self {
        Self {
            file: place.file.clone(),
            line: place.line_of(field),
            severity: finding.severity,
            code: finding.code,
            object: None,
            field: field.into(),
            message: finding.message.into(),
            hint: finding.hint.into(),
        }
    }
}

/// What a diagnostic says, before it is known where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Finding {
    /// Something that makes the object wrong by itself.
    #[must_use]
    pub fn error(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Something that may not do what it seems to.
    #[must_use]
    pub fn warning(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Something that is worth knowing.
    #[must_use]
    pub fn info(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            severity: Severity::Info,
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
        }
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        write!(f, " {} {}", self.severity, self.code)?;
        if let Some(object) = &self.object {
            write!(f, " {object}")?;
        }
        if !self.field.is_empty() {
            write!(f, " {}", self.field)?;
        }
        write!(f, ": {}", self.message)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// As `lateen validate -o json` and `/debug/diagnostics` say it: what is not known is empty, and line 1.
impl Serialize for Diagnostic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            file,
            line,
            severity,
            code,
            object,
            field,
            message,
            hint,
        } = self;
        let object = object.as_ref();
        let mut said = serializer.serialize_struct("Diagnostic", 10)?;
        said.serialize_field("severity", severity)?;
        said.serialize_field("code", code.as_str())?;
        said.serialize_field("kind", object.map_or("", |key| key.kind.as_str()))?;
        said.serialize_field("namespace", object.map_or("", |key| key.namespace.as_str()))?;
        said.serialize_field("name", object.map_or("", |key| key.name.as_str()))?;
        said.serialize_field("field", field)?;
        said.serialize_field("file", file.as_deref().unwrap_or_default())?;
        said.serialize_field("line", &line.unwrap_or(1))?;
        said.serialize_field("message", message)?;
        said.serialize_field("hint", hint)?;
        said.end()
    }
}
