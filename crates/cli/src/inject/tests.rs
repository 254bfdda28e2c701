//! What comes out of `lateen inject`.

use serde_json::{Value, json};
use webhook::inject::Settings;

use sources::yaml::only_value;

use super::{InjectError, inject_text, read_yaml, to_json, to_yaml};

fn inject(text: &str) -> Result<(Vec<Value>, Vec<String>), InjectError> {
    let (settings, problems) = Settings::parse(&Value::Null, &Value::Null, read_yaml);
    assert_eq!(problems, []);
    inject_text(text, "app.yaml", &settings)
}

const FILE: &str = r#"# All that an app has.
apiVersion: v1
kind: Service
metadata: {name: cart}
spec: {selector: {app: cart}, on: "y"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: cart, namespace: shop}
spec:
  template:
    metadata: {labels: {app: cart}}
    spec: {containers: [{name: cart}]}
---
apiVersion: v1
kind: List
items:
  - {apiVersion: batch/v1, kind: CronJob, metadata: {name: night}, spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: job}]}}}}}}
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {yes: "no"}}
  - apiVersion: v1
    kind: Pod
    metadata: {name: node, labels: {a: b}}
    spec: {hostNetwork: true, containers: [{name: app}]}
"#;

#[test]
fn pods_are_injected_wherever_they_stand_and_the_rest_stays() {
    let (objects, said) = inject(FILE).unwrap();
    assert_eq!(
        objects[0],
        only_value(FILE.split("---").next().unwrap()).unwrap()
    );
    let names = |pod: &Value| {
        let containers = pod["spec"]["containers"].as_array().unwrap().iter();
        containers
            .map(|one| one["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let template = &objects[1]["spec"]["template"];
    assert_eq!(names(template), ["cart", "istio-proxy"]);
    let variable = |pod: &Value, name: &str| {
        let variables = pod["spec"]["containers"][1]["env"]
            .as_array()
            .unwrap()
            .iter();
        variables.clone().find(|one| one["name"] == name).unwrap()["value"].clone()
    };
    assert_eq!(
        variable(template, "ISTIO_META_OWNER"),
        "kubernetes://apis/apps/v1/namespaces/shop/deployments/cart"
    );
    let items = &objects[2]["items"];
    let job = &items[0]["spec"]["jobTemplate"]["spec"]["template"];
    assert_eq!(names(job), ["job", "istio-proxy"]);
    assert_eq!(variable(job, "ISTIO_META_WORKLOAD_NAME"), "night");
    assert_eq!(items[1]["data"], json!({ "true": "no" }));
    assert_eq!(names(&items[2]), ["app"]);
    assert_eq!(
        said,
        ["app.yaml:20: Pod default/node is not injected: the pod has host networking enabled"]
    );
}

#[test]
fn what_is_written_is_read_as_the_same_and_needs_nothing_more() {
    let (objects, _) = inject(FILE).unwrap();
    let text = to_yaml(&objects).unwrap();
    let (again, _) = inject(&text).unwrap();
    assert_eq!(again, objects);
    let list: Value = serde_json::from_str(&to_json(objects.clone()).unwrap()).unwrap();
    assert_eq!(list["items"], Value::Array(objects.clone()));
    let one: Value = serde_json::from_str(&to_json(objects[..1].to_vec()).unwrap()).unwrap();
    assert_eq!(one, objects[0]);
}

#[test]
fn texts_that_look_like_something_else_stay_texts() {
    let texts = [
        "y",
        "n",
        "on",
        "off",
        "yes",
        "No",
        "true",
        "null",
        "~",
        "",
        "1",
        "1.0",
        "1e3",
        "0x1f",
        "0o17",
        "017",
        "1_000",
        "1:30",
        ".inf",
        "2001-01-01",
        "=",
        "<<",
        "- a",
        "a: b",
        "# a",
        " a ",
        "a\nb\n",
        "a\n\n b",
        "\t",
        "'",
        "\"",
        "{}",
        "[",
        "\u{0}",
        "\u{85}",
        "\u{feff}",
        "%a",
        "@a",
        "`a",
        "|",
        ">",
        "&a",
        "*a",
        "!a",
        "a\\",
        "---",
        "...",
        "a\n---\nb",
    ];
    for text in texts {
        let long = format!("{text} {}", "word ".repeat(40));
        for text in [text, &long] {
            // As a key this merges maps, whatever quotes stand around it.
            let key = if text == "<<" { "key" } else { text };
            let objects = [json!({ "data": { "text": text, key: [text] } })];
            match to_yaml(&objects) {
                Ok(written) => assert_eq!(only_value(&written).unwrap(), objects[0], "{text:?}"),
                Err(error) => panic!("{text:?}: {error}"),
            }
        }
    }
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let wrong = |text: &str| inject(text).unwrap_err().to_string();
    let pod = "kind: Pod\napiVersion: v1\nmetadata:\n  name: a\n  annotations:\n    x: z\n    sidecar.istio.io/logLevel: loud\nspec: {containers: []}\n";
    assert_eq!(
        wrong(pod),
        "app.yaml:7: Pod default/a: annotation sidecar.istio.io/logLevel: \"loud\" is wrong: write one of trace, debug, \
         info, warning, error, critical, off"
    );
    assert_eq!(
        wrong(&pod.replace("x: z", "x: y")),
        "app.yaml:6: Pod default/a: metadata.annotations.x: \"invalid type: boolean `true`, expected a string\" is wrong: \
         write what Kubernetes has there"
    );
    let without = wrong("kind: Deployment\napiVersion: apps/v1\nmetadata: {name: d}\n");
    assert_eq!(
        without,
        "app.yaml:1: Deployment default/d has no spec.template"
    );
    assert!(wrong("a: b: c").starts_with("app.yaml:1: "));
    assert!(wrong("a: 1\na: 2\n").starts_with("app.yaml:2: "));
}
