//! The map of the rooms, held against the code: an import only ever points downward.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms from the ground up. A room may import what lies on a lower floor, and itself; never a room beside it.
const FLOORS: &[&[&str]] = &[
    &["breaker", "chain", "clock", "lately", "roused", "secret", "trust", "unhashed"],
    &["docs", "http"],
    &["telemetry"],
    &["auth", "limit", "redis", "storage"],
    &["cache"],
    &["events"],
    &["pipeline"],
    &["server"],
    &["admin"],
    &["sample"],
    &["config", "policy", "proof"],
    &["app"],
    &["cli"],
];

#[test]
fn imports_point_downward() {
    let floors: BTreeMap<&str, usize> =
        FLOORS.iter().enumerate().flat_map(|(floor, rooms)| rooms.iter().map(move |room| (*room, floor))).collect();
    let mut wrong = Vec::new();
    for file in sources() {
        let text = std::fs::read_to_string(&file).unwrap();
        let room = room_of(&file);
        if matches!(room.as_str(), "lib" | "main") {
            continue;
        }
        let floor = *floors.get(room.as_str()).unwrap_or_else(|| panic!("{room} has no floor: put it on the map"));
        for import in imports(&text) {
            let below = floors.get(import.as_str()).unwrap_or_else(|| panic!("{import} has no floor"));
            if import != room && *below >= floor {
                wrong.push(format!("{} imports {import}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_on_the_map_in_prose() {
    let prose = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    for room in FLOORS.iter().copied().flatten() {
        assert!(prose.contains(&format!("[`{room}`]")), "src/lib.rs does not tell of {room}");
    }
}

#[test]
fn nothing_in_the_program_can_write_to_storage() {
    // What object_store, cap-std or an SFTP client would need for it, and the methods of HTTP.
    let writers = [
        "put(",
        "put_opts(",
        "put_multipart",
        ".delete(",
        "delete_stream",
        ".copy(",
        ".rename(",
        "create_dir",
        "russh_sftp",
        "Method::PUT",
        "Method::DELETE",
        "Method::PATCH",
    ];
    for file in sources().into_iter().filter(|file| room_of(file) == "storage") {
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        for writer in writers {
            // This one asks an instance's metadata, which is no storage, for a token: AWS has that done with PUT.
            let asks_metadata = writer == "Method::PUT" && file.ends_with("src/storage/gcs/aws.rs");
            assert!(asks_metadata || !code.contains(writer), "{} holds {writer}", file.display());
        }
    }
}

#[test]
fn what_reads_over_sftp_sends_no_packet_that_it_does_not_know() {
    // Where this is said and passed on; what is put in stands in the room `proof`.
    let known = ["sftp/any_request.rs", "sftp/session.rs", "sftp/wire.rs"];
    for file in sources().into_iter().filter(|file| !known.iter().any(|known| file.ends_with(known))) {
        let text = std::fs::read_to_string(&file).unwrap();
        let is_named = text.contains("ask_anything") || text.contains("write_anything");
        assert!(!is_named, "{} may send anything", file.display());
        let is_in_sftp = file.components().any(|part| part.as_os_str() == "sftp") && room_of(&file) == "storage";
        let is_passed_on = file.ends_with("sftp/mod.rs");
        assert!(!is_in_sftp || is_passed_on || !text.contains("AnyRequest"), "{} may send anything", file.display());
    }
}

#[test]
fn only_the_proof_that_nothing_can_write_may_try_and_nothing_that_serves_can_reach_it() {
    // It tries to write so as to be refused, with clients that it gets from `storage::raw`.
    for file in sources() {
        let room = room_of(&file);
        let text = std::fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let groups = code.match_indices("storage::{").map(|(at, start)| members(&code[at + start.len()..]));
        let names_raw_clients = code.contains("storage::raw") || groups.flatten().any(|name| name == "raw");
        assert!(!names_raw_clients || room == "proof", "{} may name a client that could write", file.display());
        let reaches_proof = imports(code).iter().any(|import| import == "proof");
        assert!(!reaches_proof || matches!(room.as_str(), "app" | "cli" | "proof"), "{} names it", file.display());
    }
}

/// The rooms that a file names, as `crate::room` or in `crate::{room, other::Thing}`.
fn imports(text: &str) -> Vec<String> {
    let mut rooms = Vec::new();
    for (at, word) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':') {
            continue;
        }
        let rest = &text[at + word.len()..];
        match rest.strip_prefix('{') {
            Some(group) => rooms.extend(members(group)),
            None => rooms.push(name(rest)),
        }
    }
    rooms
}

/// The first names of a group's members, up to the brace that closes it.
fn members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut names = vec![name(group.trim_start())];
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn name(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

fn room_of(file: &Path) -> String {
    let inside = file.strip_prefix(root().join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<PathBuf> {
    let mut folders = vec![root().join("src")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 30);
    files
}
