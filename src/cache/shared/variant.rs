//! Variants of documents: each stands beside its document under a name of its own, and is good for the very bytes that
//! it was made of, whichever version of the document has them.

use bytes::Bytes;
use redis::pipe;
use tokio::time::timeout;

use super::body::{Packed, Packer};
use super::header::{Digest, Header, hex};
use super::load::{Field, Missed};
use super::queue::Full;
use super::write::{Operation, Work, Written, token};
use super::{Core, HEADER, IDENTITY, Shared};
use crate::docs::StorageKey;
use crate::http::negotiation::Coding;
use crate::redis::Failure;
use crate::storage::ObjectMeta;
use crate::telemetry::SharedWrite;

/// Which variant of which bytes.
#[derive(Debug, Clone)]
pub(in crate::cache) struct VariantOf {
    pub(in crate::cache) key: StorageKey,
    pub(in crate::cache) coding: Coding,
    /// The SHA-256 of the document as it is.
    pub(in crate::cache) digest: Digest,
}

impl VariantOf {
    /// What its header is sealed for.
    fn context(&self) -> String {
        format!("variant\0{}\0{}\0{}", self.key, self.coding.as_str(), hex(&self.digest))
    }
}

impl Shared {
    /// Looks for a variant of at most so many bytes. It is empty where somebody found that there is none worth it.
    pub(in crate::cache) async fn variant(&self, variant: &VariantOf, max_bytes: usize) -> Option<Bytes> {
        let patience = self.core.client.options().read_timeout * 2;
        timeout(patience, self.core.variant(variant, max_bytes as u64)).await.ok().flatten()
    }

    /// Has a variant written; an empty one says that none is worth it.
    pub(in crate::cache) fn store_variant(&self, variant: VariantOf, bytes: Bytes) {
        let name = self.core.names.variant(&variant.key, variant.coding);
        let length = bytes.len();
        let operation = Operation { work: Work::StoreVariant { variant, bytes }, tell: None };
        if let Err(Full(_)) = self.queue.push_body(&name, operation, length) {
            self.core.written(SharedWrite::Dropped);
        }
    }
}

impl Core {
    async fn variant(&self, variant: &VariantOf, max_bytes: u64) -> Option<Bytes> {
        let name = self.names.variant(&variant.key, variant.coding);
        match self.read_variant(variant, &name, max_bytes).await {
            Ok(bytes) => return Some(bytes),
            // It will be made anew, and replaced.
            Err(Missed::Bad(reason)) => self.is_bad(&name, reason),
            Err(Missed::Absent | Missed::Replaced | Missed::NoAnswer) => {}
        }
        None
    }

    async fn read_variant(&self, variant: &VariantOf, name: &str, max_bytes: u64) -> Result<Bytes, Missed> {
        let mut commands = pipe();
        commands.cmd("HMGET").arg(name).arg(&[IDENTITY, HEADER, "0"]);
        let ((identity, header, piece),): ((Field, Field, Field),) = self.ask(&commands).await?;
        let sealed = header.as_deref().filter(|_| identity.as_deref() == Some(variant.digest.as_slice()));
        // Of other bytes it is as good as none.
        let sealed = sealed.ok_or(Missed::Absent)?;
        let opened = Header::open_for(&self.seal, &variant.context(), sealed).map_err(Missed::Bad)?;
        self.body(name, &opened, piece, max_bytes, &header).await
    }

    pub(super) async fn store_variant(&self, variant: VariantOf, bytes: Bytes) -> Written {
        let name = self.names.variant(&variant.key, variant.coding);
        let draft = self.names.draft(&variant.key, &token());
        let size = bytes.len() as u64;
        let fields = |Packed { encoding, stored, digest }| {
            let meta = ObjectMeta { size, etag: None, last_modified: None };
            let header = Header { meta, encoding, stored, digest };
            let sealed = header.seal_for(&self.seal, &variant.context());
            vec![(HEADER, sealed), (IDENTITY, Bytes::copy_from_slice(&variant.digest))]
        };
        let written = self.write(Packer::plain(bytes), fields, &name, &draft).await;
        if written.as_ref().is_err_and(|failure| !matches!(failure, Failure::Resting)) {
            // One of other bytes may stay under the name: nobody takes it for this one.
            self.remove(&draft).await?;
        }
        written.map(|()| Some(SharedWrite::Stored))
    }
}
