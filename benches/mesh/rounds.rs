//! The order of things: rounds of `lateend` and then the floor, each taken through the same rows by the same sidecars.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::Result;
use crate::args::Arguments;
use crate::ledger::Ledger;
use crate::machine::Cores;
use crate::server::Server;
use crate::sidecar::Sidecar;
use crate::world::{Edit, World};

/// What has not arrived by then is not going to.
const PATIENCE: Duration = Duration::from_secs(300);
/// A server is at rest when, for this long, no message came and it hardly used its core.
const REST: Duration = Duration::from_millis(300);
const HARDLY: u32 = 50;

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// All sidecars connect at once and have nothing.
    Connect,
    /// A service gets another endpoint.
    Endpoint,
    /// A VirtualService is edited.
    Route,
    /// A DestinationRule is edited.
    DestinationRule,
    /// The AuthorizationPolicy of one workload is edited.
    Policy,
    /// All sidecars connect at once and have everything.
    Reconnect,
}

impl Row {
    /// The rows in the order in which they are measured.
    pub const ALL: [Self; 6] = [
        Self::Connect,
        Self::Endpoint,
        Self::Route,
        Self::DestinationRule,
        Self::Policy,
        Self::Reconnect,
    ];

    fn edit(self) -> Option<Edit> {
        match self {
            Self::Endpoint => Some(Edit::Endpoint),
            Self::Route => Some(Edit::Route),
            Self::DestinationRule => Some(Edit::DestinationRule),
            Self::Policy => Some(Edit::Policy),
            Self::Connect | Self::Reconnect => None,
        }
    }
}

/// What a row cost: means over the edits of a round, but the p99 and the peak are of all of them.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// CPU time of the server.
    pub cpu: Duration,
    /// Bytes that the sidecars received.
    pub bytes: u64,
    /// The same, equal resources counted once.
    pub distinct: u64,
    /// Messages that they received.
    pub messages: u64,
    /// Connections that were reset and tried again.
    pub retries: u64,
    /// Sidecars that received anything.
    pub receivers: usize,
    /// From the change to its receipt by each sidecar.
    pub p99: Duration,
    /// The server's peak of resident memory in bytes.
    pub peak: u64,
}

/// The figures of one server in one round.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// How long the server took to be ready, and its CPU time until then.
    pub start: (Duration, Duration),
    /// By row.
    pub rows: BTreeMap<Row, Figures>,
}

/// Both servers.
#[derive(Clone, Debug, Default)]
pub struct Round {
    /// `lateend`.
    pub lateend: Run,
    /// The floor.
    pub floor: Run,
}

/// Runs all rounds.
pub async fn run(arguments: &Arguments, cores: &Cores) -> Result<Vec<Round>> {
    let mut rounds = Vec::new();
    for number in 1..=arguments.rounds {
        let place = tempfile::tempdir()?;
        let (folder, recording) = (place.path().join("mesh"), place.path().join("recording"));
        fs::create_dir(&folder)?;
        let world = World::write(&folder, arguments)?;
        eprintln!("round {number} of {}: lateend", arguments.rounds);
        let server = Server::lateend(&arguments.lateend, *cores, &folder, place.path()).await?;
        let mut bench = Bench::new(arguments, server, world, place.path(), true);
        let lateend = bench.run().await?;
        fs::write(&recording, bench.ledger.take_recording())?;
        let world = bench.stop().await?;
        eprintln!("round {number} of {}: floor", arguments.rounds);
        let server = Server::floor(*cores, &recording).await?;
        let mut bench = Bench::new(arguments, server, world, place.path(), false);
        let floor = bench.run().await?;
        bench.stop().await?;
        same_bytes(&lateend, &floor)?;
        rounds.push(Round { lateend, floor });
    }
    Ok(rounds)
}

/// The floor is one only if it sent the same to as many.
fn same_bytes(lateend: &Run, floor: &Run) -> Result<()> {
    for (row, sent) in &lateend.rows {
        let amount = |figures: &Figures| (figures.bytes, figures.messages, figures.receivers);
        let replayed = floor.rows.get(row).map(amount);
        if replayed != Some(amount(sent)) {
            return Err(format!(
                "{row:?}: lateend sent (bytes, messages, receivers) {:?} and the floor {replayed:?}",
                amount(sent)
            )
            .into());
        }
    }
    Ok(())
}

/// One server and its sidecars.
struct Bench<'a> {
    arguments: &'a Arguments,
    server: Server,
    world: World,
    beside: &'a Path,
    real: bool,
    ledger: Arc<Ledger>,
    sidecars: JoinSet<Result<Sidecar>>,
    stop: watch::Sender<bool>,
}

impl<'a> Bench<'a> {
    fn new(
        arguments: &'a Arguments,
        server: Server,
        world: World,
        beside: &'a Path,
        real: bool,
    ) -> Self {
        let ledger = Ledger::new(arguments.sidecars, real);
        Self {
            arguments,
            server,
            world,
            beside,
            real,
            ledger,
            sidecars: JoinSet::new(),
            stop: watch::Sender::new(false),
        }
    }

    async fn stop(self) -> Result<World> {
        self.server.stop().await?;
        Ok(self.world)
    }

