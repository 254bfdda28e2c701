//! What an edit of the folder changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Object, ObjectKey};

use crate::read::Reading;

/// An object that is other than before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The object.
    pub key: ObjectKey,
    /// What happened to it.
    pub what: What,
    /// Its file and line, for people.
    pub place: String,
}

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// It is new.
    Added,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.what {
            What::Added => "added",
            What::Changed => "changed",
            What::Removed => "removed",
        };
        write!(f, "{} {what} ({})", self.key, self.place)
    }
}

/// What is different between two readings of a folder.
#[must_use]
pub fn changes(before: &Reading, now: &Reading) -> Vec<Change> {
    let map = |reading: &Reading| -> BTreeMap<ObjectKey, Arc<Object>> {
        reading
            .objects
            .iter()
            .map(|object| (object.key.clone(), object.clone()))
            .collect()
    };
    let (before, now) = (map(before), map(now));
    let mut changes = Vec::new();
    for (key, object) in &now {
        let what = match before.get(key) {
            None => What::Added,
            Some(old) if old != object => What::Changed,
            Some(_) => continue,
        };
        changes.push(change(object, what));
    }
    let gone = before.iter().filter(|(key, _)| !now.contains_key(*key));
    changes.extend(gone.map(|(_, object)| change(object, What::Removed)));
    changes
}

fn change(object: &Object, what: What) -> Change {
    let file = object.place.file.as_deref().unwrap_or_default();
    let place = match object.place.line_of("") {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    Change {
        key: object.key.clone(),
        what,
        place,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn only_what_says_something_else_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.yaml");
        let account = |name: &str, label: &str| {
            format!(
                "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: x, labels: {{l: {label}}}}}\n"
            )
        };
        fs::write(&file, account("a", "one") + &account("b", "one")).unwrap();
        let before = crate::read::read(dir.path()).unwrap();
        let text = "# a comment\n".to_owned() + &account("a", "two") + &account("c", "one");
        fs::write(&file, text).unwrap();
        let now = crate::read::read(dir.path()).unwrap();
        let said: Vec<_> = changes(&before, &now)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            said,
            [
                "ServiceAccount x/a changed (a.yaml:3)",
                "ServiceAccount x/c added (a.yaml:7)",
                "ServiceAccount x/b removed (a.yaml:6)",
            ]
        );
    }
}
