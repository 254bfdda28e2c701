//! The protocols that are not Envoy's: the CA service and the name table, generated from `proto/lateen`.
//!
//! Modules follow the packages: `wire::istio::v1::auth`, `wire::istio::networking::nds::v1`. Maps are ordered, so that
//! equal messages have equal bytes.

include!(concat!(env!("OUT_DIR"), "/wire.rs"));

/// The type URL of [`istio::networking::nds::v1::NameTable`] in discovery.
pub const NAME_TABLE: &str = "type.googleapis.com/istio.networking.nds.v1.NameTable";

#[cfg(test)]
mod tests {
    use prost::Name as _;

    use super::istio::networking::nds::v1::NameTable;

    #[test]
    fn the_type_url_is_that_of_the_message() {
        assert_eq!(super::NAME_TABLE, NameTable::type_url());
    }
}
