//! `lateen dev`: runs the mesh of a folder, lets its callers call, shows what comes of it, and follows edits.

pub mod edits;
pub mod screen;
pub mod tally;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use model::Kind;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::app::{Call, Command, Outcome};
use crate::control_plane::ControlPlaneError;
use crate::expect::Oracle;
use crate::folder::{CALLS, Workload};
use crate::mesh::{Mesh, MeshError, Options};
use crate::progress::{AFTERGLOW, Wanted};
use crate::read::{Reader, Reading};
use edits::changes;
use screen::Screen;
use tally::{Caller, Report, Tally};

/// What is asked of `lateen dev`.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The folder of YAML.
    pub dir: PathBuf,
    /// How long, counted from the first success; none: until it is told to end.
    pub time: Option<Duration>,
    /// Whether the report is printed as JSON.
    pub json: bool,
    /// When the command was started, in milliseconds since 1970.
    pub started: u64,
    /// How the mesh is started.
    pub options: Options,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its time was over; whether all was as the YAML says.
    Done(bool),
    /// It was told to end.
    Interrupted,
}

/// A caller calls once in this time: 2,000 calls in twenty seconds, with room to spare.
const PACE_MS: u64 = 8;
/// The first success must come in this time, or the run is over.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often the table is drawn, and how often a line is printed where there is no table.
const DRAW: Duration = Duration::from_millis(500);
const LINES: u32 = 10;

/// Runs the mesh of a folder until its time is over or it is told to end.
///
/// # Errors
/// The folder cannot be read, or a part of the mesh does not start.
pub async fn run(settings: Settings) -> Result<End, MeshError> {
    let mut signals = Signals::new().map_err(|error| MeshError::Io("signals".to_owned(), error))?;
    let mut screen = Screen::new(settings.json);
    // Watched before it is read: no edit falls between.
    let edits = sources::watch(vec![settings.dir.clone()]).map_err(|error| {
        MeshError::Io(settings.dir.display().to_string(), io::Error::other(error))
    })?;
    let started = tokio::select! {
        dev = start(&settings, &mut screen) => Some(dev),
        () = signals.wait() => None,
    };
    let mut dev = match started {
        Some(Ok(dev)) => dev,
        Some(Err(error)) => {
            print(&settings, &Report::of_nothing());
            return Err(error);
        }
        None => {
            print(&settings, &Report::of_nothing());
            return Ok(End::Interrupted);
        }
    };
    let interrupted = tokio::select! {
        () = dev.watch(edits, &mut screen) => false,
        () = signals.wait() => true,
    };
    let ok = dev.finish(&mut screen);
    Ok(if interrupted {
        End::Interrupted
    } else {
        End::Done(ok)
    })
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

fn print(settings: &Settings, report: &Report) {
    if settings.json {
        println!("{}", serde_json::to_string(report).unwrap_or_default());
    }
}

struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self(
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ))
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

async fn start<'a>(settings: &'a Settings, screen: &mut Screen) -> Result<Dev<'a>, MeshError> {
    let dir = &settings.dir;
    let unreadable = |error| MeshError::Io(dir.display().to_string(), error);
    let mut reader = Reader::open(dir).map_err(unreadable)?;
    let reading = reader.read().map_err(unreadable)?;
    let count = reading.folder.workloads.len();
    screen.say(&format!("starting {count} workloads of {}", dir.display()));
    let folders = std::slice::from_ref(dir);
    let mesh = Mesh::start(&reading.folder, folders, &settings.options).await?;
    let mut dev = Dev::new(settings, mesh, reader, reading);
    dev.show_problems(screen);
    dev.settle(Wanted::default()).await?;
    dev.call().await?;
    Ok(dev)
}

