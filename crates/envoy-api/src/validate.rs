//! Envoy's field constraints (`validate.rules`), checked before a resource is sent.
//!
//! A resource that breaks one makes Envoy refuse the whole message that carries it, with everything else in it. The
//! checks are generated from the same descriptors as the messages and mean what Envoy's own checks mean.

use std::fmt;

use crate::Any;

/// How deep packed messages may stand inside each other.
const MAX_PACKED: u8 = 32;

/// A field that Envoy would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The path from the message to the field: `load_assignment.endpoints[0].priority`. Names are protobuf's.
    pub field: String,
    /// What the field must be.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.field, self.text)
    }
}

impl std::error::Error for Violation {}

impl Violation {
    fn new(text: &str) -> Self {
        Self {
            field: String::new(),
            text: text.to_owned(),
        }
    }

    /// Puts one step before the path.
    fn within(mut self, step: &str) -> Self {
        let dot = if self.field.is_empty() || self.field.starts_with('[') {
            ""
        } else {
            "."
        };
        self.field = format!("{step}{dot}{}", self.field);
        self
    }
}

/// A message that can be checked against Envoy's field constraints, down to the messages packed in it.
pub trait Validate {
    /// The check itself. `depth` counts the packed messages around this one.
    #[doc(hidden)]
    fn check(&self, depth: u8) -> Result<(), Violation>;

    /// Checks all constraints.
    ///
    /// # Errors
    /// The first field that Envoy would refuse.
    fn validate(&self) -> Result<(), Violation> {
        self.check(0)
    }
}

/// Checks a packed message. One whose type is not ours has no constraints that we know and passes.
///
/// # Errors
/// The first field that Envoy would refuse, or that the bytes are not a message of their type.
pub fn validate_any(any: &Any) -> Result<(), Violation> {
    packed(any, 0)
}

pub(crate) fn packed(any: &Any, depth: u8) -> Result<(), Violation> {
    if depth >= MAX_PACKED {
        return Err(Violation::new("is packed too deep"));
    }
    generated::registered(any, depth + 1)
        .map_err(|violation| violation.within(&format!("[{}]", any.type_url)))
}

/// What the generated checks are made of.
mod check {
    use std::collections::{BTreeMap, HashSet};
    use std::fmt::Debug;

    use super::{Validate, Violation};
    use crate::Any;

    type Checked = Result<(), Violation>;

    pub(super) fn fail(text: &str) -> Checked {
        Err(Violation::new(text))
    }

    pub(super) fn at(name: &str, check: impl FnOnce() -> Checked) -> Checked {
        check().map_err(|violation| violation.within(name))
    }

    pub(super) fn required(name: &str, is_set: bool) -> Checked {
        whole(name, is_set, "is required")
    }

    pub(super) fn whole(name: &str, holds: bool, text: &str) -> Checked {
        if holds {
            Ok(())
        } else {
            Err(Violation::new(text).within(name))
        }
    }

    pub(super) fn each<T>(
        name: &str,
        items: impl IntoIterator<Item = T>,
        check: impl Fn(T) -> Checked,
    ) -> Checked {
        for (index, item) in items.into_iter().enumerate() {
            check(item).map_err(|violation| violation.within(&format!("{name}[{index}]")))?;
        }
        Ok(())
    }

    pub(super) fn entries<K: Debug, V>(
        name: &str,
        map: &BTreeMap<K, V>,
        check: impl Fn(&V) -> Checked,
    ) -> Checked {
        for (key, value) in map {
            check(value).map_err(|violation| violation.within(&format!("{name}[{key:?}]")))?;
        }
        Ok(())
    }

    pub(super) fn packed<M: Validate + prost::Message + Default>(any: &Any, depth: u8) -> Checked {
        match M::decode(any.value.clone()) {
            Ok(message) => message.check(depth),
            Err(error) => fail(&format!("cannot be decoded: {error}")),
        }
    }

    /// By their text, because floating-point numbers cannot be hashed.
    pub(super) fn unique<T: Debug>(items: &[T]) -> bool {
        let mut seen = HashSet::with_capacity(items.len());
        items.iter().all(|item| seen.insert(format!("{item:?}")))
    }

    pub(super) fn is_set<T: Default + PartialEq>(value: &T) -> bool {
        *value != T::default()
    }

    pub(super) fn chars(text: &str) -> usize {
        text.chars().count()
    }

    pub(super) fn no_line_breaks(text: &str) -> bool {
        !text.contains(['\0', '\r', '\n'])
    }

    /// A token of RFC 9110, or one of HTTP/2's pseudo-headers.
    pub(super) fn header_name(text: &str) -> bool {
        let token = text.strip_prefix(':').unwrap_or(text);
        !token.is_empty()
            && token
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_|~`".contains(&byte))
    }

    /// No control character except the tab.
    pub(super) fn header_value(text: &str) -> bool {
        text.bytes()
            .all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
    }

    /// Whether a text matches a pattern, which is compiled at the first use.
    macro_rules! pattern {
        ($text:expr, $pattern:literal) => {{
            static PATTERN: std::sync::LazyLock<Option<regex::Regex>> =
                std::sync::LazyLock::new(|| regex::Regex::new($pattern).ok());
            PATTERN
                .as_ref()
                .is_some_and(|pattern| pattern.is_match($text))
        }};
    }
    pub(super) use pattern;
}

#[allow(
    deprecated,
    unused_comparisons,
    reason = "deprecated fields have constraints too, and some constraints say what the type already says, such as >= 0 on an unsigned field"
)]
mod generated {
    use super::check;

    include!(concat!(env!("OUT_DIR"), "/constraints.rs"));
}
