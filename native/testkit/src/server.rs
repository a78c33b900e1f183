//! A server and what a test can do to it while it runs.

mod nodes;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::sync::mpsc::{sync_channel, SyncSender};
use std::sync::{Arc, Mutex};
use std::thread::{Builder as ThreadBuilder, JoinHandle};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder as RuntimeBuilder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::{Accepted, Handshaking, Open};
use crate::certs::Identity;
use crate::control::{Control, Orders};
use crate::counters::{add, ConnectionInfo, Counters};
use crate::event::Event;
use crate::login::Login;
use crate::options::Options;
use crate::requests::RequestInfo;
use crate::script::Rule;
use crate::shared::Shared;
use crate::Error;

/// A running server, on a thread and a runtime of its own: it can be used inside and outside of
/// async code. Dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    control: watch::Sender<Control>,
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Command {
    Refuse(SyncSender<io::Result<()>>),
    Listen(SyncSender<io::Result<()>>),
}

/// How long the server's thread may take to obey a command.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted: all of a large cluster's come at once.
const BACKLOG: u32 = 4096;
/// How long connections may take to close when the server stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl Server {
    /// Starts one. It listens when this returns.
    pub fn start(options: Options) -> Result<Self, Error> {
        let runtime = runtime(options.threads)?;
        let (bound, first) = match &options.cluster {
            None => (options.address, None),
            Some(cluster) => {
                let any = (Ipv4Addr::UNSPECIFIED, options.address.port());
                (any.into(), cluster.nodes.first().map(|node| node.address))
            }
        };
        let listener = {
            let _guard = runtime.enter();
            bind(bound)?
        };
        let bound = listener.local_addr()?;
        let shared = Arc::new(Shared::new(options, bound.port())?);
        let (control, _) = watch::channel(Control::default());
        let (commands, inbox) = mpsc::channel(16);
        let house = House {
            bound,
            shared: shared.clone(),
            control: control.subscribe(),
            connections: JoinSet::new(),
            accepted: 0,
        };
        let thread = ThreadBuilder::new()
            .name("palladion-testkit".to_owned())
            .spawn(move || runtime.block_on(house.keep(listener, inbox)))?;
        Ok(Self {
            address: SocketAddr::new(first.map_or(bound.ip(), IpAddr::V4), bound.port()),
            shared,
            control,
            commands,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Where it listens; of a cluster, where the node listens that it was given first.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen so far.
    pub fn counters(&self) -> Counters {
        self.shared.observed.counters()
    }

    /// Counts from 0 again, nodes too. What is there now stays counted: connections that are open,
    /// handshakes under way, responses that wait.
    pub fn reset_counters(&self) {
        self.shared.observed.reset();
        for member in self.shared.members() {
            member.cells.reset();
        }
    }

    /// Waits until the counters fulfil a condition. Blocks the thread: in async code, use
    /// [`Server::until`]. Gives the counters.
    pub fn wait(
        &self,
        timeout: Duration,
        condition: impl Fn(&Counters) -> bool,
    ) -> Result<Counters, Error> {
        self.shared.wait(timeout, condition)
    }

    /// [`Server::wait`] for async code.
    pub async fn until(
        &self,
        timeout: Duration,
        condition: impl Fn(&Counters) -> bool + Send + 'static,
    ) -> Result<Counters, Error> {
        let (done, result) = oneshot::channel();
        let shared = self.shared.clone();
        // A thread, since the caller's clock may be a paused one.
        std::thread::spawn(move || {
            let _ = done.send(shared.wait(timeout, condition));
        });
        result.await.map_err(|_| Error::Stopped)?
    }

    /// The last connections, oldest first.
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        self.shared.observed.connections()
    }

    /// The last requests about statements that could be read, oldest first.
    pub fn requests(&self) -> Vec<RequestInfo> {
        self.shared.recorder.requests()
    }

    /// Adds a rule after those that are there.
    pub fn rule(&self, rule: Rule) -> Result<(), Error> {
        if !self.shared.script().add(rule) {
            return Err(Error::usage("too many rules"));
        }
        self.shared.has_rules.store(true, Ordering::Release);
        Ok(())
    }

    /// Adds a rule before those that are there: a statement that others describe has other columns
    /// from now on, as after ALTER TABLE.
    pub fn alter(&self, rule: Rule) -> Result<(), Error> {
        if !self.shared.script().add_first(rule) {
            return Err(Error::usage("too many rules"));
        }
        self.shared.has_rules.store(true, Ordering::Release);
        Ok(())
    }

    /// Removes all rules.
    pub fn clear_rules(&self) {
        self.shared.script().clear();
        self.shared.has_rules.store(false, Ordering::Release);
    }

    /// Forgets what was prepared: EXECUTE is answered with UNPREPARED.
    pub fn forget_prepared(&self) {
        self.shared.prepared.forget();
        for member in self.shared.members() {
            member.prepared.forget();
        }
    }

    /// Forgets all TLS sessions: what clients remember is worth nothing any more.
    pub fn forget_tickets(&self) -> Result<(), Error> {
        self.tls()?.forget_sessions()
    }

    /// Shows another certificate from now on. Sessions can still be resumed.
    pub fn set_identity(&self, identity: Identity) -> Result<(), Error> {
        self.tls()?.set_identity(identity)
    }

    /// What certificate it shows now.
    pub fn identity(&self) -> Result<Identity, Error> {
        Ok(self.tls()?.identity())
    }

    /// Changes who may log in; none: nobody has to.
    pub fn set_login(&self, login: Option<Login>) {
        *self.shared.login() = login;
    }

    /// Changes the password of the role that may log in.
    pub fn set_password(&self, password: &str) {
        if let Some(login) = self.shared.login().as_mut() {
            login.password = password.to_owned();
        }
    }

    /// Changes how long each connection waits before its handshake.
    pub fn set_handshake_delay(&self, delay: Duration) {
        let delay = delay.as_millis() as u64;
        self.shared.handshake_delay.store(delay, Ordering::Relaxed);
    }

    /// Accepts connections from now on, but reads and answers nothing, not even a TLS handshake.
    pub fn pause(&self) {
        self.control.send_modify(|control| control.paused = true);
    }

    /// Ends [`Server::pause`]: what has arrived meanwhile is answered.
    pub fn resume(&self) {
        self.control.send_modify(|control| control.paused = false);
    }

    /// Stops listening: connecting is refused. Connections stay.
    pub fn refuse(&self) -> Result<(), Error> {
        self.command(Command::Refuse)
    }

    /// Listens again, on the same port.
    pub fn listen(&self) -> Result<(), Error> {
        self.command(Command::Listen)
    }

    /// Closes all connections that are open now.
    pub fn close_connections(&self) {
        self.control.send_modify(|control| control.generation += 1);
    }

    /// Sends an event to the connections that registered for its kind.
    pub fn push_event(&self, event: Event) {
        // An error says that there is no connection.
        let _ = self.shared.events.send(event);
    }

    /// Closes everything and waits for it.
    pub fn stop(&self) {
        self.control.send_modify(|control| control.stop = true);
        let thread = self.thread.lock().map(|mut thread| thread.take());
        if let Ok(Some(thread)) = thread {
            // It has nothing to say but a panic, which it has printed.
            let _ = thread.join();
        }
    }

    fn tls(&self) -> Result<&crate::tls::Tls, Error> {
        let tls = self.shared.tls.as_ref();
        tls.ok_or_else(|| Error::usage("this server speaks plain text"))
    }

    fn command(
        &self,
        command: impl FnOnce(SyncSender<io::Result<()>>) -> Command,
    ) -> Result<(), Error> {
        let (reply, answer) = sync_channel(1);
        self.commands
            .try_send(command(reply))
            .map_err(|_| Error::Stopped)?;
        let answer = answer.recv_timeout(COMMAND_TIMEOUT);
        Ok(answer.map_err(|_| Error::Stopped)??)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn runtime(threads: usize) -> io::Result<Runtime> {
    let mut builder = match threads {
        0 | 1 => RuntimeBuilder::new_current_thread(),
        _ => RuntimeBuilder::new_multi_thread(),
    };
    builder.worker_threads(threads.max(1));
    builder
        .thread_name("palladion-testkit")
        .enable_all()
        .build()
}

/// What the server's thread keeps.
struct House {
    bound: SocketAddr,
    shared: Arc<Shared>,
    control: watch::Receiver<Control>,
    connections: JoinSet<()>,
    accepted: u64,
}

impl House {
    async fn keep(mut self, listener: TcpListener, mut inbox: mpsc::Receiver<Command>) {
        let mut listener = Some(listener);
        while !self.control.borrow().stop {
            let mut control = self.control.clone();
            tokio::select! {
                _ = control.wait_for(|control| control.stop) => break,
                command = inbox.recv() => match command {
                    Some(Command::Refuse(reply)) => {
                        listener = None;
                        let _ = reply.send(Ok(()));
                    }
                    Some(Command::Listen(reply)) => {
                        let _ = reply.send(self.listen(&mut listener));
                    }
                    None => break,
                },
                Some(_) = self.connections.join_next() => {}
                accepted = accept(listener.as_ref()) => match accepted {
                    Ok((tcp, peer)) => self.admit(tcp, peer),
                    // Out of file descriptors, mostly.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                },
            }
        }
        drop(listener);
        let all_closed = async { while self.connections.join_next().await.is_some() {} };
        let _ = timeout(STOP_TIMEOUT, all_closed).await;
    }

    fn listen(&self, listener: &mut Option<TcpListener>) -> io::Result<()> {
        if listener.is_none() {
            *listener = Some(bind(self.bound)?);
        }
        Ok(())
    }

    fn admit(&mut self, tcp: TcpStream, peer: SocketAddr) {
        let cells = &self.shared.observed.cells;
        self.accepted += 1;
        add(&cells.connections, 1);
        if self.connections.len() >= self.shared.max_connections {
            add(&cells.turned_away, 1);
            return;
        }
        let (member, node) = match &self.shared.nodes {
            None => (None, None),
            Some(nodes) => match tcp.local_addr().ok().and_then(|at| nodes.reached_at(at)) {
                Some((member, orders)) => (Some(member), Some(orders)),
                None => {
                    add(&cells.refused, 1);
                    // With a reset, which comes closest to a port that is closed.
                    let _ = tcp.set_zero_linger();
                    self.shared.observed.notify();
                    return;
                }
            },
        };
        let open = Open::new(self.shared.clone(), member, self.accepted, peer);
        let accepted = Accepted {
            tcp,
            handshaking: Handshaking::new(&open),
            open,
            orders: Orders::new(self.control.clone(), node),
        };
        self.connections.spawn(accepted.serve());
        self.shared.observed.notify();
    }
}

/// To be called inside of the runtime.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // So that it can listen again at once.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}
