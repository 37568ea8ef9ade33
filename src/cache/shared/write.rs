//! Writing, one operation after another.

use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, Pipeline, pipe};
use tokio::task::yield_now;

use super::body::{Packed, Packer, Step};
use super::header::{Confirmation, Header, identity};
use super::load::{Field, record_context};
use super::variant::VariantOf;
use super::{CONFIRMATION, Core, HEADER, IDENTITY};
use crate::chain::chain;
use crate::docs::StorageKey;
use crate::http::negotiation::Coding;
use crate::redis::Failure;
use crate::storage::ObjectMeta;
use crate::telemetry::SharedWrite;

/// How long the pieces of a document stay that nobody finishes.
const DRAFT_EXPIRES_AFTER: Duration = Duration::from_secs(60);

/// Confirms a document if it is the version that it should be, and keeps its variants as long: 1. Another version: 0.
/// Nothing: -1.
const RENEW: &str = "local held = redis.call('HGET', KEYS[1], ARGV[1]) \
    if not held then return -1 end \
    if held ~= ARGV[2] then return 0 end \
    redis.call('HSET', KEYS[1], ARGV[3], ARGV[4]) \
    for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, ARGV[5]) end \
    return 1";

/// Removes what was judged, but not what was written since.
const DISCARD: &str = "if redis.call('TYPE', KEYS[1]).ok ~= 'hash' \
    or (redis.call('HGET', KEYS[1], ARGV[2]) or '') == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
    return 0";

/// The same for a small value.
const DISCARD_RECORD: &str = "if redis.call('TYPE', KEYS[1]).ok ~= 'string' \
    or redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
    return 0";

/// Gives a lease up, if it is still ours.
const RELEASE: &str = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";

/// Something to write, and what to tell everyone afterwards.
#[derive(Debug)]
pub(super) struct Operation {
    pub(super) work: Work,
    pub(super) tell: Option<Bytes>,
}

/// Something to write.
#[derive(Debug)]
pub(super) enum Work {
    Store {
        key: StorageKey,
        meta: ObjectMeta,
        body: Bytes,
        confirmation: Confirmation,
    },
    Renew {
        key: StorageKey,
        meta: ObjectMeta,
        body: Option<Bytes>,
        confirmation: Confirmation,
    },
    StoreVariant {
        variant: VariantOf,
        bytes: Bytes,
    },
    Remove {
        key: StorageKey,
    },
    /// A version that is no longer the newest, if it is still there.
    Disown {
        key: StorageKey,
        meta: ObjectMeta,
    },
    /// A value that is no good, with the header that it was known by.
    Discard {
        key: StorageKey,
        judged: Field,
    },
    /// A small value that is no good.
    DiscardRecord {
        name: String,
        judged: Vec<u8>,
    },
    Keep {
        name: String,
        value: Bytes,
        ttl: Duration,
    },
    Release {
        key: StorageKey,
        token: String,
    },
    /// Only something to be told of.
    Tell {
        site: Box<str>,
    },
}

/// What became of it, where that counts.
pub(super) type Written = Result<Option<SharedWrite>, Failure>;

impl Work {
    /// The site that it is about; none where it is about all.
    pub(super) fn site(&self) -> &str {
        match self {
            Self::Store { key, .. }
            | Self::Renew { key, .. }
            | Self::Remove { key }
            | Self::Disown { key, .. }
            | Self::Discard { key, .. }
            | Self::Release { key, .. } => key.site(),
            Self::StoreVariant { variant, .. } => variant.key.site(),
            Self::DiscardRecord { name, .. } | Self::Keep { name, .. } => name,
            Self::Tell { site } => site,
        }
    }

    /// The same, but for a body that can be done without.
    pub(super) fn without_body(self) -> Self {
        match self {
            Self::Renew { key, meta, confirmation, .. } => Self::Renew { key, meta, body: None, confirmation },
            other => other,
        }
    }
}

