//! Accepting connections, and ending them all when the program stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use super::Limits;
use super::connection::Connector;
use super::places::{Place, Places};
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
    fn answer(&self, request: Request<Incoming>, client: Address) -> impl Future<Output = Response<Body>> + Send;
}

impl Handler for Journey {
    async fn answer(&self, request: Request<Incoming>, client: Address) -> Response<Body> {
        Journey::answer(self, request, client).await
    }
}

/// Tells everyone that the program is to stop; clones hear the same word.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// A word that has not been given, and what gives it: send `true`.
    pub fn channel() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Waits for the word. Who could give it being gone counts as the word.
    pub async fn requested(&mut self) {
        let _ = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// A bound socket that has not accepted anything yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    limits: Limits,
    places: Arc<Places>,
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
        let places = Places::new(&limits, name, instruments);
        Ok(Self { socket: socket.listen(BACKLOG)?, limits, places })
    }

    /// The address, with the port that the system chose where 0 was asked for.
    ///
    /// # Errors
    /// Where the system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `stop`; then lets requests in flight finish, for `grace` at most. Returns how many connections
    /// had to be broken off.
    pub async fn serve(self, handler: Arc<impl Handler>, mut stop: Stop, grace: Duration) -> usize {
        let connector = Arc::new(Connector::new(self.limits.clone()));
        let mut connections = tokio::task::JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stop.requested() => break,
                accepted = accept(&self.socket, &self.places) => accepted,
            };
            // Those that have ended must not pile up.
            while connections.try_join_next().is_some() {}
            let Some((socket, place)) = accepted else { continue };
            let (connector, handler, stop) = (Arc::clone(&connector), Arc::clone(&handler), stop.clone());
            connections.spawn(async move {
                connector.serve(socket, place.address(), handler, stop).await;
                drop(place);
            });
        }
        drop(self.socket);
        let drained = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(grace, drained).await;
        connections.len()
    }
}

/// The next connection that there is a place for; `None` is a try that came to nothing.
async fn accept(listener: &TcpListener, places: &Arc<Places>) -> Option<(TcpStream, Place)> {
    let vacancy = places.vacancy().await?;
    match listener.accept().await {
        Ok((socket, peer)) => {
            // The socket of one who has too many is closed here, by being dropped.
            let place = vacancy.fill(Address::from(peer.ip()))?;
            // Answers are written whole, so there is nothing to be gained by waiting for more.
            let _ = socket.set_nodelay(true);
            Some((socket, place))
        }
        Err(error) => {
            tracing::warn!(%error, "no connection could be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}
