//! `techdocs.publisher`, and its like in `callboard.origins`: one file for each type.

mod aws;
pub(super) mod azure;
pub(super) mod gcs;
mod local;
mod s3;
mod sftp;
mod swift;

use crate::config::formats::TEXT;
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::config::unknown::nearest;
use crate::storage::StoreOptions;

/// Types of publisher: those of Backstage, and our `sftp`.
const TYPES: [&str; 6] = ["local", "awsS3", "googleGcs", "azureBlobStorage", "openStackSwift", "sftp"];

/// The store that the publisher described at `base` writes to, and the path in it under which the sites are.
pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, base: &str) -> (StoreOptions, String) {
    let type_key = format!("{base}.type");
    let kind = reader.or(&type_key, &TEXT, "local".to_owned());
    let section = format!("{base}.{kind}");
    let store = match kind.as_str() {
        "local" => local::read(reader, loaded, &section),
        // What is missing is told.
        "azureBlobStorage" => azure::read(reader, loaded, &section)
            .map_or(StoreOptions::Sample, |options| StoreOptions::Azure(Box::new(options))),
        "awsS3" => StoreOptions::S3(Box::new(s3::read(reader, loaded, &section))),
        "googleGcs" => StoreOptions::Gcs(Box::new(gcs::read(reader, loaded, &section))),
        "sftp" => StoreOptions::Sftp(Box::new(sftp::read(reader, loaded, &section))),
        "openStackSwift" => swift::read(reader, &section)
            // Whatever is missing is a problem already.
            .map_or(StoreOptions::Sample, |options| StoreOptions::Swift(Box::new(options))),
        other => {
            let meant = nearest(other, TYPES).map_or(String::new(), |near| format!(" (did you mean {near}?)"));
            let message = format!("{other:?} is no publisher type{meant}: write one of {}", TYPES.join(", "));
            reader.wrong(&type_key, message);
            return (StoreOptions::Sample, String::new());
        }
    };
    (store, root_path(reader, &format!("{section}.bucketRootPath")))
}

/// Without slashes at its ends or twice in a row, as upstream joins it (`normalizeExternalStorageRootPath`).
fn root_path(reader: &mut Reader<'_>, key: &str) -> String {
    let path = reader.optional(key, &TEXT).unwrap_or_default();
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.iter().any(|segment| matches!(*segment, "." | "..")) || path.contains(char::is_control) {
        reader.wrong(key, format!("{path:?} is no path of keys: write it without . and .. and control characters"));
    }
    segments.join("/")
}

#[cfg(test)]
mod tests;
