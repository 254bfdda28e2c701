//! What the webhook's path says: `/inject/cluster/east/net/n1` adds variables to the proxy's environment.

use std::collections::BTreeMap;

/// The variables of a path, as Istio has them: `cluster` and `net` by their own names, others in capitals.
///
/// # Errors
/// The part of the path that makes no sense.
pub fn environment_of_path(path: &str) -> Result<BTreeMap<String, String>, String> {
    let rest = path.trim_end_matches('/').strip_prefix("/inject");
    let rest = rest.ok_or_else(|| format!("{path:?} does not begin with /inject"))?;
    let mut parts = rest.split('/').skip(1);
    if !(rest.is_empty() || rest.starts_with('/')) {
        return Err(format!("{path:?} does not begin with /inject/"));
    }
    let mut variables = BTreeMap::new();
    while let Some(key) = parts.next() {
        let value = parts
            .next()
            .ok_or_else(|| format!("{path:?}: {key} has no value: write /inject/KEY/VALUE"))?;
        let name = match key {
            "cluster" => "ISTIO_META_CLUSTER_ID".to_owned(),
            "net" => "ISTIO_META_NETWORK".to_owned(),
            other => variable(other)
                .ok_or_else(|| format!("{path:?}: {other:?} is no name of a variable"))?,
        };
        variables.insert(name, value.replace("--slash--", "/"));
    }
    Ok(variables)
}

fn variable(key: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_name =
        !key.is_empty() && key.chars().all(fits) && !key.starts_with(|c: char| c.is_ascii_digit());
    is_name.then(|| key.to_ascii_uppercase())
}
