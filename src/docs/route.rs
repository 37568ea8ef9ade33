//! From a request's path to a storage key, as `techdocs-backend` maps it (`@backstage/plugin-techdocs-node`,
//! `src/stages/publish/awsS3.ts` and `helpers.ts`), with the differences that its users need:
//!
//! 1. split on `/`, then percent-decode each segment once and fully: names may hold any character but a slash, a
//!    backslash and control characters;
//! 2. lower-case namespace, kind and name, unless the operator keeps their case;
//! 3. resolve `.` and `..`; what ends outside the entity's own folder is not found.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::storage_key::METADATA_FILE;
use super::{EntityRef, Options, StorageKey};

/// These routes stand at the root, and where Backstage plugins of these ids would be.
const PLUGINS: [&str; 2] = ["techdocs", "callboard"];

/// Where Backstage has its plugins.
const PLUGINS_BASE: &str = "/api/";

const STATIC: &str = "/static/docs/";
const METADATA: &str = "/metadata/techdocs/";

/// What a request's path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Which kind of answer.
    pub class: RouteClass,
    /// Which file it is made from.
    pub key: StorageKey,
}

/// The kinds of route that lead to storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteClass {
    /// A file of a site: `/static/docs/{namespace}/{kind}/{name}/{path}`.
    Static,
    /// A site's metadata: `/metadata/techdocs/{namespace}/{kind}/{name}`.
    Metadata,
}

impl RouteClass {
    /// The class that a path belongs to, whether or not it is well-formed behind its prefix.
    pub fn of(path: &str) -> Option<Self> {
        split_prefix(path).map(|(class, _)| class)
    }

    /// The word for it in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::Metadata => "metadata",
        }
    }
}

/// Maps paths to storage keys.
#[derive(Debug, Clone)]
pub struct Locator {
    options: Options,
}

impl Locator {
    /// A locator of sites that `options` describe.
    pub fn new(options: Options) -> Self {
        Self { options }
    }

    /// A key that no site has, to ask storage for when all that matters is whether it answers.
    pub fn probe(&self) -> StorageKey {
        let mut key = KeyBuilder::new(0);
        ["callboard", "probe", "absent"].into_iter().for_each(|part| key.push(part));
        key.end_entity();
        key.push(METADATA_FILE);
        StorageKey::new(key.text, key.entity_end)
    }

    /// The metadata of an entity's site; `None` where no URL leads to such a site.
    pub fn site(&self, entity: &EntityRef) -> Option<StorageKey> {
        self.metadata_of(entity.parts())
    }

    /// The metadata of the site that an object or a folder of this name belongs to, as seen from its store's root path;
    /// `None` where it belongs to no site or to one that no URL leads to.
    pub fn site_of(&self, stored: &str) -> Option<StorageKey> {
        let mut segments = stored.split('/');
        let parts = [segments.next()?, segments.next()?, segments.next()?];
        let site = self.metadata_of(parts)?;
        // Readers' names are made lower-case: what is stored under others is not found by them.
        site.site().split('/').eq(parts).then_some(site)
    }

    /// What the keys of all documents begin with that lie below `prefix`; all of them, where it is empty.
    pub fn prefix(&self, prefix: &str) -> String {
        let mut text = String::with_capacity(prefix.len());
        for (index, part) in prefix.trim_start_matches('/').split_inclusive('/').enumerate() {
            if index < 3 && !self.options.case_sensitive_triplet {
                text.push_str(&part.to_lowercase());
            } else {
                text.push_str(part);
            }
        }
        text
    }

    fn metadata_of(&self, parts: [&str; 3]) -> Option<StorageKey> {
        let mut key = KeyBuilder::new(0);
        for part in parts {
            key.push_name(plain(Cow::Borrowed(part))?, self.options.case_sensitive_triplet)?;
        }
        key.end_entity();
        key.push(METADATA_FILE);
        key.finish()
    }

    /// What `path` (of the request target, still percent-encoded, without its query) asks for; `None` where no file
    /// can be meant.
    pub fn locate(&self, path: &str) -> Option<Route> {
        let (class, rest) = split_prefix(path)?;
        if class == RouteClass::Static
            && let Some(entity_end) = names_its_key(rest)
        {
            return Some(Route { class, key: StorageKey::new(rest.to_owned(), entity_end) });
        }
        self.resolve(class, rest)
    }

    /// The long way: segment by segment.
    fn resolve(&self, class: RouteClass, rest: &str) -> Option<Route> {
        let mut segments = rest.split('/');
        let behind = if class == RouteClass::Metadata { 1 + METADATA_FILE.len() } else { 0 };
        let mut key = KeyBuilder::new(rest.len() + behind);
        for _ in 0..3 {
            key.push_entity_part(segments.next()?, self.options.case_sensitive_triplet)?;
        }
        key.end_entity();
        match class {
            RouteClass::Static => key.push_path(segments)?,
            RouteClass::Metadata if segments.next().is_some() => return None,
            RouteClass::Metadata => key.push(METADATA_FILE),
        }
        key.finish().map(|key| Route { class, key })
    }
}

