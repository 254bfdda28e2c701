//! One object that is followed: its newest version.

use kube::Client;
use kube::core::ApiResource;
use serde_json::Value;
use tokio::sync::watch;

use super::follow::{Follower, Seen, Sink};
use super::health::Health;
use crate::resources::Only;

/// Follows an object until nobody listens. None while it does not exist, and until it has been asked for.
pub fn follow(
    client: &Client,
    health: &Health,
    resource: ApiResource,
    only: Only,
) -> watch::Receiver<Option<Value>> {
    let (latest, seen) = watch::channel(None);
    let watch = health.watch(format!("{}/{}", resource.plural, only.name));
    let follower = Follower::new(client, resource, Some(only), watch);
    tokio::spawn(follower.run(Latest {
        latest,
        listed: None,
    }));
    seen
}

struct Latest {
    latest: watch::Sender<Option<Value>>,
    listed: Option<Value>,
}

impl Sink for Latest {
    fn take(&mut self, seen: Seen) -> bool {
        let now = match seen {
            Seen::Begin => {
                self.listed = None;
                return true;
            }
            Seen::Listed(raw) => {
                self.listed = Some(raw.value);
                return true;
            }
            Seen::Complete => self.listed.take(),
            Seen::Applied(raw) => Some(raw.value),
            Seen::Deleted(_) | Seen::Absent => None,
        };
        self.latest.send_replace(now);
        !self.latest.is_closed()
    }
}
