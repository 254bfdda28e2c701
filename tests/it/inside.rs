//! Tests that drive a mesh of their own: each runs in a process of its own, in the lab's namespaces, where nothing of
//! this machine is touched and all ends with it.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use lab::inside::HOME;
use lab::kube::{replace, text};
use lab::mesh::{Mesh, Options};
use lab::progress::{Wanted, marker};
use lab::read;
use serde_json::Value;
use tokio::time::{interval, timeout};

use crate::mesh::{envoy, lateen};

/// Set in the process inside.
const INSIDE: &str = "LATEEN_TEST_INSIDE";

/// Runs `play` inside. `test` is the name by which this test program knows the calling test.
pub fn inside(test: &str, play: impl Future<Output = ()>) {
    inside_with(Path::new(&envoy()), test, play);
}

/// The same with another Envoy.
pub fn inside_with(envoy: &Path, test: &str, play: impl Future<Output = ()>) {
    if std::env::var_os(INSIDE).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        return runtime.block_on(play);
    }
    let done = lateen()
        .args(["lab-run", "--"])
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .env("ENVOY", envoy)
        .output()
        .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    print!("{}{}", said(&done.stdout), said(&done.stderr));
    assert!(done.status.success(), "{test}: {}", done.status);
    assert!(
        said(&done.stdout).contains("1 passed"),
        "there is no test {test}"
    );
}

/// The objects that builders have made.
#[macro_export]
macro_rules! objects {
    ($($builder:expr),* $(,)?) => { vec![$(testkit::Document::from($builder).0),*] };
}

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `what` is there, looking often.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let mut often = interval(Duration::from_millis(5));
    let found = async {
        loop {
            often.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    timeout(PATIENCE, found)
        .await
        .unwrap_or_else(|_| panic!("{what} did not come"))
}

/// The marker of the objects that change.
const MARKER: &str = "stage";

/// A mesh of objects that stay, all workloads among them, and of objects that change.
pub struct Stage {
    pub mesh: Mesh,
    generation: u64,
}

impl Stage {
    /// Starts a mesh of the objects that stay.
    pub async fn start(world: &[Value]) -> Self {
        let dir = Path::new(HOME).join("stage");
        std::fs::create_dir(&dir).unwrap();
        replace(&dir.join("world.yaml"), &text(world)).unwrap();
        let folder = read::read(&dir).unwrap().folder;
        let mesh = Mesh::start(&folder, &[dir], &Options::default())
            .await
            .unwrap();
        Self {
            mesh,
            generation: 0,
        }
    }

    /// Replaces all objects that change, in one step.
    pub fn write(&mut self, objects: &[Value]) {
        self.generation += 1;
        let marker = marker(MARKER, self.generation);
        let file = Path::new(HOME).join("stage").join("changing.yaml");
        replace(&file, &text(objects.iter().chain([&marker]))).unwrap();
    }

    /// Waits until every proxy has accepted what was written last.
    pub async fn applied(&self) {
        let wanted = Wanted {
            markers: [(MARKER.to_owned(), self.generation)].into(),
            after: None,
        };
        // A proxy that has not come back to a new control plane yet is not in its list.
        eventually("what was written", async || {
            let (proxies, _) = self.mesh.applied(wanted.clone()).await.unwrap();
            (proxies == self.mesh.proxies()).then_some(())
        })
        .await;
    }

    /// Replaces all objects that change, and waits until every proxy has accepted that.
    pub async fn show(&mut self, objects: &[Value]) {
        self.write(objects);
        self.applied().await;
    }
}

/// A Pod of a service account of its own choice, with an echo server on these ports.
pub fn workload(namespace: &str, name: &str, account: &str, ports: &[u16]) -> testkit::Pod {
    let pod = testkit::pod(name)
        .in_namespace(namespace)
        .running_as(account);
    ports
        .iter()
        .fold(pod.with("spec.containers[0].name", "app"), |pod, port| {
            pod.container_port(&format!("p{port}"), *port)
        })
}
