//! Servers whose every byte is the test's.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use palladion_cql::frame::{Header, Sender};
use palladion_cql::{Compression, Opcode, Version};
use palladion_driver::config::ProtocolConfig;
use palladion_driver::network::{Network, System};
use palladion_driver::ClusterConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Answers each write with the next of these, in one piece, and what comes after the last with nothing.
/// All in the thread of who asks.
#[derive(Clone)]
pub struct Scripted(pub Vec<Vec<u8>>);

impl Network for Scripted {
    type Stream = Conversation;

    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(vec![(Ipv4Addr::LOCALHOST, port).into()])
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<Conversation> {
        Ok(Conversation {
            answers: self.0.clone().into_iter(),
            unread: BytesMut::new(),
            reader: None,
        })
    }
}

pub struct Conversation {
    answers: std::vec::IntoIter<Vec<u8>>,
    unread: BytesMut,
    reader: Option<Waker>,
}

impl AsyncRead for Conversation {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            self.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread[..len]);
        self.unread.advance(len);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Conversation {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let answer = self.answers.next().unwrap_or_default();
        self.unread.extend_from_slice(&answer);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

pub fn frame(version: Version, stream: i16, opcode: Opcode, body: &[u8]) -> Vec<u8> {
    let header = Header {
        sender: Sender::Server,
        version: version.number(),
        flags: 0,
        stream,
        opcode,
        length: body.len() as u32,
    };
    [&header.to_bytes()[..], body].concat()
}

/// An event of a kind to come.
pub fn event(version: Version, stream: i16) -> Vec<u8> {
    frame(version, stream, Opcode::Event, b"\0\x03NEW")
}

/// A result of nothing.
pub fn void(version: Version, stream: i16) -> Vec<u8> {
    frame(version, stream, Opcode::Result, &[0, 0, 0, 1])
}

/// What SUPPORTED says, as a multimap of one key.
pub fn supported(version: Version, stream: i16) -> Vec<u8> {
    let body = b"\0\x01\0\x0BCOMPRESSION\0\x01\0\x03lz4";
    frame(version, stream, Opcode::Supported, body)
}

pub fn ready(version: Version) -> Vec<u8> {
    frame(version, 0, Opcode::Ready, &[])
}

/// Of a cluster that asks for this alone.
pub fn pinned(version: Version, compression: Option<Compression>) -> ClusterConfig {
    ClusterConfig {
        protocol: ProtocolConfig {
            version: Some(version),
            compression,
        },
        ..super::at("scripted", 9042)
    }
}

/// A task that yields again and again: how often it had the thread.
pub fn count_turns() -> Arc<AtomicUsize> {
    let turns = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&turns);
    tokio::spawn(async move {
        while Arc::strong_count(&counted) > 1 {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    });
    turns
}

/// The system's network, but every name has these addresses.
pub struct Several(pub Vec<SocketAddr>);

impl Network for Several {
    type Stream = TcpStream;

    async fn resolve(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.clone())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        System.connect(address).await
    }
}
