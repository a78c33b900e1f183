//! Segments (section 2.2 of protocol 5): after the handshake frames travel in them, in whole ones
//! or in parts, guarded by checksums.

use bytes::{Buf, BytesMut};

use crate::compress::decompress_lz4;
use crate::{Compression, DecodeError};

/// The longest payload of a segment.
pub const MAX_PAYLOAD: usize = (1 << 17) - 1;

const CRC24_LEN: usize = 3;
const CRC32_LEN: usize = 4;

/// Shorter payloads are not worth compressing.
const WORTH_COMPRESSING: usize = 128;

/// The checksum of headers: CRC-24 with the specification's polynomial and start.
fn crc24(bytes: &[u8]) -> u32 {
    const START: u32 = 0x0087_5060;
    const POLYNOMIAL: u32 = 0x0197_4F0B;
    bytes.iter().fold(START, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 16), |crc, _| {
            let crc = crc << 1;
            if crc & 0x0100_0000 == 0 {
                crc
            } else {
                crc ^ POLYNOMIAL
            }
        })
    })
}

/// The checksum of payloads: CRC-32 as everybody's, but for four bytes that come first.
fn crc32(payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[0xFA, 0x2D, 0x55, 0xCA]);
    hasher.update(payload);
    hasher.finalize()
}

/// How segments look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Plain,
    Lz4,
}

impl Format {
    /// Protocol 5 knows no other compression than LZ4.
    fn of(compression: Option<Compression>) -> Self {
        match compression {
            Some(_) => Self::Lz4,
            None => Self::Plain,
        }
    }

    /// Length of the fields before the header's checksum.
    fn fields_len(self) -> usize {
        match self {
            Self::Plain => 3,
            Self::Lz4 => 5,
        }
    }

    fn header_len(self) -> usize {
        self.fields_len() + CRC24_LEN
    }
}

/// A segment's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Header {
    /// Of the payload as it is sent.
    len: usize,
    /// Of the payload as it was; zero if it is not compressed.
    plain_len: usize,
    self_contained: bool,
}

impl Header {
    fn parse(format: Format, bytes: &[u8]) -> Result<Self, DecodeError> {
        let (fields, crc) = bytes.split_at(format.fields_len().min(bytes.len()));
        if little_endian(crc) != u64::from(crc24(fields)) {
            return Err(DecodeError::Checksum("a segment's header"));
        }
        let bits = little_endian(fields);
        let length = |shift: u32| ((bits >> shift) as usize) & MAX_PAYLOAD;
        Ok(match format {
            Format::Plain => Self {
                len: length(0),
                plain_len: 0,
                self_contained: bits >> 17 & 1 == 1,
            },
            Format::Lz4 => Self {
                len: length(0),
                plain_len: length(17),
                self_contained: bits >> 34 & 1 == 1,
            },
        })
    }

    /// Fills the room that a segment has for its header.
    fn write(&self, format: Format, room: &mut [u8]) {
        let flag = u64::from(self.self_contained);
        let bits = match format {
            Format::Plain => self.len as u64 | flag << 17,
            Format::Lz4 => self.len as u64 | (self.plain_len as u64) << 17 | flag << 34,
        };
        let (fields, crc) = room.split_at_mut(format.fields_len().min(room.len()));
        fields.copy_from_slice(&bits.to_le_bytes()[..fields.len()]);
        crc.copy_from_slice(&crc24(fields).to_le_bytes()[..crc.len()]);
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    let shifted = |sum, byte: &u8| sum << 8 | u64::from(*byte);
    bytes.iter().rev().fold(0, shifted)
}

/// What a segment carries.
#[derive(Debug)]
pub(crate) struct Segment {
    /// As it was before it was compressed.
    pub(crate) payload: BytesMut,
    /// Whether it has whole frames, or else a part of one.
    pub(crate) self_contained: bool,
}

/// Takes segments off a stream of bytes.
#[derive(Debug, Clone)]
pub(crate) struct SegmentReader {
    format: Format,
    /// That of the segment at the front, so that it is checked once.
    header: Option<Header>,
}

impl SegmentReader {
    pub(crate) fn new(compression: Option<Compression>) -> Self {
        Self {
            format: Format::of(compression),
            header: None,
        }
    }

