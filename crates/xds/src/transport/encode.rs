//! A response as gRPC frames, byte for byte what prost would write, without copying what is large.
//!
//! The message's length is computed first, once. Then it is written piece by piece as the connection takes it: heads and
//! small bodies into a buffer, large bodies by reference.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::{Mode, Resource, Response, Version};

/// A body of at least this many bytes is passed on by reference; a smaller one costs less to copy than to frame.
const BY_REFERENCE: usize = 4096;
/// The buffer is passed on when it has this many bytes: what HTTP/2 sends in one frame.
const CHUNK: usize = 16 * 1024;
/// The buffer has room for this much: it is passed on only after the entry that fills it.
const ROOM: usize = CHUNK + BY_REFERENCE + 1024;

/// The length of gRPC's prefix: a flag and the message's length.
const PREFIX: usize = 5;

/// The field numbers of `DiscoveryResponse` and `DeltaDiscoveryResponse`.
mod field {
    pub const VERSION: u32 = 1;
    pub const RESOURCE: u32 = 2;
    pub const TYPE_URL: u32 = 4;
    pub const NONCE: u32 = 5;
    /// Delta only.
    pub const REMOVED: u32 = 6;
    pub const CONTROL_PLANE: (u32, u32) = (6, 7);
}

/// A response that is being written.
pub(super) struct Encoder {
    mode: Mode,
    response: Response,
    identifier: Arc<str>,
    /// The length of the message in bytes.
    length: usize,
    /// How much is still to be passed on through the buffer.
    left: usize,
    /// How many resources are written.
    written: usize,
    finished: bool,
    buffer: BytesMut,
    /// A large body whose turn is next, and its resource's place.
    large: Option<Bytes>,
}

impl Encoder {
    /// Begins to write a response.
    pub fn new(mode: Mode, response: Response, identifier: Arc<str>) -> Self {
        let mut encoder = Self {
            mode,
            response,
            identifier,
            length: 0,
            left: 0,
            written: 0,
            finished: false,
            buffer: BytesMut::new(),
            large: None,
        };
        let length = encoder.message_len();
        let large = encoder.response.resources.iter();
        let large = large.map(|resource| resource.encoded_len());
        let large: usize = large.filter(|body| *body >= BY_REFERENCE).sum();
        (encoder.length, encoder.left) = (length, PREFIX + length - large);
        encoder.buffer.reserve(ROOM.min(encoder.left));
        encoder.buffer.put_u8(0);
        encoder
            .buffer
            .put_u32(u32::try_from(length).unwrap_or(u32::MAX));
        let version = encoder.response.version;
        put_version(field::VERSION, version, &mut encoder.buffer);
        encoder
    }

    /// The length of the message in bytes.
    pub fn encoded_len(&self) -> usize {
        self.length
    }

    fn message_len(&self) -> usize {
        let response = &self.response;
        let resources: usize = response
            .resources
            .iter()
            .map(|resource| block_len(field::RESOURCE, self.entry_len(resource)))
            .sum();
        let removed: usize = response
            .removed
            .iter()
            .map(|name| element_len(field::REMOVED, name))
            .sum();
        version_len(field::VERSION)
            + resources
            + string_len(field::TYPE_URL, &response.type_url)
            + string_len(field::NONCE, &response.nonce)
            + removed
            + self.control_plane_len()
    }

