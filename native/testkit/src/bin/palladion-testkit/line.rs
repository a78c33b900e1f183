//! Lines in and out.

use std::fmt::Write;

/// A command: `TAG NAME KEY=VALUE KEY=VALUE`, the values percent-encoded.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) tag: String,
    pub(crate) name: String,
    arguments: Vec<(String, String)>,
}

impl Command {
    /// Reads a line; nothing for an empty one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        let tag = words.next()?.to_owned();
        let name = words.next().unwrap_or_default().to_owned();
        let arguments = words.map(|word| {
            let (key, value) = word.split_once('=').unwrap_or((word, "true"));
            (key.to_owned(), decode(value))
        });
        Some(Self {
            tag,
            name,
            arguments: arguments.collect(),
        })
    }

    /// Takes an argument out, if it was given.
    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let at = self.arguments.iter().position(|(k, _)| k == key)?;
        Some(self.arguments.remove(at).1)
    }

    /// Takes out an argument that must be there.
    pub(crate) fn need(&mut self, key: &str) -> Result<String, String> {
        self.take(key).ok_or_else(|| format!("{key}= is missing"))
    }

    /// Takes out an argument that is a number, or the like.
    pub(crate) fn parsed<T: std::str::FromStr>(&mut self, key: &str) -> Result<Option<T>, String> {
        let parse = |text: String| match text.parse() {
            Ok(value) => Ok(value),
            Err(_) => Err(format!("{key}={text} makes no sense")),
        };
        self.take(key).map(parse).transpose()
    }

    /// Takes out all arguments whose keys start so.
    pub(crate) fn take_all(&mut self, prefix: &str) -> Vec<(String, String)> {
        let (taken, left) = std::mem::take(&mut self.arguments)
            .into_iter()
            .partition(|(key, _)| key.starts_with(prefix));
        self.arguments = left;
        taken
    }

    /// Complains about what nobody has taken.
    pub(crate) fn finish(&self) -> Result<(), String> {
        match self.arguments.first() {
            None => Ok(()),
            Some((key, _)) => Err(format!("{} knows no {key}=", self.name)),
        }
    }
}

/// `KEY=VALUE KEY=VALUE`, percent-encoded.
#[derive(Debug, Default)]
pub(crate) struct Pairs(String);

impl Pairs {
    pub(crate) fn with(mut self, key: &str, value: impl ToString) -> Self {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(&encode(key));
        self.0.push('=');
        self.0.push_str(&encode(&value.to_string()));
        self
    }

    pub(crate) fn with_some(self, key: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// Everything but letters, digits and a few marks becomes `%XX`.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/:,".contains(&byte) {
            out.push(byte as char);
        } else {
            // Writing to a String can't fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3);
        let escaped = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match escaped {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        for text in ["", "a b=c%20", "é\n", "100%", "%zz"] {
            let encoded = encode(text);
            assert!(!encoded.contains([' ', '\n', '=']), "{encoded}");
            assert_eq!(decode(&encoded), text);
        }
        assert_eq!(decode("100%"), "100%");
    }

    #[test]
    fn a_command_is_a_tag_a_name_and_arguments() {
        let mut command = Command::parse("7 start port=0 tls=1.2,1.3 name=a%20b").unwrap();
        assert_eq!(
            (command.tag.as_str(), command.name.as_str()),
            ("7", "start")
        );
        assert_eq!(command.parsed("port"), Ok(Some(0u16)));
        assert_eq!(command.take("name").as_deref(), Some("a b"));
        assert_eq!(command.finish(), Err("start knows no tls=".to_owned()));
        assert!(Command::parse("  ").is_none());
    }
}
