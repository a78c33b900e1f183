use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};

use palladion_cql::{DecodeError, Dialect, Frame};

use crate::connection::Load;
use crate::node::NodeId;
use crate::RequestError;

/// A request on its way: an encoded frame and whoever waits for the answer.
pub struct Request {
    /// The whole frame, with any stream id.
    pub frame: Vec<u8>,
    /// What it is written in.
    pub dialect: Dialect,
    /// Where the answer goes.
    pub reply: Box<dyn Reply>,
}

/// Takes a request's answer, exactly once; dropped unanswered, it must tell its caller so.
pub trait Reply: Send {
    /// What the caller may cancel.
    fn state(&self) -> &RequestState;

    /// Hands over the answer. Called on a runtime thread; must not block or panic.
    fn complete(self: Box<Self>, outcome: Result<Answer, RequestError>);
}

/// An answer and where it came from.
#[derive(Debug)]
pub struct Answer {
    /// The response.
    pub frame: Frame,
    /// The node that gave it; nothing for the control connection.
    pub node: Option<NodeId>,
    pub(crate) connection: Arc<Load>,
}

impl Answer {
    /// Tells the connection that it can't be read. Where more than a value is wrong, the two ends
    /// don't understand each other any more, and the connection ends.
    pub fn malformed(&self, error: &DecodeError) {
        if !error.is_value() {
            self.connection.give_up(error.clone());
        }
    }
}

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const CLAIMED: u8 = 2;
const CANCELLED: u8 = 3;
/// Claimed, and the caller knows.
const TAKEN: u8 = 4;
/// Cancelled before it was written.
const UNSENT: u8 = 5;

/// Who decides about a request's answer: the one who sends it to the caller, or the caller.
///
/// A request starts queued, is marked when it's written, and ends claimed or cancelled, never
/// both. A caller that loses against a claim knows that the answer is certain to arrive.
#[derive(Debug, Default)]
pub struct RequestState {
    state: AtomicU8,
    /// Known once it is written.
    sent_to: OnceLock<SentTo>,
}

#[derive(Debug)]
struct SentTo {
    /// The connection's count of unwanted answers. The one who cancels adds, the one who then
    /// drops the answer takes off: in either order, hence signed.
    orphans: Arc<AtomicI64>,
    node: Option<NodeId>,
}

/// What cancelling found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// Before it was written: it never will be.
    Unsent,
    /// The server may have carried it out; no answer will come.
    Sent,
    /// Too late: the answer is certain to arrive.
    TooLate,
    /// It was cancelled, or its answer taken, before: nothing will arrive.
    Over,
}

impl RequestState {
    /// Gives the right to answer to the one who asks first. For whoever has the answer, once: if
    /// the caller has given up, this notes that the late answer is here.
    pub fn claim(&self) -> bool {
        let claimed = self.leave(|_| CLAIMED).is_some();
        if !claimed && self.state.load(Ordering::Acquire) == CANCELLED {
            self.count_orphan(-1);
        }
        claimed
    }

    /// Gives up on the answer, or notes that it was taken.
    pub fn cancel(&self) -> Cancelled {
        let end = |state| if state == QUEUED { UNSENT } else { CANCELLED };
        match self.leave(end) {
            Some(QUEUED) => Cancelled::Unsent,
            Some(_) => {
                self.count_orphan(1);
                Cancelled::Sent
            }
            None => match self.state.compare_exchange(
                CLAIMED,
                TAKEN,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => Cancelled::TooLate,
                Err(_) => Cancelled::Over,
            },
        }
    }

    /// Whether nothing will arrive any more: cancelled, or its answer taken.
    pub fn is_over(&self) -> bool {
        matches!(
            self.state.load(Ordering::Acquire),
            CANCELLED | TAKEN | UNSENT
        )
    }

    /// Whether the caller has given up.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.state.load(Ordering::Acquire), CANCELLED | UNSENT)
    }

    /// The node it was written to, if it was.
    pub fn node(&self) -> Option<NodeId> {
        let sent = !matches!(self.state.load(Ordering::Acquire), QUEUED | UNSENT);
        let sent_to = self.sent_to.get().filter(|_| sent);
        sent_to.and_then(|sent_to| sent_to.node)
    }

    /// Notes that the request is being written on the connection with this count of unwanted
    /// answers; false if the caller has given up before.
    pub(crate) fn mark_sent(&self, orphans: &Arc<AtomicI64>, node: Option<NodeId>) -> bool {
        // Before the state says so, for `cancel` reads it after.
        let _ = self.sent_to.set(SentTo {
            orphans: Arc::clone(orphans),
            node,
        });
        self.state
            .compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn count_orphan(&self, by: i64) {
        if let Some(sent_to) = self.sent_to.get() {
            sent_to.orphans.fetch_add(by, Ordering::Relaxed);
        }
    }

    /// Ends the request; the state before, or nothing if it had ended already.
    fn leave(&self, end: impl Fn(u8) -> u8) -> Option<u8> {
        self.state
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
                (state < CLAIMED).then(|| end(state))
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_and_a_cancel_never_both_win() {
        for _ in 0..2_000 {
            let state = Arc::new(RequestState::default());
            let other = Arc::clone(&state);
            let claimer = std::thread::spawn(move || other.claim());
            let cancelled = state.cancel() != Cancelled::TooLate;
            assert_ne!(claimer.join().unwrap(), cancelled);
            assert_eq!(state.cancel(), Cancelled::Over);
            assert!(state.is_over());
        }
    }

    #[test]
    fn a_request_cancelled_in_the_queue_is_not_sent() {
        let (state, orphans) = (RequestState::default(), Arc::default());
        assert_eq!(state.cancel(), Cancelled::Unsent);
        assert!(!state.mark_sent(&orphans, Some(NodeId(1))));
        // As its reply does when it is dropped.
        assert!(!state.claim());
        assert_eq!(orphans.load(Ordering::Relaxed), 0);
        assert!(state.is_over() && state.node().is_none());
    }

    #[test]
    fn a_request_cancelled_after_it_was_sent_is_counted() {
        let (state, orphans) = (RequestState::default(), Arc::default());
        assert!(state.mark_sent(&orphans, None));
        assert_eq!(state.cancel(), Cancelled::Sent);
        assert_eq!(state.cancel(), Cancelled::Over);
        assert_eq!(orphans.load(Ordering::Relaxed), 1);
        assert!(!state.claim());
        assert_eq!(orphans.load(Ordering::Relaxed), 0);
    }
}
