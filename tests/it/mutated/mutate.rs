//! Changes one field somewhere in a message, mostly one that has a constraint, to a value that may be wrong.

use envoy_api::Any;
use envoy_api::json::descriptor_pool;
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor,
    ReflectMessage as _, Value,
};
use testkit::Dice;

/// Changes a packed message; answers where.
pub fn mutate(dice: &mut Dice, any: &mut Any) -> String {
    let mut message = unpacked(any).unwrap();
    let place = walk(dice, &mut message);
    any.value = message.encode_to_vec().into();
    place
}

/// Lets nothing in a packed message wait for what is discovered: nobody here would send it.
pub fn hasten(any: &mut Any) {
    let mut message = unpacked(any).unwrap();
    hasten_message(&mut message);
    any.value = message.encode_to_vec().into();
}

fn hasten_message(message: &mut DynamicMessage) {
    let name = message.descriptor().full_name().to_owned();
    if name == "envoy.config.core.v3.ConfigSource" {
        let soon = prost_types::Duration {
            seconds: 0,
            nanos: 1_000_000,
        };
        let descriptor = descriptor_pool().unwrap();
        let descriptor = descriptor.get_message_by_name("google.protobuf.Duration");
        let mut value = DynamicMessage::new(descriptor.unwrap());
        value.transcode_from(&soon).unwrap();
        message.set_field_by_name("initial_fetch_timeout", Value::Message(value));
    } else if name == "google.protobuf.Any" {
        let mut any: Any = message.transcode_to().unwrap();
        if unpacked(&any).is_some() {
            hasten(&mut any);
            message.transcode_from(&any).unwrap();
        }
    } else {
        let values = message.fields_mut().map(|(_, value)| value);
        values.for_each(|value| match value {
            Value::Message(inner) => hasten_message(inner),
            Value::List(items) => items
                .iter_mut()
                .filter_map(Value::as_message_mut)
                .for_each(hasten_message),
            Value::Map(entries) => entries
                .values_mut()
                .filter_map(Value::as_message_mut)
                .for_each(hasten_message),
            _ => {}
        });
    }
}

/// The message in its packing, if its type is known.
fn unpacked(any: &Any) -> Option<DynamicMessage> {
    let name = any.type_url.rsplit('/').next()?;
    let descriptor = descriptor_pool().unwrap().get_message_by_name(name)?;
    Some(DynamicMessage::decode(descriptor, any.value.clone()).unwrap())
}

/// Goes down a message at random and changes something there.
fn walk(dice: &mut Dice, message: &mut DynamicMessage) -> String {
    let within: Vec<FieldDescriptor> = message
        .fields()
        .filter(|(field, value)| holds_messages(field, value))
        .map(|(field, _)| field)
        .collect();
    if within.is_empty() || dice.once_in(4) {
        return change(dice, message);
    }
    let field = dice.one(&within);
    let inner = match message.get_field_mut(&field) {
        Value::Message(inner) => inner,
        Value::List(items) => {
            let item = dice.below(items.len());
            items[item].as_message_mut().unwrap()
        }
        Value::Map(entries) => {
            let entry = dice.below(entries.len());
            let keys: Vec<MapKey> = sorted(entries.keys().cloned().collect());
            entries
                .get_mut(&keys[entry])
                .unwrap()
                .as_message_mut()
                .unwrap()
        }
        other => panic!("{other:?} holds no message"),
    };
    format!("{}.{}", field.name(), inside(dice, inner))
}

fn sorted(mut keys: Vec<MapKey>) -> Vec<MapKey> {
    keys.sort_by_key(|key| format!("{key:?}"));
    keys
}

/// A packed message is opened; if its type is not known, the packing itself is changed.
fn inside(dice: &mut Dice, message: &mut DynamicMessage) -> String {
    if message.descriptor().full_name() != "google.protobuf.Any" {
        return walk(dice, message);
    }
    let mut any: Any = message.transcode_to().unwrap();
    if unpacked(&any).is_none() {
        return change(dice, message);
    }
    let place = mutate(dice, &mut any);
    let place = format!("[{}].{place}", any.type_url);
    message.transcode_from(&any).unwrap();
    place
}

