//! The CA's files are read for as long as the control plane runs. When they change, what hangs on them changes in step:
//! the authority, whom TLS lets in, what it shows, and the roots that are published.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ca::{Authority, CaFiles, InvalidCa};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::tls::Serving;

/// How often a folder of files is read again. Kubernetes takes up to a minute to put a Secret's change there.
const LOOK: Duration = Duration::from_secs(5);

/// What hangs on the CA's files.
pub struct Rotation {
    /// Signs.
    pub authority: Arc<Authority>,
    /// Serves and lets in.
    pub serving: Arc<Serving>,
    /// The roots that are published.
    pub roots: watch::Sender<Arc<str>>,
}

impl Rotation {
    /// Takes other files over. Files that make no CA change nothing, which the log says once.
    pub fn take(&self, files: Result<CaFiles, InvalidCa>, said: &mut Option<String>) {
        let now = SystemTime::now();
        let replaced = files.and_then(|files| self.authority.replace(&files, now));
        match replaced {
            Ok(false) => *said = None,
            Ok(true) => {
                *said = None;
                tracing::info!("the certificate authority's files have changed and are in use");
                self.roots.send_replace(self.authority.root_bundle());
                if let Err(error) = self.serving.rotated(now) {
                    tracing::error!("the new roots let nobody in: {error}");
                }
            }
            Err(invalid) => {
                let text = invalid.to_string();
                if said.as_ref() != Some(&text) {
                    tracing::error!("the certificate authority stays as it is: {text}");
                }
                *said = Some(text);
            }
        }
    }

    /// Follows an operator's folder. Never ends.
    pub async fn follow_folder(self: Arc<Self>, dir: PathBuf) {
        let mut said = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let dir = dir.clone();
            // A reader that panicked has said so.
            if let Ok(files) = spawn_blocking(move || CaFiles::read(&dir)).await {
                self.take(files, &mut said);
            }
        }
    }
}
