//! BATCH (section 4.1.7).

use super::{Builder, Parameters, StatementId, Unsendable};
use crate::frame::Opcode;
use crate::wire::{put_long_bytes, put_short_bytes};
use crate::Dialect;

/// What a batch promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum BatchKind {
    /// All of it or nothing.
    Logged = 0,
    /// Nothing: its statements only travel together.
    Unlogged = 1,
    /// It changes counters.
    Counter = 2,
}

impl BatchKind {
    /// The kind with this number on the wire.
    pub fn from_wire(number: u8) -> Option<Self> {
        [Self::Logged, Self::Unlogged, Self::Counter]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// A BATCH under construction.
pub struct Batch {
    frame: Builder,
    count: u16,
    /// Where its count stands.
    count_at: usize,
}

impl Batch {
    /// A batch without statements. Of `parameters`, which [`Self::finish`] is given again, what
    /// comes before the statements is written here.
    pub fn new(
        dialect: &Dialect,
        kind: BatchKind,
        parameters: &Parameters,
    ) -> Result<Self, Unsendable> {
        let mut frame = Builder::new(dialect, Opcode::Batch, 1024);
        frame.extras(parameters)?;
        frame.out.push(kind as u8);
        let count_at = frame.out.len();
        frame.short(0);
        Ok(Self {
            frame,
            count: 0,
            count_at,
        })
    }

    /// Length of what is there so far.
    pub fn size(&self) -> usize {
        self.frame.out.len()
    }

    /// Adds a statement without values.
    pub fn query(&mut self, statement: &str) -> Result<(), Unsendable> {
        self.count()?;
        self.frame.out.push(0);
        put_long_bytes(&mut self.frame.out, statement.as_bytes(), "statement")?;
        self.frame.short(0);
        Ok(())
    }

    /// Adds a prepared statement with `count` values that `values` writes, each as `[value]`.
    pub fn prepared<E: From<Unsendable>>(
        &mut self,
        statement: StatementId<'_>,
        count: u16,
        values: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.count()?;
        self.frame.out.push(1);
        let id = "prepared statement's id";
        put_short_bytes(&mut self.frame.out, statement.id, id).map_err(Unsendable::from)?;
        self.frame.short(count);
        values(&mut self.frame.out)
    }

    fn count(&mut self) -> Result<(), Unsendable> {
        let count = self.count.checked_add(1);
        self.count = count.ok_or(super::too_many("statements in a batch"))?;
        Ok(())
    }

    /// The whole frame.
    pub fn finish(mut self, parameters: &Parameters) -> Result<Vec<u8>, Unsendable> {
        let room = self.frame.out.get_mut(self.count_at..self.count_at + 2);
        if let Some(room) = room {
            room.copy_from_slice(&self.count.to_be_bytes());
        }
        self.frame.short(parameters.consistency as u16);
        self.frame.parameter_flags(parameters, 0)?;
        self.frame.common_parameters(parameters)?;
        Ok(self.frame.finish()?)
    }
}
