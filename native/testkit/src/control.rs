//! The orders that connections are under.

use std::future::pending;
use std::ops::ControlFlow;

use tokio::sync::watch;

/// What every connection of a server obeys, or of one of its nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// Nothing is read or answered.
    pub(crate) paused: bool,
    /// Connections of an earlier generation are closed.
    pub(crate) generation: u64,
    /// All are closed, and new ones at once.
    pub(crate) stop: bool,
}

/// Orders, from when a connection was made on.
pub(crate) struct Watched {
    control: watch::Receiver<Control>,
    generation: u64,
}

impl Watched {
    pub(crate) fn new(control: watch::Receiver<Control>) -> Self {
        let generation = control.borrow().generation;
        Self {
            control,
            generation,
        }
    }

    fn is_closed(&self) -> bool {
        let control = self.control.borrow();
        control.stop || control.generation != self.generation
    }

    fn is_paused(&self) -> bool {
        self.control.borrow().paused
    }

    async fn changed(&mut self) {
        if self.control.changed().await.is_err() {
            // The server is gone, and with it the runtime in a moment.
            pending::<()>().await;
        }
    }
}

/// The orders that a connection is under: its server's and its node's.
pub(crate) struct Orders {
    server: Watched,
    node: Option<Watched>,
}

impl Orders {
    pub(crate) fn new(server: watch::Receiver<Control>, node: Option<Watched>) -> Self {
        Self {
            server: Watched::new(server),
            node,
        }
    }

    fn is_closed(&self) -> bool {
        self.server.is_closed() || self.node.as_ref().is_some_and(Watched::is_closed)
    }

    fn is_paused(&self) -> bool {
        self.server.is_paused() || self.node.as_ref().is_some_and(Watched::is_paused)
    }

    pub(crate) async fn changed(&mut self) {
        match &mut self.node {
            None => self.server.changed().await,
            Some(node) => tokio::select! {
                () = self.server.changed() => {}
                () = node.changed() => {}
            },
        }
    }

    /// Returns once the connection is to be closed.
    pub(crate) async fn closed(&mut self) {
        while !self.is_closed() {
            self.changed().await;
        }
    }

    /// Breaks if the connection is to be closed.
    pub(crate) async fn wait_while_paused(&mut self) -> ControlFlow<()> {
        loop {
            if self.is_closed() {
                return ControlFlow::Break(());
            }
            if !self.is_paused() {
                return ControlFlow::Continue(());
            }
            self.changed().await;
        }
    }
}
