//! As much of HTTP/1.1 as clients of the AWS services need: requests with a length, answers with one.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::{Builder as ThreadBuilder, JoinHandle};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder as RuntimeBuilder;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes of a request, at most.
const MAX_REQUEST: usize = 256 << 10;
/// Connections at a time, at most.
const MAX_CONNECTIONS: usize = 256;

/// What a client asked for.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Request {
    /// By its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// A field of a form in the body.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        let mut fields = self
            .body
            .split('&')
            .filter_map(|field| field.split_once('='));
        fields
            .find(|(known, _)| *known == name)
            .map(|(_, value)| decoded(value))
    }
}

/// What it is told, or nothing ever.
#[derive(Debug)]
pub(super) enum Answer {
    Now {
        status: u16,
        kind: &'static str,
        headers: Vec<(&'static str, String)>,
        body: String,
    },
    Never,
}

impl Answer {
    pub(super) fn new(status: u16, kind: &'static str, body: String) -> Self {
        Self::Now {
            status,
            kind,
            headers: Vec::new(),
            body,
        }
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain", body.to_owned())
    }
}

type Handler = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server on a thread of its own. Dropping it closes everything.
#[derive(Debug)]
pub(super) struct HttpServer {
    pub(super) address: SocketAddr,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    pub(super) fn start(
        handler: impl Fn(&Request) -> Answer + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let runtime = RuntimeBuilder::new_current_thread().enable_all().build()?;
        // Not by waiting for tokio's own `bind`: the caller may be async code.
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let listener = {
            let _guard = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = ThreadBuilder::new()
            .name("palladion-aws".to_owned())
            .spawn(move || runtime.block_on(keep(listener, handler, stopped)))?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but a panic, which it has printed.
            let _ = thread.join();
        }
    }
}

async fn keep(listener: TcpListener, handler: Arc<Handler>, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                if let (Ok((tcp, _)), true) = (accepted, connections.len() < MAX_CONNECTIONS) {
                    let handler = handler.clone();
                    // An error is the client's end.
                    connections.spawn(async move { serve(tcp, &*handler).await.ok() });
                }
            }
        }
    }
}

/// One request after another, until the client goes.
async fn serve(mut tcp: TcpStream, handler: &Handler) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let mut input = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = input.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            read(&mut tcp, &mut input).await?;
        };
        let head: Vec<u8> = input.drain(..end).collect();
        let mut request =
            parse(&String::from_utf8_lossy(&head)).ok_or(io::ErrorKind::InvalidData)?;
        let length = request.header("content-length").map_or(Ok(0), str::parse);
        let length: usize = length.map_err(|_| io::ErrorKind::InvalidData)?;
        while input.len() < length {
            read(&mut tcp, &mut input).await?;
        }
        let body: Vec<u8> = input.drain(..length).collect();
        request.body = String::from_utf8_lossy(&body).into_owned();
        let last = request.header("connection") == Some("close");
        match handler(&request) {
            Answer::Never => pending().await,
            Answer::Now {
                status,
                kind,
                headers,
                body,
            } => {
                let mut head = format!("HTTP/1.1 {status} Status\r\ncontent-type: {kind}\r\n");
                head += &format!("content-length: {}\r\n", body.len());
                for (name, value) in headers {
                    head += &format!("{name}: {value}\r\n");
                }
                tcp.write_all(format!("{head}\r\n{body}").as_bytes())
                    .await?;
                if last {
                    return tcp.shutdown().await;
                }
            }
        }
    }
}

async fn read(tcp: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    if input.len() >= MAX_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    match tcp.read_buf(input).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

fn parse(head: &str) -> Option<Request> {
    let mut lines = head.lines();
    let mut words = lines.next()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
    Some(Request {
        method: method.to_owned(),
        path: target.split('?').next()?.to_owned(),
        headers: headers.collect(),
        body: String::new(),
    })
}

/// A value of a form.
fn decoded(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        rest = match (first, byte) {
            (b'%', Some(byte)) => {
                out.push(byte);
                &after[2..]
            }
            (b'+', _) => {
                out.push(b' ');
                after
            }
            (other, _) => {
                out.push(*other);
                after
            }
        };
    }
    String::from_utf8_lossy(&out).into_owned()
}
