//! Looking for a document.

use std::time::Instant;

use bytes::Bytes;
use redis::{FromRedisValue, Pipeline, RedisError, pipe};

use super::body::Unpacker;
use super::header::{Confirmation, Header};
use super::{CONFIRMATION, Core, HEADER, Record};
use crate::docs::StorageKey;
use crate::redis::Failure;
use crate::storage::ObjectMeta;
use crate::telemetry::{BadValue, SharedLoad};

/// What came of looking for a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cache) enum Loaded {
    /// Here it is.
    Document(Record),
    /// Redis has the version that is held already.
    Same(Confirmation),
    /// Redis has nothing, or nothing that is any good.
    Nothing,
    /// Redis gave no answer.
    Unavailable,
}

/// Redis gave no answer, which says nothing of what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) struct NoAnswer;

/// Why there is no document.
#[derive(Debug)]
pub(super) enum Missed {
    Absent,
    Bad(BadValue),
    /// It was replaced meanwhile by one that may well be good.
    Replaced,
    NoAnswer,
}

/// A field's value, if there is one.
pub(super) type Field = Option<Vec<u8>>;

/// What a document's hash holds beside the body.
pub(super) struct Fields {
    pub(super) header: Field,
    pub(super) confirmation: Field,
}

impl Core {
    /// Looks for `key`. Returns also the header that was judged where the value is to be discarded.
    pub(super) async fn load(&self, key: &StorageKey, held: Option<&ObjectMeta>) -> (Loaded, Option<Field>) {
        let start = Instant::now();
        let name = self.names.document(key);
        let mut judged = None;
        let (loaded, result) = match self.read(key, &name, held, &mut judged).await {
            Ok(loaded @ Loaded::Same(_)) => (loaded, SharedLoad::Same),
            Ok(loaded) => (loaded, SharedLoad::Hit),
            Err(Missed::Absent) => (Loaded::Nothing, SharedLoad::Miss),
            Err(Missed::NoAnswer) => (Loaded::Unavailable, SharedLoad::Unavailable),
            Err(Missed::Bad(reason)) => {
                self.is_bad(&name, reason);
                self.instruments.shared_tier.loaded(SharedLoad::Bad, start.elapsed());
                return (Loaded::Nothing, Some(judged));
            }
            Err(Missed::Replaced) => {
                self.instruments.shared_tier.bad_value(BadValue::Torn);
                (Loaded::Nothing, SharedLoad::Bad)
            }
        };
        self.instruments.shared_tier.loaded(result, start.elapsed());
        (loaded, None)
    }

    async fn read(
        &self,
        key: &StorageKey,
        name: &str,
        held: Option<&ObjectMeta>,
        judged: &mut Field,
    ) -> Result<Loaded, Missed> {
        // Where nothing is held, the first piece is sure to be wanted.
        let (fields, piece) = match held {
            None => self.first(name).await?,
            Some(_) => (self.fields(name).await?, None),
        };
        *judged = fields.header.clone();
        if fields.header.is_none() && fields.confirmation.is_none() && piece.is_none() {
            return Err(Missed::Absent);
        }
        let (header, confirmation) = self.judge(key, &fields).map_err(Missed::Bad)?;
        if held == Some(&header.meta) {
            return Ok(Loaded::Same(confirmation));
        }
        let body = self.body(name, &header, piece, self.max_object_bytes, judged).await?;
        Ok(Loaded::Document(Record { meta: header.meta, body, confirmation }))
    }

    /// The body of at most so many bytes that goes with a header, from the first piece on where that is there already.
    pub(super) async fn body(
        &self,
        name: &str,
        header: &Header,
        mut piece: Field,
        max_bytes: u64,
        judged: &Field,
    ) -> Result<Bytes, Missed> {
        let mut unpacker = Unpacker::new(header, max_bytes).map_err(Missed::Bad)?;
        let mut number = 0_u64;
        while unpacker.is_hungry() {
            let bytes = match piece.take() {
                Some(bytes) => bytes,
                None => self.piece(name, number, judged).await?,
            };
            unpacker.push(&bytes).map_err(Missed::Bad)?;
            number += 1;
        }
        unpacker.finish().map_err(Missed::Bad)
    }

    async fn first(&self, name: &str) -> Result<(Fields, Field), Missed> {
        let mut commands = pipe();
        commands.cmd("HMGET").arg(name).arg(&[HEADER, CONFIRMATION, "0"]);
        let ((header, confirmation, piece),): ((Field, Field, Field),) = self.ask(&commands).await?;
        Ok((Fields { header, confirmation }, piece))
    }

    async fn fields(&self, name: &str) -> Result<Fields, Missed> {
        let mut commands = pipe();
        commands.cmd("HMGET").arg(name).arg(&[HEADER, CONFIRMATION]);
        let ((header, confirmation),): ((Field, Field),) = self.ask(&commands).await?;
        Ok(Fields { header, confirmation })
    }

    /// A piece, if it still belongs to the header that was `judged`.
    async fn piece(&self, name: &str, number: u64, judged: &Field) -> Result<Vec<u8>, Missed> {
        let mut commands = pipe();
        commands.cmd("HMGET").arg(name).arg(HEADER).arg(number);
        let ((header, piece),): ((Field, Field),) = self.ask(&commands).await?;
        if header != *judged {
            return Err(Missed::Replaced);
        }
        piece.ok_or(Missed::Bad(BadValue::Torn))
    }

    pub(super) fn judge(&self, key: &StorageKey, fields: &Fields) -> Result<(Header, Confirmation), BadValue> {
        let header = fields.header.as_deref().ok_or(BadValue::Format)?;
        let header = Header::open(&self.seal, key, header)?;
        let confirmation = fields.confirmation.as_deref().ok_or(BadValue::Format)?;
        let confirmation = Confirmation::open(&self.seal, key, &header.meta, confirmation)?;
        Ok((header, confirmation))
    }

    /// Looks for a small value. Returns also what was judged where it is to be discarded.
    pub(super) async fn record(&self, name: &str) -> Result<(Option<Bytes>, Option<Vec<u8>>), NoAnswer> {
        let stored = self.names.record(name);
        let mut commands = pipe();
        commands.cmd("GET").arg(&stored);
        let (sealed, reason) = match self.ask::<(Field,)>(&commands).await {
            Ok((Some(sealed),)) => match self.seal.judge(&record_context(name), &sealed) {
                Ok(value) => return Ok((Some(Bytes::copy_from_slice(value)), None)),
                Err(reason) => (sealed, reason),
            },
            Err(Missed::Bad(reason)) => (Vec::new(), reason),
            Ok((None,)) => return Ok((None, None)),
            Err(_) => return Err(NoAnswer),
        };
        self.is_bad(&stored, reason);
        Ok((None, Some(sealed)))
    }

    pub(super) async fn ask<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Missed> {
        self.client.run(commands).await.map_err(|failure| match failure {
            // Something else stands under the name; that is an answer.
            Failure::Refused(error) if is_of_type(&error) => Missed::Bad(BadValue::Format),
            _ => Missed::NoAnswer,
        })
    }
}

fn is_of_type(error: &RedisError) -> bool {
    let answers = error.clone().into_server_errors();
    answers.is_some_and(|answers| answers.iter().any(|(_, answer)| answer.code() == "WRONGTYPE"))
}

/// What a small value is sealed for.
pub(super) fn record_context(name: &str) -> String {
    format!("record\0{name}")
}
