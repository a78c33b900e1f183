//! Rules: what to do about which request.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use palladion_cql::response::ServerError;
use palladion_cql::{ColumnType, Opcode};

use crate::head::Extras;
use crate::hostile::Hostile;
use crate::random::Random;
use crate::rows::Rows;
use crate::types::NamedTypes;

/// Which statements a rule is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Text {
    /// Every one.
    #[default]
    Any,
    /// This one.
    Equals(String),
    /// Those that start with this.
    StartsWith(String),
    /// Those that contain this.
    Contains(String),
}

impl Text {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Equals(whole) => text == whole,
            Self::StartsWith(start) => text.starts_with(start.as_str()),
            Self::Contains(part) => text.contains(part.as_str()),
        }
    }
}

/// What the server does about a request.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// What it would have done without the rule.
    Builtin,
    /// Answers with rows.
    Rows(Arc<Rows>),
    /// Answers that it is done.
    Void,
    /// Answers with an error.
    Error(ServerError),
    /// Does the other thing after so long; requests after this one are served meanwhile.
    Delay(Duration, Box<Reaction>),
    /// Does the other thing, and says this beside.
    With(Arc<Extras>, Box<Reaction>),
    /// Never answers, but goes on with other requests.
    Never,
    /// Closes the connection properly.
    Close,
    /// Closes it with a TCP reset.
    Reset,
    /// Sends these bytes where a frame should be.
    Garbage(Vec<u8>),
    /// Answers as without the rule, but to a stream 0x4000 away from the request's.
    WrongStream,
    /// Sends a header that announces a frame of 2 GiB.
    Oversize,
    /// Answers as nobody should.
    Hostile(Hostile),
    /// Answers with a frame of this kind and body.
    Frame(Opcode, Vec<u8>),
    /// Stops reading and writing and keeps the connection open.
    Hang,
}

/// A condition and a reaction. Of the rules that match, the first is applied.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The statement's text: of QUERY and PREPARE, of what EXECUTE's id was prepared from, or of
    /// any statement of a BATCH.
    pub text: Text,
    /// The kind of request. Without it a rule is about QUERY, EXECUTE and BATCH.
    pub opcode: Option<Opcode>,
    /// Requests to this node of a simulated cluster only.
    pub node: Option<Ipv4Addr>,
    /// How many matching requests pass before the rule applies.
    pub skip: u64,
    /// To how many it then applies.
    pub times: u64,
    /// How likely it applies to each of these, in 0.0 ..= 1.0.
    pub probability: f64,
    /// For PREPARE: the bind markers of these statements. With these, or with a reaction of rows,
    /// a rule describes what it matches, and the statement can be prepared.
    pub bind: Option<Vec<(String, ColumnType)>>,
    /// What to do.
    pub reaction: Reaction,
}

impl Rule {
    /// To every statement whose text contains `part`.
    pub fn contains(part: &str, reaction: Reaction) -> Self {
        Self::on(Text::Contains(part.to_owned()), None, reaction)
    }

    /// To every request of a kind.
    pub fn opcode(opcode: Opcode, reaction: Reaction) -> Self {
        Self::on(Text::Any, Some(opcode), reaction)
    }

    /// To every statement.
    pub fn any(reaction: Reaction) -> Self {
        Self::on(Text::Any, None, reaction)
    }

    /// To what both conditions match.
    pub fn on(text: Text, opcode: Option<Opcode>, reaction: Reaction) -> Self {
        Self {
            text,
            opcode,
            node: None,
            skip: 0,
            times: u64::MAX,
            probability: 1.0,
            bind: None,
            reaction,
        }
    }

    /// Only to requests to this node of a simulated cluster.
    pub fn node(mut self, address: Ipv4Addr) -> Self {
        self.node = Some(address);
        self
    }

    /// Only to the `n`th match, counted from 1.
    pub fn nth(self, n: u64) -> Self {
        self.skip(n.saturating_sub(1)).times(1)
    }

    /// Not to the first `skip` matches.
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// At most so many times.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// To this share of the matches.
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = probability;
        self
    }

    /// With these bind markers.
    pub fn bind<N: Into<String>>(
        mut self,
        columns: impl IntoIterator<Item = (N, ColumnType)>,
    ) -> Self {
        let columns = columns.into_iter().map(|(name, ty)| (name.into(), ty));
        self.bind = Some(columns.collect());
        self
    }

    fn is_about(&self, node: Option<Ipv4Addr>, opcode: Opcode, texts: &[&str]) -> bool {
        let node_matches = self.node.is_none() || self.node == node;
        let opcode_matches = match self.opcode {
            Some(own) => own == opcode,
            None => matches!(opcode, Opcode::Query | Opcode::Execute | Opcode::Batch),
        };
        let text_matches =
            self.text == Text::Any || texts.iter().any(|text| self.text.matches(text));
        node_matches && opcode_matches && text_matches
    }
}

/// The rules in force.
#[derive(Debug)]
pub(crate) struct Script {
    rules: Vec<(Rule, u64)>,
    random: Random,
}

/// Rules in force, at most.
const MAX_RULES: usize = 1024;

impl Script {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rules: Vec::new(),
            random: Random::new(seed),
        }
    }

    /// Whether there was room for it.
    pub(crate) fn add(&mut self, rule: Rule) -> bool {
        let room = self.rules.len() < MAX_RULES;
        if room {
            self.rules.push((rule, 0));
        }
        room
    }

    /// The same with one that is asked before the others.
    pub(crate) fn add_first(&mut self, rule: Rule) -> bool {
        let room = self.rules.len() < MAX_RULES;
        if room {
            self.rules.insert(0, (rule, 0));
        }
        room
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    /// The reaction to a request to a node, if a rule applies to it.
    pub(crate) fn apply(
        &mut self,
        node: Option<Ipv4Addr>,
        opcode: Opcode,
        texts: &[&str],
    ) -> Option<Reaction> {
        let random = &mut self.random;
        self.rules.iter_mut().find_map(|(rule, seen)| {
            if !rule.is_about(node, opcode, texts) {
                return None;
            }
            *seen += 1;
            let in_range = *seen > rule.skip && *seen - rule.skip <= rule.times;
            (in_range && random.chance(rule.probability)).then(|| rule.reaction.clone())
        })
    }

    /// What the rules say about a statement to be prepared: bind markers and rows.
    pub(crate) fn describe(&self, text: &str) -> Option<Description> {
        self.rules.iter().map(|(rule, _)| rule).find_map(|rule| {
            let about = rule.opcode != Some(Opcode::Prepare) && rule.text.matches(text);
            // Those of a batch are not those of its statements.
            let rows = rows_of(&rule.reaction).filter(|_| rule.opcode != Some(Opcode::Batch));
            (about && (rule.bind.is_some() || rows.is_some())).then(|| Description {
                bind: rule.bind.clone().unwrap_or_default(),
                rows,
            })
        })
    }
}

/// What can be said about a statement before it is run.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) bind: NamedTypes,
    pub(crate) rows: Option<Arc<Rows>>,
}

fn rows_of(reaction: &Reaction) -> Option<Arc<Rows>> {
    match reaction {
        Reaction::Rows(rows) => Some(rows.clone()),
        Reaction::Delay(_, then) | Reaction::With(_, then) => rows_of(then),
        _ => None,
    }
}
