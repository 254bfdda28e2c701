//! Writes `impl Validate` for every message that has field constraints, or holds one that has, and the registry that
//! finds the check for a packed message.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    OneofDescriptor, Value,
};

use crate::names;
use crate::rules::{self, Result};

/// Files that only describe other files: their messages stand in options, never in a field.
pub const ANNOTATIONS: [&str; 7] = [
    "envoy/annotations/",
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/protobuf/descriptor.proto",
    "udpa/annotations/",
    "validate/",
    "xds/annotations/",
];

const ANY: &str = "google.protobuf.Any";

/// Generates the checks for all messages of the pool.
pub fn generate(pool: &DescriptorPool) -> Result<String> {
    let options = Options::new(pool)?;
    let messages: Vec<_> = pool.all_messages().filter(is_ours).collect();
    let mut generator = Generator {
        checked: checked(&messages, &options),
        options,
        out: String::new(),
    };
    for message in &messages {
        if generator.checked.contains(message.full_name()) {
            generator
                .message(message)
                .map_err(|error| format!("{}: {error}", message.full_name()))?;
        }
    }
    generator.registry(&messages)?;
    Ok(generator.out)
}

fn is_ours(message: &MessageDescriptor) -> bool {
    let file = message.parent_file();
    !message.is_map_entry()
        && !file.name().starts_with("google/protobuf/")
        && !ANNOTATIONS
            .iter()
            .any(|prefix| file.name().starts_with(prefix))
}

/// The extensions of protobuf's options that hold the rules.
struct Options {
    field: ExtensionDescriptor,
    oneof: ExtensionDescriptor,
    disabled: ExtensionDescriptor,
    ignored: ExtensionDescriptor,
}

impl Options {
    fn new(pool: &DescriptorPool) -> Result<Self> {
        let find = |name: &str| {
            pool.get_extension_by_name(name)
                .ok_or(format!("no extension {name}"))
        };
        Ok(Self {
            field: find("validate.rules")?,
            oneof: find("validate.required")?,
            disabled: find("validate.disabled")?,
            ignored: find("validate.ignored")?,
        })
    }

    fn rules(&self, field: &FieldDescriptor) -> Option<DynamicMessage> {
        let options = field.options();
        if !options.has_extension(&self.field) {
            return None;
        }
        match options.get_extension(&self.field).into_owned() {
            Value::Message(rules) => Some(rules),
            _ => None,
        }
    }

    fn is_required(&self, oneof: &OneofDescriptor) -> bool {
        oneof.options().get_extension(&self.oneof).as_bool() == Some(true)
    }

    fn is_off(&self, message: &MessageDescriptor) -> bool {
        let options = message.options();
        [&self.disabled, &self.ignored]
            .into_iter()
            .any(|extension| options.get_extension(extension).as_bool() == Some(true))
    }

    /// Whether the rules of a field say not to look inside.
    fn skips(&self, field: &FieldDescriptor) -> bool {
        self.rules(field)
            .as_ref()
            .and_then(|rules| part(rules, "message"))
            .is_some_and(|rules| flag(&rules, "skip"))
    }
}

/// A sub-message of the rules, if it is set.
fn part(rules: &DynamicMessage, name: &str) -> Option<DynamicMessage> {
    if !rules.has_field_by_name(name) {
        return None;
    }
    rules
        .get_field_by_name(name)
        .and_then(|value| value.as_message().cloned())
}

fn flag(rules: &DynamicMessage, name: &str) -> bool {
    rules
        .get_field_by_name(name)
        .is_some_and(|value| value.as_bool() == Some(true))
}

fn is_required(rules: &DynamicMessage) -> bool {
    ["message", "duration", "any", "timestamp"]
        .into_iter()
        .filter_map(|kind| part(rules, kind))
        .any(|rules| flag(&rules, "required"))
}

/// The messages that a field can hold: its own type, or the values of a map.
fn held(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let kind = field.kind();
    let message = kind.as_message()?;
    if field.is_map() {
        message.map_entry_value_field().kind().as_message().cloned()
    } else {
        Some(message.clone())
    }
}

