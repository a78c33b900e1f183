//! `palladion-testkit`: the library's server, driven by lines on standard input. It ends when
//! standard input does.

mod aws;
mod bounds;
mod cluster;
mod connections;
mod desk;
mod error;
mod line;
mod login;
mod paper;
mod protocol;
mod requests;
mod rule;

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use desk::{Desk, Reply};
use line::{encode, Command, Pairs};
use palladion_testkit::Error;

const HELP: &str = include_str!("help.txt");

/// Bytes in a line, at most.
const MAX_LINE: u64 = 4 << 20;
/// Commands that wait at a time, at most.
const MAX_WAITING: usize = 256;

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some() {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads the answers any more: as good an end as that of its input.
        Err(Error::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("palladion-testkit: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> Result<(), Error> {
    let mut desk = Desk::new()?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let n = input.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            if n as u64 == MAX_LINE {
                return Err(Error::Usage("line too long".to_owned()));
            }
            return Ok(());
        }
        let line = String::from_utf8_lossy(&line);
        let Some(mut command) = Command::parse(&line) else {
            continue;
        };
        let tag = command.tag.clone();
        match desk.carry_out(&mut command) {
            Ok(Reply::Now(pairs)) => answer(&tag, Ok(pairs))?,
            Err(problem) => answer(&tag, Err(problem))?,
            Ok(Reply::Later(_)) if waiting.load(Ordering::SeqCst) >= MAX_WAITING => {
                answer(&tag, Err("too many commands wait".to_owned()))?;
            }
            Ok(Reply::Later(wait)) => {
                waiting.fetch_add(1, Ordering::SeqCst);
                let waiting = waiting.clone();
                std::thread::spawn(move || {
                    // Nobody reads any more: standard input ends, too.
                    let _ = answer(&tag, wait());
                    waiting.fetch_sub(1, Ordering::SeqCst);
                });
            }
        }
    }
}

fn answer(tag: &str, result: Result<Pairs, String>) -> io::Result<()> {
    let line = match result.map(Pairs::into_text) {
        Ok(pairs) if pairs.is_empty() => format!("{tag} ok\n"),
        Ok(pairs) => format!("{tag} ok {pairs}\n"),
        Err(problem) => format!("{tag} error {}\n", encode(&problem)),
    };
    let mut output = io::stdout().lock();
    output.write_all(line.as_bytes())?;
    output.flush()
}
