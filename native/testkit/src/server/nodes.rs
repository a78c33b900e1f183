//! What a test can do to the nodes of a simulated cluster. Where `tell` is asked for, connections
//! that registered for them are sent the events that Cassandra sends.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Server;
use crate::counters::NodeCounters;
use crate::event::Event;
use crate::node::{Node, NodeInfo};
use crate::nodes::Nodes;
use crate::Error;

impl Server {
    /// The nodes as they are now, in the order of their addresses.
    pub fn nodes(&self) -> Result<Vec<NodeInfo>, Error> {
        self.cluster().map(Nodes::infos)
    }

    /// What one node has seen so far.
    pub fn node_counters(&self, address: Ipv4Addr) -> Result<NodeCounters, Error> {
        Ok(self.cluster()?.get(address)?.cells.snapshot())
    }

    /// Waits until one node's counters fulfil a condition, and gives them. Blocks the thread.
    pub fn wait_node(
        &self,
        address: Ipv4Addr,
        timeout: Duration,
        condition: impl Fn(&NodeCounters) -> bool,
    ) -> Result<NodeCounters, Error> {
        let member = self.cluster()?.get(address)?;
        let seen = (self.shared.observed).wait(timeout, || member.cells.snapshot(), condition);
        seen.map_err(|seen| Error::NodeTimeout(Box::new(seen)))
    }

    /// A numbered node that there has not been yet, to be added.
    pub fn fresh_node(&self) -> Result<Node, Error> {
        self.cluster().map(Nodes::fresh)
    }

    /// Adds a node (`NEW_NODE`, then `UP`).
    pub fn add_node(&self, node: Node, tell: bool) -> Result<(), Error> {
        let events = self.cluster()?.add(node)?;
        self.tell(tell, events);
        Ok(())
    }

    /// Removes a node and closes its connections (`REMOVED_NODE`).
    pub fn remove_node(&self, address: Ipv4Addr, tell: bool) -> Result<(), Error> {
        let events = self.cluster()?.remove(address)?;
        self.tell(tell, events);
        Ok(())
    }

    /// Closes a node's connections, and new ones as soon as they are accepted; the other nodes
    /// keep their rows about it (`DOWN`).
    pub fn node_down(&self, address: Ipv4Addr, tell: bool) -> Result<(), Error> {
        let events = self.cluster()?.set_down(address, true)?;
        self.tell(tell, events);
        Ok(())
    }

    /// Ends [`Server::node_down`] (`UP`).
    pub fn node_up(&self, address: Ipv4Addr, tell: bool) -> Result<(), Error> {
        let events = self.cluster()?.set_down(address, false)?;
        self.tell(tell, events);
        Ok(())
    }

    /// Closes a node's connections and gives it another address; it keeps its host id. Tells what
    /// Cassandra tells of a node that started again elsewhere: `DOWN` of the old address, then
    /// `NEW_NODE` and `UP` of the new one. (`MOVED_NODE` is about tokens: [`Server::push_event`].)
    pub fn move_node(&self, from: Ipv4Addr, to: Ipv4Addr, tell: bool) -> Result<(), Error> {
        let events = self.cluster()?.relocate(from, to)?;
        self.tell(tell, events);
        Ok(())
    }

    /// Accepts connections to a node, but reads and answers nothing on any.
    pub fn hang_node(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.cluster()?.set_hanging(address, true)
    }

    /// Ends [`Server::hang_node`]: what has arrived meanwhile is answered.
    pub fn resume_node(&self, address: Ipv4Addr) -> Result<(), Error> {
        self.cluster()?.set_hanging(address, false)
    }

    /// Changes the schema version of one node, or of all.
    pub fn set_schema_version(
        &self,
        address: Option<Ipv4Addr>,
        version: [u8; 16],
    ) -> Result<(), Error> {
        self.cluster()?.set_schema_version(address, version)
    }

    fn cluster(&self) -> Result<&Nodes, Error> {
        let nodes = self.shared.nodes.as_ref();
        nodes.ok_or_else(|| Error::usage("this server simulates no cluster"))
    }

    fn tell(&self, tell: bool, events: Vec<Event>) {
        if tell {
            events.into_iter().for_each(|event| self.push_event(event));
        }
    }
}
