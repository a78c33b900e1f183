//! The server's side of one conversation, without I/O: frames in, bytes and orders out.

mod login;
mod statements;
mod versions;

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use palladion_cql::response::{code, ServerError};
use palladion_cql::{DecodeError, Dialect, Frame, Opcode};

use crate::accept::{Handshaking, Open};
use crate::counters::add;
use crate::event::Event;
use crate::head::{put_frame, Head};
use crate::hostile::{Attack, Hostile, Kind};
use crate::login::conversation::Conversation;
use crate::node::numbered_uuid;
use crate::nodes::Member;
use crate::random::Random;
use crate::request::{BatchStatement, Body, Request};
use crate::response::{error, put_error, put_supported, put_void};
use crate::rows::Known;
use crate::script::Reaction;
use crate::segments::Segmenter;
use crate::shared::Shared;
use crate::statement::PreparedStatements;

/// One client's conversation.
#[derive(Debug)]
pub(crate) struct Session {
    shared: Arc<Shared>,
    /// The node that the client talks to, if there are several.
    member: Option<Arc<Member>>,
    prepared: Arc<PreparedStatements>,
    connection: u64,
    /// Until the login is done.
    handshaking: Option<Handshaking>,
    stage: Stage,
    /// What STARTUP has settled.
    agreed: Option<Dialect>,
    /// From then on, where that has segments.
    pub(crate) segmenter: Option<Segmenter>,
    /// The login, from its first response on.
    conversation: Option<Conversation>,
    registered: Vec<String>,
    random: Random,
    /// What [`Then::Drip`] is about.
    pub(crate) drop: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Expected,
    Asked,
    Done,
}

/// What to do once the bytes that a request put out are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Then {
    GoOn,
    Close,
    Reset,
    Hang,
    /// Writes the same few bytes now and then, for ever.
    Drip,
}

/// What a request leads to. Its bytes are the caller's to write, now or after `delay`.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) delay: Duration,
    pub(crate) then: Then,
    /// Whether the bytes are to be written as they are, or frames that may go into segments.
    pub(crate) are_final: bool,
}

impl Outcome {
    fn now(then: Then) -> Self {
        Self {
            delay: Duration::ZERO,
            then,
            are_final: false,
        }
    }
}

impl Session {
    pub(crate) fn new(open: &Open, handshaking: Handshaking) -> Self {
        let member = open.member.clone();
        let prepared = member.as_ref().map(|member| &member.prepared);
        Self {
            prepared: prepared.unwrap_or(&open.shared.prepared).clone(),
            shared: open.shared.clone(),
            member,
            connection: open.id,
            handshaking: Some(handshaking),
            stage: Stage::Expected,
            agreed: None,
            segmenter: None,
            conversation: None,
            registered: Vec::new(),
            random: Random::new(open.shared.seed.wrapping_add(open.id)),
            drop: Vec::new(),
        }
    }