    /// The next whole segment, or nothing while it is incomplete. An error is final.
    pub(crate) fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Segment>, DecodeError> {
        let header = match self.header {
            Some(header) => header,
            None => {
                let len = self.format.header_len();
                let Some(bytes) = buffer.get(..len) else {
                    return Ok(None);
                };
                let header = Header::parse(self.format, bytes)?;
                buffer.advance(len);
                *self.header.insert(header)
            }
        };
        let total = header.len + CRC32_LEN;
        if buffer.len() < total {
            buffer.reserve(total - buffer.len());
            return Ok(None);
        }
        self.header = None;
        let payload = buffer.split_to(header.len);
        let crc = buffer.split_to(CRC32_LEN);
        if little_endian(&crc) != u64::from(crc32(&payload)) {
            return Err(DecodeError::Checksum("a segment's payload"));
        }
        let payload = if header.plain_len == 0 {
            payload
        } else {
            decompress_lz4(&payload, header.plain_len)?
        };
        Ok(Some(Segment {
            payload,
            self_contained: header.self_contained,
        }))
    }
}

/// Puts frames into segments: small ones together, a long one into several.
#[derive(Debug)]
pub struct SegmentWriter {
    format: Format,
    /// Where the segment that is being filled begins.
    open: Option<usize>,
    scratch: Vec<u8>,
}

impl SegmentWriter {
    /// Segments compressed so, where that makes them shorter.
    pub fn new(compression: Option<Compression>) -> Self {
        Self {
            format: Format::of(compression),
            open: None,
            scratch: Vec::new(),
        }
    }

    /// Appends a frame to `out`. The last segment stays open for more until [`Self::seal`]; until
    /// then nothing of `out` may be taken away.
    pub fn put(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        if self.open_len(out) + frame.len() > MAX_PAYLOAD {
            self.seal(out);
        }
        if frame.len() <= MAX_PAYLOAD {
            let start = self.start(out);
            self.open = Some(start);
            out.extend_from_slice(frame);
        } else {
            out.reserve(self.room_for(frame));
            for part in frame.chunks(MAX_PAYLOAD) {
                let start = self.start(out);
                out.extend_from_slice(part);
                self.close(start, false, true, out);
            }
        }
    }

    /// A frame by itself, not compressed, so that no copy of what is secret in it stays behind.
    pub fn put_secret(&mut self, frame: &[u8], out: &mut Vec<u8>) {
        self.seal(out);
        let whole = frame.len() <= MAX_PAYLOAD;
        out.reserve_exact(self.room_for(frame));
        for part in frame.chunks(MAX_PAYLOAD) {
            let start = self.start(out);
            out.extend_from_slice(part);
            self.close(start, whole, false, out);
        }
    }

    /// Completes the last segment.
    pub fn seal(&mut self, out: &mut Vec<u8>) {
        if let Some(start) = self.open.take() {
            self.close(start, true, true, out);
        }
    }

    fn room_for(&self, frame: &[u8]) -> usize {
        let segments = frame.len().div_ceil(MAX_PAYLOAD).max(1);
        frame.len() + segments * (self.format.header_len() + CRC32_LEN)
    }

    fn open_len(&self, out: &[u8]) -> usize {
        self.open.map_or(0, |start| {
            out.len().saturating_sub(start + self.format.header_len())
        })
    }

    /// Where the open segment begins, or a new one.
    fn start(&self, out: &mut Vec<u8>) -> usize {
        self.open.unwrap_or_else(|| {
            let start = out.len();
            out.resize(start + self.format.header_len(), 0);
            start
        })
    }

    fn close(&mut self, start: usize, self_contained: bool, compress: bool, out: &mut Vec<u8>) {
        let body = start + self.format.header_len();
        let plain_len = out.len().saturating_sub(body);
        let compressed = compress && self.compress(body, out);
        let Some((head, payload)) = out
            .get_mut(start..)
            .and_then(|segment| segment.split_at_mut_checked(self.format.header_len()))
        else {
            return;
        };
        let header = Header {
            len: payload.len(),
            plain_len: if compressed { plain_len } else { 0 },
            self_contained,
        };
        header.write(self.format, head);
        let crc = crc32(payload);
        out.extend_from_slice(&crc.to_le_bytes());
    }

