//! The task that owns a connection: it gives stream ids, writes what is queued in as few pieces as
//! can be, reads, and pairs answers with requests.

use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::task::{ready, Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use palladion_cql::frame::{set_stream, FrameReader, Header};
use palladion_cql::segment::SegmentWriter;
use palladion_cql::{request, Frame, Incoming, Version};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{mpsc, watch, Notify};
use tokio::task::yield_now;
use tokio::time::Sleep;

use super::streams::Streams;
use super::{Connection, ConnectionInfo, Load, MaybeTls, Opened, Role, Stop};
use crate::cluster::Shared;
use crate::config::ConnectionLimits;
use crate::node::NodeId;
use crate::tls::{failure_of, OurCertificate};
use crate::{Answer, Failure, Reply, Request, RequestError, Stats};

/// As much is collected before it is written: about four TLS records.
const WRITE_AT_ONCE: usize = 64 * 1024;
/// A buffer that one large message made grow is not kept at that size.
const KEEP_BUFFER: usize = 1024 * 1024;
/// Requests and yields, at the most, until a closed queue has ended: far more than there can be.
const PATIENCE: usize = 10_000_000;
const READ_AT_ONCE: usize = 64 * 1024;
/// So many bytes of a frame that is not complete yet are a sign of life; fewer could go on for ever.
const SIGN_OF_LIFE: usize = 16 * 1024;
/// Frames, at the most, that one read is followed by before all else of this connection has its turn, and
/// then other connections. A few bytes can become millions of frames.
const FRAMES_AT_ONCE: usize = 1_000;
/// Turns, at the most, before other connections have theirs.
const TURNS_AT_ONCE: usize = 16;

/// Owns a connection. As a future it ends with the reason why the connection ended, and has then
/// answered every request that it had taken on.
pub(crate) struct ConnectionTask<S> {
    stream: MaybeTls<S>,
    info: Arc<ConnectionInfo>,
    node: Option<NodeId>,
    /// Who is told of events.
    on_event: Option<OnEvent>,
    queue: mpsc::Receiver<Request>,
    /// Closed, and nothing on its way into it any more.
    queue_ended: bool,
    stop: watch::Receiver<Stop>,
    stop_changed: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopping: Stop,
    waiting: Streams<Waiting>,
    load: Arc<Load>,
    /// Told when there is room in the queue again.
    room: Arc<Notify>,
    max_orphans: i64,
    frames: FrameReader,
    max_response_size: u32,
    input: BytesMut,
    /// Whether there may be whole frames in what was read.
    has_frames: bool,
    /// Bytes read since the last sign of life.
    unfinished: usize,
    output: Vec<u8>,
    /// Puts frames into segments, where the protocol has such.
    segments: Option<SegmentWriter>,
    written: usize,
    flushed: bool,
    heartbeat: Heartbeat,
    stats: Arc<Stats>,
    ended: Option<Failure>,
}

/// Takes an EVENT's body.
pub(crate) type OnEvent = Box<dyn Fn(&[u8]) + Send>;

/// What waits for an answer.
enum Waiting {
    Reply(Box<dyn Reply>),
    Heartbeat,
}

struct Heartbeat {
    interval: Duration,
    timeout: Duration,
    timer: Pin<Box<Sleep>>,
    last_received: Instant,
    /// When the heartbeat was sent that has not been answered yet.
    asked: Option<Instant>,
}

/// Requests that the control connection takes at least, however little a user allows each
/// connection: the list of nodes takes several at once.
const CONTROL_REQUESTS: usize = 64;

fn limits(shared: &Shared, role: Role) -> ConnectionLimits {
    let mut limits = shared.config.connection.clone();
    if role == Role::Control {
        limits.max_queue = limits.max_queue.max(CONTROL_REQUESTS);
        limits.max_in_flight = limits.max_in_flight.max(CONTROL_REQUESTS);
    }
    limits
}

impl<S> ConnectionTask<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    /// Takes over a connection that is logged in.
    pub(crate) fn new(
        opened: Opened<S>,
        shared: &Shared,
        on_event: Option<OnEvent>,
    ) -> (Self, Connection) {
        let limits = limits(shared, opened.info.role);
        let timeouts = &shared.config.timeouts;
        let (sender, queue) = mpsc::channel(limits.max_queue.max(1));
        let info = Arc::new(opened.info);
        let load = Arc::new(Load::new());
        let stop = load.stop.subscribe();
        let mut frames = opened.frames;
        frames.limit(limits.max_frame_size, limits.max_response_size);
        let segments = info.dialect.version >= Version::V5;
        let now = Instant::now();
        let task = Self {
            stream: opened.stream,
            info: Arc::clone(&info),
            node: info.role.node(),
            on_event,
            queue,
            queue_ended: false,
            stop_changed: Box::pin(changed(stop.clone())),
            stop,
            stopping: Stop::No,
            waiting: Streams::new(limits.max_in_flight),
            load: Arc::clone(&load),
            room: Arc::clone(&shared.room),
            max_orphans: i64::try_from(limits.max_orphans).unwrap_or(i64::MAX).max(1),
            frames,
            max_response_size: limits.max_response_size,
            input: opened.unread,
            has_frames: true,
            unfinished: 0,
            output: Vec::new(),
            segments: segments.then(|| SegmentWriter::new(info.dialect.compression)),
            written: 0,
            flushed: true,
            heartbeat: Heartbeat {
                interval: timeouts.heartbeat_interval,
                timeout: timeouts.heartbeat,
                timer: Box::pin(tokio::time::sleep(timeouts.heartbeat_interval)),
                last_received: now,
                asked: None,
            },
            stats: Arc::clone(&shared.stats),
            ended: None,
        };
        let connection = Connection {
            info,
            opened: now,
            queue: sender,
            load,
        };
        (task, connection)
    }

    fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        for _ in 0..TURNS_AT_ONCE {
            self.poll_stop(cx);
            if self.stopping == Stop::Now {
                let malformed = self.load.malformed.get();
                let failure = malformed.map_or(Failure::Closed, |error| error.clone().into());
                return Poll::Ready(failure);
            }
            // Before the heartbeat, whose answer may be there since long: not the server paused, but
            // we did.
            let mut progress = match self.poll_read(cx) {
                Poll::Ready(Err(failure)) => return Poll::Ready(failure),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            // Before the writing, which a heartbeat may give something to do; and not while nothing more is
            // read, which is no silence of the server's.
            if !self.has_frames {
                if let Err(failure) = self.poll_heartbeat(cx) {
                    return Poll::Ready(failure);
                }
            }
            progress |= self.take_requests(cx);
            match self.poll_write(cx) {
                Poll::Ready(Err(failure)) => return Poll::Ready(failure),
                Poll::Ready(Ok(wrote)) => progress |= wrote,
                Poll::Pending => {}
            }
            let orphans = self.load.orphans.load(Ordering::Relaxed);
            if orphans > self.max_orphans {
                return Poll::Ready(Failure::Orphans(orphans));
            }
            if self.is_drained() {
                ready!(Pin::new(&mut self.stream).poll_shutdown(cx)).ok();
                return Poll::Ready(Failure::Closed);
            }
            if !progress {
                return Poll::Pending;
            }
            if self.has_frames {
                break;
            }
        }
        // There is more to do, but a server must not hold up those who share the thread: after them, and
        // after a look at what has come for them, this task is woken.
        let _pending = pin!(yield_now()).poll(cx);
        Poll::Pending
    }

    fn poll_stop(&mut self, cx: &mut Context<'_>) {
        while self.stop_changed.as_mut().poll(cx).is_ready() {
            self.stopping = *self.stop.borrow_and_update();
            if self.stopping == Stop::Now {
                return;
            }
            self.queue.close();
            self.stop_changed = Box::pin(changed(self.stop.clone()));
        }
    }

    /// Whether nobody waits for anything any more.
    fn is_drained(&self) -> bool {
        let orphans = self.load.orphans.load(Ordering::Relaxed);
        self.stopping == Stop::Drain
            && self.queue_ended
            && i64::try_from(self.waiting.taken()).is_ok_and(|taken| taken <= orphans.max(0))
            && self.output.is_empty()
            && self.flushed
    }

    /// Moves requests from the queue into the output; whether there was any.
    fn take_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        while self.output.len() < WRITE_AT_ONCE && !self.waiting.is_full() {
            match self.queue.poll_recv(cx) {
                Poll::Ready(Some(request)) => {
                    any = true;
                    self.take_request(request);
                }
                Poll::Ready(None) => {
                    self.queue_ended = true;
                    break;
                }
                Poll::Pending => break,
            }
        }
        if any {
            self.room.notify_one();
        }
        any
    }

    fn take_request(&mut self, request: Request) {
        let Request {
            mut frame, reply, ..
        } = request;
        if !reply.state().mark_sent(&self.load.orphans, self.node) {
            // Cancelled in the queue: the caller has gone, nothing is owed to anybody.
            self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        match self.waiting.take(Waiting::Reply(reply)) {
            Ok(stream) => {
                set_stream(&mut frame, stream);
                self.put(frame);
            }
            Err(Waiting::Reply(reply)) => {
                self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
                reply.complete(Err(RequestError::Overloaded));
            }
            Err(Waiting::Heartbeat) => {}
        }
    }

    fn put(&mut self, frame: Vec<u8>) {
        self.flushed = false;
        if let Some(segments) = &mut self.segments {
            segments.put(&frame, &mut self.output);
        } else if self.output.is_empty() && frame.len() >= WRITE_AT_ONCE {
            self.output = frame;
        } else {
            self.output.extend_from_slice(&frame);
        }
    }

    /// Writes the output; whether anything was written.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Failure>> {
        let mut wrote = false;
        if let Some(segments) = &mut self.segments {
            segments.seal(&mut self.output);
        }
        while self.written < self.output.len() {
            let rest = &self.output[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(Failure::ClosedByServer)),
                Ok(n) => self.written += n,
                Err(error) => {
                    return Poll::Ready(Err(failure_of(&error, OurCertificate::NotAsked)))
                }
            }
            wrote = true;
        }
        if !self.output.is_empty() {
            self.written = 0;
            self.output.clear();
            if self.output.capacity() > KEEP_BUFFER {
                self.output = Vec::new();
            }
        }
        if !self.flushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))
                .map_err(|e| failure_of(&e, OurCertificate::NotAsked))?;
            self.flushed = true;
        }
        Poll::Ready(Ok(wrote))
    }

    /// Handles what was read, and only where nothing is left of that, reads.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let mut has_read = false;
        if !self.has_frames {
            self.unfinished += ready!(self.poll_input(cx))?;
            self.has_frames = true;
            has_read = true;
        }
        let mut frames = 0;
        while frames < FRAMES_AT_ONCE {
            let Some(incoming) = self.frames.incoming(&mut self.input)? else {
                self.has_frames = false;
                break;
            };
            frames += 1;
            match incoming {
                Incoming::Frame(frame) => self.answer(frame.header, Ok(frame))?,
                Incoming::Oversized(header) => {
                    let too_large = RequestError::ResponseTooLarge {
                        len: header.length,
                        max: self.max_response_size,
                    };
                    self.answer(header, Err(too_large))?;
                }
            }
        }
        // What has waited here since an earlier turn says nothing about the server now.
        if has_read && (frames > 0 || self.unfinished >= SIGN_OF_LIFE) {
            self.unfinished = 0;
            self.heartbeat.last_received = Instant::now();
        }
        Poll::Ready(Ok(()))
    }

    /// Reads; how many bytes that were.
    fn poll_input(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        if self.input.capacity() - self.input.len() < READ_AT_ONCE / 4 {
            self.input.reserve(READ_AT_ONCE);
        }
        let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
        Poll::Ready(match ready!(read) {
            Ok(0) => Err(Failure::ClosedByServer),
            Ok(read) => Ok(read),
            Err(error) => Err(failure_of(&error, OurCertificate::NotAsked)),
        })
    }

    fn answer(
        &mut self,
        header: Header,
        outcome: Result<Frame, RequestError>,
    ) -> Result<(), Failure> {
        if header.is_event() {
            if let (Some(on_event), Ok(frame)) = (&self.on_event, &outcome) {
                on_event(&frame.content()?);
            }
            return Ok(());
        }
        // No request has a negative stream, so an answer on one is to nothing.
        match self.waiting.answered(header.stream)? {
            Waiting::Reply(reply) => {
                self.load.in_flight.fetch_sub(1, Ordering::Relaxed);
                self.stats.responses.add();
                if reply.state().is_cancelled() {
                    // Nobody wants it: not even decoded. The claim, which must fail, settles it.
                    reply.state().claim();
                    self.stats.late_responses.add();
                } else {
                    reply.complete(outcome.map(|frame| Answer {
                        frame,
                        node: self.node,
                        connection: Arc::clone(&self.load),
                    }));
                }
            }
            Waiting::Heartbeat => self.heartbeat.asked = None,
        }
        Ok(())
    }

    fn poll_heartbeat(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        while self.heartbeat.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            let heartbeat = &mut self.heartbeat;
            let next = match heartbeat.asked {
                Some(asked) if heartbeat.last_received >= asked => {
                    // Other answers came: the server lives, even if it is slow with this one.
                    heartbeat.asked = None;
                    heartbeat.last_received + heartbeat.interval
                }
                Some(asked) if now.duration_since(asked) >= heartbeat.timeout => {
                    return Err(Failure::Heartbeat(heartbeat.timeout));
                }
                Some(asked) => asked + heartbeat.timeout,
                None if heartbeat.last_received + heartbeat.interval > now => {
                    heartbeat.last_received + heartbeat.interval
                }
                None => self.ask(now),
            };
            self.heartbeat.timer.as_mut().reset(next.into());
        }
        Ok(())
    }

    /// Sends a heartbeat, and says when to look for its answer.
    fn ask(&mut self, now: Instant) -> Instant {
        // Without a free stream the server owes us thousands of answers, any of which will do.
        self.heartbeat.asked = Some(now);
        if let Ok(stream) = self.waiting.take(Waiting::Heartbeat) {
            let mut frame = request::options(&self.info.dialect);
            set_stream(&mut frame, stream);
            self.put(frame);
            self.stats.heartbeats.add();
        }
        now + self.heartbeat.timeout
    }
}

