//! The handle of a cluster, and what is done with it as a whole.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwapOption, Guard};
use palladion_driver::network::System;
use palladion_driver::{Cluster, RequestError, RequestState, Waiter};
use rustler::{Atom, Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};

use crate::atoms;
use crate::auth::auth_config;
use crate::config::{cluster_config, node_spec, tls_config};
use crate::errors::{node_of, reply, NativeError};
use crate::events::{self, Events, Sink};
use crate::flights::Flights;
use crate::reply::{ReadyReply, ReplyTo};
use crate::request::RequestResource;
use crate::runtime::{self, Access, Threads};
use crate::status;

/// A cluster as Elixir holds it. Stays valid when the cluster is closed, and then says so.
pub(crate) struct ClusterHandle {
    cluster: ArcSwapOption<Cluster>,
    events: Arc<Events>,
    flights: Arc<Flights>,
    access: Access,
}

#[rustler::resource_impl]
impl Resource for ClusterHandle {
    const IMPLEMENTS_DOWN: bool = true;

    /// The supervisor has ended: nobody is left to use the connections.
    fn down<'a>(&'a self, _env: Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        if let Some(cluster) = self.cluster.swap(None) {
            self.access
                .handle
                .spawn(async move { cluster.close(Duration::ZERO).await });
        }
    }
}

impl ClusterHandle {
    pub(crate) fn cluster(&self) -> Result<Guard<Option<Arc<Cluster>>>, NativeError> {
        let cluster = self.cluster.load();
        match cluster.as_ref() {
            Some(open) if !open.is_closed() => Ok(cluster),
            _ => Err(NativeError::closed()),
        }
    }

    pub(crate) fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }
}

pub(crate) fn handle_of(term: Term<'_>) -> Result<ResourceArc<ClusterHandle>, NativeError> {
    // A handle of another node is a plain reference here.
    term.decode()
        .map_err(|_| NativeError::bad_argument("handle"))
}

/// Starts a cluster that ends with the process `supervisor`.
#[rustler::nif(schedule = "DirtyCpu")]
fn cluster_new<'a>(
    env: Env<'a>,
    config: Term<'a>,
    supervisor: LocalPid,
    workers: usize,
    decoders: usize,
) -> Term<'a> {
    reply(
        env,
        start(env, config, supervisor, Threads { workers, decoders }),
    )
}

fn start(
    env: Env<'_>,
    config: Term<'_>,
    supervisor: LocalPid,
    threads: Threads,
) -> Result<ResourceArc<ClusterHandle>, NativeError> {
    let config = cluster_config(config)?;
    let access =
        runtime::access(threads).map_err(|e| NativeError::bad_config("runtime_threads", e))?;
    let events = Arc::new(Events::default());
    let sink = Arc::new(Sink(Arc::clone(&events)));
    let cluster = Cluster::start(config, System, sink, &access.handle)
        .map_err(|e| NativeError::bad_config("tls", e))?;
    let cluster = Arc::new(cluster);
    runtime::register(&cluster);
    let handle = ResourceArc::new(ClusterHandle {
        cluster: ArcSwapOption::from(Some(cluster)),
        events,
        flights: Flights::new(),
        access,
    });
    if env.monitor(&handle, &supervisor).is_none() {
        if let Some(cluster) = handle.cluster.swap(None) {
            cluster.close_now();
        }
        return Err(NativeError::closed());
    }
    Ok(handle)
}

/// Closes a cluster: what was taken on has `grace` ms to be answered. `{ref, :ok}` follows when
/// every connection has ended.
#[rustler::nif]
fn cluster_close<'a>(env: Env<'a>, handle: Term<'a>, reference: Term<'a>, grace: u64) -> Term<'a> {
    let closed = handle_of(handle).and_then(|handle| {
        let cluster = handle.cluster.swap(None).ok_or_else(NativeError::closed)?;
        let done = waiter(env, reference).1;
        handle.access.handle.spawn(async move {
            cluster.close(Duration::from_millis(grace)).await;
            drop(cluster);
            done.ready(Ok(()));
        });
        Ok(atoms::closed())
    });
    reply(env, closed)
}

/// Makes the calling process the one that is told of a role's events: `:topology` or `:cluster`.
/// Returns what is known of the control connection, if it is open.
#[rustler::nif]
fn cluster_adopt<'a>(env: Env<'a>, handle: Term<'a>, role: Atom) -> Term<'a> {
    let control = handle_of(handle).map(|handle| {
        let mailbox = handle.events.mailbox(role == atoms::topology());
        mailbox.adopt(env.pid());
        let control = handle.events.control();
        control.map(|info| events::control(env, &info))
    });
    reply(env, control)
}

/// `{events, dropped, more}`: some events since the last call, how many were dropped before them,
/// and whether there are more to take.
#[rustler::nif]
fn take_events<'a>(env: Env<'a>, handle: Term<'a>, role: Atom) -> Term<'a> {
    let events = handle_of(handle).map(|handle| {
        let mailbox = handle.events.mailbox(role == atoms::topology());
        let (events, dropped, more) = mailbox.take();
        let terms: Vec<_> = events
            .iter()
            .map(|event| events::term(env, event))
            .collect();
        (terms, dropped, more)
    });
    reply(env, events)
}

/// Replaces the nodes that requests may go to.
#[rustler::nif(schedule = "DirtyCpu")]
fn set_nodes<'a>(env: Env<'a>, handle: Term<'a>, nodes: Vec<Term<'a>>) -> Term<'a> {
    let set = handle_of(handle).and_then(|handle| {
        let nodes = nodes.into_iter().filter_map(|n| node_spec(n).transpose());
        let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
        let cluster = handle.cluster()?;
        let cluster = cluster.as_ref().ok_or_else(NativeError::closed)?;
        let set = cluster.set_nodes(nodes).map(|()| atoms::ok());
        set.map_err(|error| NativeError::from(&error))
    });
    reply(env, set)
}

