//! Plays cases in a running mesh, one after the other.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use model::Severity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cases::check::check;
use crate::cases::format::{Case, CaseError};
use crate::inside::{HOME, folder};
use crate::kube::{replace, text};
use crate::mesh::{Mesh, MeshError, Options};
use crate::progress::{AFTERGLOW, Wanted, marker};
use crate::read::{self, Reading};

/// How a case went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The case.
    pub case: String,
    /// What is wrong, a line each; empty: it passed with its Istio objects and failed without.
    pub problems: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// Plays all cases of a world.
///
/// # Errors
/// A case cannot be read, or the mesh does not start or breaks.
pub async fn run(
    world: &Path,
    cases: &[PathBuf],
    options: &Options,
) -> Result<Vec<Verdict>, RunError> {
    let cases = cases
        .iter()
        .map(|path| Case::read(path))
        .collect::<Result<Vec<_>, _>>()?;
    let mut stage = Stage::set(world, options).await?;
    let mut verdicts = Vec::new();
    for case in &cases {
        let start = Instant::now();
        let problems = stage.play(case).await?;
        let seconds = start.elapsed().as_secs_f64();
        let say = if problems.is_empty() { "ok" } else { "FAILED" };
        eprintln!("{say} {} ({seconds:.1} s)", case.name);
        for problem in &problems {
            eprintln!("   {problem}");
        }
        verdicts.push(Verdict {
            case: case.name.clone(),
            problems,
            seconds,
        });
    }
    Ok(verdicts)
}

/// Why cases cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A case cannot be read.
    #[error(transparent)]
    Case(#[from] CaseError),
    /// The mesh does not start or breaks.
    #[error(transparent)]
    Mesh(#[from] MeshError),
    /// The stage's folder cannot be used.
    #[error("the stage's folder: {0}")]
    Io(#[from] io::Error),
}

/// A mesh of a world, and the folder that its control plane watches.
struct Stage {
    dir: PathBuf,
    reading: Reading,
    mesh: Mesh,
    generation: u64,
}

/// The marker of the stage's folder.
const MARKER: &str = "stage";

impl Stage {
    async fn set(world: &Path, options: &Options) -> Result<Self, RunError> {
        let dir = Path::new(HOME).join("stage");
        folder(&dir, 0o755)?;
        let mut documents = Vec::new();
        for file in read::files(world)? {
            documents.extend(read::documents(&fs::read_to_string(file)?));
        }
        replace(&dir.join("world.yaml"), &text(&documents))?;
        let reading = read::read(&dir)?;
        let mesh = Mesh::start(&reading.folder, std::slice::from_ref(&dir), options).await?;
        Ok(Self {
            dir,
            reading,
            mesh,
            generation: 0,
        })
    }

    /// Shows these objects beside the world's, and waits until every proxy has them; why some do not.
    async fn show(&mut self, documents: &[&[Value]]) -> Result<Option<String>, RunError> {
        self.generation += 1;
        let marker = marker(MARKER, self.generation);
        let all = documents
            .iter()
            .flat_map(|documents| documents.iter())
            .chain([&marker]);
        replace(&self.dir.join("case.yaml"), &text(all))?;
        let now = read::read(&self.dir)?;
        let before = std::mem::replace(&mut self.reading, now);
        if before.folder != self.reading.folder {
            self.mesh.update(&self.reading.folder).await?;
        }
        let markers = [(MARKER.to_owned(), self.generation)].into();
        match self
            .mesh
            .applied(Wanted {
                markers,
                after: None,
            })
            .await
        {
            Ok(_) => Ok(None),
            Err(error) => Ok(Some(error.to_string())),
        }
    }

    async fn play(&mut self, case: &Case) -> Result<Vec<String>, RunError> {
        let mut problems = Vec::from_iter(self.show(&[&case.others, &case.istio]).await?);
        problems.extend(self.unlike(&case.rejected));
        problems.extend(self.passes(case).await?);
        problems.extend(self.show(&[&case.others]).await?);
        if problems.is_empty() && !self.fails(case).await? {
            problems.push("it passes without its Istio objects too".to_owned());
        }
        problems.extend(self.show(&[]).await?);
        Ok(problems)
    }

    /// The errors of objects that should be good, and the objects that should be rejected and have no error.
    fn unlike(&self, rejected: &BTreeSet<String>) -> Vec<String> {
        let mut good = rejected.clone();
        let mut problems = Vec::new();
        let said = self.reading.diagnostics.iter();
        for error in said.filter(|d| d.severity == Severity::Error) {
            let object = error.object.as_ref().map(ToString::to_string);
            match object.filter(|object| rejected.contains(object)) {
                Some(object) => drop(good.remove(&object)),
                None => problems.push(error.to_string()),
            }
        }
        problems.extend(
            good.iter()
                .map(|object| format!("{object} is not rejected")),
        );
        problems
    }

    /// What is not as the case says, at last.
    async fn passes(&self, case: &Case) -> Result<Vec<String>, RunError> {
        let until = Instant::now() + AFTERGLOW;
        let mut problems = Vec::new();
        for (number, call) in (1..).zip(&case.calls) {
            let mut wrong = check(&self.mesh, call, true).await?;
            // Who waits for a log that the listener of before wrote has waited longer than the afterglow lasts.
            let mut once_more = true;
            while !wrong.is_empty() && (Instant::now() < until || once_more) {
                once_more = false;
                wrong = check(&self.mesh, call, true).await?;
            }
            let (from, url) = (&call.from, &call.url);
            problems.extend(
                wrong
                    .into_iter()
                    .map(|what| format!("call {number}, {from} -> {url}: {what}")),
            );
        }
        Ok(problems)
    }

    /// Whether some call comes out otherwise than the case says, twice.
    async fn fails(&self, case: &Case) -> Result<bool, RunError> {
        let until = Instant::now() + AFTERGLOW;
        loop {
            for call in &case.calls {
                let twice = !check(&self.mesh, call, false).await?.is_empty()
                    && !check(&self.mesh, call, false).await?.is_empty();
                if twice {
                    return Ok(true);
                }
            }
            if Instant::now() > until {
                return Ok(false);
            }
        }
    }
}
