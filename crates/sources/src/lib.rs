//! Objects from a directory of YAML, from a MeshConfig file and from memory, as change sets for the store.
//!
//! A bad file or document touches nothing else: its last good objects stay, and a diagnostic says why. Everything here
//! is synchronous reading of what stands there now; [`watch`] says when to read again.

mod directory;
mod files;
mod memory;
mod mesh_config;
mod objects;
mod watch;
pub mod yaml;

use std::io;
use std::path::Path;
use std::sync::Arc;

use model::{Diagnostic, Object};
use store::{SourceId, Store};

pub use directory::Directory;
pub use memory::Memory;
pub use mesh_config::{MeshConfigFile, parse_mesh_config};
pub use objects::{Text, parse_text};
pub use watch::{WatchError, watch};

/// Reads a folder once: its objects, and every diagnostic that they carry by themselves, ordered by place.
///
/// # Errors
/// When the folder cannot be read at all.
pub fn load(path: &Path) -> io::Result<(Store, Vec<Diagnostic>)> {
    let mut folder = Folder::open(path)?;
    folder.read();
    let diagnostics = folder.diagnostics();
    Ok((folder.store, diagnostics))
}

/// A folder and the objects that it holds, where nothing else is a source.
#[derive(Debug)]
pub struct Folder {
    directory: Directory,
    store: Store,
}

impl Folder {
    /// A folder of which nothing is read yet.
    ///
    /// # Errors
    /// When it is not a folder that can be listed.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            directory: Directory::open(path, SourceId(0))?,
            store: Store::default(),
        })
    }

    /// The folder's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Reads what stands there now. What a broken file said before still holds.
    pub fn read(&mut self) {
        for set in self.directory.read() {
            self.store.apply(set);
        }
    }

    /// The objects, ordered by kind, namespace and name.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.store.snapshot().objects.values()
    }

    /// Every diagnostic of the files and of each object, ordered by place.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        let mut found: Vec<Diagnostic> = self.store.diagnostics().cloned().collect();
        found.extend(self.directory.diagnostics());
        found.sort();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests;
