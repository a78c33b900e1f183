//! The server's side of one conversation, without I/O: frames in, bytes and orders out.

mod login;
mod statements;

use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use palladion_cql::frame::{flag, Frame, VERSION};
use palladion_cql::response::{code, ServerError};
use palladion_cql::wire::Reader;
use palladion_cql::{DecodeError, Header, Opcode};

use crate::accept::{Handshaking, Open};
use crate::counters::add;
use crate::login::conversation::Conversation;
use crate::nodes::Member;
use crate::request::{Batch, Parameters};
use crate::response::{error, put_error, put_frame, put_supported, put_void};
use crate::script::Reaction;
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
    /// The login, from its first response on.
    conversation: Option<Conversation>,
    pub(crate) registered: Vec<String>,
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
}

/// What a request leads to. Its bytes are the caller's to write, now or after `delay`.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) delay: Duration,
    pub(crate) then: Then,
}

impl Outcome {
    fn now(then: Then) -> Self {
        Self {
            delay: Duration::ZERO,
            then,
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
            conversation: None,
            registered: Vec::new(),
        }
    }

    /// Serves one request: appends what is to be written to `out`.
    pub(crate) fn serve(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Outcome {
        let Header { stream, opcode, .. } = frame.header;
        if let Some(cell) = self.shared.observed.cells.of(opcode) {
            add(cell, 1);
        }
        if frame.header.version != VERSION {
            add(&self.shared.observed.cells.bad_frames, 1);
            put_error(out, 0, &wrong_version(frame.header.version));
            return Outcome::now(Then::Close);
        }
        match self.reaction(frame) {
            Ok(None) => self.answer(frame, stream, out),
            Ok(Some(reaction)) => {
                add(&self.shared.observed.cells.matched, 1);
                self.react(&reaction, frame, out)
            }
            Err(malformed) => {
                self.malformed(stream, &malformed, out);
                Outcome::now(Then::GoOn)
            }
        }
    }

    /// Tells a client whose bytes are no frame of this protocol.
    pub(crate) fn refuse(&self, error: &DecodeError, out: &mut Vec<u8>) {
        add(&self.shared.observed.cells.bad_frames, 1);
        let answer = match error {
            DecodeError::Version(byte) => wrong_version(byte & 0x7F),
            DecodeError::TlsRecord => wrong_version(0x16),
            other => self::error(code::PROTOCOL, other.to_string()),
        };
        put_error(out, 0, &answer);
    }

    fn reaction(&self, frame: &Frame) -> Result<Option<Reaction>, DecodeError> {
        if !self.shared.has_rules.load(Ordering::Acquire) {
            return Ok(None);
        }
        let opcode = frame.header.opcode;
        let mut reader = body(frame)?;
        let node = self.member.as_ref().map(|member| member.node().address);
        let apply = |texts: &[&str]| self.shared.script().apply(node, opcode, texts);
        Ok(match opcode {
            Opcode::Query | Opcode::Prepare => apply(&[&text(&mut reader)?]),
            Opcode::Execute => {
                let id = reader.short_bytes("prepared statement's id")?;
                match self.prepared.get(id) {
                    Some(statement) => apply(&[&statement.text]),
                    None => None,
                }
            }
            Opcode::Batch => {
                let batch = Batch::read(&mut reader, &self.prepared)?;
                let texts: Vec<&str> = batch.texts.iter().map(String::as_str).collect();
                apply(&texts)
            }
            _ => apply(&[]),
        })
    }

    fn react(&mut self, reaction: &Reaction, frame: &Frame, out: &mut Vec<u8>) -> Outcome {
        let stream = frame.header.stream;
        let mut outcome = Outcome::now(Then::GoOn);
        match reaction {
            Reaction::Builtin => outcome = self.answer(frame, stream, out),
            Reaction::Rows(rows) => {
                rows.put(out, stream, self.skip_metadata(frame));
                self.count_response();
            }
            Reaction::Void => {
                put_void(out, stream);
                self.count_response();
            }
            Reaction::Error(error) => self.error(stream, error, out),
            Reaction::Delay(delay, then) => {
                outcome = self.react(then, frame, out);
                outcome.delay += *delay;
            }
            Reaction::Never => add(&self.shared.observed.cells.unanswered, 1),
            Reaction::Close => outcome.then = Then::Close,
            Reaction::Reset => outcome.then = Then::Reset,
            Reaction::Hang => outcome.then = Then::Hang,
            Reaction::Garbage(bytes) => out.extend_from_slice(bytes),
            Reaction::WrongStream => outcome = self.answer(frame, stream ^ 0x4000, out),
            Reaction::Oversize => {
                put_frame(out, stream, Opcode::Result, |_| {});
                let length = out.len() - 4;
                out[length..].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF]);
            }
        }
        outcome
    }

    fn answer(&mut self, frame: &Frame, stream: i16, out: &mut Vec<u8>) -> Outcome {
        let start = out.len();
        match self.try_answer(frame, stream, out) {
            Ok(outcome) => outcome,
            Err(malformed) => {
                out.truncate(start);
                self.malformed(stream, &malformed, out);
                Outcome::now(Then::GoOn)
            }
        }
    }

    fn try_answer(
        &mut self,
        frame: &Frame,
        stream: i16,
        out: &mut Vec<u8>,
    ) -> Result<Outcome, DecodeError> {
        let mut reader = body(frame)?;
        let go_on = Outcome::now(Then::GoOn);
        let allowed = match frame.header.opcode {
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
            let opcode = format!("{:?}", frame.header.opcode).to_uppercase();
            let message = format!("Unexpected message {opcode}, expecting {expected}");
            self.error(stream, &error(code::PROTOCOL, message), out);
            return Ok(go_on);
        }
        match frame.header.opcode {
            Opcode::Options => put_supported(out, stream, &self.shared.supported),
            Opcode::Startup => return self.startup(&mut reader, stream, out).map(|()| go_on),
            Opcode::AuthResponse => return self.log_in(&mut reader, stream, out),
            Opcode::Register => {
                self.registered = reader.string_list("event kinds")?;
                let kinds = self.registered.clone();
                self.shared
                    .observed
                    .update(self.connection, |c| c.registered = kinds);
                put_frame(out, stream, Opcode::Ready, |_| {});
            }
            Opcode::Query => {
                let text = text(&mut reader)?;
                match self.builtin(&text) {
                    Ok(Some(statement)) => {
                        let parameters = Parameters::read(&mut reader)?;
                        self.run(&statement, &parameters, stream, out);
                    }
                    Ok(None) => put_void(out, stream),
                    Err(wrong) => {
                        put_error(out, stream, &error(code::INVALID, wrong.to_string()));
                    }
                }
            }
            Opcode::Prepare => self.prepare(&text(&mut reader)?, stream, out),
            Opcode::Execute => {
                let id = reader.short_bytes("prepared statement's id")?;
                match self.prepared.get(id) {
                    Some(statement) => {
                        let parameters = Parameters::read(&mut reader)?;
                        self.run(&statement, &parameters, stream, out);
                    }
                    None => self.unprepared(id, stream, out),
                }
            }
            Opcode::Batch => {
                let batch = Batch::read(&mut reader, &self.prepared)?;
                match batch.unknown {
                    Some(id) => self.unprepared(&id, stream, out),
                    None => put_void(out, stream),
                }
            }
            _ => put_error(out, stream, &error(code::PROTOCOL, "this is no request")),
        }
        self.count_response();
        Ok(go_on)
    }

    fn skip_metadata(&self, frame: &Frame) -> bool {
        let parameters = || -> Result<bool, DecodeError> {
            let mut reader = body(frame)?;
            reader.short_bytes("prepared statement's id")?;
            Ok(Parameters::read(&mut reader)?.skip_metadata)
        };
        frame.header.opcode == Opcode::Execute && parameters().unwrap_or(false)
    }

    fn malformed(&self, stream: i16, malformed: &DecodeError, out: &mut Vec<u8>) {
        add(&self.shared.observed.cells.bad_frames, 1);
        self.error(stream, &error(code::PROTOCOL, malformed.to_string()), out);
    }

    fn error(&self, stream: i16, error: &ServerError, out: &mut Vec<u8>) {
        put_error(out, stream, error);
        self.count_response();
    }

    fn count_response(&self) {
        add(&self.shared.observed.cells.responses, 1);
        if let Some(member) = &self.member {
            add(&member.cells.responses, 1);
        }
    }
}

fn wrong_version(version: u8) -> ServerError {
    error(
        code::PROTOCOL,
        format!(
            "Invalid or unsupported protocol version ({version}); supported versions are (4/v4)"
        ),
    )
}

/// A request's body after what any message may carry in front of it.
fn body(frame: &Frame) -> Result<Reader<'_>, DecodeError> {
    if frame.header.flags & flag::COMPRESSION != 0 {
        return Err(DecodeError::Unknown {
            what: "compression, none was agreed on: flags",
            value: i64::from(frame.header.flags),
        });
    }
    let mut reader = Reader::new(&frame.body);
    if frame.header.flags & flag::CUSTOM_PAYLOAD != 0 {
        reader.bytes_map("custom payload")?;
    }
    Ok(reader)
}

/// A `[long string]`.
fn text(reader: &mut Reader<'_>) -> Result<String, DecodeError> {
    let bytes = reader.bytes("statement")?.unwrap_or_default();
    String::from_utf8(bytes.to_vec()).map_err(|_| DecodeError::Utf8("statement"))
}
