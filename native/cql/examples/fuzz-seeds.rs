//! Writes what the fuzzer starts from: `fuzz-seeds DIR` makes a folder for each target.

// To the fuzzer they are a library's, and nothing is checked here.
#[allow(dead_code, unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::io::{Error, ErrorKind};
use std::path::PathBuf;
use std::{env, fs};

fn main() -> Result<(), Error> {
    let Some(root) = env::args_os().nth(1).map(PathBuf::from) else {
        return Err(Error::new(ErrorKind::InvalidInput, "fuzz-seeds DIR"));
    };
    for target in fuzz::TARGETS {
        let folder = root.join(target.name);
        fs::create_dir_all(&folder)?;
        for (i, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{i:03}")), seed)?;
        }
    }
    Ok(())
}
