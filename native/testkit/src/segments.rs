//! How answers of protocol 5 are cut into segments. The codec's writer only knows one way; a peer
//! may choose any, and may make mistakes.

use palladion_cql::frame::HEADER_LEN;
use palladion_cql::segment::MAX_PAYLOAD;
use palladion_cql::{Compression, Dialect, Version};

use crate::random::Random;

/// How frames are put into segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Cut {
    /// As many whole frames into one as there are at a time; only what is too long for one is
    /// split.
    #[default]
    Whole,
    /// Each frame by itself.
    Each,
    /// Each frame by itself, in parts of so many bytes.
    Split(usize),
    /// All of these by turns that the seed decides, in parts of any size, and some compressed.
    Mixed,
}

/// Whether and how one segment is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compress {
    Never,
    IfShorter,
    Always,
}

/// Puts frames into segments.
#[derive(Debug)]
pub(crate) struct Segmenter {
    cut: Cut,
    /// Whether segments have the format that allows for compression.
    lz4: bool,
    /// Whether they make use of it.
    compress: bool,
    random: Random,
}

impl Segmenter {
    /// One for what is spoken, if that has segments at all.
    pub(crate) fn new(dialect: &Dialect, cut: Cut, compress: bool, seed: u64) -> Option<Self> {
        (dialect.version >= Version::V5).then(|| Self {
            cut,
            lz4: dialect.compression == Some(Compression::Lz4),
            compress,
            random: Random::new(seed),
        })
    }

    /// Appends segments with these frames, each of them whole.
    pub(crate) fn put(&mut self, frames: &[u8], out: &mut Vec<u8>) {
        // Those that share a segment.
        let mut together = Vec::new();
        for frame in each_frame(frames) {
            let alone = match self.cut {
                Cut::Whole => None,
                Cut::Each => Some(MAX_PAYLOAD),
                Cut::Split(size) => Some(size),
                Cut::Mixed => match self.random.below(3) {
                    0 => None,
                    1 => Some(MAX_PAYLOAD),
                    _ => Some(1 + self.random.below(frame.len())),
                },
            };
            if alone.is_none() && together.len() + frame.len() <= MAX_PAYLOAD {
                together.extend_from_slice(frame);
                continue;
            }
            self.put_whole(&mut together, out);
            match alone.map(|size| size.clamp(1, MAX_PAYLOAD)) {
                None if frame.len() <= MAX_PAYLOAD => together.extend_from_slice(frame),
                Some(size) if frame.len() > size => self.put_parts(frame, size, out),
                None => self.put_parts(frame, MAX_PAYLOAD, out),
                Some(_) => self.put_segment(frame, true, out),
            }
        }
        self.put_whole(&mut together, out);
    }

    fn put_whole(&mut self, frames: &mut Vec<u8>, out: &mut Vec<u8>) {
        if !frames.is_empty() {
            self.put_segment(frames, true, out);
            frames.clear();
        }
    }

    fn put_parts(&mut self, frame: &[u8], size: usize, out: &mut Vec<u8>) {
        for part in frame.chunks(size) {
            self.put_segment(part, false, out);
        }
    }

    /// Appends one segment, of whole frames or of a part of one.
    pub(crate) fn put_segment(&mut self, payload: &[u8], self_contained: bool, out: &mut Vec<u8>) {
        let compress = match (self.lz4 && self.compress, self.cut) {
            (false, _) => Compress::Never,
            (true, Cut::Mixed) if self.random.chance(0.5) => Compress::Never,
            (true, Cut::Mixed) => Compress::Always,
            (true, _) => Compress::IfShorter,
        };
        let compressed = (compress != Compress::Never)
            .then(|| lz4_flex::block::compress(payload))
            .filter(|bytes| {
                let fits = compress == Compress::Always && bytes.len() <= MAX_PAYLOAD;
                fits || bytes.len() < payload.len()
            });
        match compressed {
            Some(bytes) => self.put_claimed(&bytes, payload.len(), self_contained, out),
            None => self.put_claimed(payload, 0, self_contained, out),
        }
    }

