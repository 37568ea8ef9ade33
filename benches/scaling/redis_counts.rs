//! What Redis says that it was asked, less what the bench asks it.

use std::collections::BTreeMap;

use anyhow::Context;
use callboard::redis::Address;
use redis::aio::MultiplexedConnection;

use super::server::Redis;

/// Makes it anyone's turn again. `UNLINK` is nobody else's, so that it is not counted with what the cache does.
const END_TURNS: &str = "for _, key in ipairs(redis.call('KEYS', 'callboard:turn:*')) do redis.call('UNLINK', key) end";

/// Commands of the bench's own.
const OWN: [&str; 6] = ["keys", "unlink", "evalsha", "info", "config|resetstat", "script|load"];

/// A Redis, and a connection to it that is not the cache's.
pub(crate) struct Monitor {
    server: Redis,
    connection: MultiplexedConnection,
    before: Spent,
    script: String,
}

/// What Redis has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Commands, those that scripts run included.
    pub(crate) commands: u64,
    /// Of these, messages to all replicas and heartbeats.
    pub(crate) publishes: u64,
    /// Bytes that came to it, and that it sent.
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    /// CPU time that the commands took by its own account, in microseconds.
    pub(crate) micros: u64,
}

impl Monitor {
    pub(crate) async fn new(server: Redis) -> anyhow::Result<Self> {
        let client = redis::Client::open(url(&server))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let script = redis::cmd("SCRIPT").arg("LOAD").arg(END_TURNS).query_async(&mut connection).await?;
        Ok(Self { server, connection, before: Spent::default(), script })
    }

    pub(crate) fn url(&self) -> String {
        url(&self.server)
    }

    pub(crate) fn address(&self) -> Address {
        let address = self.server.address();
        Address::Tcp { host: address.ip().to_string(), port: address.port() }
    }

    pub(crate) async fn end_turns(&mut self) -> anyhow::Result<()> {
        Ok(redis::cmd("EVALSHA").arg(&self.script).arg(0).query_async(&mut self.connection).await?)
    }

    pub(crate) async fn begin(&mut self) -> anyhow::Result<()> {
        self.before = self.spent().await?;
        Ok(())
    }

    pub(crate) async fn end(&mut self) -> anyhow::Result<Spent> {
        Ok(self.spent().await?.since(self.before))
    }

    async fn spent(&mut self) -> anyhow::Result<Spent> {
        let commands: String = redis::cmd("INFO").arg("commandstats").query_async(&mut self.connection).await?;
        let stats: String = redis::cmd("INFO").arg("stats").query_async(&mut self.connection).await?;
        let mut spent = Spent { bytes_in: number(&stats, "total_net_input_bytes:")?, ..Spent::default() };
        spent.bytes_out = number(&stats, "total_net_output_bytes:")?;
        for (command, calls, micros) in by_command(&commands) {
            if command == "publish" {
                spent.publishes = calls;
            }
            if !OWN.contains(&command) {
                spent.commands += calls;
                spent.micros += micros;
            }
        }
        Ok(spent)
    }
}

fn url(server: &Redis) -> String {
    format!("redis://{}", server.address())
}

impl Spent {
    fn since(self, earlier: Self) -> Self {
        Self {
            commands: self.commands - earlier.commands,
            publishes: self.publishes - earlier.publishes,
            bytes_in: self.bytes_in - earlier.bytes_in,
            bytes_out: self.bytes_out - earlier.bytes_out,
            micros: self.micros - earlier.micros,
        }
    }
}

/// The number behind a word.
fn number(info: &str, word: &str) -> anyhow::Result<u64> {
    let line = info.lines().find_map(|line| line.strip_prefix(word));
    Ok(line.with_context(|| format!("INFO tells no {word}"))?.trim().parse()?)
}

/// Calls and microseconds of each command.
fn by_command(commands: &str) -> impl Iterator<Item = (&str, u64, u64)> {
    commands.lines().filter_map(|line| {
        let (command, figures) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let figures: BTreeMap<&str, &str> = figures.split(',').filter_map(|figure| figure.split_once('=')).collect();
        Some((command, figures.get("calls")?.parse().ok()?, figures.get("usec")?.parse().ok()?))
    })
}
