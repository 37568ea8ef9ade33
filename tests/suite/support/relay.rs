//! A TCP relay on loopback that can be a bad network.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What it does to connections, those that are open included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Pass,
    /// Each piece of an answer comes so much later.
    Slow(Duration),
    /// A connection is closed once so many bytes of answers have passed since it was set.
    CutAfter(usize),
    /// Nothing passes any more.
    Hang,
    /// Open connections are closed, and new ones at once.
    Refuse,
}

#[derive(Debug)]
pub struct Relay {
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    target: watch::Sender<SocketAddr>,
    most: Arc<AtomicUsize>,
    answered: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Relay {
    pub async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, seen) = watch::channel(Way::Pass);
        let (target, aim) = watch::channel(server);
        let answered = Arc::<AtomicUsize>::default();
        let count = Arc::clone(&answered);
        let (open, most) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let most_open = Arc::clone(&most);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if *seen.borrow() == Way::Refuse {
                    continue;
                }
                let (seen, now_open, count) = (seen.clone(), Arc::clone(&open), Arc::clone(&count));
                let server = *aim.borrow();
                most_open.fetch_max(now_open.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                tokio::spawn(async move {
                    if let Ok(server) = TcpStream::connect(server).await {
                        carry(client, server, seen, &count).await;
                    }
                    now_open.fetch_sub(1, Ordering::Relaxed);
                });
            }
        });
        Self { address, way, target, most, answered, task }
    }

    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// New connections go there.
    pub fn redirect(&self, server: SocketAddr) {
        self.target.send_replace(server);
    }

    /// Bytes of answers that have passed.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// The most connections through it at a time.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn carry(client: TcpStream, server: TcpStream, way: watch::Receiver<Way>, answered: &AtomicUsize) {
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let mut refused = way.clone();
    tokio::select! {
        () = pump(from_client, to_server, way.clone(), None) => {}
        () = pump(from_server, to_client, way, Some(answered)) => {}
        _ = refused.wait_for(|way| *way == Way::Refuse) => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut way: watch::Receiver<Way>,
    answered: Option<&AtomicUsize>,
) {
    let mut piece = vec![0; 64 * 1024];
    let (mut passed, mut counted_for) = (0, Way::Pass);
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else { return };
        if way.wait_for(|way| *way != Way::Hang).await.is_err() {
            return;
        }
        let now = *way.borrow();
        if now != counted_for {
            (passed, counted_for) = (0, now);
        }
        match now {
            Way::Slow(pause) if answered.is_some() => tokio::time::sleep(pause).await,
            Way::CutAfter(bytes) if answered.is_some() => {
                passed += length;
                if passed > bytes {
                    return;
                }
            }
            _ => {}
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
        if let Some(answered) = answered {
            answered.fetch_add(length, Ordering::Relaxed);
        }
    }
}
