//! The CA's files are read for as long as the control plane runs. When they change, what hangs on them changes in step:
//! the authority, whom TLS lets in, what it shows, and the roots that are published. Roots that are new are published
//! first; a key that hangs on them signs once everybody has heard of them.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ca::{Authority, CaFiles, InvalidCa, Rotated};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::tls::Serving;

/// How often a folder of files is read again. Kubernetes takes up to a minute to put a Secret's change there.
const LOOK: Duration = Duration::from_secs(5);
/// For how long new roots are published before anybody is given a certificate that hangs on them. Kubernetes takes up
/// to a minute and a half to bring a Pod what its ConfigMap says.
const PUBLISHED: Duration = Duration::from_secs(120);

/// What hangs on the CA's files.
pub struct Rotation {
    authority: Arc<Authority>,
    serving: Arc<Serving>,
    roots: watch::Sender<Arc<str>>,
    /// Files whose roots are published, and when their key shall sign.
    next: Option<(CaFiles, Instant)>,
    /// What is wrong with the files, as the log has said already.
    said: Option<String>,
}

impl Rotation {
    /// `roots`: those that are published.
    pub fn new(
        authority: Arc<Authority>,
        serving: Arc<Serving>,
        roots: watch::Sender<Arc<str>>,
    ) -> Self {
        Self {
            authority,
            serving,
            roots,
            next: None,
            said: None,
        }
    }

    /// The files that it has taken over or is about to.
    pub fn files(&self) -> CaFiles {
        match &self.next {
            Some((files, _)) => files.clone(),
            None => self.authority.files(),
        }
    }

    /// Takes other files over. Files that make no CA change nothing, which the log says once.
    pub fn take(&mut self, files: Result<CaFiles, InvalidCa>) {
        if let Err(invalid) = files.and_then(|files| self.rotate(files)) {
            let text = invalid.to_string();
            if self.said.as_ref() != Some(&text) {
                tracing::error!("the certificate authority stays as it is: {text}");
            }
            self.said = Some(text);
        } else {
            self.said = None;
        }
    }

    fn rotate(&mut self, files: CaFiles) -> Result<(), InvalidCa> {
        if matches!(&self.next, Some((next, _)) if *next == files) {
            return Ok(());
        }
        match self.authority.rotate(&files, SystemTime::now())? {
            Rotated::Unchanged => self.next = None,
            Rotated::Activated => {
                self.next = None;
                self.hand_on();
                tracing::info!("the certificate authority's files have changed and are in use");
            }
            Rotated::Published => {
                self.next = Some((files, Instant::now() + PUBLISHED));
                self.hand_on();
                tracing::info!(
                    "the certificate authority's new roots are published; its new key signs in {} s",
                    PUBLISHED.as_secs()
                );
            }
        }
        Ok(())
    }

    /// Ends when a key is due that waits for its roots to be known.
    pub async fn is_due(&self) {
        match &self.next {
            Some((_, at)) => tokio::time::sleep_until(*at).await,
            None => pending().await,
        }
    }

    /// Has a key sign that has waited long enough.
    pub fn activate_if_due(&mut self, now: Instant) {
        let Some((files, _)) = self.next.take_if(|(_, at)| *at <= now) else {
            return;
        };
        match self.authority.replace(&files, SystemTime::now()) {
            Ok(_) => {
                self.hand_on();
                tracing::info!("the certificate authority signs with its new key");
            }
            Err(invalid) => tracing::error!("the certificate authority stays as it is: {invalid}"),
        }
    }

    fn hand_on(&self) {
        self.roots.send_replace(self.authority.root_bundle());
        if let Err(error) = self.serving.rotated(SystemTime::now()) {
            tracing::error!("the new roots let nobody in: {error}");
        }
    }

    /// Follows an operator's folder. Never ends.
    pub async fn follow_folder(mut self, dir: PathBuf) {
        loop {
            tokio::time::sleep(LOOK).await;
            let dir = dir.clone();
            // A reader that panicked has said so.
            if let Ok(files) = spawn_blocking(move || CaFiles::read(&dir)).await {
                self.take(files);
            }
            self.activate_if_due(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use model::TrustDomain;

    use super::*;
    use crate::tls::tests::serving_of;

    struct Scene {
        rotation: Rotation,
        published: watch::Receiver<Arc<str>>,
    }

    fn fresh() -> CaFiles {
        CaFiles::self_signed(&TrustDomain::cluster_local(), SystemTime::now()).unwrap()
    }

    fn scene(files: &CaFiles) -> Scene {
        let (domain, now) = (TrustDomain::cluster_local(), SystemTime::now());
        let authority = Arc::new(Authority::new(files, domain, now).unwrap());
        let (roots, published) = watch::channel(authority.root_bundle());
        let serving = serving_of(Arc::clone(&authority));
        Scene {
            rotation: Rotation::new(authority, serving, roots),
            published,
        }
    }

    impl Scene {
        fn signs_with(&self, files: &CaFiles) -> bool {
            self.rotation.authority.files().ca_cert == files.ca_cert
        }

        fn publishes(&self, files: &[&CaFiles]) -> bool {
            let roots: String = files.iter().map(|files| files.ca_cert.as_str()).collect();
            **self.published.borrow() == *roots
        }
    }

    #[test]
    fn a_new_root_is_published_before_it_signs() {
        let (old, new) = (fresh(), fresh());
        let mut scene = scene(&old);
        let both = CaFiles {
            root_cert: format!("{}{}", old.root_cert, new.root_cert),
            ..new.clone()
        };
        scene.rotation.take(Ok(both.clone()));
        assert!(scene.publishes(&[&old, &new]) && scene.signs_with(&old));
        let soon = Instant::now() + PUBLISHED / 2;
        scene.rotation.activate_if_due(soon);
        assert!(scene.signs_with(&old), "not yet");
        scene.rotation.take(Ok(both.clone()));
        assert_eq!(
            scene.rotation.files(),
            both,
            "what is put back where it is lost"
        );
        scene.rotation.activate_if_due(Instant::now() + PUBLISHED);
        assert!(scene.publishes(&[&old, &new]) && scene.signs_with(&new));
        scene.rotation.take(Ok(new.clone()));
        assert!(
            scene.publishes(&[&new]),
            "what nobody hangs on goes at once"
        );
    }

    #[test]
    fn files_that_do_not_trust_the_old_root_are_in_use_at_once() {
        let (old, new) = (fresh(), fresh());
        let mut scene = scene(&old);
        scene.rotation.take(Ok(new.clone()));
        assert!(scene.publishes(&[&new]) && scene.signs_with(&new));
    }

    #[test]
    fn files_that_are_wrong_change_nothing() {
        let old = fresh();
        let mut scene = scene(&old);
        let wrong = CaFiles {
            ca_key: fresh().ca_key,
            ..fresh()
        };
        scene.rotation.take(Ok(wrong));
        assert!(scene.publishes(&[&old]) && scene.signs_with(&old));
        assert!(
            scene
                .rotation
                .said
                .as_deref()
                .unwrap()
                .contains("ca-key.pem")
        );
        scene.rotation.take(Ok(old));
        assert!(scene.rotation.said.is_none());
    }
}
