//! Any configuration file is understood or refused with reasons: no panic, no hang (`-timeout`), no memory without
//! bound (`-rss_limit_mb`).
//!
//! The input is `app-config.yaml`; what follows a NUL is a second file, laid over it and also there to be included as
//! `other.yaml`.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use callboard::config::{Environment, Sources, read};
use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

/// In memory where there is such a place: each input writes two files.
static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.unwrap()
});

fuzz_target!(|input: &[u8]| {
    // What names a file anywhere else would make the outcome depend on this machine.
    if input.windows(2).any(|pair| pair == b"..") || input.windows(5).any(|five| five == b"/proc" || five == b"/dev/") {
        return;
    }
    let mut parts = input.splitn(2, |&byte| byte == 0);
    let files = ["app-config.yaml", "other.yaml"].map(|name| FOLDER.path().join(name));
    for file in &files {
        std::fs::write(file, parts.next().unwrap_or_default()).unwrap();
    }
    let variables = [("SECRET", "hunter2"), ("PORT", "7008"), ("APP_CONFIG_callboard_auth_users", "true")];
    let sources = Sources {
        files: files.to_vec(),
        environment: Environment {
            variables: BTreeMap::from(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))),
            directory: FOLDER.path().to_owned(),
        },
    };
    match read(&sources) {
        Ok(configuration) => {
            let effective = &configuration.effective;
            for origins in [false, true] {
                let json = effective.to_json(origins);
                assert!(json.is_object() && !effective.to_yaml(origins).is_empty());
            }
            for key in effective.keys() {
                // A setting that nobody has set and that has no default has no value, and so comes from nowhere.
                assert!(effective.get(key).is_none() || effective.origin(key).is_some(), "{key}");
            }
            let _ = format!("{:?} {:?}", configuration.resolved, configuration.warnings);
        }
        Err(problems) => assert!(!problems.is_empty() && !problems.to_string().is_empty()),
    }
});
