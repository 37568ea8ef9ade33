//! What the mapping runs on.

/// How URLs become storage keys.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Keep the case of namespace, kind and name: where some store's layout does
    /// (`techdocs.legacyUseCaseSensitiveTripletPaths`).
    pub case_sensitive_triplet: bool,
}
