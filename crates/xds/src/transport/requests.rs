//! The requests of a stream, decoded with a limit on their length. Their depth is limited by prost.

use std::pin::Pin;
use std::task::{Context, Poll};

use envoy_api::envoy::config::core::v3::Node;
use envoy_api::envoy::service::discovery::v3::DiscoveryRequest;
use futures::Stream as _;
use prost::Message;
use tonic::body::Body;
use tonic::codec::{Codec, Streaming};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::MAX_REQUEST;
use crate::session::DeltaRequest;
use crate::{Mode, Request};

/// A request and the node that it names.
pub(super) type Received = (Option<Node>, Request);

/// The requests of either variant.
pub(super) enum Requests {
    Sotw(Streaming<DiscoveryRequest>),
    Delta(Streaming<DeltaRequest>),
}

impl Requests {
    pub fn new(mode: Mode, body: Body) -> Self {
        match mode {
            Mode::Sotw => Self::Sotw(decode(body)),
            Mode::Delta => Self::Delta(decode(body)),
        }
    }

    /// The variant of the protocol.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Sotw(_) => Mode::Sotw,
            Self::Delta(_) => Mode::Delta,
        }
    }

    /// The next request with the node that it names. None at the end of the stream.
    pub fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Received, Status>>> {
        let next = match self {
            Self::Sotw(stream) => Pin::new(stream).poll_next(context).map_ok(|mut request| {
                let node = request.node.take();
                (node, request.into())
            }),
            Self::Delta(stream) => Pin::new(stream).poll_next(context).map_ok(|mut request| {
                let node = request.node.take();
                (node, request.into())
            }),
        };
        // a client that goes away resets its stream: that is an end like another
        next.map(|next| {
            next.filter(|item| {
                !item
                    .as_ref()
                    .is_err_and(|status| status.code() == Code::Cancelled)
            })
        })
    }
}

fn decode<M: Message + Default + Send + 'static>(body: Body) -> Streaming<M> {
    let decoder = ProstCodec::<M, M>::default().decoder();
    Streaming::new_request(decoder, body, None, Some(MAX_REQUEST))
}
