//! A connection: to the right server, as the right user.

use std::net::Shutdown;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::{self, AuthResult, Handle, Handler, KeyboardInteractiveAuthResponse};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{AlgorithmKind, ChannelMsg, MethodKind, MethodSet, Preferred};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::session::Session;
use super::{HostKey, SftpOptions};
use crate::secret::Secret;
use crate::storage::StoreError;

/// A server that does not take a connection within this time is not going to be quick once it has.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// When a connection has been silent for so long, the server is asked whether it is there; when it has left so many of
/// these questions unanswered, it is not. This also keeps firewalls from forgetting a connection that nobody uses.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
const UNANSWERED: usize = 2;

/// A connection that is open, with some sessions on it.
#[derive(Debug)]
pub(super) struct Connection {
    ssh: Ssh,
    pub(super) line: Arc<Line>,
    sessions: AtomicUsize,
    /// As many sessions as it can have, as far as is known.
    most: AtomicUsize,
}

/// The client's handle, which does not print.
struct Ssh(Handle<Door>);

impl std::fmt::Debug for Ssh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ssh")
    }
}

/// The socket below a connection.
///
/// The client runs in a task of its own, which does not end with whoever waited for it. Cutting its socket ends it in any
/// state: while it shakes hands, while the server is silent, while nothing can be written.
#[derive(Debug)]
pub(super) struct Line {
    socket: std::net::TcpStream,
    heard: Mutex<Instant>,
}

impl Line {
    /// Ends the connection.
    pub(super) fn cut(&self) {
        // One that is cut already, by the server or us.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    pub(super) fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When something last came from the server.
    pub(super) fn last_heard(&self) -> Instant {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Connection {
    /// Connects, makes sure of the server, and logs in. Whoever waits sets the deadline.
    pub(super) async fn open(options: &SftpOptions, patience: Duration) -> Result<Self, StoreError> {
        let address = (options.host.as_str(), options.port);
        let limit = patience.min(CONNECT_TIMEOUT);
        let socket = match timeout(limit, TcpStream::connect(address)).await {
            Ok(socket) => socket.and_then(|socket| {
                socket.set_nodelay(true)?;
                socket.into_std()
            }),
            Err(_) => {
                return Err(StoreError::unavailable(format!("the SFTP server took no connection within {limit:?}")));
            }
        };
        let socket = socket.map_err(StoreError::unavailable)?;
        let second = socket.try_clone().map_err(StoreError::unavailable)?;
        let line = Arc::new(Line { socket: second, heard: Mutex::new(Instant::now()) });
        let socket = TcpStream::from_std(socket).map_err(StoreError::unavailable)?;

        let known = known_keys(options).await?;
        let config = Arc::new(config(&known));
        let door = Door { known, address: format!("{}:{}", options.host, options.port) };
        let mut ssh = client::connect_stream(config, socket, door).await.map_err(StoreError::from)?;
        log_in(&mut ssh, options).await?;
        Ok(Self { ssh: Ssh(ssh), line, sessions: AtomicUsize::new(0), most: AtomicUsize::new(options.channels) })
    }

    /// Whether another session may be begun on it.
    pub(super) fn has_room(&self) -> bool {
        !self.ssh.0.is_closed() && self.sessions.load(Ordering::Relaxed) < self.most.load(Ordering::Relaxed)
    }

    /// Begins a session; [`Session::drop`] tells that it has ended.
    pub(super) async fn begin_session(self: Arc<Self>, patience: Duration) -> Result<Session, StoreError> {
        let mut channel = match self.ssh.0.channel_open_session().await {
            Ok(channel) => channel,
            Err(error) => {
                // `MaxSessions` of the server is less than we would have.
                if matches!(error, russh::Error::ChannelOpenFailure(_)) {
                    self.most.store(self.sessions.load(Ordering::Relaxed), Ordering::Relaxed);
                }
                return Err(StoreError::unavailable(error));
            }
        };
        channel.request_subsystem(true, "sftp").await.map_err(StoreError::unavailable)?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure) => {
                    return Err(StoreError::denied(
                        "the server has no SFTP for this user: see Subsystem and ForceCommand in its sshd_config",
                    ));
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                    return Err(StoreError::unavailable("the server closed the channel that SFTP was to run in"));
                }
                Some(_) => {}
            }
        }
        Session::begin(channel, self, patience).await
    }

