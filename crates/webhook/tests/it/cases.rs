//! The cases in `tests/cases`, whose README says how they are written.

use std::collections::BTreeMap;
use std::path::Path;

use json_patch::Patch;
use serde_json::{Map, Value};
use serde_json_path::JsonPath;
use webhook::inject::{
    Decision, Labels, Request, Settings, decide, environment_of_path, read_annotations,
};

/// One case.
pub struct Case {
    place: String,
    fields: Map<String, Value>,
}

/// All cases.
pub fn all() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files
        .filter(|path| path.extension().is_some_and(|end| end == "yaml"))
        .collect();
    files.sort();
    files.iter().flat_map(|path| read(path)).collect()
}

fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).unwrap();
    let file = path.file_name().unwrap().to_string_lossy().into_owned();
    let documents = sources::yaml::documents(&text, None).into_iter();
    let case = |document: Result<sources::yaml::Found, sources::yaml::Fault>| {
        let found =
            document.unwrap_or_else(|fault| panic!("{file}:{}: {}", fault.line, fault.message));
        assert_eq!(found.faults, [], "{file}");
        let Value::Object(fields) = found.document.value else {
            panic!("{file}: a case is an object");
        };
        let place = format!("{file}: {}", fields["name"].as_str().unwrap());
        Case { place, fields }
    };
    documents.map(case).collect()
}

/// The reader of YAML that the programs use.
pub fn yaml(text: &str) -> Result<Value, String> {
    match sources::yaml::only_document(text, None) {
        None => Ok(Value::Null),
        Some(Ok(found)) if found.faults.is_empty() => Ok(found.document.value),
        Some(Ok(found)) => Err(found.faults[0].message.clone()),
        Some(Err(fault)) => Err(fault.message),
    }
}

/// The pod with a patch in it.
pub fn patched(pod: &Value, patch: &Patch) -> Value {
    let mut pod = pod.clone();
    json_patch::patch(&mut pod, patch).unwrap();
    pod
}

impl Case {
    pub fn pod(&self) -> &Value {
        &self.fields["pod"]
    }

    pub fn settings(&self) -> Settings {
        let get = |name: &str| self.fields.get(name).cloned().unwrap_or_default();
        Settings::parse(&get("values"), &get("mesh"), yaml).0
    }

    pub fn decide(&self, pod: &Value) -> Decision {
        let text = |name: &str| self.fields.get(name).and_then(Value::as_str);
        let labels: Option<Labels> = self
            .fields
            .get("namespaceLabels")
            .map(|labels| serde_json::from_value(labels.clone()).unwrap());
        let environment: BTreeMap<_, _> =
            environment_of_path(text("path").unwrap_or("/inject")).unwrap();
        let request = Request {
            pod,
            namespace: text("namespace").unwrap_or("shop"),
            namespace_labels: labels.as_ref(),
            owner: None,
            nodes_have_native_sidecars: self.fields.get("nativeNodes") == Some(&Value::Bool(true)),
            environment: &environment,
        };
        decide(&self.settings(), &request)
    }

    /// What is not as expected when this pod stands for the case's.
    fn failures(&self, pod: &Value) -> Vec<String> {
        let fields = &self.fields;
        let known = [
            "name",
            "pod",
            "namespace",
            "namespaceLabels",
            "values",
            "mesh",
            "nativeNodes",
            "path",
            "expect",
            "warn",
            "skip",
            "refuse",
            "starts",
        ];
        let unknown = fields.keys().filter(|name| !known.contains(&name.as_str()));
        let mut failures: Vec<_> = unknown
            .map(|name| format!("{name} is no field of a case"))
            .collect();
        let decision = self.decide(pod);
        match (
            &decision,
            fields.get("skip"),
            fields.get("refuse"),
            fields.get("expect"),
        ) {
            (Decision::Skip(reason), Some(wanted), None, None) => {
                check_text(&reason.to_string(), wanted, &mut failures);
            }
            (Decision::Refuse(refusals), None, Some(Value::Array(wanted)), None) => {
                let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
                for wanted in wanted {
                    check_text(&texts.join("\n"), wanted, &mut failures);
                }
            }
            (Decision::Inject(injection), None, None, Some(Value::String(lines))) => {
                let injected = patched(pod, &injection.patch);
                let lines = lines.lines();
                failures.extend(lines.filter_map(|line| check(&injected, line).err()));
                match fields.get("warn") {
                    Some(wanted) => {
                        check_text(&injection.warnings.join("\n"), wanted, &mut failures)
                    }
                    None if injection.warnings.is_empty() => {}
                    None => failures.push(format!("warns: {:?}", injection.warnings)),
                }
            }
            _ => failures.push(format!("another decision: {decision:?}")),
        }
        failures
    }
}

fn check_text(text: &str, wanted: &Value, failures: &mut Vec<String>) {
    if !text.contains(wanted.as_str().unwrap()) {
        failures.push(format!("{text:?} does not contain {wanted}"));
    }
}

