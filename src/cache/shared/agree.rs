//! What replicas agree on: small values that the first one sets, and who does what next.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::pipe;
use tokio::sync::mpsc;

use super::Shared;
use super::load::{Field, record_context};
use super::write::millis;
use crate::redis::Heard;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cache) enum Turn {
    /// Ours, and nobody else's for as long as was asked for.
    Ours,
    /// Another's, who took it so that it lasts for this much longer.
    Others(Duration),
    /// Redis gave no answer.
    Unavailable,
}

impl Shared {
    /// The small value of this name that the first replica has set; `proposed`, where that is this one. `None` where Redis
    /// gave no answer, or one that is no good.
    pub(in crate::cache) async fn agree(&self, name: &str, proposed: &[u8], ttl: Duration) -> Option<Bytes> {
        let stored = self.core.names.record(name);
        let sealed = self.core.seal.seal(&record_context(name), proposed);
        let mut commands = pipe();
        commands.cmd("SET").arg(&stored).arg(sealed.as_ref()).arg("NX").arg("PX").arg(millis(ttl)).ignore();
        commands.cmd("GET").arg(&stored);
        let (agreed,): (Field,) = self.core.run(&commands).await.ok()?;
        match self.core.seal.judge(&record_context(name), &agreed?) {
            Ok(value) => Some(Bytes::copy_from_slice(value)),
            Err(reason) => {
                self.core.is_bad(&stored, reason);
                None
            }
        }
    }

    /// Asks for the next turn at something, which lasts for so long; `id` is who asks. Whose turn it is already keeps it:
    /// it may have got nowhere.
    pub(in crate::cache) async fn take_turn(&self, name: &str, id: u128, for_: Duration) -> Turn {
        let turn = self.core.names.turn(name);
        let id = format!("{id:032x}");
        let mut commands = pipe();
        commands.cmd("SET").arg(&turn).arg(&id).arg("NX").arg("PX").arg(millis(for_)).ignore();
        commands.cmd("GET").arg(&turn);
        commands.cmd("PTTL").arg(&turn);
        match self.core.run::<(Option<String>, i64)>(&commands).await {
            Ok((Some(whose), left)) if whose != id => {
                Turn::Others(Duration::from_millis(u64::try_from(left).unwrap_or_default()))
            }
            Ok(_) => Turn::Ours,
            Err(_) => Turn::Unavailable,
        }
    }

    /// What is told, for as long as the receiver lives.
    pub(in crate::cache) fn listen(self: &Arc<Self>) -> mpsc::Receiver<Heard> {
        self.core.client.listen(&self.core.names.channel())
    }
}
