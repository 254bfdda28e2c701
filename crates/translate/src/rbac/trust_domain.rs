//! Principals of a mesh with several trust domains: its own, and aliases that it had before or merged with.

use ir::model::{StringPattern, TrustDomains};

/// What every mesh calls its own trust domain in policies, whatever it is.
const LOCAL: &str = "cluster.local";

/// A principal of one of the mesh's trust domains is one of all; any other stays as it is (Istio: trust domain bundle).
pub(super) fn in_all(pattern: &StringPattern, domains: &TrustDomains) -> Vec<StringPattern> {
    let text = written(pattern);
    let kept = || vec![pattern.clone()];
    let Some((domain, rest)) = text.split_once('/') else {
        return kept();
    };
    // `domain/ns/namespace/sa/account`; what is less says nothing of its domain.
    if rest.split('/').count() != 4 || domain == "*" {
        return kept();
    }
    if domain != LOCAL && !domains.iter().any(|own| is(own.as_str(), domain)) {
        return kept();
    }
    let mut found: Vec<StringPattern> = Vec::new();
    for own in domains.iter() {
        let own = if is(own.as_str(), domain) {
            pattern.clone()
        } else {
            StringPattern::new(&format!("{own}/{rest}"))
        };
        if !found.contains(&own) {
            found.push(own);
        }
    }
    found
}

/// A trust domain of the mesh stands for all of them.
pub(super) fn all_of(pattern: &StringPattern, domains: &TrustDomains) -> Vec<StringPattern> {
    let own = |text: &str| domains.iter().any(|own| own.as_str() == text);
    match pattern {
        StringPattern::Exact(text) if own(text) => domains
            .iter()
            .map(|own| StringPattern::Exact(own.as_str().into()))
            .collect(),
        StringPattern::Exact(_)
        | StringPattern::Prefix(_)
        | StringPattern::Suffix(_)
        | StringPattern::Present => vec![pattern.clone()],
    }
}

/// Whether a trust domain is what a policy names, perhaps by its end.
fn is(domain: &str, named: &str) -> bool {
    match named.strip_prefix('*') {
        Some(end) => domain.ends_with(end),
        None => domain == named,
    }
}

fn written(pattern: &StringPattern) -> String {
    match pattern {
        StringPattern::Exact(text) => text.to_string(),
        StringPattern::Prefix(text) => format!("{text}*"),
        StringPattern::Suffix(text) => format!("*{text}"),
        StringPattern::Present => "*".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_of_one_trust_domain_is_one_of_all() {
        let domains = TrustDomains::new(
            "td2".parse().unwrap(),
            ["td1".parse().unwrap(), "old-td".parse().unwrap()],
        );
        for (text, expected) in [
            (
                "td1/ns/a/sa/b",
                &["td2/ns/a/sa/b", "td1/ns/a/sa/b", "old-td/ns/a/sa/b"][..],
            ),
            (
                "cluster.local/ns/a/sa/*",
                &["td2/ns/a/sa/*", "td1/ns/a/sa/*", "old-td/ns/a/sa/*"],
            ),
            (
                "*-td/ns/a/sa/b",
                &["td2/ns/a/sa/b", "td1/ns/a/sa/b", "*-td/ns/a/sa/b"],
            ),
            ("other/ns/a/sa/b", &["other/ns/a/sa/b"]),
            ("*/ns/a/sa/b", &["*/ns/a/sa/b"]),
            ("td1/ns/a/*", &["td1/ns/a/*"]),
            ("*", &["*"]),
        ] {
            let found = in_all(&StringPattern::new(text), &domains);
            let found: Vec<String> = found.iter().map(written).collect();
            assert_eq!(found, expected, "{text}");
        }
    }
}
