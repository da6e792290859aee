//! The few questions to the operating system that the standard library has no words for.

/// Signals blocked in this thread, and in those it makes meanwhile, until this is dropped.
///
/// A thread of ours inside another program's process must never be the one that runs the program's signal
/// handlers: they may expect a thread they know, and interrupt calls that we do not restart.
pub struct SignalsBlocked {
    #[cfg(unix)]
    before: Option<nix::sys::signal::SigSet>,
}

impl SignalsBlocked {
    /// Blocks them.
    #[cfg(unix)]
    pub fn block() -> SignalsBlocked {
        use nix::sys::signal::{SigSet, SigmaskHow};
        SignalsBlocked { before: SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).ok() }
    }

    #[cfg(not(unix))]
    pub fn block() -> SignalsBlocked {
        SignalsBlocked {}
    }
}

impl Drop for SignalsBlocked {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(before) = &self.before
            && let Err(error) = before.thread_set_mask()
        {
            tracing::warn!(%error, "the caller's signal mask could not be restored");
        }
    }
}

/// The user that this process acts as.
#[cfg(unix)]
pub(crate) fn user() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether a process of that number exists.
#[cfg(unix)]
pub(crate) fn is_alive(process: u32) -> bool {
    use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
    match i32::try_from(process) {
        Ok(number) if number > 0 => !matches!(kill(Pid::from_raw(number), None), Err(Errno::ESRCH)),
        _ => false,
    }
}
