//! Room for connections among the files that the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Limits;

/// Open files beside clients' connections: to storage, Backstage and receivers, a local folder's files, the program's
/// own.
const OTHERS: u64 = 512;

/// Raises the limit of open files as far as the process itself may, and warns where it is too low all the same for as
/// many connections as `limits` allow on both listeners.
pub fn raise_open_files(limits: &Limits) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    // The usual soft limit of 1024 is for programs that use select(2).
    let raised = if current == maximum {
        current
    } else {
        match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
            Ok(()) => maximum,
            Err(error) => {
                tracing::warn!(%error, "the limit of open files could not be raised");
                current
            }
        }
    };
    if let Some(needed) = lacking(raised, limits.max_connections) {
        tracing::warn!(
            open_files = raised,
            needed,
            max_connections = limits.max_connections,
            "fewer files may be open than callboard.limits.maxConnections needs: raise the limit to what is needed \
             (LimitNOFILE in systemd, ulimit -n in a shell, --ulimit nofile in Docker), or lower maxConnections"
        );
    }
}

/// How many open files `max_connections` need, where there may be fewer. `None` in `available` is no limit.
fn lacking(available: Option<u64>, max_connections: usize) -> Option<u64> {
    let needed = u64::try_from(max_connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(OTHERS);
    available.filter(|available| *available < needed).map(|_| needed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_listeners_and_all_else_must_fit() {
        assert_eq!(lacking(Some(20_511), 10_000), Some(20_512));
        assert_eq!(lacking(Some(20_512), 10_000), None);
        assert_eq!(lacking(None, 10_000), None);
    }
}
