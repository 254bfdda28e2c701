//! Who stands behind a Service.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::ListParams;
use kube::{Api, Client};

/// The label by which a slice belongs to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// How many ready endpoints of a Service there are; those of the Pod `but` do not count.
///
/// # Errors
/// The API server's.
pub async fn ready_endpoints(
    client: &Client,
    namespace: &str,
    service: &str,
    but: Option<&str>,
) -> Result<usize, kube::Error> {
    let slices: Api<EndpointSlice> = Api::namespaced(client.clone(), namespace);
    let params = ListParams::default().labels(&format!("{SERVICE_NAME}={service}"));
    let slices = slices.list(&params).await?;
    let endpoints = slices.items.into_iter().flat_map(|slice| slice.endpoints);
    let counting = endpoints.filter(|endpoint| {
        let target = endpoint.target_ref.as_ref();
        let name = target.and_then(|target| target.name.as_deref());
        let ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready);
        (but.is_none() || name != but) && ready.unwrap_or(true)
    });
    Ok(counting.count())
}