    /// All rows.
    async fn run(&mut self) -> Result<Run> {
        let mut rows = BTreeMap::new();
        for row in Row::ALL {
            let figures = match row.edit() {
                Some(edit) => self.edits(edit).await?,
                None if row == Row::Connect => self.connect().await?,
                None => self.reconnect().await?,
            };
            progress(row, &figures);
            rows.insert(row, figures);
        }
        Ok(Run {
            start: self.server.start,
            rows,
        })
    }

    async fn connect(&mut self) -> Result<Figures> {
        let new = |number| Sidecar::new(number, self.world.node(number), Arc::clone(&self.ledger));
        let sidecars: Vec<Sidecar> = (0..self.arguments.sidecars).map(new).collect();
        let before = self.begin(sidecars.len(), None)?;
        self.spawn(sidecars);
        let mut delays = Vec::new();
        let figures = self.measured(before, &mut delays).await?;
        Ok(Figures {
            p99: p99(delays),
            ..figures
        })
    }

    async fn reconnect(&mut self) -> Result<Figures> {
        self.stop.send_replace(true);
        let mut sidecars = Vec::new();
        while let Some(sidecar) = self.sidecars.join_next().await {
            let mut sidecar = sidecar??;
            sidecar.check(self.arguments.services)?;
            sidecar.resume()?;
            sidecars.push(sidecar);
        }
        self.stop.send_replace(false);
        self.rest().await?;
        if !self.real {
            self.server.advance().await?;
        }
        let before = self.begin(sidecars.len(), None)?;
        self.spawn(sidecars);
        let mut delays = Vec::new();
        let figures = self.measured(before, &mut delays).await?;
        Ok(Figures {
            p99: p99(delays),
            ..figures
        })
    }

    async fn edits(&mut self, edit: Edit) -> Result<Figures> {
        let mut sum = Figures::default();
        let mut delays = Vec::new();
        for _ in 0..self.arguments.edits {
            let (written, place) = self.world.edit(edit, self.beside)?;
            let before = self.begin(self.world.concerned(edit), Some(World::seen_in(edit)))?;
            if self.real {
                fs::rename(&written, &place)?;
            } else {
                self.server.advance().await?;
            }
            let figures = self.measured(before, &mut delays).await?;
            sum.cpu += figures.cpu;
            sum.bytes += figures.bytes;
            sum.distinct += figures.distinct;
            sum.messages += figures.messages;
            sum.receivers = sum.receivers.max(figures.receivers);
            sum.peak = sum.peak.max(figures.peak);
        }
        let times = u64::try_from(self.arguments.edits)?;
        Ok(Figures {
            cpu: sum.cpu.div_f64(f64::from(u32::try_from(times)?)),
            bytes: sum.bytes / times,
            distinct: sum.distinct / times,
            messages: sum.messages / times,
            p99: p99(delays),
            ..sum
        })
    }

    fn spawn(&mut self, sidecars: Vec<Sidecar>) {
        for sidecar in sidecars {
            self.sidecars
                .spawn(sidecar.run(self.server.address, self.stop.subscribe()));
        }
    }

    /// Begins to measure; answers what the server has used until now.
    fn begin(&self, expected: usize, subject: Option<(xds::Kind, String)>) -> Result<Duration> {
        self.server.forget_peak();
        let before = self.server.cpu()?;
        self.ledger.begin(expected, subject);
        Ok(before)
    }

    /// Waits until the change is everywhere and the server is at rest, and adds up.
    async fn measured(&mut self, before: Duration, delays: &mut Vec<Duration>) -> Result<Figures> {
        let ledger = Arc::clone(&self.ledger);
        tokio::select! {
            arrived = timeout(PATIENCE, ledger.arrived()) => {
                arrived.map_err(|_| format!("{} sidecars still wait after {PATIENCE:?}", ledger.missing()))?;
            }
            Some(ended) = self.sidecars.join_next() => {
                return Err(ended?.err().unwrap_or_else(|| "a sidecar stopped".into()));
            }
        }
        self.rest().await?;
        let totals = self.ledger.finish();
        let figures = Figures {
            cpu: self.server.cpu()?.saturating_sub(before),
            bytes: totals.bytes,
            distinct: totals.distinct,
            messages: totals.messages,
            retries: totals.retries,
            receivers: totals.delays.len(),
            p99: Duration::ZERO,
            peak: self.server.peak()?,
        };
        delays.extend(totals.delays);
        Ok(figures)
    }

    /// Waits until the server is at rest.
    async fn rest(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let before = (self.ledger.messages(), self.server.cpu()?);
            sleep(REST).await;
            let now = (self.ledger.messages(), self.server.cpu()?);
            if now.0 == before.0 && now.1.saturating_sub(before.1) < REST / HARDLY {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                return Err("the server does not come to rest".into());
            }
        }
    }
}

fn progress(row: Row, figures: &Figures) {
    let Figures {
        cpu,
        bytes,
        messages,
        retries,
        receivers,
        p99,
        ..
    } = figures;
    eprint!(
        "  {row:?}: {cpu:.1?} CPU, {bytes} bytes in {messages} messages to {receivers} sidecars, p99 {p99:.1?}"
    );
    eprintln!(
        "{}",
        if *retries > 0 {
            format!("; {retries} connections were reset")
        } else {
            String::new()
        }
    );
}

/// The time within which 99 of 100 had it.
fn p99(mut delays: Vec<Duration>) -> Duration {
    delays.sort_unstable();
    let rank = (delays.len() * 99).div_ceil(100);
    delays
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}
