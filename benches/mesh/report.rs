//! The figures as a table for people or as one object for programs: medians over the rounds, the ratio being the median
//! of each round's ratio.

use std::time::Duration;

use serde_json::{Value, json};

use crate::args::{Arguments, Output};
use crate::machine::Cores;
use crate::rounds::{Figures, Round, Row, Run};

/// What the hardware of PERFORMANCE figures needs at least, in nanoseconds: a small message with its acknowledgement, a
/// byte of plaintext, a new connection, a connection that resumes. Other machines differ; so the distance to the limit
/// compares rows, not machines.
const MESSAGE: f64 = 14_000.0;
const BYTE: f64 = 0.48;
const CONNECTION: f64 = 140_000.0;
const RESUMPTION: f64 = 300_000.0;

/// A row's figures over all rounds.
struct Line {
    row: Row,
    lateend: Side,
    floor: Side,
    receivers: f64,
    messages: f64,
    megabytes: f64,
    sharing: f64,
    limit: f64,
    cpu_ratio: f64,
    p99_ratio: f64,
}

/// The figures that both servers have.
struct Side {
    cpu: f64,
    p99: f64,
    peak: f64,
}

/// Prints the rounds on stdout.
pub fn print(arguments: &Arguments, cores: &Cores, rounds: &[Round]) {
    let lines: Vec<Line> = Row::ALL.into_iter().map(|row| line(row, rounds)).collect();
    match arguments.output {
        Output::Table => table(arguments, *cores, rounds, &lines),
        Output::Json => println!("{}", object(arguments, *cores, rounds, &lines)),
    }
}

fn line(row: Row, rounds: &[Round]) -> Line {
    let figures = |run: &Run| run.rows.get(&row).cloned().unwrap_or_default();
    let lateend: Vec<Figures> = rounds.iter().map(|round| figures(&round.lateend)).collect();
    let floor: Vec<Figures> = rounds.iter().map(|round| figures(&round.floor)).collect();
    let ratio = |of: fn(&Figures) -> f64| {
        median(
            lateend
                .iter()
                .zip(&floor)
                .map(|(lateend, floor)| of(lateend) / of(floor).max(f64::MIN_POSITIVE)),
        )
    };
    let over = |of: fn(&Figures) -> f64| median(lateend.iter().map(of));
    Line {
        row,
        receivers: over(|figures| count(figures.receivers)),
        messages: over(|figures| float(figures.messages)),
        megabytes: over(|figures| float(figures.bytes) / 1e6),
        sharing: over(|figures| float(figures.bytes) / float(figures.distinct.max(1))),
        limit: median(
            lateend
                .iter()
                .map(|figures| figures.cpu.as_secs_f64() / limit(row, figures)),
        ),
        cpu_ratio: ratio(|figures| figures.cpu.as_secs_f64()),
        p99_ratio: ratio(|figures| figures.p99.as_secs_f64()),
        lateend: side(&lateend),
        floor: side(&floor),
    }
}

fn side(figures: &[Figures]) -> Side {
    Side {
        cpu: median(figures.iter().map(|figures| figures.cpu.as_secs_f64())),
        p99: median(
            figures
                .iter()
                .map(|figures| figures.p99.as_secs_f64() * 1e3),
        ),
        peak: median(figures.iter().map(|figures| float(figures.peak) / 1e6)),
    }
}

/// The least CPU seconds that a row can cost.
fn limit(row: Row, figures: &Figures) -> f64 {
    let receivers = match row {
        Row::Connect => count(figures.receivers) * CONNECTION,
        Row::Reconnect => count(figures.receivers) * RESUMPTION,
        Row::Endpoint | Row::Route | Row::DestinationRule | Row::Policy => {
            float(figures.messages) * MESSAGE
        }
    };
    (float(figures.bytes) * BYTE + receivers).max(1.0) / 1e9
}

fn table(arguments: &Arguments, cores: Cores, rounds: &[Round], lines: &[Line]) {
    let Arguments {
        services,
        sidecars,
        edits,
        ..
    } = arguments;
    let pinned = if cores.are_apart() {
        "server and sidecars on a core each"
    } else {
        "all on one core"
    };
    println!(
        "{services} services, {sidecars} sidecars, median of {} rounds, {edits} edits in each; {pinned}",
        rounds.len()
    );
    let start = |of: fn(&Run) -> Duration| {
        median(rounds.iter().map(|round| of(&round.lateend).as_secs_f64()))
    };
    println!(
        "lateend ready after {:.2} s and {:.2} CPU s\n",
        start(|run| run.start.0),
        start(|run| run.start.1)
    );
    println!(
        "                 |                     sent |            lateend             |             floor              | lateend / floor |"
    );
    println!(
        "row              |  to     MB  msgs sharing |    CPU s      p99 ms  peak MB  |    CPU s      p99 ms  peak MB  |    CPU      p99 | x limit"
    );
    println!(
        "-----------------|--------------------------|--------------------------------|--------------------------------|-----------------|--------"
    );
    for line in lines {
        let Line {
            row,
            lateend,
            floor,
            receivers,
            messages,
            megabytes,
            sharing,
            limit,
            cpu_ratio,
            p99_ratio,
        } = line;
        let side =
            |side: &Side| format!("{:>9.4} {:>11.1} {:>8.0}  ", side.cpu, side.p99, side.peak);
        println!(
            "{:<17}|{receivers:>4} {megabytes:>6.1} {messages:>5} {sharing:>7.1} |{}|{}|{cpu_ratio:>7.1} {p99_ratio:>8.1} |{limit:>7.1}",
            name(*row),
            side(lateend),
            side(floor),
        );
    }
    println!(
        "\nsharing: bytes sent / distinct bytes. x limit: CPU s of lateend / (bytes x 0.48 ns + messages x 14 us; for connect"
    );
    println!("0.14 ms and for reconnect 0.3 ms a connection instead of messages).");
}

fn object(arguments: &Arguments, cores: Cores, rounds: &[Round], lines: &[Line]) -> Value {
    let side =
        |side: &Side| json!({ "cpu_s": side.cpu, "p99_ms": side.p99, "peak_rss_mb": side.peak });
    let rows = lines.iter().map(|line| {
        json!({
            "row": name(line.row),
            "receivers": line.receivers,
            "messages": line.messages,
            "mb": line.megabytes,
            "sharing": line.sharing,
            "times_limit": line.limit,
            "lateend": side(&line.lateend),
            "floor": side(&line.floor),
            "cpu_ratio": line.cpu_ratio,
            "p99_ratio": line.p99_ratio,
        })
    });
    json!({
        "services": arguments.services,
        "sidecars": arguments.sidecars,
        "rounds": rounds.len(),
        "edits": arguments.edits,
        "cores_apart": cores.are_apart(),
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn name(row: Row) -> &'static str {
    match row {
        Row::Connect => "connect",
        Row::Endpoint => "endpoint",
        Row::Route => "route",
        Row::DestinationRule => "destination-rule",
        Row::Policy => "workload-policy",
        Row::Reconnect => "reconnect",
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = |offset: usize| {
        values
            .get((values.len() - offset.min(values.len())) / 2)
            .copied()
            .unwrap_or_default()
    };
    f64::midpoint(middle(0), middle(1))
}

/// Exact up to 2^53, which is more than is ever counted here.
#[allow(
    clippy::cast_precision_loss,
    reason = "figures are shown with a few digits"
)]
fn float(value: u64) -> f64 {
    value as f64
}

fn count(value: usize) -> f64 {
    u64::try_from(value).map_or(f64::INFINITY, float)
}
