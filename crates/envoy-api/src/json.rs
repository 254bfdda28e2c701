//! Any resource as Envoy's JSON and back, through reflection.
//!
//! The descriptors cost some 25 MB once they are loaded, so they are loaded at the first use: for dumps, tests and
//! offline commands, not on the way of a push.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::Message as _;
use prost_reflect::{
    DescriptorError, DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions,
};

use crate::Any;

const DESCRIPTORS: &[u8] = include_bytes!("../../../proto/envoy.binpb");
const PREFIX: &str = "type.googleapis.com/";

/// Why a message could not be rendered or read.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The embedded descriptors are broken: a build fault.
    #[error("the embedded descriptors cannot be read: {0}")]
    Descriptors(&'static DescriptorError),
    /// The type URL names no message of the descriptor set.
    #[error("unknown type {0:?}")]
    UnknownType(String),
    /// The bytes are not a message of their type.
    #[error("the message cannot be decoded: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The JSON does not fit the message, or the message has no JSON form (a packed message of an unknown type).
    #[error("no JSON for this message: {0}")]
    Json(#[from] serde_json::Error),
}

/// The descriptors of all of Envoy's messages that this crate knows, loaded at the first call.
///
/// # Errors
/// Only if the embedded descriptor set is broken.
pub fn descriptor_pool() -> Result<&'static DescriptorPool, JsonError> {
    static POOL: LazyLock<Result<DescriptorPool, DescriptorError>> =
        LazyLock::new(|| DescriptorPool::decode(DESCRIPTORS));
    POOL.as_ref().map_err(JsonError::Descriptors)
}

/// Renders a packed message as Envoy's JSON: field names as in the .proto files, `@type` first, packed messages
/// unpacked.
///
/// # Errors
/// When the type, or one packed inside, is unknown, or the bytes are not of that type.
pub fn to_json(any: &Any) -> Result<serde_json::Value, JsonError> {
    let message = DynamicMessage::decode(descriptor(&any.type_url)?, any.value.clone())?;
    let options = SerializeOptions::new().use_proto_field_name(true);
    let value = message.serialize_with_options(serde_json::value::Serializer, &options)?;
    Ok(match value {
        serde_json::Value::Object(fields) => {
            let kind = ("@type".to_owned(), any.type_url.clone().into());
            serde_json::Value::Object(std::iter::once(kind).chain(fields).collect())
        }
        // a well-known type with a JSON form of its own
        value => serde_json::json!({ "@type": any.type_url, "value": value }),
    })
}

/// Reads a message from Envoy's JSON with an `@type`.
///
/// # Errors
/// When there is no `@type`, the type is unknown, or a field does not fit.
pub fn from_json(value: &serde_json::Value) -> Result<Any, JsonError> {
    let mut value = value.clone();
    let kind = value
        .as_object_mut()
        .and_then(|fields| fields.remove("@type"));
    let type_url = kind
        .as_ref()
        .and_then(|kind| kind.as_str())
        .unwrap_or_default()
        .to_owned();
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let message =
        DynamicMessage::deserialize_with_options(descriptor(&type_url)?, value, &options)?;
    Ok(Any {
        type_url,
        value: Bytes::from(message.encode_to_vec()),
    })
}

fn descriptor(type_url: &str) -> Result<prost_reflect::MessageDescriptor, JsonError> {
    type_url
        .strip_prefix(PREFIX)
        .and_then(|name| {
            descriptor_pool()
                .map(|pool| pool.get_message_by_name(name))
                .transpose()
        })
        .unwrap_or_else(|| Err(JsonError::UnknownType(type_url.to_owned())))
}