    /// The next piece of the message, or none at its end.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        if let Some(large) = self.large.take() {
            self.finish_entry();
            return Some(large);
        }
        // What was passed on took its memory with it; to grow again from nothing would copy everything several times.
        self.buffer.reserve(ROOM.min(self.left));
        while self.buffer.len() < CHUNK && !self.finished {
            match self.response.resources.get(self.written).map(Arc::clone) {
                Some(resource) => self.put_entry(&resource),
                None => self.put_tail(),
            }
            if self.large.is_some() {
                break;
            }
        }
        let chunk = self.buffer.split().freeze();
        self.left = self.left.saturating_sub(chunk.len());
        (!chunk.is_empty()).then_some(chunk)
    }

    /// The length of a resource's entry: an Any, or a Resource around it.
    fn entry_len(&self, resource: &Resource) -> usize {
        let any = self.any_len(resource);
        match self.mode {
            Mode::Sotw => any,
            Mode::Delta => version_len(1) + block_len(2, any) + string_len(3, resource.name()),
        }
    }

    fn any_len(&self, resource: &Resource) -> usize {
        let value = match resource.encoded_len() {
            0 => 0,
            length => block_len(2, length),
        };
        string_len(1, &self.response.type_url) + value
    }

    fn put_entry(&mut self, resource: &Resource) {
        let (entry, any) = (self.entry_len(resource), self.any_len(resource));
        put_head(field::RESOURCE, entry, &mut self.buffer);
        if self.mode == Mode::Delta {
            put_version(1, resource.version(), &mut self.buffer);
            put_head(2, any, &mut self.buffer);
        }
        put_string(1, &self.response.type_url, &mut self.buffer);
        let body = resource.body();
        if !body.is_empty() {
            put_head(2, body.len(), &mut self.buffer);
        }
        if body.len() >= BY_REFERENCE {
            self.large = Some(body);
        } else {
            self.buffer.put_slice(&body);
            self.finish_entry();
        }
    }

    /// Writes what stands behind a resource's body.
    fn finish_entry(&mut self) {
        if let (Mode::Delta, Some(resource)) =
            (self.mode, self.response.resources.get(self.written))
        {
            put_string(3, resource.name(), &mut self.buffer);
        }
        self.written += 1;
    }

    fn put_tail(&mut self) {
        put_string(field::TYPE_URL, &self.response.type_url, &mut self.buffer);
        put_string(field::NONCE, &self.response.nonce, &mut self.buffer);
        for name in &self.response.removed {
            put_head(field::REMOVED, name.len(), &mut self.buffer);
            self.buffer.put_slice(name.as_bytes());
        }
        if !self.identifier.is_empty() {
            put_head(
                self.control_plane(),
                string_len(1, &self.identifier),
                &mut self.buffer,
            );
            put_string(1, &self.identifier, &mut self.buffer);
        }
        self.finished = true;
    }

    fn control_plane(&self) -> u32 {
        match self.mode {
            Mode::Sotw => field::CONTROL_PLANE.0,
            Mode::Delta => field::CONTROL_PLANE.1,
        }
    }

    fn control_plane_len(&self) -> usize {
        if self.identifier.is_empty() {
            return 0;
        }
        block_len(self.control_plane(), string_len(1, &self.identifier))
    }
}

/// The length of a length-delimited field.
fn block_len(tag: u32, length: usize) -> usize {
    key_len(tag) + encoded_len_varint(length as u64) + length
}

/// The length of an element of a repeated string, which is written even if it is empty.
fn element_len(tag: u32, text: &str) -> usize {
    block_len(tag, text.len())
}

/// The length of a string, which is left out if it is empty.
fn string_len(tag: u32, text: &str) -> usize {
    if text.is_empty() {
        0
    } else {
        block_len(tag, text.len())
    }
}

fn version_len(tag: u32) -> usize {
    block_len(tag, Version::LENGTH)
}

fn put_version(tag: u32, version: Version, buffer: &mut BytesMut) {
    put_head(tag, Version::LENGTH, buffer);
    buffer.put_slice(&version.hex());
}

fn put_head(tag: u32, length: usize, buffer: &mut BytesMut) {
    encode_key(tag, WireType::LengthDelimited, buffer);
    encode_varint(length as u64, buffer);
}

fn put_string(tag: u32, text: &str, buffer: &mut BytesMut) {
    if !text.is_empty() {
        put_head(tag, text.len(), buffer);
        buffer.put_slice(text.as_bytes());
    }
}
