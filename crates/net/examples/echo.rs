//! Measures two networks in two processes on loopback: the echo of a small frame, and bulk one way.
//!
//! `cargo run --release -p p2pdb-net --example echo [rounds] [MiB]`
//!
//! The program starts itself a second time for the other end. What it prints stands for the whole path: the
//! caller's thread, its handle, the network thread, Noise and TCP, and all of it again on the other side.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    time::{Duration, Instant},
};

use p2pdb_net::{Config, Event, Events, Handle, SendError, StreamId, start};

type Outcome<T> = Result<T, Box<dyn Error>>;

const BULK_FRAME_BYTES: usize = 64 * 1024;
const PAUSE: Duration = Duration::from_secs(20);

struct End {
    handle: Handle,
    events: Events,
    rung: Receiver<()>,
}

impl End {
    fn start() -> Outcome<End> {
        let (ring, rung) = channel();
        let (handle, events) = start(Config::default(), Arc::new(move || ring.send(()).unwrap_or(())))?;
        Ok(End { handle, events, rung })
    }

    fn next(&mut self) -> Outcome<Event> {
        loop {
            if let Some(event) = self.events.try_recv() {
                return Ok(event);
            }
            self.rung.recv_timeout(PAUSE)?;
        }
    }

    fn opened(&mut self) -> Outcome<StreamId> {
        loop {
            if let Event::Opened { stream, .. } = self.next()? {
                self.handle.promote(stream);
                return Ok(stream);
            }
        }
    }

    fn frame(&mut self) -> Outcome<Option<Vec<u8>>> {
        loop {
            match self.next()? {
                Event::Frame { frame, .. } => return Ok(Some(frame)),
                Event::Closed { .. } => return Ok(None),
                _ => {}
            }
        }
    }

    fn send(&mut self, stream: StreamId, frame: &[u8]) -> Outcome<()> {
        while let Err(error) = self.handle.send(stream, frame.to_vec()) {
            if error != SendError::Full {
                return Err(error.into());
            }
            while !matches!(self.next()?, Event::Writable { .. }) {}
        }
        Ok(())
    }
}

fn main() -> Outcome<()> {
    let mut arguments = env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("--other-end") {
        return other_end();
    }
    let rounds: usize = first.map_or(Ok(5000), |text| text.parse())?;
    let mebibytes: usize = arguments.next().map_or(Ok(512), |text| text.parse())?;

    let mut child = Command::new(env::current_exe()?).arg("--other-end").stdout(Stdio::piped()).spawn()?;
    let mut address = String::new();
    BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut address)?;

    let begun = Instant::now();
    let mut end = End::start()?;
    let started = begun.elapsed();
    end.handle.dial(address.trim(), 1)?;
    let stream = end.opened()?;
    end.send(stream, &[0; 256])?;
    end.frame()?.ok_or("closed")?;
    println!("start {:.2} ms, start to first echo {:.2} ms", millis(started), millis(begun.elapsed()));

    let mut times = Vec::with_capacity(rounds);
    let mut frame = [0; 256];
    for round in 0..rounds {
        frame[..8].copy_from_slice(&(round as u64).to_le_bytes());
        let sent = Instant::now();
        end.send(stream, &frame)?;
        let echo = end.frame()?.ok_or("closed")?;
        times.push(sent.elapsed());
        if echo != frame {
            return Err("the echo of another round".into());
        }
    }
    times.sort_unstable();
    let at = |share: usize| millis(times[(times.len() * share / 100).min(times.len() - 1)]);
    println!("echo of 256 bytes, {rounds} rounds: p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));

    let begun = Instant::now();
    let mut frame = vec![9; BULK_FRAME_BYTES];
    for left in (0..mebibytes * 1024 * 1024 / BULK_FRAME_BYTES).rev() {
        frame[0] = u8::from(left == 0);
        end.send(stream, &frame)?;
    }
    end.frame()?.ok_or("closed")?;
    println!(
        "bulk, {mebibytes} MiB in frames of 64 KiB: {:.0} MiB/s",
        mebibytes as f64 / begun.elapsed().as_secs_f64()
    );
    #[cfg(target_os = "linux")]
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
        println!("peak memory of this end: {}", peak.trim_start_matches("VmHWM:").trim());
    }
    end.handle.shutdown();
    child.wait()?;
    Ok(())
}

/// Echoes small frames; answers bulk when its last frame has come.
fn other_end() -> Outcome<()> {
    let mut end = End::start()?;
    end.handle.listen("127.0.0.1:0")?;
    loop {
        if let Event::Listening { address } = end.next()? {
            println!("{address}");
            break;
        }
    }
    let stream = end.opened()?;
    while let Some(frame) = end.frame()? {
        let is_bulk = frame.len() == BULK_FRAME_BYTES;
        if !is_bulk || frame[0] == 1 {
            end.send(stream, &frame[..frame.len().min(256)])?;
        }
    }
    end.handle.shutdown();
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