/// Where the entity ends in a path that stands for itself, as nearly all do: plain characters, an entity in lower case,
/// nothing to be decoded or resolved. The long way leads to the same key.
fn names_its_key(path: &str) -> Option<usize> {
    let stands_for_itself = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'\\');
    // All at once, which compilers make one step of for many bytes.
    if !path.bytes().fold(true, |all, byte| all & stands_for_itself(byte)) {
        return None;
    }
    let mut slashes = path.bytes().enumerate().filter(|(_, byte)| *byte == b'/').map(|(at, _)| at);
    let entity_end = slashes.nth(2)?;
    let is_lower = path.get(..entity_end)?.bytes().fold(true, |all, byte| all & !byte.is_ascii_uppercase());
    // An empty segment or one of dots has its first byte after a slash, or at the start.
    let pairs = path.bytes().zip(path.bytes().skip(1));
    let has_doubtful =
        pairs.fold(false, |any, (byte, next)| any | ((byte == b'/') & ((next == b'/') | (next == b'.'))));
    let is_whole = !path.starts_with(['/', '.']) && !path.ends_with('/');
    (is_lower && is_whole && !has_doubtful).then_some(entity_end)
}

fn split_prefix(path: &str) -> Option<(RouteClass, &str)> {
    let inner = match path.strip_prefix(PLUGINS_BASE) {
        Some(plugin) => PLUGINS.iter().find_map(|id| plugin.strip_prefix(id))?,
        None => path,
    };
    let file = inner.strip_prefix(STATIC).map(|rest| (RouteClass::Static, rest));
    file.or_else(|| inner.strip_prefix(METADATA).map(|rest| (RouteClass::Metadata, rest)))
}

/// Grows a key segment by segment in one allocation.
struct KeyBuilder {
    text: String,
    entity_end: usize,
    /// The text up to `entity_end`, kept once a `..` has cut into it: the path must come back to it.
    home: Option<String>,
}

impl KeyBuilder {
    fn new(path_len: usize) -> Self {
        Self { text: String::with_capacity(path_len), entity_end: 0, home: None }
    }

    fn push_entity_part(&mut self, segment: &str, keep_case: bool) -> Option<()> {
        self.push_name(decode(segment)?, keep_case)
    }

    fn push_name(&mut self, part: Cow<'_, str>, keep_case: bool) -> Option<()> {
        if matches!(&*part, "" | "." | "..") {
            return None;
        }
        if keep_case || part.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
            self.push(&part);
        } else {
            self.push(&part.to_lowercase());
        }
        Some(())
    }

    fn end_entity(&mut self) {
        self.entity_end = self.text.len();
    }

    fn push_path<'a>(&mut self, segments: impl Iterator<Item = &'a str>) -> Option<()> {
        let mut names_a_file = false;
        for segment in segments {
            let name = decode(segment)?;
            // A path that ends in a slash or a dot segment names a folder, and folders have no pages of their own.
            names_a_file = !matches!(&*name, "" | "." | "..");
            match &*name {
                "" | "." => {}
                ".." => self.pop()?,
                name => self.push(name),
            }
        }
        names_a_file.then_some(())
    }

    fn push(&mut self, name: &str) {
        if !self.text.is_empty() {
            self.text.push('/');
        }
        self.text.push_str(name);
    }

    fn pop(&mut self) -> Option<()> {
        if self.text.len() <= self.entity_end && self.home.is_none() {
            self.home = Some(self.text.clone());
        }
        // Not above the root path either, wherever the rest would lead.
        if self.text.is_empty() {
            return None;
        }
        self.text.truncate(self.text.rfind('/').unwrap_or(0));
        Some(())
    }

    fn finish(self) -> Option<StorageKey> {
        let is_home = self.home.is_none_or(|home| self.text.starts_with(&home));
        let has_path = self.text.as_bytes().get(self.entity_end) == Some(&b'/');
        (is_home && has_path).then(|| StorageKey::new(self.text, self.entity_end))
    }
}

/// One segment, decoded once; `None` where it can't be part of a file's name.
fn decode(segment: &str) -> Option<Cow<'_, str>> {
    let name = if segment.contains('%') {
        if !escapes_are_whole(segment) {
            return None;
        }
        percent_decode_str(segment).decode_utf8().ok()?
    } else {
        Cow::Borrowed(segment)
    };
    plain(name)
}

/// A name, unless it can't be part of a file's.
fn plain(name: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let is_forbidden = |c: char| c == '/' || c == '\\' || c.is_control();
    // Byte by byte where each is a character, which is nearly always.
    let is_plain = if name.is_ascii() {
        name.bytes().all(|byte| !is_forbidden(char::from(byte)))
    } else {
        !name.contains(is_forbidden)
    };
    is_plain.then_some(name)
}

/// Whether every `%` is followed by two hex digits; the decoder would pass others through.
fn escapes_are_whole(segment: &str) -> bool {
    segment.split('%').skip(1).all(|rest| {
        let mut digits = rest.bytes();
        let mut digit = || digits.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        digit() && digit()
    })
}

#[cfg(test)]
mod tests;
