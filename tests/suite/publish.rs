//! A site is published again while many read it from several replicas: the new version shows in time and everywhere, and
//! no answer is made of two.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, HeaderName, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE};
use reqwest::{Client, Method, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::support::redis::Redis;
use crate::support::servers::Server;
use crate::support::{Callboard, SITE, Told, load, until};

const ENTITY: &str = "default/component/shop";

const PUBLISH_CHECK: Duration = Duration::from_secs(2);

/// What the promise grants beyond that, until no reader sees an old page any more.
const GRACE: Duration = Duration::from_secs(2);

/// For how long one reader may see the old version of a page after another has seen the new one.
const DISAGREEMENT: Duration = Duration::from_secs(1);

/// Of each replica. The S3 is written in Python, and shares the processor with all the others.
const READERS: usize = 6;

/// Between two requests of a reader.
const PAUSE: Duration = Duration::from_millis(10);

/// Larger than what is kept, so that it is streamed through, and uploaded in parts.
const FILM: (&str, usize) = ("film.mp4", 9 << 20);

/// What a published folder holds, by path.
type Site = BTreeMap<String, Bytes>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Version {
    Old,
    New,
}

/// How a reader asks.
#[derive(Debug, Clone, Copy)]
enum How {
    Get,
    Head,
    /// With the tag that was seen last.
    IfNoneMatch,
    Range,
    /// A range of the version that was seen last, or all of another.
    IfRange,
}

const WAYS: [How; 5] = [How::Get, How::Head, How::IfNoneMatch, How::Range, How::IfRange];

/// An answer.
#[derive(Debug)]
struct Seen {
    replica: usize,
    file: String,
    how: How,
    status: u16,
    /// When its last byte came.
    at: Instant,
    /// As its status, its length, its range and every byte of its body agree on; none where it only says that nothing
    /// has changed.
    version: Option<Version>,
    etag: Option<String>,
    modified: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_under_load_shows_in_time_and_everywhere_and_is_never_mixed() {
    publish_under_load(false).await;
}

/// Who reads a part of a large object finds out at once that it is another by now, so that this is no test of looking.
#[tokio::test(flavor = "multi_thread")]
async fn nor_is_what_is_streamed_through_while_its_site_is_published() {
    publish_under_load(true).await;
}

async fn publish_under_load(with_film: bool) {
    let _turn = load::turn().await;
    let s3 = Server::s3().await;
    let (built, folders) = (PathBuf::from(s3.said("/small/site_dir")), TempDir::new().unwrap());
    let (old, new) = (folders.path().join("old"), folders.path().join("new"));
    let sites = Arc::new([make(&built, &old, Version::Old, with_film), make(&built, &new, Version::New, with_film)]);
    s3.publish(&old, ENTITY).await;

    let redis = Redis::plain();
    let replicas = [replica(&s3, &redis).await, replica(&s3, &redis).await, replica(&s3, &redis).await];
    // Pages that were published just now are looked at again and again. What is promised is about those that weren't.
    for callboard in &replicas {
        for file in sites[0].keys().filter(|file| *file != FILM.0) {
            until(async || is_held_for_long(callboard, file).await).await;
        }
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let mut readers = JoinSet::new();
    for (number, callboard) in replicas.iter().enumerate() {
        for first in 0..READERS {
            let reader = Reader::new(number, callboard, Arc::clone(&sites));
            readers.spawn(reader.read_until(Arc::clone(&is_over), first));
        }
    }
    let started = Instant::now();
    s3.publish(&new, ENTITY).await;
    let uploaded = Instant::now();
    // What comes after the promise's time is what it is about.
    tokio::time::sleep(PUBLISH_CHECK + GRACE * 2).await;
    is_over.store(true, Ordering::Relaxed);
    let mut seen = readers.join_all().await.into_iter().flatten().collect::<Vec<_>>();
    let wrong: Vec<_> = seen.iter().filter_map(|seen| seen.as_ref().err()).collect();
    assert!(wrong.is_empty(), "{} of {} answers were wrong, such as {:?}", wrong.len(), seen.len(), wrong[0]);
    let mut seen: Vec<Seen> = seen.drain(..).flatten().collect();
    println!("{} answers; the publish took {:?}", seen.len(), uploaded - started);
    agree_on_validators(&mut seen);
    judge(&seen, uploaded);
}

/// A replica whose pages are fresh for longer than the test lasts, as long as nothing is known of a publish.
async fn replica(s3: &Server, redis: &Redis) -> Callboard {
    let publisher = format!(
        "{{ type: awsS3, awsS3: {{ bucketName: '{}', region: '{}', endpoint: '{}', s3ForcePathStyle: true, \
         credentials: {{ accessKeyId: '{}', secretAccessKey: '{}' }} }} }}",
        s3.said("/bucket"),
        s3.said("/region"),
        s3.said("/endpoint"),
        s3.said("/reader/accessKeyId"),
        s3.said("/reader/secretAccessKey"),
    );
    let check = PUBLISH_CHECK.as_secs();
    let section =
        format!("  cache: {{ redis: {} }}\n  site: {{ publishCheck: {check}s, settleFor: 5s }}\n", redis.config());
    let publisher = Some(publisher);
    Callboard::told(Told { section: &section, publisher, in_real_time: true, ..Told::default() }).await
}

/// Whether memory holds a file that will be served for minutes, for all that is known.
async fn is_held_for_long(callboard: &Callboard, file: &str) -> bool {
    tokio::time::sleep(PAUSE).await;
    let answer = callboard.get(&format!("{SITE}/{file}")).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200, "{file}");
    let how = answer.headers()["cache-status"].to_str().unwrap().to_owned();
    let ttl = how.split(';').find_map(|part| part.trim().strip_prefix("ttl=")?.parse::<i64>().ok());
    how.starts_with("callboard; hit") && ttl.is_some_and(|ttl| ttl > 60)
}

/// A site as `techdocs-cli generate` builds it, with pages of this version.
fn make(built: &Path, folder: &Path, version: Version, with_film: bool) -> Site {
    assert!(Command::new("cp").arg("-r").args([built, folder]).status().unwrap().success());
    let mut site = Site::new();
    let mut put = |path: &str, contents: String| {
        let file = folder.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, &contents).unwrap();
        site.insert(path.to_owned(), contents.into());
    };
    let (word, other) = match version {
        Version::Old => ("as it was before", "removed"),
        Version::New => ("anew", "added"),
    };
    let page = |path: &str, lines: usize| format!("<p>{path}, {word}</p>\n").repeat(lines);
    for (number, path) in ["index.html", "about/index.html", "search/search_index.json"].into_iter().enumerate() {
        put(path, page(path, 50 + number));
    }
    for number in 0..8 {
        let path = format!("guide/{number}/index.html");
        put(&path, page(&path, 1 << number));
    }
    let path = format!("{other}/index.html");
    put(&path, page(&path, 20));
    if with_film {
        put(FILM.0, page(FILM.0, FILM.1.div_ceil(page(FILM.0, 1).len())));
    }
    let metadata = std::fs::read(folder.join("techdocs_metadata.json")).unwrap();
    let mut metadata: Value = serde_json::from_slice(&metadata).unwrap();
    metadata["site_description"] = word.into();
    put("techdocs_metadata.json", metadata.to_string());
    site
}

/// One who reads the files of a site from one replica, over a connection that stays.
struct Reader {
    replica: usize,
    base: String,
    token: String,
    client: Client,
    sites: Arc<[Site; 2]>,
    /// The tag that each file was last seen with.
    etags: HashMap<String, String>,
}

impl Reader {
    fn new(replica: usize, callboard: &Callboard, sites: Arc<[Site; 2]>) -> Self {
        let (base, token) = (format!("http://{}{SITE}", callboard.address), callboard.backstage.token());
        Self { replica, base, token, client: Client::new(), sites, etags: HashMap::new() }
    }

    /// Each file in each way, starting somewhere else than the others.
    async fn read_until(mut self, is_over: Arc<AtomicBool>, first: usize) -> Vec<Result<Seen, String>> {
        let sites = Arc::clone(&self.sites);
        let files: BTreeSet<&String> = sites.iter().flat_map(Site::keys).collect();
        let turns = files.iter().cycle().zip((0..WAYS.len()).cycle().skip(first)).skip(first * 3);
        let mut seen = Vec::new();
        for (file, way) in turns {
            if is_over.load(Ordering::Relaxed) {
                break;
            }
            let how = match WAYS[way] {
                // Nine megabytes only now and then.
                How::Get | How::IfRange if **file == FILM.0 && first != 0 => How::Range,
                how => how,
            };
            seen.push(self.read(file, how).await);
            tokio::time::sleep(PAUSE).await;
        }
        seen
    }

    async fn read(&mut self, file: &str, how: How) -> Result<Seen, String> {
        let method = if let How::Head = how { Method::HEAD } else { Method::GET };
        let mut request = self.client.request(method, format!("{}/{file}", self.base)).bearer_auth(&self.token);
        if let How::Range | How::IfRange = how {
            request = request.header(RANGE, "bytes=7-23");
        }
        let last = self.etags.get(file);
        request = match (how, last) {
            (How::IfNoneMatch, Some(last)) => request.header(IF_NONE_MATCH, last),
            (How::IfRange, Some(last)) => request.header(IF_RANGE, last),
            _ => request,
        };
        let failed = |what: &dyn fmt::Debug| format!("{file} from {}, {how:?}: {what:?}", self.replica);
        let answer = request.send().await.map_err(|error| failed(&error))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let header = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let (etag, modified) = (header(ETAG), header(LAST_MODIFIED));
        let version = if status == 304 {
            if etag.as_ref() != last {
                return Err(failed(&(status, etag, last)));
            }
            None
        } else {
            Some(self.version_of(file, how, answer).await.map_err(|what| failed(&(what, status, headers)))?)
        };
        let at = Instant::now();
        if let Some(etag) = &etag {
            self.etags.insert(file.to_owned(), etag.clone());
        }
        Ok(Seen { replica: self.replica, file: file.to_owned(), how, status, at, version, etag, modified })
    }

    /// The one version that all of an answer belongs to.
    async fn version_of(&self, file: &str, how: How, answer: Response) -> Result<Version, String> {
        let status = answer.status().as_u16();
        let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (length, range) = (header(CONTENT_LENGTH), header(CONTENT_RANGE));
        let body = answer.bytes().await.map_err(|error| format!("{error:?}"))?;
        let fits = |site: &Site| match (site.get(file), status) {
            (None, 404) => true,
            (Some(file), 200) => {
                let is_whole = if let How::Head = how { body.is_empty() } else { body == *file };
                is_whole && range.is_none() && length == Some(file.len().to_string())
            }
            (Some(file), 206) => {
                let is_part = body == file[7..24] && length.as_deref() == Some("17");
                is_part && range == Some(format!("bytes 7-23/{}", file.len()))
            }
            _ => false,
        };
        match self.sites.each_ref().map(fits) {
            [true, false] => Ok(Version::Old),
            [false, true] => Ok(Version::New),
            neither_or_both => Err(format!("old, new: {neither_or_both:?}")),
        }
    }
}

/// Each version of a file has one tag and one date, no other version has the tag, and whoever is told that nothing has
/// changed has the version with that tag.
fn agree_on_validators(seen: &mut [Seen]) {
    let mut validators: HashMap<(String, Version), BTreeSet<(String, String)>> = HashMap::new();
    let mut versions: HashMap<(String, String), Version> = HashMap::new();
    for seen in seen.iter().filter(|seen| seen.status != 404) {
        let (Some(version), file) = (seen.version, seen.file.clone()) else { continue };
        let (etag, modified) = (seen.etag.clone().unwrap(), seen.modified.clone().unwrap());
        let before = versions.insert((file.clone(), etag.clone()), version);
        assert!(before.is_none_or(|before| before == version), "a tag of two versions: {seen:?}");
        validators.entry((file, version)).or_default().insert((etag, modified));
    }
    for (what, validators) in validators {
        assert_eq!(validators.len(), 1, "{what:?}: {validators:?}");
    }
    for seen in seen.iter_mut().filter(|seen| seen.version.is_none()) {
        let tag = (seen.file.clone(), seen.etag.clone().unwrap());
        seen.version = Some(*versions.get(&tag).unwrap_or_else(|| panic!("a tag of nothing: {seen:?}")));
    }
}

/// What is promised: when no reader sees an old page any more, and that no two readers disagree for long.
fn judge(seen: &[Seen], uploaded: Instant) {
    let mut files: BTreeMap<&str, Vec<&Seen>> = BTreeMap::new();
    for seen in seen {
        files.entry(&seen.file).or_default().push(seen);
    }
    let (mut longest, mut worst) = (Duration::ZERO, Duration::ZERO);
    for (file, seen) in files {
        let of = |version| seen.iter().filter(move |seen| seen.version == Some(version));
        let first_new = of(Version::New).map(|seen| seen.at).min().unwrap_or_else(|| panic!("{file} is never new"));
        let last_old = of(Version::Old).max_by_key(|seen| seen.at).unwrap_or_else(|| panic!("{file} is never old"));
        let (late, disagreement) =
            (last_old.at.saturating_duration_since(uploaded), last_old.at.saturating_duration_since(first_new));
        let whose = format!("the old {file} from {}, {:?}", last_old.replica, last_old.how);
        assert!(late <= PUBLISH_CHECK + GRACE, "{whose} {late:?} after the upload");
        assert!(disagreement <= DISAGREEMENT, "{whose} {disagreement:?} after another saw the new one");
        (longest, worst) = (longest.max(late), worst.max(disagreement));
    }
    println!("last old page {longest:?} after the upload; readers disagreed for {worst:?} at most");
}
