//! Killing the controller at a chosen moment. I/O: signals, or whatever the harness's hook does.

use std::sync::Arc;

use futures::future::BoxFuture;
use rustix::process::{Pid, kill_process};

use crate::call::Call;
use crate::plan::Signal;

/// That the controller is to be killed now.
#[derive(Clone, Debug)]
pub struct KillOrder {
    /// How.
    pub signal: Signal,
    /// The number of the request at which, or of the watch at whose event.
    pub seq: u64,
    /// That request.
    pub call: Call,
}

/// What kills the controller. The request stands still until it is done.
pub(crate) type Hook = Arc<dyn Fn(KillOrder) -> BoxFuture<'static, ()> + Send + Sync>;

/// A hook that sends the signal to a process; it says so in the log if that fails.
pub(crate) fn by_pid(pid: u32) -> Hook {
    Arc::new(move |order| {
        let signal = match order.signal {
            Signal::Kill => rustix::process::Signal::KILL,
            Signal::Term => rustix::process::Signal::TERM,
        };
        // Pid 0 and negative ones would mean whole groups of processes.
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let sent = pid.map(|pid| kill_process(pid, signal));
        if !matches!(sent, Some(Ok(()))) {
            tracing::warn!(?pid, ?signal, ?sent, "cannot kill the controller");
        }
        Box::pin(std::future::ready(()))
    })
}
