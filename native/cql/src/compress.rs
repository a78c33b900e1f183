//! Compressed bodies of frames (section 5 of protocols 3 and 4). How long they become is claimed by
//! the sender, and believed only as far as the algorithm could have made it so.

use bytes::{Bytes, BytesMut};

use crate::wire::Reader;
use crate::{Compression, DecodeError};

/// Shorter bodies would hardly become shorter.
const WORTH_IT: usize = 512;

/// How many bytes one byte of LZ4 can become, at the most.
const LZ4_RATIO: usize = 255;
/// The same of Snappy: 64 of three, or 11 of two.
const SNAPPY_RATIO: usize = 32;
/// Allowed beyond that: what lies in the first bytes.
const SLACK: usize = 64;

/// The body compressed, or nothing if it would not be shorter.
pub(crate) fn compress(compression: Compression, body: &[u8]) -> Option<Vec<u8>> {
    if body.len() < WORTH_IT {
        return None;
    }
    let compressed = match compression {
        Compression::Lz4 => {
            let len = u32::try_from(body.len()).ok()?;
            let mut out = vec![0; 4 + lz4_flex::block::get_maximum_output_size(body.len())];
            let (head, rest) = out.split_first_chunk_mut::<4>()?;
            *head = len.to_be_bytes();
            let written = lz4_flex::block::compress_into(body, rest).ok()?;
            out.truncate(4 + written);
            out
        }
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(body).ok()?,
    };
    (compressed.len() < body.len()).then_some(compressed)
}

/// The length that a compressed body says it has; one that it can't have is an error.
pub(crate) fn decompressed_len(
    compression: Compression,
    body: &[u8],
) -> Result<usize, DecodeError> {
    let (len, ratio) = match compression {
        Compression::Lz4 => {
            let len = Reader::new(body).int("compressed length")?;
            let len = usize::try_from(len).map_err(|_| DecodeError::Negative("compressed body"))?;
            (len, LZ4_RATIO)
        }
        Compression::Snappy => {
            let len = snap::raw::decompress_len(body).map_err(|_| BROKEN)?;
            (len, SNAPPY_RATIO)
        }
    };
    check_ratio(len, body.len(), ratio)?;
    Ok(len)
}

fn check_ratio(len: usize, compressed: usize, ratio: usize) -> Result<(), DecodeError> {
    if len > compressed.saturating_mul(ratio).saturating_add(SLACK) {
        return Err(DecodeError::Bomb { len, compressed });
    }
    Ok(())
}

const BROKEN: DecodeError = DecodeError::Compression;

/// A body as it was before it was compressed.
pub(crate) fn decompress(compression: Compression, body: &[u8]) -> Result<Bytes, DecodeError> {
    let len = decompressed_len(compression, body)?;
    if len == 0 {
        // Cassandra compresses nothing, too: to a length, and perhaps a token that is not looked at.
        return Ok(Bytes::new());
    }
    match compression {
        Compression::Lz4 => {
            let block = body.get(4..).unwrap_or_default();
            Ok(decompress_lz4(block, len)?.freeze())
        }
        Compression::Snappy => {
            let mut out = vec![0; len];
            let written = snap::raw::Decoder::new()
                .decompress(body, &mut out)
                .map_err(|_| BROKEN)?;
            if written == len {
                Ok(out.into())
            } else {
                Err(BROKEN)
            }
        }
    }
}

/// A block of LZ4 that becomes exactly `len` bytes.
pub(crate) fn decompress_lz4(block: &[u8], len: usize) -> Result<BytesMut, DecodeError> {
    check_ratio(len, block.len(), LZ4_RATIO)?;
    // Nothing at all stands for nothing.
    if len == 0 {
        return Ok(BytesMut::new());
    }
    let mut out = BytesMut::zeroed(len);
    match lz4_flex::block::decompress_into(block, &mut out) {
        Ok(written) if written == len => Ok(out),
        _ => Err(BROKEN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOTH: [Compression; 2] = [Compression::Lz4, Compression::Snappy];

    #[test]
    fn what_is_compressed_comes_back() {
        for compression in BOTH {
            for body in [vec![7; 100_000], b"abc".repeat(300)] {
                let compressed = compress(compression, &body).unwrap();
                assert!(compressed.len() < body.len());
                assert_eq!(decompress(compression, &compressed).unwrap(), body);
            }
        }
    }

    #[test]
    fn nothing_is_compressed_as_cassandra_does_it() {
        for (compression, bytes) in [
            (Compression::Lz4, &[0, 0, 0, 0, 0][..]),
            (Compression::Lz4, &[0, 0, 0, 0]),
            (Compression::Snappy, &[0]),
        ] {
            assert_eq!(decompress(compression, bytes), Ok(Bytes::new()));
        }
    }

    #[test]
    fn what_would_not_become_shorter_stays() {
        let mut state = 7u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 40) as u8
        })
        .take(2_000)
        .collect();
        for compression in BOTH {
            assert_eq!(compress(compression, &[0; 20]), None);
            assert_eq!(compress(compression, &noise), None);
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_memory_is_taken() {
        let lz4 = [&0x7FFF_FFFFu32.to_be_bytes()[..], &[0x1F; 40]].concat();
        let snappy = [&[0xFF, 0xFF, 0xFF, 0xFF, 0x07][..], &[0; 40]].concat();
        for (compression, bomb) in [(Compression::Lz4, lz4), (Compression::Snappy, snappy)] {
            let found = decompress(compression, &bomb);
            assert!(matches!(found, Err(DecodeError::Bomb { .. })), "{found:?}");
        }
        let negative = (-1i32).to_be_bytes();
        assert_eq!(
            decompress(Compression::Lz4, &negative),
            Err(DecodeError::Negative("compressed body"))
        );
    }

    #[test]
    fn the_densest_there_is_passes() {
        for compression in BOTH {
            let zeros = vec![0; 16 << 20];
            let compressed = compress(compression, &zeros).unwrap();
            assert_eq!(
                decompress(compression, &compressed).unwrap().len(),
                zeros.len()
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_body(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            for compression in BOTH {
                if let Ok(body) = decompress(compression, &bytes) {
                    prop_assert!(body.len() <= bytes.len() * LZ4_RATIO + SLACK);
                }
            }
        }

        #[test]
        fn any_body_comes_back(bytes in proptest::collection::vec(0u8..4, 512..4_000)) {
            for compression in BOTH {
                let compressed = compress(compression, &bytes).unwrap();
                prop_assert_eq!(decompress(compression, &compressed).unwrap(), &bytes[..]);
            }
        }
    }
}