    /// Appends a segment whose payload claims to become `plain_len` bytes; zero if it is not
    /// compressed.
    pub(crate) fn put_claimed(
        &self,
        payload: &[u8],
        plain_len: usize,
        self_contained: bool,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(&self.header(payload.len(), plain_len, self_contained));
        out.extend_from_slice(payload);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&[0xFA, 0x2D, 0x55, 0xCA]);
        hasher.update(payload);
        out.extend_from_slice(&hasher.finalize().to_le_bytes());
    }

    /// A segment's header with its checksum.
    pub(crate) fn header(&self, len: usize, plain_len: usize, self_contained: bool) -> Vec<u8> {
        let flag = u64::from(self_contained);
        let (bits, fields) = if self.lz4 {
            (len as u64 | (plain_len as u64) << 17 | flag << 34, 5)
        } else {
            (len as u64 | flag << 17, 3)
        };
        let mut header = bits.to_le_bytes()[..fields].to_vec();
        let crc = crc24(&header);
        header.extend_from_slice(&crc.to_le_bytes()[..3]);
        header
    }

    /// Whether its segments can be compressed.
    pub(crate) fn is_lz4(&self) -> bool {
        self.lz4
    }
}

/// Frames that stand one after another; what is no whole frame is one, too.
fn each_frame(mut frames: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if frames.is_empty() {
            return None;
        }
        let length = frames.get(HEADER_LEN - 4..HEADER_LEN);
        let length = length.and_then(|bytes| bytes.try_into().ok());
        let length = length.map_or(usize::MAX, |bytes| u32::from_be_bytes(bytes) as usize);
        let end = length.saturating_add(HEADER_LEN).min(frames.len());
        let (frame, rest) = frames.split_at(end);
        frames = rest;
        Some(frame)
    })
}

/// The checksum of headers.
fn crc24(bytes: &[u8]) -> u32 {
    let mut crc = 0x0087_5060;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0197_4F0B;
            }
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use palladion_cql::frame::{FrameReader, Sender};
    use palladion_cql::Opcode;

    use crate::head::{put_frame, Head};

    fn dialect(compression: Option<Compression>) -> Dialect {
        Dialect {
            compression,
            ..Dialect::plain(Version::V5)
        }
    }

    fn cut(cut: Cut, compression: Option<Compression>, seed: u64, frames: &[u8]) -> Vec<u8> {
        let dialect = dialect(compression);
        let mut segmenter = Segmenter::new(&dialect, cut, true, seed).unwrap();
        let mut out = Vec::new();
        segmenter.put(frames, &mut out);
        out
    }

    #[test]
    fn older_versions_have_no_segments() {
        let older = Dialect::plain(Version::V4);
        assert!(Segmenter::new(&older, Cut::Whole, true, 1).is_none());
    }

    #[test]
    fn frames_come_out_again_however_they_are_cut() {
        let lengths = [0, 1, 300, 5, MAX_PAYLOAD, 2 * MAX_PAYLOAD + 7, 40];
        for compression in [None, Some(Compression::Lz4)] {
            let head = Head::new(dialect(compression), 0);
            let mut frames = Vec::new();
            for (stream, len) in lengths.into_iter().enumerate() {
                put_frame(
                    &mut frames,
                    &head.on(stream as i16),
                    Opcode::Result,
                    |out| out.resize(out.len() + len, stream as u8),
                );
            }
            let ways = [Cut::Whole, Cut::Each, Cut::Split(7), Cut::Split(usize::MAX)];
            let mixed = (1..20).map(|seed| (Cut::Mixed, seed));
            for (way, seed) in ways.into_iter().map(|way| (way, 1)).chain(mixed) {
                let bytes = cut(way, compression, seed, &frames);
                let mut reader = FrameReader::new(Sender::Server, Version::V5, 1 << 20);
                reader.agree(dialect(compression));
                let (mut input, mut found) = (BytesMut::new(), Vec::new());
                for piece in bytes.chunks(1_000) {
                    input.extend_from_slice(piece);
                    while let Some(frame) = reader.next(&mut input).unwrap() {
                        found.push((frame.header.stream as usize, frame.body.len()));
                    }
                }
                let expected: Vec<_> = lengths.into_iter().enumerate().collect();
                assert_eq!(found, expected, "{way:?} {seed}");
            }
        }
    }

    #[test]
    fn each_way_has_its_own_number_of_segments() {
        let mut frames = Vec::new();
        let head = Head::new(dialect(None), 1);
        for _ in 0..3 {
            put_frame(&mut frames, &head, Opcode::Result, |out| {
                out.extend_from_slice(&[1; 11]);
            });
        }
        // Three frames of 20 bytes; a segment adds ten.
        let len = |way| cut(way, None, 1, &frames).len();
        assert_eq!(len(Cut::Whole), 60 + 10);
        assert_eq!(len(Cut::Each), 60 + 3 * 10);
        assert_eq!(len(Cut::Split(6)), 60 + 3 * 4 * 10);
    }
}