/// JSON, or else a text.
fn value(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// Whether a text that looks like a number or a boolean is meant by one that is none.
fn is_same(found: &Value, wanted: &str) -> bool {
    *found == value(wanted) || found.as_str() == Some(wanted)
}

fn check(pod: &Value, line: &str) -> Result<(), String> {
    if let Some(path) = line.strip_suffix(" absent") {
        let found = query(pod, path);
        return if found.is_empty() {
            Ok(())
        } else {
            Err(format!("{line}: is {found:?}"))
        };
    }
    let operators = [" = ", " json= ", " has "];
    let found = operators
        .iter()
        .find_map(|operator| Some((operator.trim(), line.split_once(operator)?)));
    let (operator, (path, wanted)) = found.unwrap_or_else(|| panic!("{line}: no operator"));
    let found = query(pod, path);
    let is_right = match (operator, &found[..]) {
        ("=", [one]) if is_same(one, wanted) => true,
        ("=", all) => {
            Value::Array(all.iter().copied().cloned().collect()) == value(wanted) && all.len() > 1
        }
        ("json=", [Value::String(text)]) => serde_json::from_str(text).ok() == Some(value(wanted)),
        ("has", [Value::String(text)]) => text.contains(wanted),
        ("has", [Value::Array(items)]) => items.iter().any(|item| is_same(item, wanted)),
        _ => false,
    };
    if is_right {
        Ok(())
    } else {
        Err(format!("{line}: is {found:?}"))
    }
}

fn query<'a>(pod: &'a Value, path: &str) -> Vec<&'a Value> {
    let path = JsonPath::parse(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    path.query(pod).all()
}

#[test]
fn every_case_is_as_istios_reference_has_it() {
    let cases = all();
    let failures = cases.iter().flat_map(|case| {
        let failures = case.failures(case.pod()).into_iter();
        failures.map(move |failure| format!("{}\n    {failure}", case.place))
    });
    let failures: Vec<_> = failures.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(cases.len() >= 60, "{} cases", cases.len());
    let starting = cases
        .iter()
        .filter(|case| case.fields.contains_key("starts"))
        .count();
    assert!(starting >= 10, "{starting} cases start on a kubelet");
}

#[test]
fn every_annotation_that_is_read_flips_a_case() {
    let cases = all();
    let flips = |name: &str| {
        cases.iter().any(|case| {
            let mut pod = case.pod().clone();
            let annotations = pod
                .pointer_mut("/metadata/annotations")
                .and_then(Value::as_object_mut);
            let removed = annotations.and_then(|annotations| annotations.remove(name));
            removed.is_some() && !case.failures(&pod).is_empty()
        })
    };
    let idle: Vec<_> = read_annotations().filter(|name| !flips(name)).collect();
    assert!(
        idle.is_empty(),
        "no case notices when these are gone: {idle:#?}"
    );
}

#[test]
fn an_injected_pod_needs_nothing_more() {
    for case in all() {
        let Decision::Inject(injection) = case.decide(case.pod()) else {
            continue;
        };
        let once = patched(case.pod(), &injection.patch);
        match case.decide(&once) {
            Decision::Inject(again) => {
                assert_eq!(again.patch.0, [], "{}: injected twice", case.place);
            }
            other => panic!("{}: {other:?}", case.place),
        }
    }
}

#[test]
fn what_settings_say_wrong_is_told() {
    let values = serde_json::json!({
        "global": { "proxy": { "logLevel": "loud", "statusPort": 70000, "privileged": "yes", "resources": [] } },
        "sidecarInjectorWebhook": { "neverInjectSelector": [{ "matchExpressions": [{ "key": "a", "operator": "Like" }] }] },
        "pilot": { "cni": { "enabled": true } },
        "somethingElse": { "is": "harmless" },
    });
    let mesh = serde_json::json!({ "enablePrometheusMerge": 3, "defaultConfig": { "concurrency": "x", "workerThreads": 1 } });
    let (_, problems) = Settings::parse(&values, &mesh, yaml);
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let wanted = [
        "global.proxy.logLevel: \"loud\" is wrong: write one of",
        "global.proxy.statusPort: 70000 is not such a number; 15020 is used",
        "global.proxy.privileged: \"yes\" is neither true nor false",
        "global.proxy.resources: [] is not an object",
        "sidecarInjectorWebhook.neverInjectSelector: {\"key\":\"a\"",
        "pilot.cni.enabled: a CNI plugin is not supported",
        "meshConfig.enablePrometheusMerge: 3 is neither",
        "meshConfig.defaultConfig: concurrency: \"x\" is wrong: write a whole number",
        "meshConfig.defaultConfig: ProxyConfig has no field \"workerThreads\"",
    ];
    for wanted in wanted {
        assert!(
            texts.iter().any(|text| text.starts_with(wanted)),
            "{wanted}: {texts:#?}"
        );
    }
    assert_eq!(texts.len(), wanted.len(), "{texts:#?}");
}
