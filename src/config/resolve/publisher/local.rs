//! `local`: a folder.

use std::path::PathBuf;

use crate::config::formats::TEXT;
use crate::config::layers::Loaded;
use crate::config::reader::Reader;
use crate::storage::StoreOptions;

pub(super) fn read(reader: &mut Reader<'_>, loaded: &Loaded, section: &str) -> StoreOptions {
    let kind = section.strip_suffix(".local").unwrap_or(section);
    let otherwise = format!(
        " where {kind}.type is local, which it is unless set: write the folder that the sites are published to, or set the \
         type to awsS3"
    );
    let directory = reader.required(&format!("{section}.publishDirectory"), &TEXT, &otherwise);
    StoreOptions::Local { directory: directory.map_or(PathBuf::new(), |path| loaded.directory.join(path)) }
}