impl<S> ConnectionTask<S> {
    /// Answers everything taken on with the reason why there will be no better answer.
    fn fail_all(&mut self, failure: &Failure) {
        self.queue.close();
        let failure = Arc::new(failure.clone());
        let lost = |sent| RequestError::ConnectionLost {
            endpoint: Arc::clone(&self.info.endpoint),
            node: self.node,
            failure: Arc::clone(&failure),
            sent,
        };
        for waiting in self.waiting.drain() {
            if let Waiting::Reply(reply) = waiting {
                reply.complete(Err(lost(true)));
            }
        }
        // Empty is not the end: a request may have its place already and be about to take it.
        for _ in 0..PATIENCE {
            match self.queue.try_recv() {
                Ok(request) => request.reply.complete(Err(lost(false))),
                Err(mpsc::error::TryRecvError::Empty) => std::thread::yield_now(),
                Err(mpsc::error::TryRecvError::Disconnected) => break,
            }
        }
    }
}

impl<S> Future for ConnectionTask<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    type Output = Failure;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Failure> {
        let failure = ready!(self.poll_run(cx));
        self.ended = Some(failure.clone());
        Poll::Ready(failure)
    }
}

/// Also when the task is dropped by a runtime that stops, or unwinds: nobody is left waiting.
impl<S> Drop for ConnectionTask<S> {
    fn drop(&mut self) {
        let failure = match self.ended.take() {
            Some(failure) => failure,
            None if std::thread::panicking() => Failure::Panic,
            None => Failure::Closed,
        };
        self.fail_all(&failure);
    }
}

/// Until there is a new word on stopping; for ever, if the owner has gone without one.
async fn changed(mut stop: watch::Receiver<Stop>) {
    if stop.changed().await.is_err() {
        std::future::pending().await
    }
}
