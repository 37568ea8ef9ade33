//! How a connection is made, in each form that Redis is run in.
//!
//! Sockets, name look-ups, TLS and the question to the sentinels are ours, so that all of it ends in time and believes
//! whom the rest of the program believes. Only a cluster's connections are the crate's own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::{BoxFuture, select_ok};
use futures_util::{FutureExt, TryFutureExt};
use redis::aio::{MultiplexedConnection, PubSub, PubSubStream};
use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::{
    AsyncConnectionConfig, ClientTlsConfig, ErrorKind, RedisConnectionInfo, RedisError, RedisResult, TlsCertificates,
    Value,
};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::options::{Address, Form, Identity, Options, Sentinels, TlsOptions};
use super::wire::Wire;
use crate::secret::Secret;
use crate::trust::{self, FileError, Trust, TrustError};

/// The client can't be built from its options.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A file can't be used.
    #[error("{file} {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: FileError,
    },
    /// TLS can't be set up.
    #[error("TLS to Redis can't be set up")]
    Tls(#[from] TrustError),
    /// The nodes of a cluster can't be used.
    #[error("the cluster's client can't be set up")]
    Cluster(#[from] RedisError),
}

/// Makes connections.
pub(super) struct Connector {
    form: Form,
    login: RedisConnectionInfo,
    sentinels_login: RedisConnectionInfo,
    tls: Option<TlsConnector>,
    cluster: Option<ClusterClient>,
}

/// What moves the bytes of a connection; it ends with it.
pub(super) type Driver = BoxFuture<'static, ()>;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Connector {
    /// Reads the files that the options name, and connects to nothing.
    pub(super) fn new(options: &Options, trust: &Trust) -> Result<Self, SetupError> {
        let tls = options.tls.as_ref().map(|tls| connector(tls, trust)).transpose()?;
        let cluster = match &options.form {
            Form::Cluster(nodes) => Some(cluster(nodes, options, trust)?),
            Form::Standalone(_) | Form::Sentinel(_) => None,
        };
        let sentinels_login = match &options.form {
            Form::Sentinel(Sentinels { username, password, .. }) => login(username.as_deref(), password.as_ref(), 0),
            Form::Standalone(_) | Form::Cluster(_) => RedisConnectionInfo::default(),
        };
        let login = login(options.username.as_deref(), options.password.as_ref(), options.database);
        Ok(Self { form: options.form.clone(), login, sentinels_login, tls, cluster })
    }

    /// A connection for commands, and what drives it, where the crate does not do so itself.
    pub(super) async fn commands(&self) -> RedisResult<(Wire, Option<Driver>)> {
        let (connection, driver) = match (&self.form, &self.cluster) {
            (Form::Standalone(address), _) => self.single(address, &self.login).await?,
            (Form::Sentinel(sentinels), _) => {
                let (_, connection, driver) = self.master(sentinels).await?;
                (connection, driver)
            }
            (Form::Cluster(_), Some(cluster)) => {
                return Ok((Wire::Cluster(cluster.get_async_connection().await?), None));
            }
            (Form::Cluster(_), None) => return Err(RedisError::from((ErrorKind::InvalidClientConfig, "no cluster"))),
        };
        Ok((Wire::Single(connection), Some(driver)))
    }

    /// A subscription to these channels, on a connection of its own.
    pub(super) async fn subscription(&self, channels: &[&str]) -> RedisResult<PubSubStream> {
        match &self.form {
            Form::Standalone(address) => self.subscribed(address, channels).await,
            Form::Sentinel(sentinels) => {
                let (address, ..) = self.master(sentinels).await?;
                self.subscribed(&address, channels).await
            }
            // What is published on one node is heard on all: the first that answers will do.
            Form::Cluster(nodes) => first(nodes, |node| self.subscribed(node, channels).boxed()).await,
        }
    }

    async fn subscribed(&self, address: &Address, channels: &[&str]) -> RedisResult<PubSubStream> {
        let mut subscription = PubSub::new(&self.login, self.stream(address).await?).await?;
        subscription.subscribe(channels).await?;
        Ok(subscription.into_on_message())
    }

    /// The master and a connection to it, by the first sentinel that leads to a server which says that it is one: after
    /// a failover some still tell of the old one.
    async fn master(&self, sentinels: &Sentinels) -> RedisResult<(Address, MultiplexedConnection, Driver)> {
        first(&sentinels.nodes, |node| self.master_by(node, &sentinels.master).boxed()).await
    }

    async fn master_by(&self, node: &Address, name: &str) -> RedisResult<(Address, MultiplexedConnection, Driver)> {
        let (mut sentinel, mut driver) = self.single(node, &self.sentinels_login).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let found: Option<(String, u16)> = driven(&mut driver, question.query_async(&mut sentinel)).await?;
        let unknown = || RedisError::from((ErrorKind::MasterNameNotFoundBySentinel, "no such master"));
        let (host, port) = found.ok_or_else(unknown)?;
        let address = Address::Tcp { host, port };
        let (mut connection, mut driver) = self.single(&address, &self.login).await?;
        let role: RedisResult<Vec<Value>> = driven(&mut driver, redis::cmd("ROLE").query_async(&mut connection)).await;
        match role {
            Ok(role) if role.first().is_some_and(|role| *role == Value::BulkString(b"master".to_vec())) => {}
            Ok(_) => return Err(RedisError::from((ErrorKind::Io, "the master by the sentinels is a replica"))),
            // A user who may not ask has to believe the sentinel.
            Err(error) if error.code() == Some("NOPERM") => {}
            Err(error) => return Err(error),
        }
        Ok((address, connection, driver))
    }

    async fn single(
        &self,
        address: &Address,
        login: &RedisConnectionInfo,
    ) -> RedisResult<(MultiplexedConnection, Driver)> {
        let stream = self.stream(address).await?;
        // Who asks sets the time limit.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let (connection, driver) = MultiplexedConnection::new_with_config(login, stream, config).await?;
        Ok((connection, driver.boxed()))
    }

    async fn stream(&self, address: &Address) -> RedisResult<Box<dyn Stream>> {
        let (host, port) = match address {
            Address::Tcp { host, port } => (host, *port),
            Address::Unix(path) => return Ok(Box::new(UnixStream::connect(path).await?)),
        };
        let socket = TcpStream::connect((host.as_str(), port)).await?;
        socket.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(socket)) };
        let name = ServerName::try_from(host.clone())?;
        Ok(Box::new(tls.connect(name, socket).await?))
    }
}

