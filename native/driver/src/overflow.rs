//! Requests that wait for room while every connection's queue is full.

use std::sync::atomic::Ordering;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use crate::cluster::Shared;
use crate::connection::Stop;
use crate::node::Route;
use crate::{Request, RequestError};

/// Hands requests on as soon as there is room, in the order in which they came.
pub(crate) async fn hand_on(
    shared: Arc<Shared>,
    mut overflow: mpsc::Receiver<(Request, Route)>,
    mut stop: watch::Receiver<Stop>,
) {
    let mut held = None;
    loop {
        // Before the look, so that room that comes up in between is not missed.
        let room = shared.room.notified();
        held = match held {
            Some((request, route)) => try_to_hand_on(&shared, request, route),
            None => None,
        };
        tokio::select! {
            Some(next) = overflow.recv(), if held.is_none() => held = Some(next),
            () = room, if held.is_some() => {}
            // Whatever the word is, it means the end of this.
            _ = stop.changed() => break,
        }
    }
    overflow.close();
    let closed = |(request, _): (Request, Route)| {
        request.reply.complete(Err(RequestError::Closed));
    };
    held.into_iter().for_each(closed);
    while let Some(next) = overflow.recv().await {
        closed(next);
    }
}

/// Hands the request back if there still is no room.
fn try_to_hand_on(shared: &Shared, request: Request, route: Route) -> Option<(Request, Route)> {
    let back = if request.reply.state().is_cancelled() {
        None
    } else {
        match shared.submit(request, route) {
            Ok(()) => None,
            Err(refused) if matches!(refused.error, RequestError::Overloaded) => {
                Some((refused.request, route))
            }
            Err(refused) => {
                refused.request.reply.complete(Err(refused.error));
                None
            }
        }
    };
    if back.is_none() {
        shared.overflowing.fetch_sub(1, Ordering::AcqRel);
    }
    back
}
