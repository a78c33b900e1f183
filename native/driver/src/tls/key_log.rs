//! The secrets of connections, for those who look into them with a tool such as Wireshark.

use std::fmt::Write as _;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rustls::KeyLog;
use zeroize::Zeroizing;

use super::TlsConfigError;

/// Appends to a file in the NSS key log format. That is for debugging only: an error of writing
/// costs no connection.
#[derive(Debug)]
pub(super) struct KeyLogFile(File);

impl KeyLogFile {
    /// For the owner's eyes only, also where the file was there before. What is no plain file is
    /// refused: a pipe without a reader would hang.
    pub(super) fn open(path: &Path) -> Result<Self, TlsConfigError> {
        let refused = |error: io::Error| TlsConfigError::KeyLog(error.to_string());
        let plain = |file: &Metadata| match file.is_file() {
            true => Ok(()),
            false => Err(refused(io::Error::other("it is no plain file"))),
        };
        if let Ok(there) = std::fs::symlink_metadata(path) {
            plain(&there)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(refused)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let owner = std::fs::Permissions::from_mode(0o600);
            file.set_permissions(owner).map_err(refused)?;
        }
        Ok(Self(file))
    }
}

impl KeyLog for KeyLogFile {
    fn log(&self, label: &str, client_random: &[u8], secret: &[u8]) {
        let mut file = &self.0;
        // With room for all of it, or else a piece that is moved stays behind.
        let room = label.len() + 2 * (client_random.len() + secret.len()) + 3;
        let mut line = Zeroizing::new(String::with_capacity(room));
        line.push_str(label);
        for field in [client_random, secret] {
            line.push(' ');
            for byte in field {
                let _ = write!(line, "{byte:02x}");
            }
        }
        line.push('\n');
        // One write, so that lines of several connections don't mix.
        let _ = file.write_all(line.as_bytes());
    }
}
