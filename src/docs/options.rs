//! What the mapping runs on.

/// How URLs become storage keys.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `bucketRootPath`, without slashes at its ends; empty for the bucket's root.
    pub root_path: String,
    /// `techdocs.legacyUseCaseSensitiveTripletPaths`: keep the case of namespace, kind and name.
    pub case_sensitive_triplet: bool,
}