impl Core {
    pub(super) async fn carry_out(&self, Operation { work, tell }: Operation) {
        // Held for as long as others may have to be told later.
        let site = tell.is_some().then(|| Box::<str>::from(work.site()));
        let written = self.work_off(work).await;
        let mut is_said = written.is_ok();
        self.note(written);
        if let Some(message) = tell {
            let mut commands = pipe();
            commands.cmd("PUBLISH").arg(self.names.channel()).arg(message.as_ref()).ignore();
            let told = self.client.run::<()>(&commands).await;
            is_said &= told.is_ok();
            self.note(told.map(|()| None));
        }
        if let Some(site) = site.filter(|_| !is_said) {
            self.unsaid.add(&site);
        }
    }

    fn note(&self, written: Written) {
        match written {
            Ok(None) => {}
            Ok(Some(result)) => self.written(result),
            Err(failure) => {
                self.written(SharedWrite::Failed);
                tracing::debug!(error = chain(&failure), "writing to Redis failed");
            }
        }
    }

    async fn work_off(&self, work: Work) -> Written {
        match work {
            Work::Store { key, meta, body, confirmation } => self.store(&key, meta, body, confirmation).await,
            Work::Renew { key, meta, body, confirmation } => self.renew(&key, meta, body, confirmation).await,
            Work::StoreVariant { variant, bytes } => self.store_variant(variant, bytes).await,
            Work::Remove { key } => self.remove_with_variants(&key).await.map(|()| Some(SharedWrite::Removed)),
            Work::Disown { key, meta } => {
                self.discard(DISCARD, &self.names.document(&key), &[&identity(&meta), IDENTITY.as_bytes()]).await
            }
            Work::Discard { key, judged } => {
                let judged = judged.unwrap_or_default();
                self.discard(DISCARD, &self.names.document(&key), &[&judged, HEADER.as_bytes()]).await
            }
            Work::DiscardRecord { name, judged } => {
                self.discard(DISCARD_RECORD, &self.names.record(&name), &[&judged]).await
            }
            Work::Keep { name, value, ttl } => self.keep(&name, &value, ttl).await,
            Work::Release { key, token } => {
                self.script::<i64>(RELEASE, &[self.names.lease(&key)], &[token.as_bytes()]).await.map(|_| None)
            }
            Work::Tell { .. } => Ok(None),
        }
    }

    async fn renew(
        &self,
        key: &StorageKey,
        meta: ObjectMeta,
        body: Option<Bytes>,
        confirmation: Confirmation,
    ) -> Written {
        let sealed = confirmation.seal(&self.seal, key, &meta);
        let expiry = millis(self.expire_after).to_string();
        let (identity, names) = (identity(&meta), self.names_of(key));
        let arguments = [IDENTITY.as_bytes(), &identity, CONFIRMATION.as_bytes(), &sealed, expiry.as_bytes()];
        match (self.script::<i64>(RENEW, &names, &arguments).await?, body) {
            (1, _) => Ok(Some(SharedWrite::Renewed)),
            (-1, Some(body)) => self.store(key, meta, body, confirmation).await,
            _ => Ok(Some(SharedWrite::Outdated)),
        }
    }

    /// Writes a document; where Redis refuses it, none is left rather than an older one.
    async fn store(&self, key: &StorageKey, meta: ObjectMeta, body: Bytes, confirmation: Confirmation) -> Written {
        let name = self.names.document(key);
        if body.len() as u64 > self.max_object_bytes {
            return self.remove(&name).await.map(|()| Some(SharedWrite::Dropped));
        }
        let draft = self.names.draft(key, &token());
        let fields = |Packed { encoding, stored, digest }| {
            let (identity, confirmation) = (identity(&meta), confirmation.seal(&self.seal, key, &meta));
            let header = Header { meta, encoding, stored, digest }.seal(&self.seal, key);
            vec![(HEADER, header), (IDENTITY, Bytes::copy_from_slice(&identity)), (CONFIRMATION, confirmation)]
        };
        match self.write(Packer::new(body, key.file_name()), fields, &name, &draft).await {
            Ok(()) => Ok(Some(SharedWrite::Stored)),
            Err(failure @ Failure::Resting) => Err(failure),
            Err(failure) => {
                self.remove(&draft).await?;
                self.remove(&name).await?;
                Err(failure)
            }
        }
    }

