//! The tier in Redis, which all replicas share.
//!
//! Reading is one look for a small document, and one more for every 256 KiB of a larger one (`load.rs`). Writing happens
//! behind (`queue.rs`, `write.rs`): nobody waits for it, and what can't be written in time is dropped. Whatever stands in
//! Redis is believed only as far as its seal, its size and its digest go (`seal.rs`, `header.rs`, `body.rs`). Leases see
//! to it that one replica fetches what others wait for (`lease.rs`). Variants of documents are kept beside them
//! (`variant.rs`).

mod agree;
mod body;
mod header;
mod lease;
mod load;
mod names;
mod queue;
mod seal;
mod unsaid;
mod variant;
mod write;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::pipe;
use tokio::time::timeout;

use crate::docs::StorageKey;
use crate::redis::Client;
use crate::secret::Secret;
use crate::storage::ObjectMeta;
use crate::telemetry::{BadValue, Instruments, SharedWrite};

pub use body::Unpacker;
pub use header::Header;
pub use seal::Seal;

pub(super) use header::{Confirmation, sha256};
pub(super) use lease::{Lease, LeaseGuard, Waited};
pub(super) use load::{Loaded, NoAnswer};
pub(super) use queue::QueueBounds;
pub(super) use unsaid::Unsaid;
pub(super) use variant::VariantOf;

use names::Names;
use queue::{Full, Queue};
use unsaid::Notes;
use write::{Operation, Work};

/// The field of a document's hash that holds its [`Header`], sealed.
const HEADER: &str = "m";
/// The field that tells one version from another.
const IDENTITY: &str = "i";
/// The field that holds its [`Confirmation`], sealed.
const CONFIRMATION: &str = "c";

/// What the tier runs on.
#[derive(Debug, Clone)]
pub(super) struct SharedOptions {
    /// What all names in Redis begin with.
    pub(super) key_prefix: String,
    /// What values are sealed with.
    pub(super) integrity_key: Option<Secret>,
    /// How long Redis keeps a document after storage last confirmed it.
    pub(super) expire_after: Duration,
    /// A larger document is neither written nor believed.
    pub(super) max_object_bytes: u64,
    /// How much may wait to be written.
    pub(super) queue: QueueBounds,
}

/// The tier.
#[derive(Debug)]
pub(super) struct Shared {
    core: Arc<Core>,
    queue: Queue<Operation>,
}

/// What reading and writing both need.
#[derive(Debug)]
struct Core {
    client: Client,
    seal: Seal,
    names: Names,
    expire_after: Duration,
    max_object_bytes: u64,
    unsaid: Notes,
    instruments: Arc<Instruments>,
}

/// A document as the tier has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// What storage said of it.
    pub(super) meta: ObjectMeta,
    /// All of its bytes.
    pub(super) body: Bytes,
    /// When storage last confirmed it.
    pub(super) confirmation: Confirmation,
}

impl Shared {
    /// The tier behind `client`; its writes are worked off on the current runtime until it is dropped, and what waits
    /// then still is.
    pub(super) fn new(client: Client, options: SharedOptions, instruments: Arc<Instruments>) -> Arc<Self> {
        let core = Arc::new(Core {
            client,
            seal: Seal::new(options.integrity_key.as_ref(), &options.key_prefix),
            names: Names::new(&options.key_prefix),
            expire_after: options.expire_after,
            max_object_bytes: options.max_object_bytes,
            unsaid: Notes::default(),
            instruments: Arc::clone(&instruments),
        });
        let writer = Arc::clone(&core);
        let queue = Queue::new(options.queue, instruments, move |operation| {
            let writer = Arc::clone(&writer);
            async move { writer.carry_out(operation).await }
        });
        Arc::new(Self { core, queue })
    }

    /// Looks for `key`. Where Redis has the version that is `held` already, its body stays there.
    pub(super) async fn load(&self, key: &StorageKey, held: Option<&ObjectMeta>) -> Loaded {
        // One that answers each command just in time must not have a reader wait for all of them.
        let patience = self.core.client.options().read_timeout * 2;
        let Ok((loaded, discard)) = timeout(patience, self.core.load(key, held)).await else {
            return Loaded::Unavailable;
        };
        if let Some(judged) = discard {
            let bytes = judged.as_ref().map_or(0, Vec::len);
            self.discard(&self.core.names.document(key), Work::Discard { key: key.clone(), judged }, bytes);
        }
        loaded
    }

