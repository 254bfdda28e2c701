//! Admission: what the API server asks before it stores an object. Injection adds the sidecar to a pod, validation
//! refuses config that cannot work.
