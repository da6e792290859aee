//! The life of one stream: reading, writing, and how it ends.

use std::{sync::Arc, time::Duration};

use futures::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{sleep, timeout};

use crate::{
    CloseReason, Event,
    limit::{LINGER, STRANGER_FRAMES_MAX},
    read::FrameReader,
    stream::{Net, Phase, Stream},
    write::FrameWriter,
};

/// Runs a stream to its end and tells the caller of it.
pub(crate) async fn run(io: impl AsyncRead + AsyncWrite + Unpin, stream: Arc<Stream>, net: Arc<Net>) {
    let (read_half, write_half) = io.split();
    let mut reader = FrameReader::new(read_half);
    let mut writer = FrameWriter::new(write_half);
    let why = tokio::select! {
        biased;
        () = stream.reached(Phase::Closing) => CloseReason::Local,
        why = receive(&mut reader, &stream, &net) => why,
        why = writer.run(&net, &stream) => why,
        why = proof_missing(&stream, net.limits.stranger_time) => why,
    };
    if why == CloseReason::Local && *stream.phase.borrow() != Phase::Aborted {
        // The other side answers our end with its own once it has read everything, so that dropping the
        // stream can not overtake the last frames. Where it does not in time, so be it.
        let farewell = async {
            if writer.finish(&net, &stream).await.is_ok() {
                reader.drain().await;
            }
        };
        if timeout(LINGER, farewell).await.is_err() {
            tracing::debug!(stream = stream.id.0, "closed before everything had left");
        }
    }
    net.end(&stream, why);
}

/// Reads frames and queues them for the caller until the stream ends or breaks a rule.
async fn receive<R: AsyncRead + Unpin>(reader: &mut FrameReader<R>, stream: &Stream, net: &Net) -> CloseReason {
    let mut frames = 0;
    let mut stranger_bytes = 0;
    loop {
        let length = match reader.header(net.limits.frame_bytes_max).await {
            Ok(length) => length,
            Err(why) => return why,
        };
        if stream.is_strange() {
            let max = net.limits.stranger_bytes_max;
            if frames == 0 && length > max {
                return CloseReason::FrameTooLong { claimed: length as u64, max };
            }
            // A member may send on as soon as it has sent its proof, while ours is still to be checked: what
            // exceeds the allowance is not refused but left unread until then, or until time is up.
            if frames == STRANGER_FRAMES_MAX || stranger_bytes + length > max {
                stream.reached(Phase::Proved).await;
            }
            stranger_bytes += length;
            frames += 1;
        }
        let charge = net.queue.charge(&stream.inbound, length).await;
        let time_max = net.limits.frame_time;
        let frame = match timeout(time_max, reader.body(length)).await {
            Ok(Ok(frame)) => frame,
            Ok(Err(why)) => return why,
            Err(_) => return CloseReason::Slow(millis(time_max)),
        };
        net.queue.push_frame(Event::Frame { stream: stream.id, frame }, charge);
    }
}

async fn proof_missing(stream: &Stream, time_max: Duration) -> CloseReason {
    tokio::select! {
        () = sleep(time_max) => CloseReason::NotProved(millis(time_max)),
        () = stream.reached(Phase::Proved) => std::future::pending().await,
    }
}

/// Whole milliseconds.
pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
