//! Proof that what Callboard reads with can do nothing but read.
//!
//! This is the only room that may try to write to storage, in order to be refused. Each deed is tried with the real
//! credential on a name that nobody uses, and where there is a way to try it that can't succeed, in that way: a condition
//! that does not hold, a digest that does not fit. What such a try is answered with tells whether it was allowed, since
//! whether somebody may is looked at before what they ask for. Nothing that serves readers can reach this room: only the
//! wiring and the command line import it, and a test holds that.

mod answer;
mod bucket;
mod local;
mod report;
mod s3;
mod sftp;
mod swift;

use std::time::Duration;

use async_trait::async_trait;
use rand::distr::{Alphanumeric, SampleString};
use tokio::time::timeout;

use crate::docs::Layout;
use crate::storage::{Means, OriginOptions, StoreOptions};

pub use report::Proof;

/// Below this folder of the root path everything is tried.
const FOLDER: &str = "callboard-read-only-check";

/// One deed takes no longer than this, however patient readers may be.
const LONGEST_TRY: Duration = Duration::from_secs(15);

/// Something that a credential for reading below the root path should not be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Replace an object.
    Overwrite,
    /// Make a new object.
    Write,
    /// Delete an object.
    Delete,
    /// Delete one of an object's versions for good.
    DeleteVersion,
    /// List what is not below the root path.
    ListOutside,
    /// Read what is not below the root path.
    ReadOutside,
}

impl Deed {
    /// Whether it changes what is stored.
    pub const fn is_change(self) -> bool {
        matches!(self, Self::Overwrite | Self::Write | Self::Delete | Self::DeleteVersion)
    }

    /// It in words, to stand after "can".
    const fn as_str(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite objects",
            Self::Write => "write new objects",
            Self::Delete => "delete objects",
            Self::DeleteVersion => "delete versions of objects for good",
            Self::ListOutside => "list what lies outside of the root path",
            Self::ReadOutside => "read what lies outside of the root path",
        }
    }
}

/// What a try showed.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// It was refused.
    Denied,
    /// It was not, and nothing is left of the try.
    Allowed,
    /// It was not, and this is left of the try.
    Left(String),
    /// Neither could be told, for this reason.
    Untold(String),
}

/// What is tried on.
#[derive(Debug)]
struct Places {
    /// The root path.
    root: String,
    /// An object that does not exist, below the root path.
    throw_away: String,
    /// One beside the root path, where there is one.
    beside: Option<String>,
}

/// What a store's credential can be tried with.
#[async_trait]
trait Trial: Send + Sync {
    /// What there is to try, in this order.
    fn deeds(&self) -> &'static [Deed];

    /// Whether something lies outside of the root path.
    fn has_outside(&self, places: &Places) -> bool {
        places.beside.is_some()
    }

    /// Tries it, so that nothing is left of it, and no object is touched but those of `places`.
    async fn attempt(&self, deed: Deed, places: &Places) -> Verdict;
}

/// Tries whether what an origin is read with can do more than read below its root path.
pub struct Prover {
    trial: Option<Box<dyn Trial>>,
    layout: Layout,
    within: Duration,
}

impl Prover {
    /// One for the origin in `options`. It must be called inside a runtime, which the store's client uses.
    ///
    /// # Errors
    /// Where the client can't be built.
    pub fn new(options: &OriginOptions, means: &Means<'_>) -> anyhow::Result<Self> {
        let trial: Option<Box<dyn Trial>> = match &options.store {
            StoreOptions::Local { directory } => Some(Box::new(local::Folder(directory.clone()))),
            StoreOptions::S3(s3) => Some(Box::new(s3::Bucket::new(s3, means)?)),
            StoreOptions::Gcs(gcs) => Some(Box::new(bucket::Bucket::google(gcs, means)?)),
            StoreOptions::Azure(azure) => Some(Box::new(bucket::Bucket::azure(azure, means)?)),
            StoreOptions::Swift(swift) => Some(Box::new(swift::Container::new(swift, means)?)),
            StoreOptions::Sftp(sftp) => Some(Box::new(sftp::Account::new(sftp, means.timeout))),
            StoreOptions::Sample => None,
        };
        Ok(Self { trial, layout: options.layout.clone(), within: means.timeout.min(LONGEST_TRY) })
    }

    /// Tries it. It returns before long whatever the store does; what that did not answer is not proven.
    pub async fn prove(&self) -> Proof {
        let mut proof = Proof::default();
        let Some(trial) = &self.trial else { return proof };
        let places = Places::of(&self.layout);
        for deed in trial.deeds() {
            // Whoever may overwrite may write: that one could succeed need not be shown by letting it.
            let is_known = *deed == Deed::Write && proof.is_allowed(Deed::Overwrite);
            let has_place = deed.is_change() || trial.has_outside(&places);
            if is_known || !has_place {
                continue;
            }
            let late = |_| Verdict::Untold(format!("no answer within {:?}", self.within));
            proof.add(*deed, timeout(self.within, trial.attempt(*deed, &places)).await.unwrap_or_else(late));
        }
        proof
    }
}

impl Places {
    /// Names that nobody uses, also where several try at a time.
    fn of(layout: &Layout) -> Self {
        let name = Alphanumeric.sample_string(&mut rand::rng(), 20);
        let below = format!("{FOLDER}/{name}");
        let beside = (!layout.root_path.is_empty()).then(|| below.clone());
        Self { root: layout.root_path.clone(), throw_away: layout.below_root(&below), beside }
    }
}
