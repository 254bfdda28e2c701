//! `lateen verify-install`: whether a cluster still has what `lateen install` brings, field by field.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::manifest::{self, Images, Item};
use super::{Cluster, Failure};
use crate::print;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    cluster: Cluster,
    #[command(flatten)]
    images: Images,
    /// Leave the CRDs out
    #[arg(long)]
    skip_crds: bool,
}

pub fn run(arguments: &Arguments) -> ExitCode {
    super::run(verify(arguments))
}

async fn verify(arguments: &Arguments) -> Result<bool, Failure> {
    let target = arguments.cluster.open().await?;
    print(format_args!("comparing with {target}"));
    let mut items = match arguments.skip_crds {
        true => Vec::new(),
        false => manifest::crds()?,
    };
    items.extend(manifest::objects(&arguments.images)?);
    let (mut wrong, all) = (0, items.len());
    for Item { named, object } in items {
        let found = match target.get(&named).await? {
            None => vec!["is not there".to_owned()],
            Some(live) => differences(&object, &live),
        };
        wrong += usize::from(!found.is_empty());
        for difference in found {
            print(format_args!("FAIL    {named} {difference}"));
        }
    }
    match wrong {
        0 => print(format_args!(
            "ok      {all} objects are as they were installed"
        )),
        _ => print(format_args!("        put them right with `lateen install`")),
    }
    Ok(wrong == 0)
}

/// Which fields of an object are not as they were installed. What others added is theirs.
fn differences(wanted: &Value, live: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(wanted, live, "", &mut found);
    found
}

fn compare(wanted: &Value, live: &Value, path: &str, found: &mut Vec<String>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (name, wanted) in wanted {
                // The control plane sets it.
                if name == "failurePolicy" {
                    continue;
                }
                let path = format!("{path}.{name}");
                match live.get(name) {
                    Some(live) => compare(wanted, live, &path, found),
                    // An API server leaves out what is empty.
                    None if is_empty(wanted) => {}
                    None => found.push(format!("lacks {path}")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                compare(wanted, live, &format!("{path}[{index}]"), found);
            }
        }
        (Value::Number(wanted), Value::Number(live)) if wanted.as_f64() == live.as_f64() => {}
        _ if wanted == live => {}
        _ => found.push(format!("has another {path}")),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(set) => !set,
        Value::Number(_) => false,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::differences;

    #[test]
    fn what_others_added_is_theirs() {
        let wanted = json!({ "spec": { "replicas": 1, "list": [{ "a": "b", "failurePolicy": "Ignore" }], "none": [] } });
        let live = json!({ "spec": { "replicas": 1, "list": [{ "a": "b", "c": 1, "failurePolicy": "Fail" }] }, "status": {} });
        assert_eq!(differences(&wanted, &live), Vec::<String>::new());
        let live = json!({ "spec": { "replicas": 2, "list": [{}] } });
        assert_eq!(
            differences(&wanted, &live),
            ["lacks .spec.list[0].a", "has another .spec.replicas"]
        );
    }
}
