//! Reads settings out of JSON, one by one, and keeps what is wrong with them.

use std::collections::BTreeMap;
use std::fmt;

use model::LabelSelector;
use serde_json::Value;

use super::check::Check;
use super::proxy_config::ProxyConfig;
use super::select::selector;

/// A setting that cannot be used. The default stands in for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting, as `global.proxy.logLevel`.
    pub path: String,
    /// What is wrong, and what to write.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Reads from one JSON object.
pub(super) struct Reader<'a> {
    name: &'static str,
    root: &'a Value,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(name: &'static str, root: &'a Value) -> Self {
        let mut reader = Self {
            name,
            root,
            problems: Vec::new(),
        };
        if !(root.is_object() || root.is_null()) {
            reader.problem("", "is not an object; all defaults hold");
        }
        reader
    }

    pub(super) fn problem(&mut self, path: &str, message: impl Into<String>) {
        let path = [self.name, path]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(".");
        self.problems.push(Problem {
            path,
            message: message.into(),
        });
    }

    /// What stands at a path; null is nothing.
    fn get(&self, path: &str) -> Option<&'a Value> {
        let mut steps = path.split('.');
        let found = steps.try_fold(self.root, |value, step| value.get(step))?;
        (!found.is_null()).then_some(found)
    }

    /// A text. Numbers and booleans are taken for what they look like: `tag: 1.20`.
    pub(super) fn text(&mut self, path: &str, default: &str) -> String {
        self.checked(path, default, |_| Ok(()))
    }

    /// A text that passes a check; empty is the default.
    pub(super) fn checked(&mut self, path: &str, default: &str, check: Check) -> String {
        let text = match self.get(path) {
            None => return default.to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
            Some(value) => {
                self.problem(path, format!("{value} is not a text; {default:?} is used"));
                return default.to_owned();
            }
        };
        if text.is_empty() {
            return default.to_owned();
        }
        match check(&text) {
            Ok(()) => text,
            Err(right) => {
                self.problem(
                    path,
                    format!("{text:?} is wrong: write {right}; {default:?} is used"),
                );
                default.to_owned()
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, path: &str, default: bool) -> bool {
        match self.get(path) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) if text == "true" || text == "false" => text == "true",
            Some(value) => {
                self.problem(
                    path,
                    format!("{value} is neither true nor false; {default} is used"),
                );
                default
            }
        }
    }

    /// A number that fits.
    pub(super) fn number<T>(&mut self, path: &str, default: T) -> T
    where
        T: TryFrom<u64> + fmt::Display,
    {
        let Some(value) = self.get(path) else {
            return default;
        };
        let number = match value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        number
            .and_then(|number| T::try_from(number).ok())
            .unwrap_or_else(|| {
                self.problem(
                    path,
                    format!("{value} is not such a number; {default} is used"),
                );
                default
            })
    }

    /// An object as it stands; an empty one is none.
    pub(super) fn object(&mut self, path: &str) -> Option<Value> {
        match self.get(path)? {
            Value::Object(fields) if fields.is_empty() => None,
            object @ Value::Object(_) => Some(object.clone()),
            other => {
                self.problem(path, format!("{other} is not an object; it is not used"));
                None
            }
        }
    }

    /// A list of names, each bare or as `{name: X}`.
    pub(super) fn names(&mut self, path: &str) -> Vec<String> {
        let items = self.list(path);
        let mut names = Vec::new();
        for item in items {
            match item.get("name").unwrap_or(item).as_str() {
                Some(name) if !name.is_empty() => names.push(name.to_owned()),
                _ => self.problem(path, format!("{item} is not a name; it is not used")),
            }
        }
        names
    }

    /// A list of label selectors. One that cannot be read selects nothing.
    pub(super) fn selectors(&mut self, path: &str) -> Vec<LabelSelector> {
        let items = self.list(path);
        let mut selectors = Vec::new();
        for item in items {
            match selector(item) {
                Ok(selector) => selectors.push(selector),
                Err(wrong) => self.problem(path, format!("{wrong}; it selects nothing")),
            }
        }
        selectors
    }

    /// A map of texts.
    pub(super) fn texts(&mut self, path: &str) -> BTreeMap<String, String> {
        let Some(Value::Object(fields)) = self.object(path) else {
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (key, value) in fields {
            match value {
                Value::String(text) => drop(texts.insert(key, text)),
                other => self.problem(
                    path,
                    format!("{key}: {other} is not a text; it is not used"),
                ),
            }
        }
        texts
    }

    /// `defaultConfig`.
    pub(super) fn proxy_config(&mut self) -> ProxyConfig {
        let Some(value) = self
            .get("defaultConfig")
            .or_else(|| self.get("default_config"))
        else {
            return ProxyConfig::default();
        };
        let (config, wrong) = ProxyConfig::lenient(value);
        for wrong in wrong {
            self.problem("defaultConfig", wrong);
        }
        config
    }

    fn list(&mut self, path: &str) -> &'a [Value] {
        match self.get(path) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(other) => {
                self.problem(path, format!("{other} is not a list; it is not used"));
                &[]
            }
        }
    }
}
