//! Accepting connections, and ending them all when the program stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::connection::Connector;
use super::places::{Place, Places, Vacancy};
use super::seldom::Seldom;
use super::tls::Acceptor;
use super::{Limits, Stop};
use crate::limit::Address;
use crate::pipeline::{Body, Journey};
use crate::telemetry::{Instruments, ListenerName};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: u32 = 1024;

/// How long to wait when no connection can be accepted, as when the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request from a client at `client`; every outcome is an answer.
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: Address,
    ) -> impl Future<Output = Response<Body>> + Send + 'static;
}

impl Handler for Journey {
    fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        client: Address,
    ) -> impl Future<Output = Response<Body>> + Send + 'static {
        Self::answer(self, request, client)
    }
}

/// A bound socket that has not accepted anything yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
    places: Arc<Places>,
    tls: Option<Acceptor>,
    instruments: Arc<Instruments>,
    /// Connections that could not be accepted.
    refused: Seldom,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    /// Where the system refuses the address.
    pub fn bind(
        address: SocketAddr,
        limits: Limits,
        name: ListenerName,
        instruments: Arc<Instruments>,
    ) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // A restart must not wait for connections of the last run to time out.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let places = Places::new(&limits, name, Arc::clone(&instruments));
        let socket = socket.listen(BACKLOG)?;
        Ok(Self { socket, limits, places, tls: None, instruments, refused: Seldom::default() })
    }

    /// The same, speaking TLS where there is an acceptor for it.
    pub fn with_tls(self, tls: Option<Acceptor>) -> Self {
        Self { tls, ..self }
    }

    /// The address, with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop` says to close; then serves who waits in the kernel's backlog already, and lets requests in
    /// flight finish for as long as the word says. Returns how many connections had to be broken off.
    pub async fn serve(self, handler: Arc<impl Handler>, mut stop: Stop) -> usize {
        let connector = Connector::new(self.limits.clone(), self.tls, Arc::clone(&self.instruments));
        let connector = Arc::new(connector);
        let mut connections = JoinSet::new();
        let word = stop.clone();
        let mut open = |(socket, place): (TcpStream, Place)| {
            // Those that have ended must not pile up.
            while connections.try_join_next().is_some() {}
            let (connector, handler, stop) = (Arc::clone(&connector), Arc::clone(&handler), word.clone());
            connections.spawn(async move {
                connector.serve(socket, place.address(), handler, stop).await;
                drop(place);
            });
        };
        let until = loop {
            tokio::select! {
                until = stop.closing() => break until,
                accepted = accept(&self.socket, &self.places, &self.refused) => accepted.into_iter().for_each(&mut open),
            }
        };
        let _ = tokio::time::timeout_at(until, accept_waiting(self.socket, &self.places, open)).await;
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout_at(until, drained).await;
        connections.len()
    }
}

/// The next connection that there is a place for; `None` is a try that came to nothing.
async fn accept(listener: &TcpListener, places: &Arc<Places>, refused: &Seldom) -> Option<(TcpStream, Place)> {
    let vacancy = places.vacancy().await?;
    match listener.accept().await {
        Ok((socket, peer)) => admit(socket, peer, vacancy),
        Err(error) => {
            if let Some(times) = refused.happened() {
                tracing::warn!(%error, times, "no connection could be accepted");
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

/// Hands to `open` whoever waits in the backlog, as there are places, and closes the listener then. Clients there are
/// connected as far as they know, and may have sent their requests.
async fn accept_waiting(listener: TcpListener, places: &Arc<Places>, mut open: impl FnMut((TcpStream, Place))) {
    // The system is asked itself: tokio would say that nobody waits until it has been told otherwise.
    let Ok(listener) = listener.into_std() else { return };
    // Those who keep coming are not waited for.
    for _ in 0..=BACKLOG {
        let Some(vacancy) = places.vacancy().await else { return };
        match listener.accept() {
            Ok((socket, peer)) => {
                let socket = socket.set_nonblocking(true).and_then(|()| TcpStream::from_std(socket));
                if let Some(connection) = socket.ok().and_then(|socket| admit(socket, peer, vacancy)) {
                    open(connection);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // A client that has left, or no file descriptor until some connection ends.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// A connection in its place. The socket of one who has too many is closed here, by being dropped.
fn admit(socket: TcpStream, peer: SocketAddr, vacancy: Vacancy) -> Option<(TcpStream, Place)> {
    let place = vacancy.fill(Address::from(peer.ip()))?;
    // Answers are written whole, so there is nothing to be gained by waiting for more.
    let _ = socket.set_nodelay(true);
    Some((socket, place))
}