    /// Serves one request: appends what is to be written to `out`.
    pub(crate) fn serve(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Outcome {
        if let Some(cell) = self.shared.observed.cells.of(frame.header.opcode) {
            add(cell, 1);
        }
        if !self.speaks(frame.header.version) {
            self.refuse(&DecodeError::Version(frame.header.version), out);
            return Outcome::now(Then::Close);
        }
        let are_final = self.segmenter.is_none();
        let mut head = Head::new(frame.dialect, frame.header.stream);
        let mut outcome = match self.try_serve(frame, &mut head, out) {
            Ok(outcome) => outcome,
            Err(malformed) => {
                self.malformed(&head, &malformed, out);
                Outcome::now(Then::GoOn)
            }
        };
        // The answer to STARTUP comes before there are segments.
        outcome.are_final |= are_final;
        outcome
    }

    fn try_serve(
        &mut self,
        frame: &Frame,
        head: &mut Head,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, DecodeError> {
        let content = frame.content()?;
        let node = self.member.as_ref().map(|member| member.node().address);
        let recorder = &self.shared.recorder;
        let number = recorder.record(self.connection, node, frame, &content, &self.prepared);
        let request = Request::read(frame, &content)?;
        if request.tracing {
            head.tracing_id = Some(numbered_uuid(number));
        }
        let Some(reaction) = self.reaction(&request) else {
            return Ok(self.answer(&request, head, out));
        };
        add(&self.shared.observed.cells.matched, 1);
        Ok(self.react(&reaction, &request, head, out))
    }

    /// Appends an event, if the client registered for its kind.
    pub(crate) fn put_event(&self, event: &Event, out: &mut Vec<u8>) {
        event.put(&self.registered, &self.own_head(), out);
    }

    /// Says that a request is not served because too many wait.
    pub(crate) fn overloaded(&self, stream: i16, out: &mut Vec<u8>) {
        let overloaded = error(code::OVERLOADED, "too many delayed answers");
        put_error(out, &self.own_head().on(stream), &overloaded);
    }

    fn reaction(&self, request: &Request<'_>) -> Option<Reaction> {
        if !self.shared.has_rules.load(Ordering::Acquire) {
            return None;
        }
        let node = self.member.as_ref().map(|member| member.node().address);
        let apply = |texts: &[&str]| self.shared.script().apply(node, request.opcode, texts);
        match &request.body {
            Body::Query { text, .. } | Body::Prepare { text, .. } => apply(&[*text]),
            Body::Execute { id, .. } => apply(&[&self.prepared.get(id)?.text]),
            Body::Batch(batch) => {
                let texts = batch
                    .statements
                    .iter()
                    .filter_map(|(named, _)| match named {
                        BatchStatement::Text(text) => Some((*text).to_owned()),
                        BatchStatement::Id(id) => Some(self.prepared.get(id)?.text.clone()),
                    });
                let texts: Vec<String> = texts.collect();
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                apply(&texts)
            }
            Body::Other(_) => apply(&[]),
        }
    }

    fn react(
        &mut self,
        reaction: &Reaction,
        request: &Request<'_>,
        head: &Head,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let mut outcome = Outcome::now(Then::GoOn);
        match reaction {
            Reaction::Builtin => outcome = self.answer(request, head, out),
            Reaction::Rows(rows) => {
                rows.put(out, head, known(request));
                self.count_response();
            }
            Reaction::Void => {
                put_void(out, head);
                self.count_response();
            }
            Reaction::Error(error) => self.error(head, error, out),
            Reaction::Delay(delay, then) => {
                outcome = self.react(then, request, head, out);
                outcome.delay += *delay;
            }
            Reaction::With(extras, then) => {
                let head = Head {
                    extras: Some(extras.clone()),
                    ..head.clone()
                };
                outcome = self.react(then, request, &head, out);
            }
            Reaction::Never => add(&self.shared.observed.cells.unanswered, 1),
            Reaction::Close => outcome.then = Then::Close,
            Reaction::Reset => outcome.then = Then::Reset,
            Reaction::Hang => outcome.then = Then::Hang,
            Reaction::Garbage(bytes) => {
                out.extend_from_slice(bytes);
                outcome.are_final = true;
            }
            Reaction::Frame(opcode, body) => {
                put_frame(out, head, *opcode, |out| out.extend_from_slice(body));
                self.count_response();
            }
            Reaction::WrongStream => {
                outcome = self.answer(request, &head.on(head.stream ^ 0x4000), out);
            }
            Reaction::Oversize => {
                let hostile = Hostile::new(Kind::HugeFrame);
                outcome = self.attack(&hostile, head, out);
            }
            Reaction::Hostile(hostile) => outcome = self.attack(hostile, head, out),
        }
        outcome
    }

    fn attack(&mut self, hostile: &Hostile, head: &Head, out: &mut Vec<u8>) -> Outcome {
        let mut outcome = Outcome::now(Then::GoOn);
        let segmenter = self.segmenter.as_mut();
        match hostile.put(head, segmenter, &mut self.random, out) {
            Ok(Attack::Frames) => {}
            Ok(Attack::Bytes) => outcome.are_final = true,
            Ok(Attack::Drip(drop)) => {
                self.drop = drop;
                outcome.are_final = true;
                outcome.then = Then::Drip;
            }
            Err(error) => self.error(head, &error, out),
        }
        outcome
    }

    fn answer(&mut self, request: &Request<'_>, head: &Head, out: &mut Vec<u8>) -> Outcome {
        let start = out.len();
        match self.try_answer(request, head, out) {
            Ok(outcome) => outcome,
            Err(malformed) => {
                out.truncate(start);
                self.malformed(head, &malformed, out);
                Outcome::now(Then::GoOn)
            }
        }
    }

    fn try_answer(
        &mut self,
        request: &Request<'_>,
        head: &Head,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, DecodeError> {
        let go_on = Outcome::now(Then::GoOn);
        let allowed = match request.opcode {
            Opcode::Options => true,
            Opcode::Startup => self.stage == Stage::Expected,
            Opcode::AuthResponse => self.stage == Stage::Asked,
            _ => self.stage == Stage::Done,
        };
        if !allowed {
            let expected = match self.stage {
                Stage::Expected => "STARTUP or OPTIONS",
                Stage::Asked => "SASL_RESPONSE",
                Stage::Done => "a statement",
            };
            let opcode = format!("{:?}", request.opcode).to_uppercase();
            let message = format!("Unexpected message {opcode}, expecting {expected}");
            self.error(head, &error(code::PROTOCOL, message), out);
            return Ok(go_on);
        }
        match &request.body {
            Body::Query { text, parameters } => match self.builtin(text) {
                Ok(Some(statement)) => {
                    self.run(&statement, parameters, known(request), head, out);
                }
                Ok(None) => put_void(out, head),
                Err(wrong) => put_error(out, head, &error(code::INVALID, wrong.to_string())),
            },
            Body::Prepare { text, keyspace } => self.prepare(text, *keyspace, head, out),
            Body::Execute { id, parameters, .. } => match self.prepared.get(id) {
                Some(statement) => self.run(&statement, parameters, known(request), head, out),
                None => self.unprepared(id, head, out),
            },
            Body::Batch(batch) => {
                let unknown = batch.statements.iter().find_map(|(named, _)| match named {
                    BatchStatement::Id(id) if self.prepared.get(id).is_none() => Some(*id),
                    _ => None,
                });
                match unknown {
                    Some(id) => self.unprepared(id, head, out),
                    None => put_void(out, head),
                }
            }
            Body::Other(reader) => {
                let mut reader = *reader;
                match request.opcode {
                    Opcode::Options => put_supported(out, head, &self.shared.supported),
                    Opcode::Startup => {
                        return self.startup(&mut reader, head, out).map(|()| go_on);
                    }
                    Opcode::AuthResponse => return self.log_in(&mut reader, head, out),
                    Opcode::Register => {
                        self.registered = reader.string_list("event kinds")?;
                        let kinds = self.registered.clone();
                        self.shared
                            .observed
                            .update(self.connection, |c| c.registered = kinds);
                        put_frame(out, head, Opcode::Ready, |_| {});
                    }
                    _ => put_error(out, head, &error(code::PROTOCOL, "this is no request")),
                }
            }
        }
        self.count_response();
        Ok(go_on)
    }

    /// What is said unasked, or about bytes that are no request.
    fn own_head(&self) -> Head {
        let dialect = self.agreed.unwrap_or(Dialect::plain(self.newest()));
        Head::new(dialect, 0)
    }

    fn malformed(&self, head: &Head, malformed: &DecodeError, out: &mut Vec<u8>) {
        add(&self.shared.observed.cells.bad_frames, 1);
        self.error(head, &error(code::PROTOCOL, malformed.to_string()), out);
    }

    fn error(&self, head: &Head, error: &ServerError, out: &mut Vec<u8>) {
        put_error(out, head, error);
        self.count_response();
    }

    fn count_response(&self) {
        add(&self.shared.observed.cells.responses, 1);
        if let Some(member) = &self.member {
            add(&member.cells.responses, 1);
        }
    }
}

/// What the sender of a request knows of its result.
fn known<'a>(request: &'a Request<'_>) -> Known<'a> {
    let skip_metadata = request.body.parameters().is_some_and(|p| p.skip_metadata);
    match &request.body {
        Body::Execute { result_id, .. } => Known {
            skip_metadata,
            id: *result_id,
        },
        _ => Known {
            skip_metadata,
            id: None,
        },
    }
}
