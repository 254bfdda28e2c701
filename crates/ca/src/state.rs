//! The state directory: where a control plane without Kubernetes keeps what must outlive it.
//!
//! The directory is 0700 and its files 0600. Related files are created together and once: they are
//! written to a directory beside the final one, flushed, and moved there in one step, so a crash
//! leaves nothing half-written and of two processes that start at once one wins and both agree.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Why the state directory, or what takes its place, cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system refused; check the path, its owner and the free space.
    #[error("cannot {step} {}: {source}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody else could read or replace a private key; take the rights away.
    #[error("{} is open to other users (mode {mode:03o}); run `chmod {wanted:03o} {}`", path.display(), path.display())]
    Exposed {
        /// The path with too many rights.
        path: PathBuf,
        /// The rights it has.
        mode: u32,
        /// The rights it should have.
        wanted: u32,
    },
    /// What is no directory refused; the text says why.
    #[error("{0}")]
    Store(String),
    /// A symbolic link or a directory stands where a file was written; remove it.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
}

/// An open state directory (`--stateDir`).
#[derive(Clone, Debug)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Opens `path`, and creates it with mode 0700 if it is missing.
    ///
    /// # Errors
    /// [`StateError`] when it cannot be created, or exists and other users have rights on it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StateError> {
        let path = path.into();
        let created = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        created.map_err(|source| io_error("create", &path, source))?;
        let meta = fs::metadata(&path).map_err(|source| io_error("open", &path, source))?;
        check_mode(&path, &meta, 0o700)?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the directory `name` with `files` in place, unless it is there already.
    ///
    /// Whoever comes second changes nothing; read the files afterwards to see who won.
    pub(crate) fn create_once(&self, name: &str, files: &[(&str, &str)]) -> Result<(), StateError> {
        let target = self.path.join(name);
        let staging = self
            .path
            .join(format!(".{name}.{:032x}", u128::from_ne_bytes(random()?)));
        let made = DirBuilder::new().mode(0o700).create(&staging);
        made.map_err(|source| io_error("create", &staging, source))?;
        let moved = write_all(&staging, files).and_then(|()| match fs::rename(&staging, &target) {
            Err(e)
                if matches!(
                    e.kind(),
                    ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists
                ) =>
            {
                Ok(false)
            }
            Err(source) => Err(io_error("create", &target, source)),
            Ok(()) => Ok(true),
        });
        if !matches!(moved, Ok(true)) {
            // What is left is a key that nobody uses; the error that matters is `moved`'s.
            let _ = fs::remove_dir_all(&staging);
        }
        moved?;
        sync(&self.path)
    }

    /// Reads `name/file`, or `None` when it does not exist.
    pub(crate) fn read(
        &self,
        name: &str,
        file: &str,
    ) -> Result<Option<Zeroizing<String>>, StateError> {
        let path = self.path.join(name).join(file);
        let meta = match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|source| io_error("open", &path, source))?,
        };
        if !meta.is_file() {
            return Err(StateError::NotAFile { path });
        }
        check_mode(&path, &meta, 0o600)?;
        let text = fs::read_to_string(&path);
        let text = text.map_err(|source| io_error("read", &path, source))?;
        Ok(Some(Zeroizing::new(text)))
    }
}

fn write_all(dir: &Path, files: &[(&str, &str)]) -> Result<(), StateError> {
    for (name, text) in files {
        let path = dir.join(name);
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        let written = options.open(&path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|source| io_error("write", &path, source))?;
    }
    sync(dir)
}

fn sync(dir: &Path) -> Result<(), StateError> {
    let synced = fs::File::open(dir).and_then(|d| d.sync_all());
    synced.map_err(|source| io_error("flush", dir, source))
}

fn check_mode(path: &Path, meta: &fs::Metadata, wanted: u32) -> Result<(), StateError> {
    let mode = meta.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(StateError::Exposed {
        path: path.to_owned(),
        mode,
        wanted,
    })
}

fn io_error(step: &'static str, path: &Path, source: io::Error) -> StateError {
    StateError::Io {
        step,
        path: path.to_owned(),
        source,
    }
}

fn random() -> Result<[u8; 16], StateError> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        let source = io::Error::other("the system has no random numbers");
        io_error("read", Path::new("random numbers"), source)
    })?;
    Ok(bytes)
}
