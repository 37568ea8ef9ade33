//! What the room's tests share: configuration files in a folder of their own.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::layers::{Loaded, Sources, load};
use super::{Configuration, Problems};

pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn sources(&self, files: &[&str], variables: &[(&str, &str)]) -> Sources {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Sources {
            files: files.iter().map(PathBuf::from).collect(),
            environment: Environment {
                variables,
                directory: self.path().to_owned(),
            },
        }
    }
}

/// One file, `app-config.yaml`, with this text.
pub(super) fn loaded(text: &str) -> Loaded {
    load(&Folder::new(&[("app-config.yaml", text)]).sources(&[], &[])).unwrap()
}

/// The same, understood.
pub(super) fn resolved(text: &str) -> Result<Configuration, Problems> {
    loaded(text).resolve()
}

/// The problems of a file, one text each; panics where there are none.
pub(super) fn problems(text: &str) -> Vec<String> {
    resolved(text)
        .expect_err("problems")
        .iter()
        .map(ToString::to_string)
        .collect()
}
