//! What `lateend` sent to each sidecar, as the file from which the floor replays it.

use bytes::Bytes;

/// What `lateend` sent in a run.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Recording {
    /// The bytes, each distinct run of them once.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub chunks: Vec<Bytes>,
    /// The phases of the run.
    #[prost(message, repeated, tag = "2")]
    pub phases: Vec<Phase>,
}

impl Recording {
    /// How many sidecars there were.
    pub fn sidecars(&self) -> usize {
        self.phases.first().map_or(0, |phase| phase.scripts.len())
    }

    /// What a sidecar was sent in a phase.
    pub fn steps(&self, phase: usize, sidecar: usize) -> &[Step] {
        let phase = self.phases.get(phase);
        let script = phase.and_then(|phase| phase.scripts.get(sidecar));
        script.map_or(&[], |script| &script.steps)
    }

    /// The bytes of a message.
    pub fn bytes<'a>(&'a self, step: &'a Step) -> impl Iterator<Item = Bytes> + 'a {
        let numbers = step
            .chunks
            .iter()
            .filter_map(|number| usize::try_from(*number).ok());
        numbers.filter_map(|number| self.chunks.get(number).cloned())
    }
}

/// What was sent in a phase, by sidecar.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Phase {
    /// One script for each sidecar.
    #[prost(message, repeated, tag = "1")]
    pub scripts: Vec<Script>,
}

/// What one sidecar was sent.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Script {
    /// In this order.
    #[prost(message, repeated, tag = "1")]
    pub steps: Vec<Step>,
}

/// One message.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Step {
    /// How many subscriptions the sidecar had sent on its stream.
    #[prost(uint32, tag = "1")]
    pub after: u32,
    /// The message with its prefix, by the numbers of its chunks.
    #[prost(uint32, repeated, tag = "2")]
    pub chunks: Vec<u32>,
}
