//! One connection: frames in and out until somebody closes it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::future::{pending, poll_fn, Future};
use std::ops::ControlFlow;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use palladion_cql::frame::{FrameReader, Sender};
use palladion_cql::Version;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::broadcast;
use tokio::time::{sleep, sleep_until, timeout, Instant};
use tokio_rustls::server::TlsStream;

use crate::accept::{Handshaking, Open};
use crate::control::Orders;
use crate::counters::{add, subtract};
use crate::event::Event;
use crate::session::{Outcome, Session, Then};
use crate::shared::Shared;

/// Bytes to write at once, about; more requests are parsed once these are written.
const WRITE_AT: usize = 1 << 20;
/// Buffers are not kept larger than this.
const KEEP: usize = 4 << 20;
pub(crate) const READ: usize = 64 << 10;
/// Answers of one connection that wait for their time, at most, and their bytes.
const MAX_LATER: usize = 100_000;
const MAX_LATER_LEN: usize = 256 << 20;
/// Between the bytes of what never ends.
const DRIP: Duration = Duration::from_millis(20);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What frames are read from and written to.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<BufReader<TcpStream>> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0.get_ref()
    }
}

/// An answer that waits for its time. Ordered by it, then by arrival.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Later {
    due: Instant,
    arrival: u64,
    bytes: Vec<u8>,
    are_final: bool,
    then: Then,
}

pub(crate) struct Connection<S> {
    stream: S,
    session: Session,
    shared: Arc<Shared>,
    orders: Orders,
    events: broadcast::Receiver<Event>,
    frames: FrameReader,
    input: BytesMut,
    output: Vec<u8>,
    /// Where the part of `output` ends that is written as it is; frames that follow wait for their
    /// segments.
    sealed: usize,
    later: BinaryHeap<Reverse<Later>>,
    later_len: usize,
    arrivals: u64,
}

impl<S: Transport> Connection<S> {
    pub(crate) fn new(stream: S, open: &Open, handshaking: Handshaking, orders: Orders) -> Self {
        let shared = open.shared.clone();
        Self {
            stream,
            session: Session::new(open, handshaking),
            orders,
            events: shared.events.subscribe(),
            frames: FrameReader::new(Sender::Client, Version::V4, shared.max_frame).negotiating(),
            input: BytesMut::with_capacity(READ),
            output: Vec::with_capacity(READ),
            sealed: 0,
            later: BinaryHeap::new(),
            later_len: 0,
            arrivals: 0,
            shared,
        }
    }

    pub(crate) async fn run(mut self) {
        let end = self.converse().await;
        let cells = &self.shared.observed.cells;
        subtract(&cells.delayed, self.later.len() as u64);
        add(&cells.unanswered, self.later.len() as u64);
        match end {
            Then::GoOn => {}
            Then::Close => {
                let _ = timeout(CLOSE_TIMEOUT, self.stream.shutdown()).await;
            }
            Then::Reset => {
                let _ = self.stream.tcp().set_zero_linger();
            }
            Then::Hang => self.orders.closed().await,
            Then::Drip => self.drip().await,
        }
    }

    /// Until the end, and how to end; `GoOn` where there is nobody left to talk to.
    async fn converse(&mut self) -> Then {
        loop {
            if self.orders.wait_while_paused().await.is_break() {
                return Then::Close;
            }
            self.input.reserve(READ);
            let due = self.later.peek().map(|Reverse(later)| later.due);
            tokio::select! {
                biased;
                () = self.orders.changed() => continue,
                () = at(due) => {}
                event = self.events.recv() => {
                    if let Ok(event) = event {
                        self.session.put_event(&event, &mut self.output);
                    }
                }
                read = self.stream.read_buf(&mut self.input) => {
                    if !matches!(read, Ok(1..)) {
                        return Then::GoOn;
                    }
                }
            }
            let mut alive = true;
            loop {
                let then = self.serve();
                if then != Then::GoOn || self.output.len() >= WRITE_AT {
                    if self.write().await.is_break() || then != Then::GoOn {
                        return then;
                    }
                    continue;
                }
                // What else has arrived is answered in the same write.
                self.input.reserve(READ);
                match once(self.stream.read_buf(&mut self.input)).await {
                    Some(Ok(1..)) => {}
                    Some(_) => {
                        alive = false;
                        break;
                    }
                    None => break,
                }
            }
            if self.write().await.is_break() {
                return Then::Close;
            }
            if !alive {
                return Then::GoOn;
            }
        }
    }

