//! One SFTP session: requests go out as they come, without waiting for each other, and answers are told apart by number.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use russh::ChannelMsg;
use russh::client::Msg;
use russh::{Channel, ChannelReadHalf, ChannelWriteHalf};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connection::{Connection, Line};
use super::wire::{self, Answer, Ask, Attributes, Entry, Frame, Status};
use crate::storage::StoreError;

/// Operations at a time in one session. Servers give up beyond some hundreds of open files; the whole of `storage`'s gates
/// fits into a few sessions of this.
const PLACES: usize = 128;

/// A session that is open, until it is lost or nobody holds it any more.
pub(super) struct Session {
    link: Arc<Link>,
    places: Arc<Semaphore>,
    /// Where `root` really is. It may be a symbolic link that is set to another folder meanwhile.
    real_root: Mutex<Bytes>,
    /// Kept open while there is a session on it.
    connection: Arc<Connection>,
}

/// A place in a session, for one operation.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) session: Arc<Session>,
    _place: OwnedSemaphorePermit,
}

/// What an answer brings to whoever asked.
#[derive(Debug)]
pub(super) enum Reply {
    Status(Status),
    Handle(Open),
    Data(Bytes),
    Names(Vec<Entry>),
    Attributes(Attributes),
}

/// A file or folder that the server holds open; given back when dropped, also where nobody waits for it any more.
#[derive(Debug)]
pub(super) struct Open {
    link: Arc<Link>,
    handle: Bytes,
}

/// An answer to come.
#[derive(Debug)]
pub(super) struct Pending {
    link: Arc<Link>,
    reply: oneshot::Receiver<Reply>,
}

/// What a session and its two tasks share.
struct Link {
    state: Mutex<State>,
    /// Something is to be sent, or the session is lost.
    stirred: Notify,
}

struct State {
    /// What is not sent yet. What goes together is sent together, and no request that is given up midway leaves half a
    /// packet behind. The places bound it.
    outbox: BytesMut,
    next_id: u32,
    asked: HashMap<u32, Asked>,
    lost: Option<StoreError>,
}

struct Asked {
    since: Instant,
    reply: oneshot::Sender<Reply>,
}

impl Session {
    /// Begins a session in a channel whose subsystem has started. A request that finds no answer within `patience` means
    /// that it is lost.
    pub(super) async fn begin(
        channel: Channel<Msg>,
        connection: Arc<Connection>,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let (mut reader, writer) = channel.split();
        let mut hello = BytesMut::new();
        wire::write_init(&mut hello);
        writer.data_bytes(hello).await.map_err(StoreError::unavailable)?;
        let mut received = BytesMut::new();
        let version = loop {
            if let Some(Frame::Version(version)) = next_frame(&mut received)? {
                break version;
            }
            match reader.wait().await {
                Some(ChannelMsg::Data { data }) => received.extend_from_slice(&data),
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return Err(closed()),
                Some(_) => {}
            }
        };
        // A server that speaks a later one comes down to ours.
        if version != wire::VERSION {
            return Err(StoreError::unavailable(format!("the server speaks version {version} of SFTP, not 3")));
        }
        let link = Arc::new(Link::new());
        tokio::spawn(read(reader, received, Arc::clone(&link), Arc::clone(&connection.line), patience));
        tokio::spawn(write(writer, Arc::clone(&link)));
        let places = Arc::new(Semaphore::new(PLACES));
        connection.took_on();
        Ok(Self { link, places, real_root: Mutex::default(), connection })
    }

    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Whether it can't be asked any more.
    pub(super) fn is_lost(&self) -> bool {
        self.link.state().lost.is_some()
    }

    /// How many operations are in it.
    pub(super) fn load(&self) -> usize {
        PLACES.saturating_sub(self.places.available_permits())
    }

