//! Files of the agent's own: private, and never half-written.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

/// Makes a folder that only its owner can look into.
pub(crate) fn private_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// The folder itself, or one inside of it where it is somebody else's, as a volume that Kubernetes made is.
pub(crate) fn own_folder(path: &Path) -> PathBuf {
    let is_others =
        std::fs::metadata(path).is_ok_and(|folder| folder.uid() != nix::unistd::geteuid().as_raw());
    if is_others {
        path.join("agent")
    } else {
        path.to_owned()
    }
}

/// Writes a file that only its owner can read, at once or not at all.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&new)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}
