//! What is to be said of the objects, worked out on a thread of its own, so that no proxy waits for it. It costs what
//! changed and what refers to that, not what there is.

mod again;
mod look;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use mesh::Mesh;
use model::Diagnostic;
use store::ChangeSet;

use crate::log;
use look::Looker;

/// So many times as long as a look took, the next one waits: at most a tenth of a processor is spent under churn.
const REST: u32 = 9;
/// The longest rest, so that one long look does not hide what comes after it.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// What has happened since the last look.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// What sources said, in order.
    pub sets: Vec<ChangeSet>,
    /// What is to be said of the files of the sources that spoke, beside what their objects carry.
    pub findings: BTreeMap<usize, Vec<Diagnostic>>,
    /// All objects after that, indexed; none before all sources were heard.
    pub mesh: Option<Mesh>,
}

/// Every diagnostic of now, and how many say it.
type Said = BTreeMap<Diagnostic, usize>;

/// The diagnostics of now. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    news: Arc<(Mutex<Option<News>>, Condvar)>,
    said: Arc<Mutex<Said>>,
}

impl Diagnostics {
    /// Starts the thread. It ends with the process.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start() -> io::Result<Self> {
        let diagnostics = Self::default();
        let own = diagnostics.clone();
        let run = move || {
            let mut looker = Looker::default();
            loop {
                let news = own.wait();
                let began = Instant::now();
                let differences = looker.look(news);
                let said = &mut *own.said.lock().unwrap_or_else(PoisonError::into_inner);
                let (came, went) = differences.apply(said);
                log::diagnostics(&came, &went);
                std::thread::sleep((began.elapsed() * REST).min(LONGEST_REST));
            }
        };
        let thread = std::thread::Builder::new().name("diagnostics".to_owned());
        thread.spawn(run)?;
        Ok(diagnostics)
    }

    /// Something has happened.
    pub fn tell(&self, newer: News) {
        let (waiting, told) = &*self.news;
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let news = waiting.get_or_insert_default();
        news.sets.extend(newer.sets);
        news.findings.extend(newer.findings);
        news.mesh = newer.mesh;
        told.notify_one();
    }

    /// All of them, ordered.
    #[must_use]
    pub fn all(&self) -> Vec<Diagnostic> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.keys().cloned().collect()
    }

    fn wait(&self) -> News {
        let (waiting, told) = &*self.news;
        let waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = told.wait_while(waiting, |news| news.is_none());
        let mut news = waited.unwrap_or_else(PoisonError::into_inner);
        news.take().unwrap_or_default()
    }
}

/// How what is said differs from what was said before.
#[derive(Debug, Default)]
struct Differences(BTreeMap<Diagnostic, isize>);

impl Differences {
    fn add(&mut self, before: &[Diagnostic], now: &[Diagnostic]) {
        for old in before {
            *self.0.entry(old.clone()).or_default() -= 1;
        }
        for new in now {
            *self.0.entry(new.clone()).or_default() += 1;
        }
    }

    /// Brings `said` up to date; answers what nobody said before, and what nobody says any more.
    fn apply(self, said: &mut Said) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for (diagnostic, more) in self.0 {
            let before = said.get(&diagnostic).copied().unwrap_or_default();
            let now = before.saturating_add_signed(more);
            match (before, now) {
                (0, 0) => {}
                (_, 0) => {
                    said.remove(&diagnostic);
                    went.push(diagnostic);
                }
                (_, _) => {
                    said.insert(diagnostic.clone(), now);
                    if before == 0 {
                        came.push(diagnostic);
                    }
                }
            }
        }
        (came, went)
    }
}