/// A run of the dev mesh.
struct Dev<'a> {
    settings: &'a Settings,
    mesh: Mesh,
    reader: Reader,
    reading: Reading,
    tally: Tally,
    tasks: BTreeMap<String, (String, JoinHandle<()>)>,
    send: mpsc::Sender<(String, Outcome)>,
    outcomes: mpsc::Receiver<(String, Outcome)>,
    began: Instant,
    first_success: Option<(Instant, f64)>,
    /// The control plane's state that every proxy has.
    epoch: u64,
    /// Calls that began earlier, in microseconds since 1970, may still meet what was before the last edit.
    settled: u64,
}

impl<'a> Dev<'a> {
    fn new(settings: &'a Settings, mesh: Mesh, reader: Reader, reading: Reading) -> Self {
        let (send, outcomes) = mpsc::channel(256);
        Self {
            settings,
            mesh,
            reader,
            reading,
            tally: Tally::default(),
            tasks: BTreeMap::new(),
            send,
            outcomes,
            began: Instant::now(),
            first_success: None,
            epoch: 0,
            settled: 0,
        }
    }

    /// Counts calls, follows edits and shows both until the time is over.
    async fn watch(&mut self, mut edits: mpsc::Receiver<()>, screen: &mut Screen) {
        let mut ticks = interval(DRAW);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut tick = 0;
        loop {
            let deadline = self.deadline();
            tokio::select! {
                Some((key, outcome)) = self.outcomes.recv() => self.count(&key, &outcome, screen),
                _ = edits.recv() => {
                    if let Err(error) = self.edit(screen).await {
                        screen.say(&error.to_string());
                    }
                }
                _ = ticks.tick() => {
                    tick += 1;
                    self.show(screen, tick);
                }
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => return,
            }
        }
    }

    /// When the run is over; none: never by itself.
    fn deadline(&self) -> Option<Instant> {
        match (self.settings.time, self.first_success) {
            (Some(time), Some((first, _))) => Some(first + time),
            (Some(_), None) => Some(self.began + PATIENCE),
            (None, _) => None,
        }
    }

    fn callers(&self) -> Vec<(String, String, Workload)> {
        let workloads = self.reading.folder.workloads.iter();
        workloads
            .filter_map(|(key, workload)| {
                Some((
                    key.clone(),
                    workload.annotations.get(CALLS)?.clone(),
                    workload.clone(),
                ))
            })
            .collect()
    }

    /// Lets those call who should, stops the others, and derives anew what must come of it.
    async fn call(&mut self) -> Result<(), MeshError> {
        let callers = self.callers();
        self.tasks.retain(|key, (url, task)| {
            let stays = callers.iter().any(|(k, u, _)| k == key && u == url) && !task.is_finished();
            if !stays {
                task.abort();
            }
            stays
        });
        let oracle = Oracle::new(&self.reading);
        let tallied = callers.iter().map(|(key, url, workload)| {
            let expectation = oracle.expect(workload, url);
            (
                key.clone(),
                Caller::new(url.clone(), expectation, workload.is_injected()),
            )
        });
        self.tally.callers = tallied.collect();
        for (key, url, _) in callers {
            if !self.tasks.contains_key(&key) {
                let load = Command::Load {
                    call: Call::get(&url),
                    every_ms: PACE_MS,
                };
                let mut outcomes = self.mesh.tell(&key, &load).await?;
                let (name, send) = (key.clone(), self.send.clone());
                let task = tokio::spawn(async move {
                    while let Ok(Some(outcome)) = outcomes.next().await {
                        if send.send((name.clone(), outcome)).await.is_err() {
                            return;
                        }
                    }
                });
                self.tasks.insert(key, (url, task));
            }
        }
        Ok(())
    }

    fn count(&mut self, key: &str, outcome: &Outcome, screen: &mut Screen) {
        let settling = outcome.began < self.settled;
        let answered = self.tally.count(key, outcome, settling);
        if answered && self.first_success.is_none() {
            let since = since_1970().saturating_sub(Duration::from_millis(self.settings.started));
            let seconds = since.as_secs_f64();
            self.first_success = Some((Instant::now(), seconds));
            if !screen.is_live() {
                screen.say(&format!("first success {seconds:.1} s after the start"));
            }
        }
    }

