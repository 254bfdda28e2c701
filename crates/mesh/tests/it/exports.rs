//! Where objects without `exportTo` are seen, as MeshConfig says and says anew.

use mesh::Mesh;
use serde_json::{Value, json};
use testkit::{Document, destination_rule, mesh_config, service, to, virtual_service};

use crate::kit::World;

const CART: &str = "cart.shop.svc.cluster.local";

/// A Service, a VirtualService and a DestinationRule of `shop`, and what MeshConfig says of their kinds.
fn world(config: Value) -> Vec<Document> {
    let config = config.as_object().unwrap().iter();
    let config = config.fold(mesh_config(), |config, (field, value)| {
        config.with(field, value.clone())
    });
    vec![
        service("cart").in_namespace("shop").port(80).into(),
        virtual_service("cart")
            .in_namespace("shop")
            .host("cart")
            .route(to("cart").subset("v1"))
            .into(),
        destination_rule("cart", "cart")
            .in_namespace("shop")
            .subset("v1")
            .into(),
        config.into(),
    ]
}

/// Where a request from each namespace goes: to the subset, to what is there without the rule or the route, or nowhere.
fn seen(world: &World) -> [String; 2] {
    ["shop", "web"].map(|from| world.get(from, CART))
}

#[test]
fn an_object_that_says_nothing_is_seen_where_mesh_config_says() {
    let subset = "outbound|80|v1|cart.shop";
    let whole = "outbound|80||cart.shop";
    let unmade = "503 no DestinationRule makes a subset v1 of cart.shop";
    let table = [
        (json!({}), [subset, subset]),
        (
            json!({"defaultVirtualServiceExportTo": ["."]}),
            [subset, whole],
        ),
        (
            json!({"defaultDestinationRuleExportTo": ["."]}),
            [subset, unmade],
        ),
        (
            json!({"defaultDestinationRuleExportTo": ["web"]}),
            [subset, subset],
        ),
        (json!({"defaultVirtualServiceExportTo": ["~"]}), [whole; 2]),
        (
            json!({"defaultServiceExportTo": ["."]}),
            [subset, "no virtual host"],
        ),
    ];
    // Each from scratch, and from the one before.
    let mut store = testkit::store(world(json!({})));
    let mut mesh = Mesh::new(store.snapshot());
    for (config, expected) in table {
        let fresh = World::of(world(config.clone()));
        assert_eq!(seen(&fresh), expected, "{config}");
        let delta = store.apply(testkit::load(world(config.clone())));
        mesh = mesh.next(store.snapshot(), &delta).0;
        assert_eq!(seen(&World(mesh.clone())), expected, "{config} after");
    }
}

#[test]
fn one_that_says_where_it_is_seen_is_seen_there() {
    let mut objects = world(json!({"defaultVirtualServiceExportTo": ["."]}));
    objects[1] = virtual_service("cart")
        .in_namespace("shop")
        .host("cart")
        .exported_to(&["*"])
        .route(to("cart").subset("v1"))
        .into();
    let subset = "outbound|80|v1|cart.shop";
    assert_eq!(seen(&World::of(objects)), [subset; 2]);
}
