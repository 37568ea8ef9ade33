//! (room)

/// What each room runs on.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The mapping.
    pub docs: crate::docs::Options,
    /// Who may read.
    pub auth: crate::auth::Options,
    /// Where the sites are.
    pub storage: crate::storage::Options,
    /// What is kept of them.
    pub cache: crate::cache::Options,
    /// The listeners.
    pub server: crate::server::Options,
    /// Response headers.
    pub pipeline: crate::pipeline::Options,
    /// Logs.
    pub telemetry: crate::telemetry::Options,
}
