//! A connection, and how a pipeline goes over it.

use futures_util::FutureExt;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
use redis::{Arg, Cmd, Pipeline, RedisFuture, Value};

/// A connection that many share. Clones are the same connection.
#[derive(Clone)]
pub(super) enum Wire {
    /// To one server.
    Single(MultiplexedConnection),
    /// To all of a cluster's.
    Cluster(ClusterConnection),
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Single(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Single(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => {
                connection.route_pipeline(pipeline.clone(), offset, count, node_for(pipeline)).boxed()
            }
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Single(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}

/// Where in a cluster a pipeline is to run: where the first of its keys is. The crate's own choice would take the
/// channel of a `PUBLISH` for a key, which belongs to another slot then; any node will do for it.
fn node_for(pipeline: &Pipeline) -> SingleNodeRoutingInfo {
    match pipeline.cmd_iter().find_map(key_of) {
        Some(key) => SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master)),
        None => SingleNodeRoutingInfo::RandomPrimary,
    }
}

/// The first key of a command, as far as our commands go.
fn key_of(command: &Cmd) -> Option<&[u8]> {
    let mut arguments = command.args_iter().filter_map(simple);
    let name = arguments.next()?.to_ascii_uppercase();
    match name.as_slice() {
        b"PUBLISH" | b"PING" => None,
        b"EVAL" | b"EVALSHA" => {
            // The script, how many keys there are, and the keys.
            let count = arguments.nth(1)?;
            arguments.next().filter(|_| count != b"0")
        }
        _ => arguments.next(),
    }
}

/// A command's name, as it was written.
pub(super) fn name_of(command: &Cmd) -> Option<&[u8]> {
    command.args_iter().find_map(simple)
}

fn simple(argument: Arg<&[u8]>) -> Option<&[u8]> {
    match argument {
        Arg::Simple(argument) => Some(argument),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_runs_where_its_first_key_is() {
        let mut pipeline = redis::pipe();
        pipeline.cmd("PING").cmd("publish").arg("news").arg("text");
        assert!(matches!(node_for(&pipeline), SingleNodeRoutingInfo::RandomPrimary));
        pipeline.cmd("set").arg("{page}:a").arg("value");
        let expected = SingleNodeRoutingInfo::SpecificNode(Route::with_key("{page}", SlotAddr::Master));
        assert_eq!(node_for(&pipeline), expected);
    }

    #[test]
    fn scripts_have_their_keys_behind_their_number() {
        let key = |arguments: [&str; 4]| {
            let mut command = redis::cmd("EVALSHA");
            command.arg(&arguments);
            key_of(&command).map(<[u8]>::to_vec)
        };
        assert_eq!(key(["5c0ff", "1", "page", "argument"]), Some(b"page".to_vec()));
        assert_eq!(key(["5c0ff", "0", "argument", "argument"]), None);
    }
}