    /// Has a document written. Then, whether that went well or not, `tell` is published.
    ///
    /// Where too much waits already, the document is removed instead, so that no older one stays for others.
    pub(super) fn store(
        &self,
        key: &StorageKey,
        meta: ObjectMeta,
        body: Bytes,
        confirmation: Confirmation,
        tell: Option<Bytes>,
    ) {
        let name = self.core.names.document(key);
        let bytes = body.len();
        let work = Work::Store { key: key.clone(), meta, body, confirmation };
        if let Err(Full(Operation { tell, .. })) = self.queue.push_body(&name, Operation { work, tell }, bytes) {
            self.core.written(SharedWrite::Dropped);
            self.push(&name, Work::Remove { key: key.clone() }, tell);
        }
    }

    /// Has a document confirmed that Redis holds in the version `meta`; another version stays as it is.
    ///
    /// No body is sent, but where Redis has nothing at all and there is a `body`.
    pub(super) fn renew(&self, key: &StorageKey, meta: ObjectMeta, body: Option<Bytes>, confirmation: Confirmation) {
        let name = self.core.names.document(key);
        let bytes = body.as_ref().map_or(0, Bytes::len);
        let work = Work::Renew { key: key.clone(), meta, body, confirmation };
        if let Err(Full(Operation { work, .. })) = self.queue.push_body(&name, Operation { work, tell: None }, bytes) {
            self.push(&name, work.without_body(), None);
        }
    }

    /// Has a document removed. Then, whether that went well or not, `tell` is published.
    pub(super) fn remove(&self, key: &StorageKey, tell: Option<Bytes>) {
        self.push(&self.core.names.document(key), Work::Remove { key: key.clone() }, tell);
    }

    /// Has this version of a document removed, if it is the one that Redis has: another replica has found a newer one,
    /// and what this one wrote last may have come behind that.
    pub(super) fn disown(&self, key: &StorageKey, meta: ObjectMeta) {
        self.push(&self.core.names.document(key), Work::Disown { key: key.clone(), meta }, None);
    }

    /// A small value that [`Shared::keep_record`] has kept.
    pub(super) async fn record(&self, name: &str) -> Result<Option<Bytes>, NoAnswer> {
        let (value, discard) = self.core.record(name).await?;
        if let Some(judged) = discard {
            let bytes = judged.len();
            self.discard(&self.core.names.record(name), Work::DiscardRecord { name: name.to_owned(), judged }, bytes);
        }
        Ok(value)
    }

    /// Has a small value kept for so long.
    pub(super) fn keep_record(&self, name: &str, value: Bytes, ttl: Duration) {
        let bytes = value.len();
        let operation = Operation { work: Work::Keep { name: name.to_owned(), value, ttl }, tell: None };
        if self.queue.push_body(&self.core.names.record(name), operation, bytes).is_err() {
            self.core.written(SharedWrite::Dropped);
        }
    }

    /// Has a message about a site, or about all where it has no name, published for all that [`Shared::listen`].
    pub(super) fn tell(&self, site: &str, message: Bytes) {
        self.push(&self.core.names.channel(), Work::Tell { site: site.into() }, Some(message));
    }

    /// About which sites something was written or said that Redis did not take, once it answers again; nothing before.
    pub(super) async fn unsaid(&self) -> Option<Unsaid> {
        if self.core.unsaid.is_empty() {
            return None;
        }
        let mut ping = pipe();
        ping.cmd("PING").ignore();
        self.core.run::<()>(&ping).await.ok().map(|()| self.core.unsaid.take())
    }

    /// Waits until all that was to be written is, but not longer than `patience`.
    pub(super) async fn flush(&self, patience: Duration) {
        let _ = timeout(patience, self.queue.idle()).await;
    }

    /// What messages and other values are to be sealed with.
    pub(super) fn seal(&self) -> &Seal {
        &self.core.seal
    }

    /// Queues the removal of a value that was judged. That may be of any length, so it counts as a body does; what finds
    /// no place is judged again when it is next met.
    fn discard(&self, name: &str, work: Work, bytes: usize) {
        if self.queue.push_body(name, Operation { work, tell: None }, bytes).is_err() {
            self.core.written(SharedWrite::Dropped);
        }
    }

    /// Queues what is small. What finds no place even so is counted, and noted.
    fn push(&self, name: &str, work: Work, tell: Option<Bytes>) {
        if let Err(Full(operation)) = self.queue.push(name, Operation { work, tell }) {
            self.core.written(SharedWrite::Dropped);
            self.core.not_said(&operation);
        }
    }
}

impl Core {
    /// Notes that others have not been told, where there was something to tell.
    fn not_said(&self, Operation { work, tell }: &Operation) {
        if tell.is_some() {
            self.unsaid.add(work.site());
        }
    }

    fn written(&self, result: SharedWrite) {
        self.instruments.shared_tier.written(result);
    }

    fn is_bad(&self, name: &str, reason: BadValue) {
        self.instruments.shared_tier.bad_value(reason);
        tracing::warn!(name, reason = reason.as_str(), "a value in Redis is no good, and is not used");
    }
}

#[cfg(test)]
mod tests;