/// Whether messages of Envoy's own, or packed ones, stand in a field.
fn holds_messages(field: &FieldDescriptor, value: &Value) -> bool {
    let is_empty = match value {
        Value::List(items) => items.is_empty(),
        Value::Map(entries) => entries.is_empty(),
        _ => false,
    };
    !is_empty && held(field).is_some_and(|held| !is_value(&held))
}

fn held(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let message = field.kind().as_message()?.clone();
    match field.is_map() {
        true => message.map_entry_value_field().kind().as_message().cloned(),
        false => Some(message),
    }
}

/// Durations, wrapped numbers and the like are values.
fn is_value(message: &MessageDescriptor) -> bool {
    let name = message.full_name();
    name.starts_with("google.protobuf.") && name != "google.protobuf.Any"
}

fn change(dice: &mut Dice, message: &mut DynamicMessage) -> String {
    let rules = rules();
    let all: Vec<FieldDescriptor> = message.descriptor().fields().collect();
    let bound = all
        .iter()
        .filter(|field| field.options().has_extension(&rules));
    let bound: Vec<FieldDescriptor> = bound.cloned().collect();
    if all.is_empty() {
        return String::new();
    }
    let field = match bound.is_empty() || dice.once_in(4) {
        true => dice.one(&all),
        false => dice.one(&bound),
    };
    if dice.once_in(3) {
        message.clear_field(&field);
        return field.name().to_owned();
    }
    let value = match message.get_field(&field).into_owned() {
        Value::List(mut items) => {
            items.push(match items.first() {
                Some(first) if dice.once_in(2) => first.clone(),
                _ => one(dice, &field.kind()),
            });
            Value::List(items)
        }
        Value::Map(mut entries) => {
            let entry = field.kind();
            let entry = entry.as_message().unwrap();
            let value = one(dice, &entry.map_entry_value_field().kind());
            if let Kind::String = entry.map_entry_key_field().kind() {
                entries.insert(MapKey::String(text(dice)), value);
            }
            Value::Map(entries)
        }
        _ => one(dice, &field.kind()),
    };
    message.set_field(&field, value);
    field.name().to_owned()
}

fn rules() -> ExtensionDescriptor {
    let pool = descriptor_pool().unwrap();
    pool.get_extension_by_name("validate.rules").unwrap()
}

/// A single value, likely at a bound.
fn one(dice: &mut Dice, kind: &Kind) -> Value {
    let whole = dice.one(&[0, 1, -1, 2, 99, 600, 65_536, i64::from(i32::MAX), i64::MAX]);
    match kind {
        Kind::Double => Value::F64(dice.one(&[0.0, -1.0, 0.5, 1.0, 100.0, 101.0])),
        Kind::Float => Value::F32(dice.one(&[0.0, -1.0, 0.5, 1.0, 100.0, 101.0])),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(whole as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(whole),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(whole as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(whole as u64),
        Kind::Bool => Value::Bool(dice.once_in(2)),
        Kind::String => Value::String(text(dice)),
        Kind::Bytes => Value::Bytes(text(dice).into_bytes().into()),
        Kind::Enum(_) => Value::EnumNumber(dice.one(&[0, 1, 2, 3, 4, 99, -1])),
        Kind::Message(message) => Value::Message(some(dice, message)),
    }
}

fn text(dice: &mut Dice) -> String {
    let long = "x".repeat(dice.one(&[60, 300, 2_000, 20_000]));
    dice.one(&[
        "", "x", "a b", "x\ny", "x\r", "/", ":path", "a: b", "%", "é", &long,
    ])
    .to_owned()
}

/// A message with nothing in it; of a value, one field is set.
fn some(dice: &mut Dice, descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if descriptor.full_name() == "google.protobuf.Duration" {
        let (seconds, nanos) =
            dice.one(&[(0, 0), (-1, 0), (0, 1), (0, -1), (1, 0), (86_400 * 366, 0)]);
        message.set_field_by_name("seconds", Value::I64(seconds));
        message.set_field_by_name("nanos", Value::I32(nanos));
    } else if let Some(field) = descriptor
        .get_field_by_name("value")
        .filter(|_| is_value(descriptor))
    {
        message.set_field(&field, one(dice, &field.kind()));
    }
    message
}
