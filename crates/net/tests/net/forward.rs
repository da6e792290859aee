//! A forwarder of one TCP connection, so that a test can cut a line or watch it end.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

pub(crate) struct Forwarder {
    pub(crate) address: String,
    is_cut: Arc<AtomicBool>,
    line: JoinHandle<()>,
}

impl Forwarder {
    /// Forwards the first connection to a multiaddr on loopback.
    pub(crate) fn to(multiaddr: &str) -> Forwarder {
        let port: u16 = multiaddr.rsplit('/').next().unwrap().parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let is_cut = Arc::new(AtomicBool::new(false));
        let cut = Arc::clone(&is_cut);
        let line = thread::spawn(move || {
            let (near, _) = listener.accept().unwrap();
            let far = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (near_too, far_too, cut_too) = (near.try_clone().unwrap(), far.try_clone().unwrap(), Arc::clone(&cut));
            let back = thread::spawn(move || copy(far_too, near_too, &cut_too));
            copy(near, far, &cut);
            back.join().unwrap();
        });
        Forwarder { address, is_cut, line }
    }

    /// From now on every byte is lost; the connections stay open.
    pub(crate) fn cut(&self) {
        self.is_cut.store(true, Ordering::SeqCst);
    }

    /// Waits until both sides have ended the connection.
    pub(crate) fn wait_end(self) {
        self.line.join().unwrap();
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    let mut buffer = [0; 16 * 1024];
    let outcome: io::Result<()> = (|| {
        loop {
            let count = from.read(&mut buffer)?;
            if count == 0 {
                return to.shutdown(Shutdown::Write);
            }
            if !is_cut.load(Ordering::SeqCst) {
                to.write_all(&buffer[..count])?;
            }
        }
    })();
    if outcome.is_err() {
        to.shutdown(Shutdown::Both).unwrap_or(());
    }
}
