//! The folders and the MeshConfig file, read on a thread of their own whenever the kernel says that they changed.

use std::io;
use std::path::{Path, PathBuf};

use model::{Diagnostic, Kind};
use sources::{Directory, MeshConfigFile, WatchError};
use store::{ChangeSet, SourceId};
use tokio::sync::mpsc;

use crate::args::Arguments;
use crate::plane::Handle;

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The folder or file cannot be read.
    #[error("--{0} {path}: {2}", path = _1.display())]
    Open(&'static str, PathBuf, io::Error),
    /// The kernel does not report changes; it may allow too few watches (`fs.inotify`).
    #[error("changes of files cannot be watched: {0}")]
    Watch(#[from] WatchError),
}

enum Source {
    Folder(Directory),
    MeshConfig(MeshConfigFile),
}

impl Source {
    fn read(&mut self) -> (Vec<ChangeSet>, Vec<Diagnostic>) {
        match self {
            Self::Folder(folder) => (folder.read(), folder.diagnostics()),
            Self::MeshConfig(file) => (file.read(), file.diagnostics()),
        }
    }

    fn path(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder.path(),
            Self::MeshConfig(file) => file.path(),
        }
    }
}

/// All sources, in the order in which they count where two have the same object.
pub struct Sources(Vec<Source>);

/// What the loop must have heard before it serves anything: all kinds from each folder, the MeshConfig from its file.
#[must_use]
pub fn required(arguments: &Arguments) -> Vec<(SourceId, Kind)> {
    let file = arguments
        .mesh_config
        .iter()
        .map(|_| (id(0), Kind::MeshConfig));
    let folders =
        (1..=arguments.config_dirs.len()).flat_map(|at| Kind::ALL.map(|kind| (id(at), kind)));
    file.chain(folders).collect()
}

/// The MeshConfig file is 0, so that it counts before a MeshConfig in a folder; folders follow.
fn id(at: usize) -> SourceId {
    SourceId(u32::try_from(at).unwrap_or(u32::MAX))
}

impl Sources {
    /// Opens them all; nothing is read yet. May block.
    ///
    /// # Errors
    /// [`SourceError::Open`] names the flag.
    pub fn open(arguments: &Arguments) -> Result<Self, SourceError> {
        let mut opened = Vec::new();
        if let Some(path) = &arguments.mesh_config {
            let file = MeshConfigFile::open(path, id(0));
            let failed = |error| SourceError::Open("meshConfig", path.clone(), error);
            opened.push(Source::MeshConfig(file.map_err(failed)?));
        }
        for (at, path) in arguments.config_dirs.iter().enumerate() {
            let failed = |error| SourceError::Open("configDir", path.clone(), error);
            opened.push(Source::Folder(
                Directory::open(path, id(at + 1)).map_err(failed)?,
            ));
        }
        Ok(Self(opened))
    }

    /// Asks the kernel to report changes. Call it before the first read, inside of the runtime.
    ///
    /// # Errors
    /// [`SourceError::Watch`].
    pub fn watch(&self) -> Result<mpsc::Receiver<()>, SourceError> {
        Ok(sources::watch(
            self.0
                .iter()
                .map(|source| source.path().to_owned())
                .collect(),
        )?)
    }

    /// Reads everything and tells the loop what changed since the last time. May block.
    pub fn read(&mut self, plane: &Handle) {
        for (at, source) in self.0.iter_mut().enumerate() {
            let (sets, findings) = source.read();
            plane.changed(at, sets, findings);
        }
    }

    /// Reads again at each report, until there are no more reports.
    pub fn follow(mut self, mut reports: mpsc::Receiver<()>, plane: &Handle) {
        while reports.blocking_recv().is_some() {
            self.read(plane);
        }
    }
}