    /// Writes what is packed, and with the last piece the `fields` that say what it is.
    pub(super) async fn write(
        &self,
        mut packer: Packer,
        fields: impl FnOnce(Packed) -> Vec<(&'static str, Bytes)>,
        name: &str,
        draft: &str,
    ) -> Result<(), Failure> {
        let mut number = 0_u64;
        // The piece before the one that is being made: the last goes out together with the header.
        let mut ready: Option<Bytes> = None;
        let packed = loop {
            match packer.step() {
                Step::Working => yield_now().await,
                Step::Done(packed) => break packed,
                Step::Piece(piece) => {
                    if let Some(before) = ready.replace(piece) {
                        self.add_to_draft(draft, number, &before).await?;
                        number += 1;
                    }
                }
            }
        };
        let target = if number == 0 { name } else { draft };
        let mut commands = pipe();
        commands.atomic();
        if number == 0 {
            commands.cmd("DEL").arg(name).ignore();
        }
        let command = commands.cmd("HSET").arg(target);
        for (field, value) in fields(packed) {
            command.arg(field).arg(value.as_ref());
        }
        command.ignore();
        if let Some(last) = &ready {
            commands.cmd("HSET").arg(target).arg(number).arg(last.as_ref()).ignore();
        }
        commands.cmd("PEXPIRE").arg(target).arg(millis(self.expire_after)).ignore();
        if number > 0 {
            commands.cmd("RENAME").arg(draft).arg(name).ignore();
        }
        self.run(&commands).await
    }

    async fn add_to_draft(&self, draft: &str, number: u64, piece: &Bytes) -> Result<(), Failure> {
        let mut commands = pipe();
        commands.atomic();
        commands.cmd("HSET").arg(draft).arg(number).arg(piece.as_ref()).ignore();
        // With each piece anew: if the draft has expired meanwhile, this one must not stay for ever.
        commands.cmd("PEXPIRE").arg(draft).arg(millis(DRAFT_EXPIRES_AFTER)).ignore();
        self.run(&commands).await
    }

    async fn keep(&self, name: &str, value: &[u8], ttl: Duration) -> Written {
        let sealed = self.seal.seal(&record_context(name), value);
        let mut commands = pipe();
        let command = commands.cmd("SET").arg(self.names.record(name)).arg(sealed.as_ref());
        command.arg("PX").arg(millis(ttl)).ignore();
        self.run::<()>(&commands).await.map(|()| Some(SharedWrite::Stored))
    }

    async fn discard(&self, script: &str, name: &str, arguments: &[&[u8]]) -> Written {
        let removed: i64 = self.script(script, &[name], arguments).await?;
        Ok((removed > 0).then_some(SharedWrite::Removed))
    }

    async fn remove_with_variants(&self, key: &StorageKey) -> Result<(), Failure> {
        let mut commands = pipe();
        commands.cmd("DEL").arg(self.names_of(key)).ignore();
        self.run(&commands).await
    }

    /// A document's name, and those of its variants.
    fn names_of(&self, key: &StorageKey) -> Vec<String> {
        let variants = Coding::COMPRESSING.map(|coding| self.names.variant(key, coding));
        std::iter::once(self.names.document(key)).chain(variants).collect()
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), Failure> {
        let mut commands = pipe();
        commands.cmd("DEL").arg(name).ignore();
        self.run(&commands).await
    }

    /// Runs a script on the keys of one document. Its text is sent each time: Redis knows it by its hash, and none has to
    /// be loaded again after a failover.
    async fn script<T: FromRedisValue>(
        &self,
        script: &str,
        names: &[impl AsRef<str>],
        arguments: &[&[u8]],
    ) -> Result<T, Failure> {
        let mut commands = pipe();
        let command = commands.cmd("EVAL").arg(script).arg(names.len());
        for name in names {
            command.arg(name.as_ref());
        }
        command.arg(arguments);
        self.run::<(T,)>(&commands).await.map(|(value,)| value)
    }

    pub(super) async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Failure> {
        self.client.run(commands).await
    }
}

/// What nobody else comes up with.
pub(super) fn token() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// As Redis takes durations; it takes no zero.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, i64::MAX as u64 / 2)
}