/// The names of the messages that have something to check, in themselves or further down.
fn checked(messages: &[MessageDescriptor], options: &Options) -> BTreeSet<String> {
    let direct = |message: &&MessageDescriptor| {
        message.fields().any(|field| {
            options.rules(&field).is_some()
                || held(&field).is_some_and(|held| held.full_name() == ANY)
        }) || message.oneofs().any(|oneof| options.is_required(&oneof))
    };
    let candidates: Vec<_> = messages
        .iter()
        .filter(|message| !options.is_off(message))
        .collect();
    let name = |message: &&MessageDescriptor| message.full_name().to_owned();
    let mut found: BTreeSet<String> = candidates
        .iter()
        .copied()
        .filter(|message| direct(message))
        .map(|m| name(&m))
        .collect();
    loop {
        let more: Vec<_> = candidates
            .iter()
            .filter(|message| !found.contains(message.full_name()))
            .filter(|message| {
                message.fields().any(|field| {
                    !options.skips(&field)
                        && held(&field).is_some_and(|held| found.contains(held.full_name()))
                })
            })
            .map(name)
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

struct Generator {
    checked: BTreeSet<String>,
    options: Options,
    out: String,
}

impl Generator {
    fn message(&mut self, message: &MessageDescriptor) -> Result<()> {
        let path = names::message_path(message);
        writeln!(self.out, "impl crate::Validate for {path} {{")?;
        let signature = self.out.len();
        for field in message
            .fields()
            .filter(|field| names::real_oneof(field).is_none())
        {
            self.field(&field)
                .map_err(|error| format!("{}: {error}", field.name()))?;
        }
        let synthetic = |oneof: &OneofDescriptor| {
            oneof
                .fields()
                .any(|field| names::real_oneof(&field).is_none())
        };
        for oneof in message.oneofs().filter(|oneof| !synthetic(oneof)) {
            self.oneof(&oneof)
                .map_err(|error| format!("{}: {error}", oneof.name()))?;
        }
        self.out.push_str("Ok(())\n}\n}\n");
        let used = self
            .out
            .get(signature..)
            .is_some_and(|body| body.contains("depth)"));
        let depth = if used { "depth" } else { "_" };
        let line = format!("fn check(&self, {depth}: u8) -> Result<(), crate::Violation> {{\n");
        self.out.insert_str(signature, &line);
        Ok(())
    }

    /// The statements that check one value `v` of a field: its own rules, then what is inside.
    fn value(&self, kind: &Kind, rules: Option<&DynamicMessage>) -> Result<String> {
        let mut body = String::new();
        if let Some(rules) = rules {
            rules::value(kind, rules, &mut body)?;
            if part(rules, "message").is_some_and(|rules| flag(&rules, "skip")) {
                return Ok(body);
            }
        }
        if let Some(message) = kind.as_message() {
            if message.full_name() == ANY {
                body.push_str("crate::validate::packed(v, depth)?;\n");
            } else if self.checked.contains(message.full_name()) {
                body.push_str("v.check(depth)?;\n");
            }
        }
        Ok(body)
    }

    fn field(&mut self, field: &FieldDescriptor) -> Result<()> {
        let rules = self.options.rules(field);
        let (name, member) = (field.name(), names::snake(field.name()));
        if field.is_map() {
            return self.map(field, rules.as_ref());
        }
        if field.is_list() {
            return self.list(field, rules.as_ref());
        }
        if rules.as_ref().is_some_and(is_required) {
            writeln!(
                self.out,
                "check::required({name:?}, self.{member}.is_some())?;"
            )?;
        }
        let body = self.value(&field.kind(), rules.as_ref())?;
        if body.is_empty() {
            return Ok(());
        }
        // prost keeps presence as an Option, and a proto2 field has it always
        if field.supports_presence() {
            writeln!(
                self.out,
                "if let Some(v) = &self.{member} {{ check::at({name:?}, || {{\n{body}Ok(()) }})?; }}"
            )?;
        } else {
            writeln!(
                self.out,
                "check::at({name:?}, || {{ let v = &self.{member};\n{body}Ok(()) }})?;"
            )?;
        }
        Ok(())
    }

    fn list(&mut self, field: &FieldDescriptor, rules: Option<&DynamicMessage>) -> Result<()> {
        let (name, member) = (field.name(), names::snake(field.name()));
        let mut items = None;
        if let Some(rules) = rules {
            let rules = only_part(rules, "repeated")?;
            items = part(&rules, "items");
            let unless_empty = if rules::ignores_empty(&rules) {
                "self.MEMBER.is_empty() || "
            } else {
                ""
            };
            for (rule, value) in rules.fields() {
                let (condition, text) = match (rule.name(), value) {
                    ("min_items", Value::U64(n)) => (
                        format!("self.MEMBER.len() >= {n}"),
                        format!("must have at least {n} items"),
                    ),
                    ("max_items", Value::U64(n)) => (
                        format!("self.MEMBER.len() <= {n}"),
                        format!("must have at most {n} items"),
                    ),
                    ("unique", Value::Bool(true)) => (
                        "check::unique(&self.MEMBER)".to_owned(),
                        "must have no item twice".to_owned(),
                    ),
                    ("items" | "ignore_empty", _) => continue,
                    _ => return Err(format!("unknown rule: {}", rule.full_name()).into()),
                };
                let condition = format!("{unless_empty}{condition}").replace("MEMBER", &member);
                writeln!(self.out, "check::whole({name:?}, {condition}, {text:?})?;")?;
            }
        }
        let body = self.value(&field.kind(), items.as_ref())?;
        if !body.is_empty() {
            writeln!(
                self.out,
                "check::each({name:?}, &self.{member}, |v| {{\n{body}Ok(()) }})?;"
            )?;
        }
        Ok(())
    }

    fn map(&mut self, field: &FieldDescriptor, rules: Option<&DynamicMessage>) -> Result<()> {
        let (name, member) = (field.name(), names::snake(field.name()));
        let kind = field.kind();
        let entry = kind.as_message().ok_or("a map without entries")?;
        let (mut keys, mut values) = (None, None);
        if let Some(rules) = rules {
            let rules = only_part(rules, "map")?;
            (keys, values) = (part(&rules, "keys"), part(&rules, "values"));
            for (rule, value) in rules.fields() {
                let (relation, text) = match (rule.name(), value) {
                    ("min_pairs", Value::U64(n)) => {
                        (format!(">= {n}"), format!("must have at least {n} entries"))
                    }
                    ("max_pairs", Value::U64(n)) => {
                        (format!("<= {n}"), format!("must have at most {n} entries"))
                    }
                    ("keys" | "values", _) => continue,
                    _ => return Err(format!("unknown rule: {}", rule.full_name()).into()),
                };
                writeln!(
                    self.out,
                    "check::whole({name:?}, self.{member}.len() {relation}, {text:?})?;"
                )?;
            }
        }
        let keys = self.value(&entry.map_entry_key_field().kind(), keys.as_ref())?;
        let values = self.value(&entry.map_entry_value_field().kind(), values.as_ref())?;
        if !keys.is_empty() {
            writeln!(
                self.out,
                "check::each({name:?}, self.{member}.keys(), |v| {{\n{keys}Ok(()) }})?;"
            )?;
        }
        if !values.is_empty() {
            writeln!(
                self.out,
                "check::entries({name:?}, &self.{member}, |v| {{\n{values}Ok(()) }})?;"
            )?;
        }
        Ok(())
    }

    fn oneof(&mut self, oneof: &OneofDescriptor) -> Result<()> {
        let (member, path) = (names::snake(oneof.name()), names::oneof_path(oneof));
        if self.options.is_required(oneof) {
            writeln!(
                self.out,
                "check::required({:?}, self.{member}.is_some())?;",
                oneof.name()
            )?;
        }
        let mut arms = String::new();
        for field in oneof.fields() {
            let body = self.value(&field.kind(), self.options.rules(&field).as_ref())?;
            if !body.is_empty() {
                let (name, variant) = (field.name(), names::camel(field.name()));
                writeln!(
                    arms,
                    "Some({path}::{variant}(v)) => check::at({name:?}, || {{\n{body}Ok(()) }})?,"
                )?;
            }
        }
        if !arms.is_empty() {
            writeln!(self.out, "match &self.{member} {{\n{arms}_ => {{}}\n}}")?;
        }
        Ok(())
    }

    /// The packed messages that can stand in a resource: configuration and extensions.
    fn registry(&mut self, messages: &[MessageDescriptor]) -> Result<()> {
        self.out.push_str("pub(crate) fn registered(any: &crate::Any, depth: u8) -> Result<(), crate::Violation> {\n");
        self.out.push_str(
            "match any.type_url.strip_prefix(\"type.googleapis.com/\").unwrap_or_default() {\n",
        );
        for message in messages {
            let file = message.parent_file();
            let packable = [
                "envoy/config/",
                "envoy/extensions/",
                "udpa/type/",
                "xds/type/",
            ];
            if message.parent_message().is_none()
                && packable
                    .iter()
                    .any(|prefix| file.name().starts_with(prefix))
                && self.checked.contains(message.full_name())
            {
                let (name, path) = (message.full_name(), names::message_path(message));
                writeln!(self.out, "{name:?} => check::packed::<{path}>(any, depth),")?;
            }
        }
        self.out.push_str("_ => Ok(()),\n}\n}\n");
        Ok(())
    }
}

/// The rules of a list or map, which may have no others beside them.
fn only_part(rules: &DynamicMessage, name: &str) -> Result<DynamicMessage> {
    match rules.fields().find(|(field, _)| field.name() != name) {
        Some((field, _)) if field.name() != "message" => {
            Err(format!("{} beside {name}", field.name()).into())
        }
        _ => Ok(part(rules, name).unwrap_or_else(|| rules.clone())),
    }
}
