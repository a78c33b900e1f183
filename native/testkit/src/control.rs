//! The orders that connections are under.

use std::future::pending;
use std::ops::ControlFlow;

use tokio::sync::watch;

/// What every connection obeys.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Control {
    /// Nothing is read or answered.
    pub(crate) paused: bool,
    /// Connections of an earlier generation are closed.
    pub(crate) generation: u64,
    pub(crate) stop: bool,
}

/// The orders that a connection is under.
pub(crate) struct Orders {
    control: watch::Receiver<Control>,
    generation: u64,
}

impl Orders {
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

    pub(crate) async fn changed(&mut self) {
        if self.control.changed().await.is_err() {
            // The server is gone, and with it the runtime in a moment.
            pending::<()>().await;
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
            if !self.control.borrow().paused {
                return ControlFlow::Continue(());
            }
            self.changed().await;
        }
    }
}
