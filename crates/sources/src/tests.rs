//! Behaviour of the sources on texts and on real folders.

mod folder;
mod text;
mod watching;

use model::{Diagnostic, Kind};
use store::{Change, ChangeSet, Store};

/// A ServiceAccount, with a label to tell versions by.
fn account(name: &str, version: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  labels: {{v: {version}}}\n"
    )
}

/// A VirtualService with the wrong type at line 6.
const REFUSED: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: bad\nspec:\n  hosts: 5\n";

/// What change sets say, in words; a resync of nothing says nothing.
fn words(sets: &[ChangeSet]) -> Vec<String> {
    let changes = sets.iter().flat_map(|set| &set.changes);
    let word = |change: &Change| match change {
        Change::Upsert(object) => vec![format!("+{}", object.key.name)],
        Change::Reject(refusal) => vec![format!("!{}", refusal.key.name)],
        Change::Remove(key) => vec![format!("-{}", key.name)],
        Change::Resync(_, entries) => {
            let entries = entries.iter();
            entries
                .map(|entry| format!("={}", entry.key().name))
                .collect()
        }
    };
    changes.flat_map(word).collect()
}

/// The accounts of a store with their versions.
fn accounts(store: &Store) -> Vec<String> {
    let objects = store.snapshot().of_kind(Kind::ServiceAccount);
    objects
        .map(|o| {
            format!(
                "{}:{}",
                o.key.name,
                o.meta.labels.get("v").unwrap_or_default()
            )
        })
        .collect()
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<String> {
    let place = |d: &Diagnostic| {
        let file = d.file.as_deref().unwrap_or_default().to_owned();
        format!("{} {file}:{}", d.code, d.line.unwrap_or(0))
    };
    diagnostics.iter().map(place).collect()
}
