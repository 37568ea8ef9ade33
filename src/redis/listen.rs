//! A subscription that is kept up, and that knows whether it hears everything.
//!
//! A connection that is up proves nothing: it may be half open, or to a server that nobody publishes on any more. So
//! each subscription also hears a channel of its own, on which heartbeats are published the way everybody's messages
//! are, over the connection for commands. While those come, so does everything else.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use redis::Msg;
use redis::aio::PubSubStream;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use super::client::Inner;
use super::failure::{Failure, unavailable};
use crate::chain::chain;
use crate::telemetry::{RedisLink, RedisLinkUp};

/// How often a heartbeat is published.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// After so long without one, something may have been missed.
const SILENCE: Duration = Duration::from_millis(2500);

/// How long to wait before subscribing again: this long at first, doubling up to the second.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// What the receiver may be behind with before it is told that it has missed something.
const QUEUE: usize = 1024;

/// What is heard on a channel.
#[derive(Debug)]
pub enum Heard {
    /// From now on everything said on the channel is heard.
    Connected,
    /// Something may have been said that was not heard, until [`Heard::Connected`] comes again.
    Lost,
    /// What somebody said.
    Message(Bytes),
}

/// How a subscription ended.
enum Ended {
    /// The receiver is gone.
    Unwanted,
    /// It was up, and is no more.
    Lost(&'static str),
    /// It never was.
    Failed(Failure),
}

pub(super) fn start(client: Arc<Inner>, channel: String) -> mpsc::Receiver<Heard> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    tokio::spawn(keep_up(client, channel, sender));
    receiver
}

async fn keep_up(client: Arc<Inner>, channel: String, sender: mpsc::Sender<Heard>) {
    let mut pause = PAUSES.0;
    let mut is_failing = false;
    loop {
        let ended = tokio::select! {
            ended = subscription(&client, &channel, &sender) => ended,
            () = sender.closed() => Ended::Unwanted,
        };
        match ended {
            Ended::Unwanted => return,
            Ended::Lost(reason) => {
                tracing::warn!(channel, reason, "what is published through Redis is not heard for now");
                (pause, is_failing) = (PAUSES.0, false);
                // One whose queue is full hears of it when it gets there.
                if sender.send(Heard::Lost).await.is_err() {
                    return;
                }
            }
            Ended::Failed(failure) if is_failing => {
                tracing::debug!(channel, error = chain(&failure), "still nothing is heard through Redis");
            }
            Ended::Failed(failure) => {
                tracing::warn!(channel, error = chain(&failure), "Redis can't be listened to");
                is_failing = true;
            }
        }
        let jittered = pause.mul_f64(rand::random_range(0.8..1.2));
        tokio::select! {
            () = tokio::time::sleep(jittered) => {}
            () = sender.closed() => return,
        }
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// One subscription, from its beginning to its end.
async fn subscription(client: &Arc<Inner>, channel: &str, sender: &mpsc::Sender<Heard>) -> Ended {
    // Of its own for each: no heartbeat from before can speak for a subscription that came later.
    let beats = format!("{channel}:{:016x}", rand::random::<u64>());
    let within = client.options.connect_timeout;
    let channels = [channel, beats.as_str()];
    let stream = match timeout(within, client.link.connector().subscription(&channels)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Ended::Failed(error.into()),
        Err(_) => return Ended::Failed(Failure::Timeout(within)),
    };
    tokio::select! {
        ended = hear(client, stream, channel, sender) => ended,
        never = beat(client, &beats) => never,
    }
}

async fn hear(client: &Arc<Inner>, mut stream: PubSubStream, channel: &str, sender: &mpsc::Sender<Heard>) -> Ended {
    let mut heard_at = Instant::now();
    let mut up: Option<RedisLinkUp> = None;
    let ended = |up: &Option<RedisLinkUp>, reason| match up {
        Some(_) => Ended::Lost(reason),
        None => Ended::Failed(unavailable(std::io::ErrorKind::NotConnected, reason)),
    };
    loop {
        let message: Msg = tokio::select! {
            message = stream.next() => match message {
                Some(message) => message,
                None => return ended(&up, "the connection has ended"),
            },
            () = sleep_until(heard_at + SILENCE) => return ended(&up, "no heartbeat is heard"),
        };
        let news = match (message.get_channel_name() == channel, &up) {
            (true, Some(_)) => Heard::Message(Bytes::copy_from_slice(message.get_payload_bytes())),
            // Before the first heartbeat nothing is promised.
            (true, None) => continue,
            (false, is_up) => {
                heard_at = Instant::now();
                if is_up.is_some() {
                    continue;
                }
                tracing::info!(channel, "what is published through Redis is heard");
                up = Some(RedisLinkUp::new(&client.instruments, RedisLink::Subscription));
                Heard::Connected
            }
        };
        match sender.try_send(news) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Ended::Lost("more was published than could be taken in"),
            Err(TrySendError::Closed(_)) => return Ended::Unwanted,
        }
    }
}

/// Publishes heartbeats, and never ends.
async fn beat(client: &Arc<Inner>, beats: &str) -> Ended {
    let mut ticks = interval(BEAT_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let publish = redis::pipe().cmd("PUBLISH").arg(beats).arg("").ignore().to_owned();
    loop {
        ticks.tick().await;
        // That it failed shows in its not being heard.
        drop(client.run::<()>(&publish).await);
    }
}