    /// Serves the frames that are there, up to a limit, and puts out what is due.
    fn serve(&mut self) -> Then {
        while self.output.len() < WRITE_AT {
            let frame = match self.frames.next(&mut self.input) {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(error) => {
                    self.session.refuse(&error, &mut self.output);
                    return Then::Close;
                }
            };
            if self.session.segmenter.is_none() {
                self.sealed = self.output.len();
            }
            let (start, settled) = (self.output.len(), self.session.agreed().is_some());
            let outcome = self.session.serve(&frame, &mut self.output);
            if let Some(dialect) = self.session.agreed().filter(|_| !settled) {
                self.frames.agree(dialect);
            }
            if outcome.delay.is_zero() {
                if outcome.are_final {
                    self.seal(start);
                }
                if outcome.then != Then::GoOn {
                    return outcome.then;
                }
            } else if self.later.len() < MAX_LATER && self.later_len < MAX_LATER_LEN {
                let bytes = self.output.split_off(start);
                self.postpone(outcome, bytes);
            } else {
                self.output.truncate(start);
                self.session
                    .overloaded(frame.header.stream, &mut self.output);
            }
        }
        self.put_due()
    }

    fn postpone(&mut self, outcome: Outcome, bytes: Vec<u8>) {
        add(&self.shared.observed.cells.delayed, 1);
        self.arrivals += 1;
        self.later_len += bytes.len();
        self.later.push(Reverse(Later {
            due: Instant::now() + outcome.delay,
            arrival: self.arrivals,
            bytes,
            are_final: outcome.are_final,
            then: outcome.then,
        }));
    }

    fn put_due(&mut self) -> Then {
        if self.later.is_empty() {
            return Then::GoOn;
        }
        let now = Instant::now();
        while let Some(Reverse(later)) = self.later.peek() {
            if later.due > now {
                break;
            }
            let start = self.output.len();
            self.output.extend_from_slice(&later.bytes);
            self.later_len -= later.bytes.len();
            let (then, are_final) = (later.then, later.are_final);
            self.later.pop();
            if are_final {
                self.seal(start);
            }
            subtract(&self.shared.observed.cells.delayed, 1);
            if then != Then::GoOn {
                return then;
            }
        }
        Then::GoOn
    }

    /// Puts the frames that wait into segments, up to `end`; what follows is written as it is.
    fn seal(&mut self, end: usize) {
        if let Some(segmenter) = &mut self.session.segmenter {
            if self.sealed < end {
                let rest = self.output.split_off(end);
                let frames = self.output.split_off(self.sealed);
                segmenter.put(&frames, &mut self.output);
                self.output.extend_from_slice(&rest);
            }
        }
        self.sealed = self.output.len();
    }

    /// Writes what there is to write; breaks if the connection is over.
    async fn write(&mut self) -> ControlFlow<()> {
        self.shared.observed.notify();
        if self.output.is_empty() {
            return ControlFlow::Continue(());
        }
        self.seal(self.output.len());
        let write = async {
            self.stream.write_all(&self.output).await?;
            self.stream.flush().await
        };
        let written = tokio::select! {
            biased;
            written = write => written.is_ok(),
            () = self.orders.closed() => false,
        };
        self.output.clear();
        self.sealed = 0;
        self.output.shrink_to(KEEP);
        if written {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    }

    /// Writes a few bytes now and then until somebody closes.
    async fn drip(&mut self) {
        let mut heard = [0; 1024];
        loop {
            tokio::select! {
                () = self.orders.closed() => return,
                read = self.stream.read(&mut heard) => {
                    if !matches!(read, Ok(1..)) {
                        return;
                    }
                }
                () = sleep(DRIP) => {
                    let written = self.stream.write_all(&self.session.drop).await;
                    if written.is_err() || self.stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => pending().await,
    }
}

/// What a future gives at once, if it gives something.
async fn once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}
