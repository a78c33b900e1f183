//! Rules out of commands.

use std::sync::Arc;
use std::time::Duration;

use palladion_cql::response::{code, ErrorDetail, ServerError};
use palladion_cql::{Consistency, Opcode};
use palladion_testkit::{parse_columns, parse_hex, Reaction, Rows, Rule, Text};

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
        "hang" => Reaction::Hang,
        other => return Err(format!("reaction={other} is unknown")),
    };
    Ok(match command.parsed("delay")? {
        Some(delay) => Reaction::Delay(Duration::from_millis(delay), Box::new(reaction)),
        None => reaction,
    })
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

fn hex(command: &mut Command, key: &str) -> Result<Option<Vec<u8>>, String> {
    let parse = |text: String| parse_hex(&text).ok_or(format!("{key}= is no hexadecimal number"));
    command.take(key).map(parse).transpose()
}

fn error(command: &mut Command) -> Result<ServerError, String> {
    let code = command.need("code")?;
    let code = match code.strip_prefix("0x") {
        Some(digits) => i32::from_str_radix(digits, 16),
        None => code.parse(),
    };
    let code = code.map_err(|_| "code= is no error code".to_owned())?;
    let message = command.take("message");
    Ok(ServerError {
        code,
        message: message.unwrap_or_else(|| "as the test wanted".to_owned()),
        detail: detail(code, command)?,
    })
}

fn detail(code: i32, command: &mut Command) -> Result<ErrorDetail, String> {
    let failed = matches!(code, code::WRITE_FAILURE | code::READ_FAILURE);
    Ok(match code {
        code::UNAVAILABLE => ErrorDetail::Unavailable {
            consistency: consistency(command)?,
            required: command.parsed("required")?.unwrap_or(2),
            alive: command.parsed("alive")?.unwrap_or(1),
        },
        code::WRITE_TIMEOUT | code::WRITE_FAILURE => ErrorDetail::Write {
            consistency: consistency(command)?,
            received: command.parsed("received")?.unwrap_or(1),
            required: command.parsed("required")?.unwrap_or(2),
            failures: failures(failed, command)?,
            write_type: command
                .take("write_type")
                .unwrap_or_else(|| "SIMPLE".into()),
        },
        code::READ_TIMEOUT | code::READ_FAILURE => ErrorDetail::Read {
            consistency: consistency(command)?,
            received: command.parsed("received")?.unwrap_or(1),
            required: command.parsed("required")?.unwrap_or(2),
            failures: failures(failed, command)?,
            data_present: command.parsed("data_present")?.unwrap_or(false),
        },
        code::FUNCTION_FAILURE => ErrorDetail::Function {
            keyspace: command.take("keyspace").unwrap_or_else(|| "ks".into()),
            function: command.take("function").unwrap_or_else(|| "f".into()),
            argument_types: list(command.take("argument_types")),
        },
        code::ALREADY_EXISTS => ErrorDetail::AlreadyExists {
            keyspace: command.take("keyspace").unwrap_or_else(|| "ks".into()),
            table: command.take("table").unwrap_or_default(),
        },
        code::UNPREPARED => ErrorDetail::Unprepared {
            id: hex(command, "id_bytes")?.unwrap_or_else(|| vec![0; 16]),
        },
        _ => ErrorDetail::None,
    })
}

fn failures(failed: bool, command: &mut Command) -> Result<Option<i32>, String> {
    let failures = command.parsed("failures")?;
    Ok(failed.then(|| failures.unwrap_or(1)))
}

fn consistency(command: &mut Command) -> Result<Consistency, String> {
    match command.take("consistency") {
        None => Ok(Consistency::LocalQuorum),
        Some(name) => {
            Consistency::from_name(&name).ok_or_else(|| format!("consistency={name} is unknown"))
        }
    }
}

/// What stands between commas.
pub(crate) fn list(text: Option<String>) -> Vec<String> {
    let text = text.unwrap_or_default();
    let parts = text.split(',').filter(|part| !part.is_empty());
    parts.map(|part| part.trim().to_owned()).collect()
}
