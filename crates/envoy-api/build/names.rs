//! The Rust names that prost-build gives to protobuf's packages, messages, enums, fields and oneofs.

use heck::{ToSnakeCase as _, ToUpperCamelCase as _};
use prost_reflect::{EnumDescriptor, FieldDescriptor, MessageDescriptor, OneofDescriptor};

/// Keywords that can be raw identifiers, among the names that occur.
const KEYWORDS: [&str; 50] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "do", "dyn",
    "else", "enum", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop",
    "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static",
    "struct", "trait", "true", "try", "type", "typeof", "unsafe", "unsized", "use", "virtual",
    "where", "while", "yield", "union", "raw", "safe",
];

/// Contextual keywords of the list above that prost-build leaves alone.
const CONTEXTUAL: [&str; 3] = ["union", "raw", "safe"];

/// Keywords that cannot be raw identifiers.
const RESERVED: [&str; 6] = ["_", "super", "self", "Self", "extern", "crate"];

fn identifier(name: &str) -> String {
    if RESERVED.contains(&name) {
        format!("{name}_")
    } else if KEYWORDS.contains(&name) && !CONTEXTUAL.contains(&name) {
        format!("r#{name}")
    } else if name.starts_with(char::is_numeric) {
        format!("_{name}")
    } else {
        name.to_owned()
    }
}

/// A field's or module's name.
pub fn snake(name: &str) -> String {
    identifier(&name.to_snake_case())
}

/// A type's or variant's name.
pub fn camel(name: &str) -> String {
    identifier(&name.to_upper_camel_case())
}

/// The module that holds a type: its package, then a module for each message around it.
fn module(package: &str, parent: Option<MessageDescriptor>) -> String {
    match parent {
        Some(parent) => inner_module(&parent),
        None => package.split('.').fold("crate".to_owned(), |path, part| {
            format!("{path}::{}", snake(part))
        }),
    }
}

/// The module of the types that are declared inside a message.
fn inner_module(message: &MessageDescriptor) -> String {
    format!(
        "{}::{}",
        module(message.package_name(), message.parent_message()),
        snake(message.name())
    )
}

/// The path of a message's struct.
pub fn message_path(message: &MessageDescriptor) -> String {
    format!(
        "{}::{}",
        module(message.package_name(), message.parent_message()),
        camel(message.name())
    )
}

/// The path of an enum.
pub fn enum_path(item: &EnumDescriptor) -> String {
    format!(
        "{}::{}",
        module(item.package_name(), item.parent_message()),
        camel(item.name())
    )
}

/// The path of a oneof's enum. prost-build renames it when a nested type has the same name.
pub fn oneof_path(oneof: &OneofDescriptor) -> String {
    let parent = oneof.parent_message();
    let name = camel(oneof.name());
    let taken = parent
        .child_messages()
        .any(|child| camel(child.name()) == name)
        || parent
            .child_enums()
            .any(|child| camel(child.name()) == name);
    format!(
        "{}::{name}{}",
        inner_module(parent),
        if taken { "OneOf" } else { "" }
    )
}

/// The oneof that a field belongs to, unless it only stands for proto3's `optional`.
pub fn real_oneof(field: &FieldDescriptor) -> Option<OneofDescriptor> {
    if field.field_descriptor_proto().proto3_optional() {
        None
    } else {
        field.containing_oneof()
    }
}
