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

    /// Takes the next turn at something, for so long, unless another has it; `id` is who asks. Where Redis gives no answer
    /// it is anyone's.
    pub(in crate::cache) async fn take_turn(&self, name: &str, id: u128, for_: Duration) -> bool {
        let turn = self.core.names.turn(name);
        let id = format!("{id:032x}");
        let mut commands = pipe();
        commands.cmd("SET").arg(&turn).arg(&id).arg("NX").arg("PX").arg(millis(for_)).ignore();
        commands.cmd("GET").arg(&turn);
        match self.core.run::<(Option<String>,)>(&commands).await {
            Ok((Some(whose),)) => whose == id,
            Ok((None,)) | Err(_) => true,
        }
    }

    /// What is told, for as long as the receiver lives.
    pub(in crate::cache) fn listen(self: &Arc<Self>) -> mpsc::Receiver<Heard> {
        self.core.client.listen(&self.core.names.channel())
    }
}
