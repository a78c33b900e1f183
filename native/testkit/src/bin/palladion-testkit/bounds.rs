//! What counters are to be: `query=3 open.max=0 resumed.min=2`.

use std::ops::RangeInclusive;

use crate::line::Command;

/// Where each counter stands in a list of them, and what it is to be.
pub(crate) struct Bounds(Vec<(usize, RangeInclusive<u64>)>);

impl Bounds {
    /// Takes all arguments that are left; the counters that there are come with any count.
    pub(crate) fn take(command: &mut Command, known: &[(&str, u64)]) -> Result<Self, String> {
        let mut bounds = Vec::new();
        for (key, value) in command.take_all("") {
            let (name, bound) = key.split_once('.').unwrap_or((&key, ""));
            let at = known.iter().position(|(known, _)| *known == name);
            let at = at.ok_or_else(|| format!("there is no counter {name}"))?;
            let n: u64 = value
                .parse()
                .map_err(|_| format!("{key}={value} is no number"))?;
            bounds.push(match bound {
                "" => (at, n..=n),
                "min" => (at, n..=u64::MAX),
                "max" => (at, 0..=n),
                other => return Err(format!("{name}.{other}= is none of .min and .max")),
            });
        }
        Ok(Self(bounds))
    }

    pub(crate) fn hold(&self, counts: &[(&str, u64)]) -> bool {
        let mut bounds = self.0.iter();
        bounds.all(|(at, range)| range.contains(&counts[*at].1))
    }
}
