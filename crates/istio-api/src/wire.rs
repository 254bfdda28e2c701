//! How the wire types meet serde and schemars: what counts as unset, proto enums, values that are
//! read and dropped, `null` lists. Everything that is not plain `derive` stands here.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
};

/// Whether a field has the value that it has when the user writes nothing; such fields are not
/// written, and so no `default:` reaches the schema (an API server would write it into objects).
pub(crate) fn unset<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Reads `null` as the default: Go writes nil lists and maps of Kubernetes objects as `null`.
pub(crate) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A value of any shape that is read and dropped, such as the `status` of an Istio object. It is a
/// known field all the same: a reader that reports unknown fields does not see it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignored;

impl<'de> Deserialize<'de> for Ignored {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde_json::Value::deserialize(deserializer).map(|_| Self)
    }
}

impl Serialize for Ignored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}

/// A proto enum: each value has a name and a number, and proto JSON accepts either.
pub(crate) trait ProtoEnum: Copy + 'static {
    /// The values with their numbers, and, at the same index of `NAMES`, their names.
    const VALUES: &'static [(Self, i64)];
    /// The names as they stand in YAML.
    const NAMES: &'static [&'static str];
}

/// Reads a name or a number of `E`.
struct ProtoEnumVisitor<E>(PhantomData<E>);

impl<E: ProtoEnum> Visitor<'_> for ProtoEnumVisitor<E> {
    type Value = E;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "one of {}", E::NAMES.join(", "))
    }

    fn visit_str<X: Error>(self, text: &str) -> Result<E, X> {
        let mut names = E::NAMES.iter().zip(E::VALUES);
        names
            .find(|(name, _)| **name == text)
            .map(|(_, (value, _))| *value)
            .ok_or_else(|| X::unknown_variant(text, E::NAMES))
    }

    fn visit_i64<X: Error>(self, number: i64) -> Result<E, X> {
        let found = E::VALUES.iter().find(|(_, known)| *known == number);
        found
            .map(|(value, _)| *value)
            .ok_or_else(|| X::invalid_value(serde::de::Unexpected::Signed(number), &self))
    }

    fn visit_u64<X: Error>(self, number: u64) -> Result<E, X> {
        match i64::try_from(number) {
            Ok(number) => self.visit_i64(number),
            Err(_) => Err(X::invalid_value(
                serde::de::Unexpected::Unsigned(number),
                &self,
            )),
        }
    }
}

/// Reads a proto enum by name or by number; anything else is an error.
pub(crate) fn read_enum<'de, D: Deserializer<'de>, E: ProtoEnum>(d: D) -> Result<E, D::Error> {
    d.deserialize_any(ProtoEnumVisitor(PhantomData))
}

/// Declares a proto enum: `Variant = number => "NAME"`.
macro_rules! proto_enum {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $number:literal => $text:literal,)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)+
        }

        impl $name {
            /// The name as it stands in YAML.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl $crate::wire::ProtoEnum for $name {
            const VALUES: &'static [(Self, i64)] = &[$((Self::$variant, $number),)+];
            const NAMES: &'static [&'static str] = &[$($text,)+];
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                $crate::wire::read_enum(d)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }

        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({
                    "type": "string",
                    "enum": <Self as $crate::wire::ProtoEnum>::NAMES,
                })
            }
        }
    };
}
pub(crate) use proto_enum;
