//! ADS, state of the world and delta: a sans-IO session and a zero-copy transport. Knows nothing of Istio.
//!
//! A [`View`] is what a class of proxy is to hold. A `Session` is the protocol of one stream: requests and views go in,
//! responses come out when they are asked for, so that a slow proxy costs its own stream only and always gets the newest
//! state.

pub mod client;
mod identities;
mod resource;
mod session;
mod transport;
mod view;

pub use identities::Identities;
pub use resource::{Kind, Liveness, Part, Resource, Version};
pub use session::{Accused, Ask, Event, Mode, Request, Response, Session};
pub use transport::{AdsService, Arrival, Backend, Connect, MAX_REQUEST, StreamId, Subscription};
pub use view::{Half, Resources, View};