/// Tries to connect to a node at once, if connections to it are missing.
#[rustler::nif]
fn nudge_node<'a>(env: Env<'a>, handle: Term<'a>, node: Term<'a>) -> Term<'a> {
    with_cluster(env, handle, |cluster| {
        node_of(node).map(|node| {
            cluster.nudge(node);
            atoms::ok().to_term(env)
        })
    })
}

/// Replaces the pause before the next attempt to connect to a node, in ms.
#[rustler::nif]
fn retry_in<'a>(env: Env<'a>, handle: Term<'a>, node: Term<'a>, pause: u64) -> Term<'a> {
    with_cluster(env, handle, |cluster| {
        node_of(node).map(|node| {
            cluster.retry_in(node, Duration::from_millis(pause));
            atoms::ok().to_term(env)
        })
    })
}

/// `{ref, :ok}` or `{ref, error}` follows as soon as there is a connection.
#[rustler::nif]
fn wait_ready<'a>(env: Env<'a>, handle: Term<'a>, reference: Term<'a>) -> Term<'a> {
    let waiting = handle_of(handle).and_then(|handle| {
        let cluster = Arc::clone(handle.cluster()?.as_ref().ok_or_else(NativeError::closed)?);
        let (request, waiter) = waiter(env, reference);
        // On a runtime thread, for it may find a connection at once and wake all who wait.
        handle.access.handle.spawn(async move {
            if let Err(refused) = cluster.wait(waiter) {
                refused.ready(Err(RequestError::TooManyWaiters));
            }
        });
        Ok(request)
    });
    reply(env, waiting)
}

/// Opens the pools anew. `{ref, :ok}` or `{ref, error}` follows when it's done.
#[rustler::nif]
fn cluster_reconnect<'a>(env: Env<'a>, handle: Term<'a>, reference: Term<'a>) -> Term<'a> {
    let waiting = handle_of(handle).and_then(|handle| {
        let cluster = Arc::clone(handle.cluster()?.as_ref().ok_or_else(NativeError::closed)?);
        let (request, waiter) = waiter(env, reference);
        handle
            .access
            .handle
            .spawn(async move { cluster.reconnect(waiter) });
        Ok(request)
    });
    reply(env, waiting)
}

/// Replaces the TLS configuration and all connections. `{ref, :ok}` or `{ref, error}` follows when
/// it's done.
#[rustler::nif(schedule = "DirtyCpu")]
fn tls_reload<'a>(env: Env<'a>, handle: Term<'a>, tls: Term<'a>, reference: Term<'a>) -> Term<'a> {
    let waiting = handle_of(handle).and_then(|handle| {
        let cluster = Arc::clone(handle.cluster()?.as_ref().ok_or_else(NativeError::closed)?);
        let tls = tls_config(tls)?;
        let prepared = cluster
            .prepare_tls(tls)
            .map_err(|e| NativeError::bad_config("tls", e))?;
        let (request, waiter) = waiter(env, reference);
        handle
            .access
            .handle
            .spawn(async move { cluster.reload_tls(prepared, waiter) });
        Ok(request)
    });
    reply(env, waiting)
}

/// Replaces the login; connections there are stay.
#[rustler::nif(schedule = "DirtyCpu")]
fn auth_update<'a>(env: Env<'a>, handle: Term<'a>, auth: Term<'a>) -> Term<'a> {
    let updated = handle_of(handle).and_then(|handle| {
        let cluster = Arc::clone(handle.cluster()?.as_ref().ok_or_else(NativeError::closed)?);
        let auth = (atoms::nil() != auth).then(|| auth_config(auth));
        cluster.update_auth(auth.transpose()?);
        Ok(atoms::ok())
    });
    reply(env, updated)
}

fn waiter(env: Env<'_>, reference: Term<'_>) -> (ResourceArc<RequestResource>, Box<dyn Waiter>) {
    let state = Arc::new(RequestState::default());
    let to = ReplyTo::new(env.pid(), reference, Arc::clone(&state));
    let request = ResourceArc::new(RequestResource::new(state));
    (request, Box::new(ReadyReply(to)))
}

/// The cluster's state as a map.
#[rustler::nif(schedule = "DirtyCpu")]
fn cluster_status<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    with_cluster(env, handle, |cluster| Ok(status::status(env, cluster)))
}

/// The cluster's counters as a map.
#[rustler::nif]
fn cluster_stats<'a>(env: Env<'a>, handle: Term<'a>) -> Term<'a> {
    with_cluster(env, handle, |cluster| Ok(status::stats(env, cluster)))
}

fn with_cluster<'a>(
    env: Env<'a>,
    handle: Term<'a>,
    f: impl FnOnce(&Cluster) -> Result<Term<'a>, NativeError>,
) -> Term<'a> {
    let result = handle_of(handle).and_then(|handle| {
        let cluster = handle.cluster()?;
        f(cluster.as_deref().ok_or_else(NativeError::closed)?)
    });
    reply(env, result)
}

/// Stops the runtime, if it runs, within about `limit` ms; what is still open is closed.
#[rustler::nif(schedule = "DirtyIo")]
fn runtime_stop<'a>(env: Env<'a>, limit: u64) -> Term<'a> {
    runtime::stop(Duration::from_millis(limit));
    atoms::ok().encode(env)
}
