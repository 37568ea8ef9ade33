//! The client.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{FromRedisValue, Pipeline};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::connect::{Connector, SetupError};
use super::failure::Failure;
use super::link::Link;
use super::listen::{self, Heard};
use super::options::{Address, Form, Options};
use super::wire::name_of;
use crate::breaker::{Breaker, Open, Pass, Rules};
use crate::chain::chain;
use crate::telemetry::{Instruments, Kind, RedisOutcome, Span};
use crate::trust::Trust;

/// When Redis is left alone. Its answers take a millisecond: three that fail in a row are no accident, and half a
/// second without it costs little.
const RULES: Rules =
    Rules { failures: 3, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(5) };

/// A client of one Redis, cluster, or master behind sentinels; clones are the same client.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) link: Arc<Link>,
    pub(super) instruments: Arc<Instruments>,
    breaker: Breaker,
    /// Whether a task is seeing to it that a Redis which is left alone is found when it is back.
    is_recovering: AtomicBool,
}

impl Client {
    /// A client that connects when it is first needed.
    ///
    /// # Errors
    /// Where the options can't be used, such as a certificate that can't be read.
    pub fn new(options: Options, trust: &Trust, instruments: Arc<Instruments>) -> Result<Self, SetupError> {
        let connector = Connector::new(&options, trust)?;
        let link = Arc::new(Link::new(connector, options.connect_timeout, Arc::clone(&instruments)));
        let breaker = Breaker::new(RULES);
        Ok(Self(Arc::new(Inner { options, link, instruments, breaker, is_recovering: AtomicBool::new(false) })))
    }

    /// What it runs on.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Runs commands, all of whose keys are of one hash slot; `PUBLISH` may be among them. It must be called on a
    /// runtime.
    ///
    /// Three failures in a row open a breaker, after which there is no answer but [`Failure::Resting`] until Redis is
    /// found to be back, which no caller has to wait for. What concerns the command alone does not count: a Redis that
    /// takes no writes, for want of memory or as a replica, is still read from.
    ///
    /// # Errors
    /// Where there is no answer in time, or one that is an error.
    pub async fn run<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Failure> {
        let span = self.0.span(commands);
        let outcome = self.0.run(commands).await;
        if let Err(failure) = &outcome {
            span.fail(failure.outcome().as_str());
            if let Failure::Refused(error) = failure
                && let Some(code) = error.code()
            {
                span.set("db.response.status_code", code.to_owned());
            }
        }
        outcome
    }

    /// Listens on a channel for as long as the receiver lives, whatever becomes of the connection meanwhile. Until the
    /// first [`Heard::Connected`] nothing is heard. It must be called on a runtime.
    pub fn listen(&self, channel: &str) -> mpsc::Receiver<Heard> {
        listen::start(Arc::clone(&self.0), channel.to_owned())
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("options", &self.0.options).finish_non_exhaustive()
    }
}

impl Inner {
    /// [`Client::run`], without a span.
    pub(super) async fn run<T: FromRedisValue>(self: &Arc<Self>, commands: &Pipeline) -> Result<T, Failure> {
        let started = Instant::now();
        // A breaker that is open lets one through now and then to see; that one shall be ours, and not a reader's.
        let outcome = match self.breaker.is_closed().then(|| self.breaker.admit()) {
            Some(Ok(pass)) => {
                let outcome = self.attempt(commands).await;
                self.settle(pass, outcome.as_ref().err());
                outcome
            }
            Some(Err(Open { .. })) | None => Err(Failure::Resting),
        };
        let result = outcome.as_ref().err().map_or(RedisOutcome::Ok, Failure::outcome);
        self.instruments.redis.commands(result, started.elapsed());
        outcome
    }

    async fn attempt<T: FromRedisValue>(&self, commands: &Pipeline) -> Result<T, Failure> {
        let within = self.options.read_timeout;
        let deadline = Instant::now() + within;
        let line = timeout_at(deadline, self.link.line()).await.map_err(|_| Failure::Timeout(within))??;
        let answers_before = line.answers();
        let mut wire = line.wire.clone();
        let outcome = match timeout_at(deadline, commands.query_async(&mut wire)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(Failure::from(error)),
            Err(_) => Err(Failure::Timeout(within)),
        };
        match &outcome {
            Ok(_) | Err(Failure::Refused(_)) => line.answered(),
            Err(_) => {}
        }
        if let Err(failure) = &outcome {
            self.link.failed(&line, failure, answers_before);
        }
        outcome
    }

    /// Tells the breaker how it went; a Redis that fails once too often is left alone until it is back.
    fn settle(self: &Arc<Self>, pass: Pass<'_>, failure: Option<&Failure>) {
        let Some(failure) = failure.filter(|failure| failure.is_of_server()) else {
            pass.succeeded();
            return;
        };
        if pass.failed() {
            tracing::warn!(error = chain(failure), "Redis fails: it is left alone until it answers again");
            self.recover();
        }
    }

    fn recover(self: &Arc<Self>) {
        if !self.is_recovering.swap(true, Ordering::AcqRel) {
            tokio::spawn(recovery(Arc::downgrade(self)));
        }
    }

    /// Tries once whether Redis is back, or returns how long to wait before that.
    async fn probe(&self) -> Option<Duration> {
        if self.breaker.is_closed() {
            return None;
        }
        let pass = match self.breaker.admit() {
            Ok(pass) => pass,
            Err(Open { retry_after }) => return Some(retry_after),
        };
        let ping = redis::pipe().cmd("PING").ignore().to_owned();
        match self.attempt::<()>(&ping).await {
            Err(failure) if failure.is_of_server() => {
                tracing::debug!(error = chain(&failure), "Redis still fails");
                pass.failed();
                Some(Duration::ZERO)
            }
            _ => {
                pass.succeeded();
                None
            }
        }
    }

    fn span(&self, commands: &Pipeline) -> Span {
        let span = Span::child(Kind::Client, "redis");
        if !span.is_recorded() {
            return span;
        }
        let mut names =
            commands.cmd_iter().filter_map(name_of).map(|name| String::from_utf8_lossy(name).to_uppercase());
        let first = names.next().unwrap_or_default();
        let is_one = commands.len() == 1;
        let operation = match (is_one, names.all(|name| name == first)) {
            (true, _) => first,
            (false, true) => format!("PIPELINE {first}"),
            (false, false) => "PIPELINE".to_owned(),
        };
        span.set("db.system.name", "redis");
        span.set("db.namespace", self.options.database.to_string());
        if !is_one {
            span.set("db.operation.batch.size", i64::try_from(commands.len()).unwrap_or(i64::MAX));
        }
        // Where the master or a node is differs from one time to the next; only one server is always at its place.
        if let Form::Standalone(Address::Tcp { host, port }) = &self.options.form {
            span.set("server.address", host.clone());
            span.set("server.port", i64::from(*port));
        }
        span.set_name(operation.clone());
        span.set("db.operation.name", operation);
        span
    }
}

/// Sees to it that a Redis which is left alone is found when it is back, for as long as there is a client.
async fn recovery(inner: Weak<Inner>) {
    loop {
        let Some(client) = inner.upgrade() else { return };
        match client.probe().await {
            Some(wait) => {
                drop(client);
                tokio::time::sleep(wait).await;
            }
            None => {
                tracing::info!("Redis answers again");
                client.is_recovering.store(false, Ordering::Release);
                // It may have failed again before that was written down, and nobody else would see to it.
                if client.breaker.is_closed() || client.is_recovering.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        }
    }
}