/// What comes of the first node for which anything comes, all being asked at once; else what the last one failed of.
async fn first<'a, T>(
    nodes: &'a [Address],
    ask: impl Fn(&'a Address) -> BoxFuture<'a, RedisResult<T>>,
) -> RedisResult<T> {
    if nodes.is_empty() {
        return Err(RedisError::from((ErrorKind::EmptySentinelList, "no node is known")));
    }
    select_ok(nodes.iter().map(ask)).map_ok(|(found, _)| found).await
}

/// Waits for an answer while moving the connection's bytes.
async fn driven<T>(driver: &mut Driver, answer: impl Future<Output = RedisResult<T>>) -> RedisResult<T> {
    let ended = driver.then(|()| std::future::pending::<RedisResult<T>>());
    tokio::select! {
        // The connection's end shows in the answer.
        answer = answer => answer,
        never = ended => never,
    }
}

fn login(username: Option<&str>, password: Option<&Secret>, database: u32) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name().set_db(i64::from(database));
    if let Some(username) = username {
        login = login.set_username(username);
    }
    if let Some(password) = password.and_then(Secret::expose_text) {
        login = login.set_password(password);
    }
    login
}

fn connector(options: &TlsOptions, trust: &Trust) -> Result<TlsConnector, SetupError> {
    let authorities = options.ca_file.as_ref().map(|file| {
        trust::read_authorities(file).map_err(|source| SetupError::File { file: file.display().to_string(), source })
    });
    let identity = options.identity.as_ref().map(Identity::load);
    let config = trust.client_config_with(authorities.transpose()?.unwrap_or_default(), identity.transpose()?)?;
    Ok(TlsConnector::from(config))
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// Where one of them can't be used.
    pub fn load(&self) -> Result<trust::Identity, SetupError> {
        let told = |file: &std::path::Path, source| SetupError::File { file: file.display().to_string(), source };
        let chain = trust::read(&self.cert_file).and_then(|pem| trust::certificates(&pem));
        let key = trust::read(&self.key_file).and_then(|pem| trust::private_key(&pem));
        Ok(trust::Identity {
            chain: chain.map_err(|source| told(&self.cert_file, source))?,
            key: key.map_err(|source| told(&self.key_file, source))?,
        })
    }
}

fn cluster(nodes: &[Address], options: &Options, trust: &Trust) -> Result<ClusterClient, SetupError> {
    let scheme = if options.tls.is_some() { "rediss" } else { "redis" };
    let mut builder = ClusterClientBuilder::new(nodes.iter().map(|node| format!("{scheme}://{node}")))
        .connection_timeout(options.connect_timeout)
        .response_timeout(options.read_timeout)
        .overall_response_timeout(None)
        .retries(2);
    if let Some(username) = &options.username {
        builder = builder.username(username);
    }
    if let Some(password) = options.password.as_ref().and_then(Secret::expose_text) {
        builder = builder.password(password);
    }
    if let Some(tls) = &options.tls {
        builder = builder.certs(certificates(tls, trust)?);
    }
    Ok(builder.build()?)
}

/// The same as [`connector`] says, in the words of the crate.
fn certificates(options: &TlsOptions, trust: &Trust) -> Result<TlsCertificates, SetupError> {
    let read = |file: &std::path::Path| {
        trust::read(file).map_err(|source| SetupError::File { file: file.display().to_string(), source })
    };
    let mut authorities = String::new();
    for authority in trust.authorities() {
        let body = STANDARD.encode(&authority);
        authorities.push_str(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"));
    }
    let mut authorities = authorities.into_bytes();
    if let Some(file) = &options.ca_file {
        authorities.extend(read(file)?);
    }
    let client_tls = options.identity.as_ref().map(|identity| {
        Ok::<_, SetupError>(ClientTlsConfig {
            client_cert: read(&identity.cert_file)?,
            client_key: read(&identity.key_file)?,
        })
    });
    Ok(TlsCertificates { client_tls: client_tls.transpose()?, root_cert: Some(authorities) })
}