    /// A place in it, once there is one.
    pub(super) async fn enter(self: Arc<Self>) -> Result<Turn, StoreError> {
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| closed())?;
        Ok(Turn { session: self, _place: place })
    }

    /// Asks at once; the answer may be waited for, or not.
    pub(super) fn ask(&self, ask: Ask<'_>) -> Result<Pending, StoreError> {
        self.link.ask(|id, out| ask.write(id, out))
    }

    /// The same with a request that [`wire`] does not know.
    pub(super) fn ask_anything(&self, kind: u8, body: &[u8]) -> Result<Pending, StoreError> {
        self.link.ask(|id, out| wire::write_anything(kind, id, body, out))
    }

    pub(super) fn real_root(&self) -> Bytes {
        self.real_root.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_real_root(&self, path: Bytes) {
        *self.real_root.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.gave_back();
        self.link.lose(closed());
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("load", &self.load()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Open {
    /// What the server calls it.
    pub(super) fn handle(&self) -> &[u8] {
        &self.handle
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Nobody waits for how that went.
        let _ = self.link.ask(|id, out| Ask::Close(&self.handle).write(id, out));
    }
}

impl Future for Pending {
    type Output = Result<Reply, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.reply).poll(context).map(|reply| reply.map_err(|_| self.link.reason()))
    }
}

impl Link {
    fn new() -> Self {
        let state = State { outbox: BytesMut::new(), next_id: 0, asked: HashMap::new(), lost: None };
        Self { state: Mutex::new(state), stirred: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(self: &Arc<Self>, write: impl FnOnce(u32, &mut BytesMut)) -> Result<Pending, StoreError> {
        let (sender, reply) = oneshot::channel();
        let mut state = self.state();
        if let Some(reason) = &state.lost {
            return Err(reason.clone());
        }
        let id = state.next_id;
        state.next_id = id.wrapping_add(1);
        write(id, &mut state.outbox);
        state.asked.insert(id, Asked { since: Instant::now(), reply: sender });
        drop(state);
        self.stirred.notify_one();
        Ok(Pending { link: Arc::clone(self), reply })
    }

    fn answer(self: &Arc<Self>, id: u32, answer: Answer) {
        let asked = self.state().asked.remove(&id);
        let reply = match answer {
            Answer::Status(status) => Reply::Status(status),
            // From here on it is given back whatever happens to it.
            Answer::Handle(handle) => Reply::Handle(Open { link: Arc::clone(self), handle }),
            Answer::Data(data) => Reply::Data(data),
            Answer::Names(names) => Reply::Names(names),
            Answer::Attributes(attributes) => Reply::Attributes(attributes),
        };
        if let Some(asked) = asked {
            // Whoever asked may have left.
            let _ = asked.reply.send(reply);
        }
    }

    /// Ends the session; the first reason is the one that is told.
    fn lose(&self, reason: StoreError) {
        let mut state = self.state();
        if state.lost.is_none() {
            state.lost = Some(reason);
        }
        state.outbox.clear();
        let asked = std::mem::take(&mut state.asked);
        drop(state);
        drop(asked);
        self.stirred.notify_one();
    }

    fn reason(&self) -> StoreError {
        self.state().lost.clone().unwrap_or_else(closed)
    }

    /// Since when the oldest request waits.
    fn oldest(&self) -> Option<Instant> {
        self.state().asked.values().map(|asked| asked.since).min()
    }
}

/// Hands the server's answers to whoever asked, until there are no more.
///
/// It never waits for those: what they asked for has its room. So one slow reader holds up neither its session nor the
/// others of the connection.
async fn read(
    mut reader: ChannelReadHalf,
    mut received: BytesMut,
    link: Arc<Link>,
    line: Arc<Line>,
    patience: Duration,
) {
    let mut tick = interval((patience / 8).max(Duration::from_millis(1)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reason = loop {
        tokio::select! {
            message = reader.wait() => match message {
                Some(ChannelMsg::Data { data }) => {
                    line.heard();
                    received.extend_from_slice(&data);
                    if let Err(error) = dispatch(&mut received, &link) {
                        break error;
                    }
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => break closed(),
                Some(_) => {}
            },
            _ = tick.tick() => {
                if link.state().lost.is_some() {
                    return;
                }
                if let Some(oldest) = link.oldest().filter(|oldest| oldest.elapsed() >= patience) {
                    // A server that hangs on one file, as on a pipe, still answers in its other sessions.
                    if line.last_heard() < oldest {
                        line.cut();
                    }
                    break StoreError::unavailable(format!("the SFTP server left a request unanswered for {patience:?}"));
                }
            }
        }
    };
    link.lose(reason);
}

fn dispatch(received: &mut BytesMut, link: &Arc<Link>) -> Result<(), StoreError> {
    while let Some(frame) = next_frame(received)? {
        if let Frame::Answer(id, answer) = frame {
            link.answer(id, answer);
        }
    }
    Ok(())
}

/// Sends what is asked, until the session is lost.
async fn write(writer: ChannelWriteHalf<Msg>, link: Arc<Link>) {
    loop {
        link.stirred.notified().await;
        let (bytes, is_lost) = {
            let mut state = link.state();
            (state.outbox.split().freeze(), state.lost.is_some())
        };
        if is_lost {
            // The server ends the process that it ran for this channel.
            let _ = writer.close().await;
            return;
        }
        if !bytes.is_empty()
            && let Err(error) = writer.data_bytes(bytes).await
        {
            link.lose(StoreError::unavailable(error));
        }
    }
}

fn next_frame(received: &mut BytesMut) -> Result<Option<Frame>, StoreError> {
    wire::next_frame(received).map_err(StoreError::unavailable)
}

fn closed() -> StoreError {
    StoreError::unavailable("the SFTP session was closed")
}