    /// Takes an edit in: says what changed, and when every proxy had it.
    async fn edit(&mut self, screen: &mut Screen) -> Result<(), MeshError> {
        // A folder that is being replaced is read when it is there again.
        let Ok(now) = self.reader.read() else {
            return Ok(());
        };
        let changes = changes(&self.reading, &now);
        let start = Instant::now();
        let before = std::mem::replace(&mut self.reading, now);
        self.show_problems(screen);
        if changes.is_empty() {
            return Ok(());
        }
        for change in &changes {
            screen.say(&change.to_string());
        }
        // Of injected Pods and the MeshConfig the mesh's own copies count.
        let shown = changes
            .iter()
            .any(|change| !matches!(change.key.kind, Kind::Pod | Kind::MeshConfig));
        let after = shown.then_some(self.epoch);
        if before.folder != self.reading.folder {
            self.mesh.update(&self.reading.folder).await?;
        }
        match self
            .settle(Wanted {
                after,
                ..Wanted::default()
            })
            .await
        {
            Ok(proxies) => screen.say(&format!(
                "all {proxies} proxies have it after {} ms",
                start.elapsed().as_millis()
            )),
            Err(error) => screen.say(&format!("not every proxy has it: {error}")),
        }
        let settled = (since_1970() + AFTERGLOW).as_micros();
        self.settled = u64::try_from(settled).unwrap_or(u64::MAX);
        self.call().await
    }

    /// Waits until every proxy has the changes; until then old answers are right too.
    async fn settle(&mut self, wanted: Wanted) -> Result<usize, ControlPlaneError> {
        let Self {
            mesh,
            tally,
            outcomes,
            epoch,
            ..
        } = self;
        let mut applied = pin!(mesh.applied(wanted));
        loop {
            tokio::select! {
                result = &mut applied => {
                    let (proxies, now) = result?;
                    *epoch = now;
                    return Ok(proxies);
                }
                Some((key, outcome)) = outcomes.recv() => {
                    tally.count(&key, &outcome, true);
                }
            }
        }
    }

    /// What the control plane would tell the author of the YAML.
    fn show_problems(&self, screen: &mut Screen) {
        for diagnostic in &self.reading.diagnostics {
            screen.say(&diagnostic.to_string());
        }
    }

    /// The files that may be edited, by their names in the folder.
    fn files(&self) -> String {
        let dir = &self.settings.dir;
        let mut text = format!("{}:", dir.display());
        for file in crate::read::files(dir).unwrap_or_default() {
            let name = file.strip_prefix(dir).unwrap_or(&file);
            text.push_str(&format!(" {}", name.display()));
        }
        text
    }

    fn show(&self, screen: &mut Screen, tick: u32) {
        let seconds = self.began.elapsed().as_secs();
        if screen.is_live() {
            let head = format!(
                "lateen dev   {} proxies   first success after {:.1} s   {seconds} s   Ctrl-C ends it",
                self.mesh.proxies(),
                self.first_success.map_or(0.0, |(_, seconds)| seconds),
            );
            screen.draw(&self.tally, &head, &self.files());
        } else if tick.is_multiple_of(LINES) {
            screen.say(&format!("{seconds} s: {}", self.tally.summary()));
        }
    }

    fn finish(&self, screen: &mut Screen) -> bool {
        let first = self.first_success.map(|(_, seconds)| seconds);
        let report: Report = self.tally.report(first, self.mesh.proxies());
        screen.say(&self.tally.summary());
        for (key, caller) in &self.tally.callers {
            if let Some(surprise) = &caller.surprise {
                screen.say(&format!("{key} -> {}: {surprise}", caller.url));
            }
            if !caller.is_spread() {
                screen.say(&format!(
                    "{key} -> {}: not spread as the weights say",
                    caller.url
                ));
            }
        }
        print(self.settings, &report);
        if !self.settings.json {
            screen.say(if report.ok {
                "the mesh does what the YAML says"
            } else {
                "the mesh does NOT do what the YAML says"
            });
        }
        report.ok
    }
}
