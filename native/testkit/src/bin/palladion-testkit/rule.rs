//! Rules out of commands.

use std::sync::Arc;
use std::time::Duration;

use palladion_cql::Opcode;
use palladion_testkit::{
    parse_columns, parse_hex, Extras, Hostile, HostileKind, Reaction, Rows, Rule, Text,
};

use crate::cluster::take_uuid;
use crate::error::error;
use crate::line::Command;

pub(crate) fn rule(command: &mut Command) -> Result<Rule, String> {
    let text = if let Some(whole) = command.take("equals") {
        Text::Equals(whole)
    } else if let Some(start) = command.take("starts_with") {
        Text::StartsWith(start)
    } else {
        command.take("contains").map_or(Text::Any, Text::Contains)
    };
    let opcode = command
        .take("opcode")
        .map(|name| opcode(&name))
        .transpose()?;
    let mut rule = Rule::on(text, opcode, reaction(command)?);
    if let Some(node) = command.parsed("node")? {
        rule = rule.node(node);
    }
    if let Some(n) = command.parsed("nth")? {
        rule = rule.nth(n);
    }
    if let Some(skip) = command.parsed("skip")? {
        rule = rule.skip(skip);
    }
    if let Some(times) = command.parsed("times")? {
        rule = rule.times(times);
    }
    if let Some(probability) = command.parsed("probability")? {
        rule = rule.probability(probability);
    }
    if let Some(columns) = command.take("bind") {
        rule = rule.bind(parse_columns(&columns).map_err(|e| e.to_string())?);
    }
    Ok(rule)
}

fn opcode(name: &str) -> Result<Opcode, String> {
    Ok(match name {
        "options" => Opcode::Options,
        "startup" => Opcode::Startup,
        "auth_response" => Opcode::AuthResponse,
        "register" => Opcode::Register,
        "query" => Opcode::Query,
        "prepare" => Opcode::Prepare,
        "execute" => Opcode::Execute,
        "batch" => Opcode::Batch,
        other => return Err(format!("opcode={other} is no request")),
    })
}

fn reaction(command: &mut Command) -> Result<Reaction, String> {
    let reaction = match command.need("reaction")?.as_str() {
        "builtin" => Reaction::Builtin,
        "rows" => Reaction::Rows(Arc::new(rows(command)?)),
        "void" => Reaction::Void,
        "error" => Reaction::Error(error(command)?),
        "never" => Reaction::Never,
        "close" => Reaction::Close,
        "reset" => Reaction::Reset,
        "garbage" => Reaction::Garbage(hex(command, "bytes")?.unwrap_or_else(|| vec![b'?'; 64])),
        "wrong_stream" => Reaction::WrongStream,
        "oversize" => Reaction::Oversize,
        "hostile" => Reaction::Hostile(hostile(command)?),
        "frame" => frame(command)?,
        "hang" => Reaction::Hang,
        other => return Err(format!("reaction={other} is unknown")),
    };
    let reaction = match extras(command)? {
        Some(extras) => Reaction::With(Arc::new(extras), Box::new(reaction)),
        None => reaction,
    };
    Ok(match command.parsed("delay")? {
        Some(delay) => Reaction::Delay(Duration::from_millis(delay), Box::new(reaction)),
        None => reaction,
    })
}

fn hostile(command: &mut Command) -> Result<Hostile, String> {
    let name = command.need("kind")?;
    let kind = HostileKind::ALL.iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or_else(|| format!("kind={name} is unknown"))?;
    Ok(Hostile {
        kind: *kind,
        size: command.parsed("size")?,
    })
}

fn frame(command: &mut Command) -> Result<Reaction, String> {
    let name = command.take("answer");
    let answer = match name.as_deref() {
        None | Some("result") => Opcode::Result,
        Some("error") => Opcode::Error,
        Some("ready") => Opcode::Ready,
        Some("authenticate") => Opcode::Authenticate,
        Some("supported") => Opcode::Supported,
        Some("event") => Opcode::Event,
        Some("auth_challenge") => Opcode::AuthChallenge,
        Some("auth_success") => Opcode::AuthSuccess,
        Some(other) => return Err(format!("answer={other} is no response")),
    };
    Ok(Reaction::Frame(
        answer,
        hex(command, "body")?.unwrap_or_default(),
    ))
}

/// What any answer can carry beside.
fn extras(command: &mut Command) -> Result<Option<Extras>, String> {
    let payload = command
        .take_all("payload.")
        .into_iter()
        .map(|(key, value)| {
            let name = key.trim_start_matches("payload.").to_owned();
            let bytes = match value.as_str() {
                "null" => None,
                digits => {
                    Some(parse_hex(digits).ok_or(format!("{key}= is no hexadecimal number"))?)
                }
            };
            Ok((name, bytes))
        });
    let extras = Extras {
        payload: payload.collect::<Result<_, String>>()?,
        warnings: std::iter::from_fn(|| command.take("warning")).collect(),
        tracing_id: take_uuid(command, "tracing_id")?,
    };
    Ok((extras != Extras::default()).then_some(extras))
}

fn rows(command: &mut Command) -> Result<Rows, String> {
    let told = |error: palladion_testkit::Error| error.to_string();
    let columns = parse_columns(&command.need("columns")?).map_err(told)?;
    let keyspace = command.take("keyspace");
    let table = command.take("table");
    let table = (
        keyspace.as_deref().unwrap_or("testkit"),
        table.as_deref().unwrap_or("canned"),
    );
    let rows = Rows::of_table(table, columns).map_err(told)?;
    let rows = rows.parse_rows(&command.take("rows").unwrap_or_default());
    let rows = rows.map_err(told)?;
    Ok(match hex(command, "paging_state")? {
        Some(state) => rows.paging_state(&state),
        None => rows,
    })
}

pub(crate) fn hex(command: &mut Command, key: &str) -> Result<Option<Vec<u8>>, String> {
    let parse = |text: String| parse_hex(&text).ok_or(format!("{key}= is no hexadecimal number"));
    command.take(key).map(parse).transpose()
}

/// What stands between commas.
pub(crate) fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.trim().to_owned()).collect()
}
