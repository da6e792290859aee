//! The caller's end of the network: gives orders, waits for nothing.

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread::JoinHandle,
};

use tokio::sync::mpsc::UnboundedSender;

use crate::{
    NetError, SendError, StreamId, address,
    driver::Order,
    limit::SHUTDOWN,
    process::InThisProcess,
    stream::{Net, Phase},
};

/// Gives orders to the network thread. Clones are the same network; when the last is dropped it ends.
///
/// In a process forked from the one that made it a handle does nothing and says so.
#[derive(Clone)]
pub struct Handle {
    inner: InThisProcess<Arc<Inner>>,
}

struct Inner {
    net: Arc<Net>,
    orders: UnboundedSender<Order>,
    local_key: Vec<u8>,
    thread: Mutex<Option<(JoinHandle<()>, Receiver<()>)>>,
}

impl Handle {
    pub(crate) fn new(
        net: Arc<Net>,
        orders: UnboundedSender<Order>,
        local_key: Vec<u8>,
        thread: (JoinHandle<()>, Receiver<()>),
    ) -> Handle {
        let thread = Mutex::new(Some(thread));
        Handle { inner: InThisProcess::new(Arc::new(Inner { net, orders, local_key, thread })) }
    }

    /// The peer id of our transport key, as bytes; empty in a forked child.
    #[must_use]
    pub fn local_key(&self) -> Vec<u8> {
        self.inner.here().map(|inner| inner.local_key.clone()).unwrap_or_default()
    }

    /// Listens on `ip:port` or a multiaddr; port 0 is any free one. What comes of it is told by
    /// [`crate::Event::Listening`] or [`crate::Event::ListenFailed`].
    ///
    /// # Errors
    /// [`NetError::Address`], [`NetError::Stopped`], [`NetError::Forked`].
    pub fn listen(&self, address: &str) -> Result<(), NetError> {
        self.order(Order::Listen(address::to_listen(address)?))
    }

    /// Stops listening. Standing connections stay.
    pub fn unlisten_all(&self) {
        self.order_quietly(Order::UnlistenAll);
    }

    /// Opens a stream to `host:port` or a multiaddr, whose `/p2p/…` is optional and checked where given.
    /// Ends with [`crate::Event::Opened`] or [`crate::Event::DialFailed`] under this token. Where a
    /// connection to that peer or address stands, the stream is opened on it.
    ///
    /// # Errors
    /// [`NetError::Address`], [`NetError::Busy`], [`NetError::Stopped`], [`NetError::Forked`].
    pub fn dial(&self, address: &str, token: u64) -> Result<(), NetError> {
        let target = address::to_dial(address)?;
        self.begin_dial(Order::Dial(target, token))
    }

    /// Opens another stream on the very connection of a standing one, as for bulk beside live. Answered as a
    /// dial is.
    ///
    /// # Errors
    /// [`NetError::Gone`], [`NetError::Busy`], [`NetError::Stopped`], [`NetError::Forked`].
    pub fn open_beside(&self, stream: StreamId, token: u64) -> Result<(), NetError> {
        self.inner()?.net.stream(stream).ok_or(NetError::Gone)?;
        self.begin_dial(Order::OpenBeside(stream, token))
    }

    /// Queues a frame. It leaves after those queued before it on the same stream, and never waits for
    /// another stream's.
    ///
    /// # Errors
    /// [`SendError::Full`]: keep the frame, or better forget it, until [`crate::Event::Writable`].
    /// [`SendError::Gone`], [`SendError::TooLong`].
    pub fn send(&self, stream: StreamId, frame: Vec<u8>) -> Result<(), SendError> {
        self.inner.here().ok_or(SendError::Gone)?.net.send(stream, frame)
    }

    /// Vouches for the other side of a stream: its limits on bytes and time are lifted.
    pub fn promote(&self, stream: StreamId) {
        if let Some(inner) = self.inner.here()
            && let Some(open) = inner.net.stream(stream)
        {
            open.advance(Phase::Proved);
            self.order_quietly(Order::Promoted(stream));
        }
    }

    /// Closes a stream once what is queued has left, or shortly after. Frames that arrived before may still
    /// be among the events; the last is [`crate::Event::Closed`].
    pub fn close(&self, stream: StreamId) {
        if let Some(open) = self.inner.here().and_then(|inner| inner.net.stream(stream)) {
            open.advance(Phase::Closing);
        }
    }

    /// Looks for peers on the local network, and answers those who look; or stops doing so.
    pub fn set_mdns(&self, is_on: bool) {
        self.order_quietly(Order::Mdns(is_on));
    }

    /// Ends the network: queued frames leave, streams are closed, the thread is waited for at most
    /// [`SHUTDOWN`] and then let go.
    pub fn shutdown(self) {
        let Some(inner) = self.inner.here() else { return };
        self.order_quietly(Order::Shutdown);
        let thread = inner.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((thread, ended)) = thread
            && ended.recv_timeout(SHUTDOWN).is_ok()
            && thread.join().is_err()
        {
            tracing::warn!("the network thread panicked while it ended");
        }
    }

    fn begin_dial(&self, order: Order) -> Result<(), NetError> {
        let net = &self.inner()?.net;
        net.dial_begins()?;
        self.order(order).inspect_err(|_| net.dial_ended())
    }

    fn order(&self, order: Order) -> Result<(), NetError> {
        self.inner()?.orders.send(order).map_err(|_| NetError::Stopped)
    }

    /// For orders whose only failure is that there is no network any more, which events tell.
    fn order_quietly(&self, order: Order) {
        if let Err(error) = self.order(order) {
            tracing::debug!(%error, "an order came too late");
        }
    }

    fn inner(&self) -> Result<&Inner, NetError> {
        self.inner.here().map(Arc::as_ref).ok_or(NetError::Forked)
    }
}
