//! What the ADS server asks: who may stream, what it gets, and what became of it.

use std::sync::Arc;
use std::time::SystemTime;

use ca::{Credentials, Reviewer};
use tonic::Status;
use xds::{Backend, Connect, Event, StreamId, Subscription};

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

    /// Settles who connects (SEC 37).
    async fn client(&self, first: Connect) -> Result<Client, Status> {
        let Connect {
            node,
            mode,
            extensions,
            metadata,
        } = first;
        let caller = match &self.reviewer {
            Some(reviewer) => {
                let credentials = Credentials::of(&metadata, &extensions);
                Some(reviewer.review(&credentials, SystemTime::now()).await?)
            }
            None => None,
        };
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

impl Backend for Discovery {
    async fn connect(&self, first: Connect) -> Result<Subscription, Status> {
        let peer = first
            .extensions
            .get::<tonic::transport::server::TcpConnectInfo>()
            .and_then(|info| info.remote_addr);
        let client = self.client(first).await.inspect_err(|status| {
            tracing::warn!(
                peer = peer.map(display),
                "a stream was refused: {:?}, {}",
                status.code(),
                status.message()
            );
        })?;
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
