//! What the fuzzer checks, of what it starts from and of what it found: `bin/soak fuzz` goes on from
//! there.

// To the fuzzer they are a library's.
#[allow(unreachable_pub)]
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use fuzz::{results, TARGETS};

#[test]
fn every_seed_passes() {
    for target in TARGETS {
        for (i, seed) in (target.seeds)().iter().enumerate() {
            println!("{}: seed {i}", target.name);
            (target.check)(seed);
        }
    }
}

#[test]
fn every_seed_passes_wherever_it_is_cut_or_damaged() {
    for target in TARGETS {
        for seed in (target.seeds)().iter().filter(|seed| seed.len() < 120) {
            println!("{}: {seed:?}", target.name);
            for at in 0..seed.len() {
                (target.check)(&seed[..at]);
                let mut damaged = seed.clone();
                for byte in [0, 1, 0x7F, 0xFF] {
                    damaged[at] = byte;
                    (target.check)(&damaged);
                }
            }
        }
    }
}

/// Each row is one tuple of no bytes, which is a null for each of its fields: a page as long as the
/// largest allowed became terabytes.
#[test]
fn fields_that_are_missing_are_no_more_than_a_page_may_have() {
    let (fields, rows) = (8_000u16, 5_000i32);
    let parts = [
        &[1, 0][..],                           // protocol 4, no flags
        &[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1], // rows, their table named once, one column
        b"\0\x02ks\0\x01t\0\x01c",
        &[0, 0x31],
        &fields.to_be_bytes(),
        &[0, 9].repeat(usize::from(fields)),
        &rows.to_be_bytes(),
        &[0; 4].repeat(5_000),
    ];
    results::check(&parts.concat());
}
