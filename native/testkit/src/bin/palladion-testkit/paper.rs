//! Certificates out of commands and into files.

use std::fs::{create_dir_all, OpenOptions};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use palladion_testkit::certs::{
    self_signed, Authority, CertOptions, CrlOptions, Identity, Validity,
};
use palladion_testkit::Error;

use crate::line::Command;
use crate::rule::list;

/// Who issues a certificate.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Issuer {
    Authority,
    Unrelated,
    Itself,
}

impl Issuer {
    pub(crate) fn take(command: &mut Command) -> Result<Self, String> {
        Ok(match command.take("issuer").as_deref() {
            None | Some("ca") => Self::Authority,
            Some("unrelated") => Self::Unrelated,
            Some("self") => Self::Itself,
            Some(other) => {
                return Err(format!("issuer={other} is none of ca, unrelated, self"));
            }
        })
    }
}

/// What a certificate is to say: `cert=localhost,127.0.0.1 common_name=… validity=expired is_ca=true`. The
/// name `nodes` stands for the addresses of all nodes.
pub(crate) fn cert_options(
    command: &mut Command,
    nodes: &[Ipv4Addr],
) -> Result<CertOptions, String> {
    let client = command.parsed("client")?.unwrap_or(false);
    let names = match command.take("cert") {
        None if client => Vec::new(),
        None if nodes.is_empty() => vec!["localhost".to_owned(), "127.0.0.1".to_owned()],
        None => vec!["localhost".to_owned(), "nodes".to_owned()],
        names => list(names),
    };
    let names = names.into_iter().flat_map(|name| match name.as_str() {
        "nodes" => nodes.iter().map(Ipv4Addr::to_string).collect(),
        _ => vec![name],
    });
    let validity = validity(command)?;
    Ok(CertOptions {
        names: names.collect(),
        common_name: command.take("common_name"),
        validity,
        client,
        ca: command.parsed("is_ca")?.unwrap_or(false),
        crl_urls: list(command.take("crl_urls")),
    })
}

/// `validity=valid|expired|not_yet|SECONDS`
fn validity(command: &mut Command) -> Result<Validity, String> {
    Ok(match command.take("validity").as_deref() {
        None | Some("valid") => Validity::Valid,
        Some("expired") => Validity::Expired,
        Some("not_yet") => Validity::NotYetValid,
        Some(seconds) => match seconds.parse() {
            Ok(seconds) => Validity::For(Duration::from_secs(seconds)),
            Err(_) => {
                return Err(format!(
                    "validity={seconds} is none of valid, expired, not_yet and seconds"
                ));
            }
        },
    })
}

/// Writes a revocation list: `dir=DIR name=NAME revoke=true validity=valid urls=http://…` with the
/// certificate on it, or empty. Gives its path.
pub(crate) fn write_crl(
    command: &mut Command,
    identity: &Identity,
    authority: &Authority,
    unrelated: &Authority,
) -> Result<String, String> {
    let (dir, name) = (command.need("dir")?, command.need("name")?);
    let authority = match Issuer::take(command)? {
        Issuer::Unrelated => unrelated,
        Issuer::Authority => authority,
        Issuer::Itself => return Err("issuer=self issues no lists".to_owned()),
    };
    let revoke = command.parsed("revoke")?.unwrap_or(true);
    let options = CrlOptions {
        revoked: if revoke { vec![identity] } else { Vec::new() },
        validity: validity(command)?,
        urls: list(command.take("urls")),
    };
    let pem = authority.crl_pem(&options).map_err(|e| e.to_string())?;
    write(Path::new(&dir), &format!("{name}.crl"), &pem).map_err(|e| e.to_string())
}

pub(crate) fn identity(
    issuer: Issuer,
    options: &CertOptions,
    authority: &Authority,
    unrelated: &Authority,
) -> Result<Identity, Error> {
    match issuer {
        Issuer::Authority => authority.issue(options),
        Issuer::Unrelated => unrelated.issue(options),
        Issuer::Itself => self_signed(options),
    }
}

/// Writes what a test may need into `DIR/ID`; gives what each file is and its path.
pub(crate) fn write_papers(
    dir: &str,
    id: u64,
    server: &Identity,
    authority: &Authority,
    unrelated: &Authority,
) -> Result<Vec<(&'static str, String)>, Error> {
    let dir = Path::new(dir).join(id.to_string());
    create_dir_all(&dir)?;
    let client = authority.issue(&CertOptions::client("client"))?;
    let unrelated_client = unrelated.issue(&CertOptions::client("client"))?;
    let (cert, key) = write_identity(&dir, "server", server)?;
    let (client_cert, client_key) = write_identity(&dir, "client", &client)?;
    let (unrelated_client_cert, unrelated_client_key) =
        write_identity(&dir, "unrelated_client", &unrelated_client)?;
    Ok(vec![
        ("ca", write(&dir, "ca.pem", &authority.pem())?),
        (
            "unrelated_ca",
            write(&dir, "unrelated_ca.pem", &unrelated.pem())?,
        ),
        ("cert", cert),
        ("key", key),
        ("client_cert", client_cert),
        ("client_key", client_key),
        ("unrelated_client_cert", unrelated_client_cert),
        ("unrelated_client_key", unrelated_client_key),
    ])
}

/// Writes `NAME.pem` and `NAME.key` and gives their paths.
pub(crate) fn write_identity(
    dir: &Path,
    name: &str,
    identity: &Identity,
) -> Result<(String, String), Error> {
    let cert = write(dir, &format!("{name}.pem"), &identity.chain_pem)?;
    let key = write(dir, &format!("{name}.key"), &identity.key_pem)?;
    Ok((cert, key))
}

fn write(dir: &Path, name: &str, content: &str) -> io::Result<String> {
    let path = dir.join(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(&path)?.write_all(content.as_bytes())?;
    Ok(path.display().to_string())
}
