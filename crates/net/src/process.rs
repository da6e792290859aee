//! A value that exists only in the process that made it.
//!
//! After a fork the child holds a copy of our memory but not our threads: a lock may be held by a thread that
//! is not there, and the sockets are the parent's. So the child neither uses nor drops what is in here.

/// The value, and the process it belongs to.
pub(crate) struct InThisProcess<T> {
    value: Option<T>,
    process: u32,
}

impl<T> InThisProcess<T> {
    pub(crate) fn new(value: T) -> InThisProcess<T> {
        InThisProcess { value: Some(value), process: std::process::id() }
    }

    /// The value, in the process that made it.
    pub(crate) fn here(&self) -> Option<&T> {
        if self.process == std::process::id() { self.value.as_ref() } else { None }
    }
}

impl<T: Clone> Clone for InThisProcess<T> {
    fn clone(&self) -> Self {
        InThisProcess { value: self.here().cloned(), process: self.process }
    }
}

impl<T> Drop for InThisProcess<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::InThisProcess;

    #[test]
    fn another_process_neither_sees_nor_drops_the_value() {
        let value = Arc::new(());
        let mut held = InThisProcess::new(Arc::clone(&value));
        assert!(held.here().is_some());
        held.process = held.process.wrapping_add(1);
        assert!(held.here().is_none());
        assert!(held.clone().here().is_none());
        drop(held);
        assert_eq!(Arc::strong_count(&value), 2);
    }
}