    /// A session has begun.
    pub(super) fn took_on(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A session has ended.
    pub(super) fn gave_back(&self) {
        self.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.line.cut();
    }
}

async fn known_keys(options: &SftpOptions) -> Result<Vec<HostKey>, StoreError> {
    let (keys, host, port) = (options.host_keys.clone(), options.host.clone(), options.port);
    let known = tokio::task::spawn_blocking(move || keys.of(&host, port)).await;
    let known = known.map_err(|_| StoreError::Abandoned)?;
    let known = known.map_err(|error| StoreError::denied(format!("the file of known hosts can't be read: {error}")))?;
    if known.is_empty() {
        return Err(StoreError::denied("the file of known hosts no longer has a usable key of the server"));
    }
    Ok(known)
}

fn config(known: &[HostKey]) -> client::Config {
    // Asked for another kind, the server would show a key that is not known and yet its own.
    let key: Vec<_> = known.iter().map(HostKey::algorithm).collect();
    client::Config {
        preferred: Preferred { key: key.into(), ..Preferred::DEFAULT },
        keepalive_interval: Some(KEEP_ALIVE),
        keepalive_max: UNANSWERED,
        ..client::Config::default()
    }
}

/// Why there is no connection.
#[derive(Debug)]
enum Refusal {
    HostKey(String),
    Ssh(russh::Error),
}

impl From<russh::Error> for Refusal {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// A server that shows another key counts among the refusals, although it is we who refuse: it is not an outage that
/// passes, somebody has to look at it. As with a refused credential, old copies are served meanwhile, and the pool asks
/// again after a while only.
impl From<Refusal> for StoreError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::HostKey(sentence) => Self::denied(sentence),
            Refusal::Ssh(russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, ours, theirs }) => {
                Self::denied(format!(
                    "host key changed: a key of the server is known of the kind {}, and it offers {} only",
                    ours.join(" or "),
                    theirs.join(", ")
                ))
            }
            Refusal::Ssh(error) => Self::unavailable(error),
        }
    }
}

/// Lets nobody in but the server.
struct Door {
    known: Vec<HostKey>,
    address: String,
}

impl Handler for Door {
    type Error = Refusal;

    async fn check_server_key(&mut self, shown: &PublicKeyOrCertificate) -> Result<bool, Refusal> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = shown else {
            return Err(Refusal::HostKey("the server shows a certificate instead of a key".to_owned()));
        };
        if self.known.iter().any(|known| known.is(key)) {
            return Ok(true);
        }
        Err(Refusal::HostKey(format!(
            "host key changed: {} shows {} {}, which is not in hostKeys or knownHostsFile; if the server was set up anew, \
             write its new key there, else somebody else answers in its place",
            self.address,
            key.algorithm(),
            key.fingerprint(HashAlg::Sha256)
        )))
    }
}

/// Shows the key, then tells the password; a server may want both.
async fn log_in(ssh: &mut Handle<Door>, options: &SftpOptions) -> Result<(), StoreError> {
    let user = options.username.as_str();
    let mut wanted = MethodSet::empty();
    let mut tried = Vec::new();
    if let Some(key) = &options.credentials.key {
        match ssh.authenticate_publickey(user, key.for_signing()).await.map_err(StoreError::unavailable)? {
            AuthResult::Success => return Ok(()),
            AuthResult::Failure { remaining_methods, .. } => wanted = remaining_methods,
        }
        tried.push(format!("the key {}", key.fingerprint()));
    }
    if let Some(password) = options.credentials.password.as_ref().and_then(Secret::expose_text) {
        // Without a key nothing was asked yet, and so nothing is known of what the server wants.
        if tried.is_empty() || wanted.contains(&MethodKind::Password) {
            let answer = ssh.authenticate_password(user, password).await.map_err(StoreError::unavailable)?;
            match answer {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => wanted = remaining_methods,
            }
        }
        if wanted.contains(&MethodKind::KeyboardInteractive) && answer_for_password(ssh, user, password).await? {
            return Ok(());
        }
        tried.push("the password".to_owned());
    }
    if ssh.is_closed() {
        return Err(StoreError::unavailable("the server closed the connection while the user logged in"));
    }
    let wanted: Vec<&str> = wanted.iter().map(Into::into).collect();
    Err(StoreError::denied(format!(
        "the server refuses {} of user {user:?}; it takes: {}",
        tried.join(" and "),
        wanted.join(", ")
    )))
}

/// Lets itself be asked for the password, as servers with PAM do. Asked for anything else it gives up.
async fn answer_for_password(ssh: &mut Handle<Door>, user: &str, password: &str) -> Result<bool, StoreError> {
    /// After the password servers ask for nothing a few times over.
    const ROUNDS: usize = 4;
    let mut told = false;
    let mut answer = ssh.authenticate_keyboard_interactive_start(user, None).await;
    for _ in 0..ROUNDS {
        let answers = match answer.map_err(StoreError::unavailable)? {
            KeyboardInteractiveAuthResponse::Success => return Ok(true),
            KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.as_slice() {
                [] => Vec::new(),
                [prompt] if !prompt.echo && !told => {
                    told = true;
                    vec![password.to_owned()]
                }
                _ => return Ok(false),
            },
            KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
        };
        answer = ssh.authenticate_keyboard_interactive_respond(answers).await;
    }
    Ok(false)
}
