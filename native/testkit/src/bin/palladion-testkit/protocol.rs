//! What a server speaks, out of commands.

use palladion_cql::{Compression, Version};
use palladion_testkit::{Cut, Options, Refusal};

use crate::error::error_code;
use crate::line::Command;
use crate::rule::list;

/// The options of a server with what `start` says about its protocol.
pub(crate) fn protocol(command: &mut Command, options: Options) -> Result<Options, String> {
    let refusal = match command.take("refusal").as_deref() {
        None | Some("error") => Refusal::Error,
        Some("server_error") => Refusal::ServerError,
        Some("v2") => Refusal::V2,
        Some("close") => Refusal::Close,
        Some(other) => {
            return Err(format!(
                "refusal={other} is none of error, server_error, v2, close"
            ))
        }
    };
    let versions = match command.take("versions") {
        None => options.versions,
        Some(text) => versions(&text)?,
    };
    if versions.is_empty() && matches!(refusal, Refusal::Error | Refusal::ServerError) {
        return Err("versions= without any needs refusal=v2 or close".to_owned());
    }
    Ok(Options {
        versions,
        refusal,
        compression: match command.take("compression") {
            None => options.compression,
            Some(text) => list(Some(text))
                .iter()
                .map(|n| compression(n))
                .collect::<Result<_, _>>()?,
        },
        segments: match command.take("segments") {
            None => options.segments,
            Some(text) => cut(&text)?,
        },
        segment_compression: command
            .parsed("segment_compression")?
            .unwrap_or(options.segment_compression),
        metadata_ids: command.parsed("metadata_ids")?.unwrap_or(false),
        rate_limit_error: error_code(command, "rate_limit_error")?,
        ..options
    })
}

fn versions(text: &str) -> Result<Vec<Version>, String> {
    let known = |name: &str| name.parse().ok().and_then(|n| Version::from_wire(n).ok());
    let versions = list(Some(text.to_owned()));
    let versions = versions
        .iter()
        .map(|name| known(name).ok_or_else(|| format!("versions={name} is none of 3, 4, 5")));
    versions.collect()
}

fn compression(name: &str) -> Result<Compression, String> {
    [Compression::Lz4, Compression::Snappy]
        .into_iter()
        .find(|known| known.name() == name)
        .ok_or_else(|| format!("compression={name} is neither lz4 nor snappy"))
}

fn cut(text: &str) -> Result<Cut, String> {
    let size = |text: &str| text.parse().ok().filter(|size| *size > 0);
    Ok(match text.split_once(':') {
        None if text == "whole" => Cut::Whole,
        None if text == "each" => Cut::Each,
        None if text == "mixed" => Cut::Mixed,
        Some(("split", n)) => Cut::Split(size(n).ok_or(format!("{n} is no size"))?),
        _ => {
            return Err(format!(
                "segments={text} is none of whole, each, split:BYTES, mixed"
            ))
        }
    })
}
