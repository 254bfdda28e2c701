//! When something that could not be written is tried again.

use std::time::Duration;

/// The wait after an attempt that failed.
const WAIT: Duration = Duration::from_millis(500);

/// Ends when it is time for another attempt; never if all is done.
pub async fn unless(is_done: bool) {
    if is_done {
        std::future::pending().await
    } else {
        tokio::time::sleep(WAIT).await
    }
}