    /// Replaces what follows `body` by its compressed form, if that is shorter.
    fn compress(&mut self, body: usize, out: &mut Vec<u8>) -> bool {
        let Some(payload) = out.get(body..) else {
            return false;
        };
        if self.format == Format::Plain || payload.len() < WORTH_COMPRESSING {
            return false;
        }
        self.scratch
            .resize(lz4_flex::block::get_maximum_output_size(payload.len()), 0);
        match lz4_flex::block::compress_into(payload, &mut self.scratch) {
            Ok(len) if len < payload.len() => {
                out.truncate(body);
                out.extend_from_slice(&self.scratch[..len]);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksums_are_those_of_the_specification() {
        // An empty message leaves the start value.
        assert_eq!(crc24(&[]), 0x0087_5060);
        // CRC-32 of "123456789" behind the four bytes, by another implementation.
        assert_eq!(crc32(b""), {
            let mut plain = crc32fast::Hasher::new();
            plain.update(&[0xFA, 0x2D, 0x55, 0xCA]);
            plain.finalize()
        });
    }

    fn segments(bytes: &[u8], compression: Option<Compression>) -> Vec<(bool, Vec<u8>)> {
        let mut reader = SegmentReader::new(compression);
        let mut buffer = BytesMut::from(bytes);
        let mut found = Vec::new();
        while let Some(segment) = reader.next(&mut buffer).unwrap() {
            found.push((segment.self_contained, segment.payload.to_vec()));
        }
        assert!(buffer.is_empty());
        found
    }

    const BOTH: [Option<Compression>; 2] = [None, Some(Compression::Lz4)];

    #[test]
    fn small_frames_share_a_segment_and_a_long_one_has_several() {
        let long = vec![9; 2 * MAX_PAYLOAD + 5];
        for compression in BOTH {
            let (mut writer, mut out) = (SegmentWriter::new(compression), Vec::new());
            writer.put(b"one", &mut out);
            writer.put(b"two", &mut out);
            writer.put(&long, &mut out);
            writer.put(b"three", &mut out);
            writer.seal(&mut out);
            writer.seal(&mut out);
            let found = segments(&out, compression);
            let shape: Vec<_> = found.iter().map(|(whole, p)| (*whole, p.len())).collect();
            let parts = [(false, MAX_PAYLOAD), (false, MAX_PAYLOAD), (false, 5)];
            assert_eq!(shape, [&[(true, 6)], &parts[..], &[(true, 5)]].concat());
            assert_eq!(found[0].1, b"onetwo");
            assert!(compression.is_none() || out.len() < long.len() / 10);
        }
    }

    #[test]
    fn a_secret_is_sent_as_it_is() {
        for compression in BOTH {
            let (mut writer, mut out) = (SegmentWriter::new(compression), Vec::new());
            writer.put_secret(&[b's'; 1_000], &mut out);
            assert!(out.windows(1_000).any(|part| part == [b's'; 1_000]));
            assert_eq!(segments(&out, compression), [(true, vec![b's'; 1_000])]);
        }
    }

    #[test]
    fn every_single_bit_is_guarded() {
        for compression in BOTH {
            let (mut writer, mut out) = (SegmentWriter::new(compression), Vec::new());
            writer.put(&[5; 300], &mut out);
            writer.seal(&mut out);
            for bit in 0..out.len() * 8 {
                let mut bytes = BytesMut::from(&out[..]);
                bytes[bit / 8] ^= 1 << (bit % 8);
                let found = SegmentReader::new(compression).next(&mut bytes);
                assert!(matches!(found, Err(DecodeError::Checksum(_))), "{bit}");
            }
        }
    }

    #[test]
    fn a_length_that_is_not_what_comes_out_is_an_error() {
        let block = lz4_flex::block::compress(&[1; 5_000]);
        for plain_len in [4_999, 5_001, MAX_PAYLOAD] {
            let mut bytes = vec![0; Format::Lz4.header_len()];
            let header = Header {
                len: block.len(),
                plain_len,
                self_contained: true,
            };
            header.write(Format::Lz4, &mut bytes);
            bytes.extend_from_slice(&block);
            bytes.extend_from_slice(&crc32(&block).to_le_bytes());
            let found =
                SegmentReader::new(Some(Compression::Lz4)).next(&mut BytesMut::from(&bytes[..]));
            assert!(found.is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_patience(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for compression in BOTH {
                let mut buffer = BytesMut::from(&bytes[..]);
                let mut reader = SegmentReader::new(compression);
                while let Ok(Some(_)) = reader.next(&mut buffer) {}
            }
        }
    }
}
