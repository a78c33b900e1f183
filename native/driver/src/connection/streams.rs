use palladion_cql::DecodeError;

/// Gives out stream ids and keeps what waits for each one's answer.
///
/// An id stays taken until its answer arrives, whether anybody still wants it or not: one given
/// out again too early would hand its next user somebody else's rows.
#[derive(Debug)]
pub(super) struct Streams<T> {
    slots: Vec<Option<T>>,
    free: Vec<i16>,
    limit: usize,
}

/// All ids that the protocol has for requests: 0 to 32,767.
pub(super) const MAX_STREAMS: usize = 1 << 15;

impl<T> Streams<T> {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            limit: limit.clamp(1, MAX_STREAMS),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.free.is_empty() && self.slots.len() >= self.limit
    }

    pub(super) fn taken(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes a free id; hands the value back when there is none.
    pub(super) fn take(&mut self, value: T) -> Result<i16, T> {
        if let Some(id) = self.free.pop() {
            if let Some(slot) = self.slots.get_mut(id as usize) {
                *slot = Some(value);
                return Ok(id);
            }
        }
        match i16::try_from(self.slots.len()) {
            Ok(id) if self.slots.len() < self.limit => {
                self.slots.push(Some(value));
                Ok(id)
            }
            _ => Err(value),
        }
    }

    /// Frees the id that was answered. An id that was not taken means that the two ends disagree
    /// about the conversation.
    pub(super) fn answered(&mut self, id: i16) -> Result<T, DecodeError> {
        let slot = usize::try_from(id)
            .ok()
            .and_then(|id| self.slots.get_mut(id));
        match slot.and_then(Option::take) {
            Some(value) => {
                self.free.push(id);
                Ok(value)
            }
            None => Err(unasked(id)),
        }
    }

    /// Everything that still waits.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> + '_ {
        self.free.clear();
        self.slots.drain(..).flatten()
    }
}

/// An answer on a stream that nothing was asked on.
pub(crate) fn unasked(id: i16) -> DecodeError {
    DecodeError::Unknown {
        what: "stream, nothing was asked on",
        value: i64::from(id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_whole_range_is_used_and_no_more() {
        let mut streams = Streams::new(usize::MAX);
        let ids: Vec<_> = (0..MAX_STREAMS).map(|n| streams.take(n).unwrap()).collect();
        assert_eq!((ids[0], ids[MAX_STREAMS - 1]), (0, i16::MAX));
        assert!(streams.is_full());
        assert_eq!(streams.take(7), Err(7));
    }

    #[test]
    fn an_answer_nobody_asked_for_is_an_error() {
        let mut streams = Streams::new(4);
        let id = streams.take('a').unwrap();
        assert!(streams.answered(id + 1).is_err() && streams.answered(-1).is_err());
        assert_eq!(streams.answered(id), Ok('a'));
        assert!(streams.answered(id).is_err());
    }

    proptest! {
        #[test]
        fn an_id_is_never_out_twice(steps in proptest::collection::vec(any::<(bool, u8)>(), 0..400)) {
            let mut streams = Streams::new(16);
            let mut out: Vec<(i16, u32)> = Vec::new();
            for (n, (give, which)) in steps.into_iter().enumerate() {
                if give {
                    match streams.take(n as u32) {
                        Ok(id) => {
                            prop_assert!(out.iter().all(|(other, _)| *other != id));
                            out.push((id, n as u32));
                        }
                        Err(_) => prop_assert_eq!(out.len(), 16),
                    }
                } else if !out.is_empty() {
                    let (id, value) = out.swap_remove(usize::from(which) % out.len());
                    prop_assert_eq!(streams.answered(id), Ok(value));
                }
                prop_assert_eq!(streams.taken(), out.len());
            }
            prop_assert_eq!(streams.drain().count(), out.len());
        }
    }
}
