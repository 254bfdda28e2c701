//! What the ADS server asks: who may stream, what it gets, and what became of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::SystemTime;

use ca::{Caller, Credentials, Reviewer};
use tonic::Status;
use tonic::transport::server::TcpConnectInfo;
use xds::{Arrival, Backend, Connect, Event, StreamId, Subscription};

use crate::node::Node;
use crate::plane::{Client, Handle, Refused};

/// The streams of one port.
#[derive(Clone)]
pub struct Discovery {
    plane: Handle,
    /// Who says whose credentials are whose; none on the plaintext port, where everybody is whom it says.
    reviewer: Option<Arc<dyn Reviewer>>,
}

impl Discovery {
    /// Streams that are let in by `reviewer`; without one all are let in.
    #[must_use]
    pub fn new(plane: Handle, reviewer: Option<Arc<dyn Reviewer>>) -> Self {
        Self { plane, reviewer }
    }

    async fn review(&self, arrival: &Arrival) -> Result<Option<Caller>, Status> {
        let Some(reviewer) = &self.reviewer else {
            return Ok(None);
        };
        let credentials = Credentials::of(&arrival.metadata, &arrival.extensions);
        Ok(Some(
            reviewer.review(&credentials, SystemTime::now()).await?,
        ))
    }

    /// Settles who connects: the node must be who it says (SEC 37).
    fn client(first: Connect<Admitted>) -> Result<Client, Status> {
        let Connect {
            caller: Admitted { caller, peer: _ },
            node,
            mode,
        } = first;
        let node =
            Node::parse(&node).map_err(|invalid| Status::invalid_argument(invalid.to_string()))?;
        let info = match &caller {
            Some(caller) => node
                .of_caller(caller)
                .map_err(|denied| Status::permission_denied(denied.to_string()))?,
            None => node.unchecked(),
        };
        Ok(Client { node, info, mode })
    }
}

/// Who was let in, and from where.
pub struct Admitted {
    /// Whose credentials it has; none on the plaintext port.
    caller: Option<Caller>,
    peer: Option<SocketAddr>,
}

fn refused(peer: Option<SocketAddr>, status: &Status) {
    tracing::warn!(
        peer = peer.map(display),
        "a stream was refused: {:?}, {}",
        status.code(),
        status.message()
    );
}

impl Backend for Discovery {
    type Caller = Admitted;

    async fn admit(&self, arrival: Arrival) -> Result<Admitted, Status> {
        let info = arrival.extensions.get::<TcpConnectInfo>();
        let peer = info.and_then(|info| info.remote_addr);
        let reviewed = self.review(&arrival).await;
        let caller = reviewed.inspect_err(|status| refused(peer, status))?;
        Ok(Admitted { caller, peer })
    }

    async fn connect(&self, first: Connect<Admitted>) -> Result<Subscription, Status> {
        let peer = first.caller.peer;
        let client = Self::client(first).inspect_err(|status| refused(peer, status))?;
        let proxy = client.node.proxy_id();
        let Some((stream, views)) = self.plane.connect(client).await else {
            return Err(Status::unavailable(
                "the sources of config have not been read yet; try again",
            ));
        };
        tracing::info!(peer = peer.map(display), "{proxy} connected");
        Ok(Subscription { views, stream })
    }

    fn report(&self, id: StreamId, event: Event) {
        let shared = self.plane.shared();
        let Some(stream) = shared.streams.get(id) else {
            return;
        };
        if let Some(took) = stream.happened(&event) {
            shared.metrics.converged(took);
        }
        match event {
            Event::Sent {
                kind: Some(kind),
                bytes,
                ..
            } => shared.metrics.sent(kind, bytes),
            Event::Rejected {
                kind,
                message,
                accused,
                ..
            } => {
                shared.metrics.rejected(kind, &stream.node.proxy_id());
                self.plane.refused(Refused {
                    stream,
                    kind,
                    message,
                    accused,
                });
            }
            Event::Sent { kind: None, .. } | Event::Acked { .. } | Event::FullySynced { .. } => {}
        }
    }

    fn disconnected(&self, id: StreamId) {
        if let Some(stream) = self.plane.shared().streams.get(id) {
            tracing::info!("{} disconnected", stream.node.proxy_id());
        }
        self.plane.gone(id);
    }
}
