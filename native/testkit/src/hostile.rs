//! Answers as nobody should give them, in whatever a connection speaks.

use palladion_cql::frame::{flag, HEADER_LEN};
use palladion_cql::response::{code, ServerError};
use palladion_cql::segment::MAX_PAYLOAD;
use palladion_cql::{Compression, Opcode, Version};

use crate::head::{put_frame, Head};
use crate::random::Random;
use crate::response::{error, put_int, put_text, put_void};
use crate::segments::Segmenter;

/// What is wrong with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hostile {
    /// What.
    pub kind: Kind,
    /// How much of it, for the kinds that come in sizes.
    pub size: Option<usize>,
}

macro_rules! kinds {
    ($($(#[$about:meta])* $kind:ident = $name:literal),+ $(,)?) => {
        /// The ways in which an answer can be wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $($(#[$about])* $kind),+ }

        impl Kind {
            /// All.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];

            /// Its name in commands.
            pub fn name(self) -> &'static str {
                match self { $(Self::$kind => $name),+ }
            }
        }
    };
}

kinds! {
    /// A frame that is to be 2 GiB long.
    HugeFrame = "huge_frame",
    /// Minus one rows.
    NegativeRows = "negative_rows",
    /// Minus one columns.
    NegativeColumns = "negative_columns",
    /// A list of minus one items.
    NegativeCollection = "negative_collection",
    /// 2³¹ - 1 rows, of which none follows.
    HugeRows = "huge_rows",
    /// The same of columns.
    HugeColumns = "huge_columns",
    /// The same of a list's items.
    HugeCollection = "huge_collection",
    /// A column of a type that is 10,000 levels deep, or `size`.
    DeepTypes = "deep_types",
    /// The beginning of a RESULT.
    Truncated = "truncated",
    /// A RESULT of `size` bytes by chance, else 64.
    Random = "random",
    /// An opcode that there is not.
    UnknownOpcode = "unknown_opcode",
    /// A stream that nobody has used.
    UnknownStream = "unknown_stream",
    /// A negative stream, which no request can have.
    NegativeStream = "negative_stream",
    /// Another version than that of the connection.
    OtherVersion = "other_version",
    /// A body that says it is compressed where nothing was agreed on.
    CompressedFlag = "compressed_flag",
    /// Compressed bytes that claim to become 2 GiB, or the most that a segment can say.
    Bomb = "bomb",
    /// `size` zeros in a row, else 64 MiB, compressed if anything is: nothing is wrong with it.
    Zeros = "zeros",
    /// Compressed bytes that refer to what is before their beginning.
    BadOffset = "bad_offset",
    /// A header that announces `size` bytes, else 1 MiB, which come one now and then.
    PartialFrame = "partial_frame",
    /// The same of a segment; `size` is at most 131,071.
    PartialSegment = "partial_segment",
    /// A segment that says it has whole frames, and half a one.
    HalfFrame = "half_frame",
    /// A wrong checksum of a segment's header.
    SegmentHeaderCrc = "segment_header_crc",
    /// A wrong checksum of its payload.
    SegmentPayloadCrc = "segment_payload_crc",
    /// `size` events before the answer, else 10,000.
    EventFlood = "event_flood",
}

/// What is to be written.
#[derive(Debug)]
pub(crate) enum Attack {
    /// Frames, to be cut as others are.
    Frames,
    /// Bytes that are final.
    Bytes,
    /// Final bytes, and after them these again and again.
    Drip(Vec<u8>),
}

/// 64 MiB.
const ZEROS: usize = 64 << 20;
/// 2 GiB, but one byte.
const HUGE: i32 = i32::MAX;

impl Hostile {
    /// Of this kind, in its usual size.
    pub fn new(kind: Kind) -> Self {
        Self { kind, size: None }
    }

    /// Appends the answer, or tells why there is none on such a connection.
    pub(crate) fn put(
        &self,
        head: &Head,
        segmenter: Option<&mut Segmenter>,
        random: &mut Random,
        out: &mut Vec<u8>,
    ) -> Result<Attack, ServerError> {
        let size = |default: usize| self.size.unwrap_or(default);
        let result = |out: &mut Vec<u8>, ints: &[i32], rest: &[u8]| {
            put_frame(out, head, Opcode::Result, |out| {
                ints.iter().for_each(|int| put_int(out, *int));
                out.extend_from_slice(rest);
            });
        };
        // The beginning of rows: kind, flags (one table of all columns), columns.
        match self.kind {
            Kind::NegativeRows => {
                result(
                    out,
                    &[2, 1, 1],
                    &[&column(&LIST)[..], &(-1i32).to_be_bytes()].concat(),
                );
            }
            Kind::HugeRows => {
                result(
                    out,
                    &[2, 1, 1],
                    &[&column(&LIST)[..], &HUGE.to_be_bytes()].concat(),
                );
            }
            Kind::NegativeColumns => result(out, &[2, 1, -1], &column(&LIST)),
            Kind::HugeColumns => result(out, &[2, 1, HUGE], &column(&LIST)),
            Kind::NegativeCollection => result(out, &[2, 1, 1], &one_list(-1)),
            Kind::HugeCollection => result(out, &[2, 1, 1], &one_list(HUGE)),
            Kind::DeepTypes => {
                let ty = [LIST[..2].repeat(size(10_000)), LIST[2..].to_vec()].concat();
                result(out, &[2, 1, 1], &[&column(&ty)[..], &[0; 4]].concat());
            }
            Kind::Truncated => result(out, &[2, 1], &[]),
            Kind::Random => result(out, &[], &random.bytes(size(64))),
            Kind::UnknownStream => put_void(out, &head.on(head.stream ^ 0x4000)),
            Kind::NegativeStream => put_void(out, &head.on(-2)),
            Kind::Zeros => {
                let len = size(ZEROS);
                put_frame(out, head, Opcode::Result, |out| {
                    [2, 1, 1].into_iter().for_each(|int| put_int(out, int));
                    out.extend_from_slice(&column(&BLOB));
                    put_int(out, 1);
                    put_int(out, len as i32);
                    out.resize(out.len() + len, 0);
                });
            }
            Kind::EventFlood => {
                for _ in 0..size(10_000) {
                    put_frame(out, &head.on(-1), Opcode::Event, |out| {
                        put_text(out, "STATUS_CHANGE");
                        put_text(out, "UP");
                        out.extend_from_slice(&[4, 127, 0, 0, 1]);
                        put_int(out, 9042);
                    });
                }
                put_void(out, head);
            }
            _ => return self.put_bytes(head, segmenter, out),
        }
        Ok(Attack::Frames)
    }

    /// What is wrong with frames and segments themselves.
    fn put_bytes(
        &self,
        head: &Head,
        segmenter: Option<&mut Segmenter>,
        out: &mut Vec<u8>,
    ) -> Result<Attack, ServerError> {
        let mut void = Vec::new();
        put_void(&mut void, head);
        let frame = match self.kind {
            Kind::HugeFrame => head.header(Opcode::Result, 0, HUGE as u32).to_vec(),
            Kind::UnknownOpcode => {
                if let Some(opcode) = void.get_mut(4) {
                    *opcode = 0x7F;
                }
                void
            }
            Kind::OtherVersion => {
                let other = match head.dialect.version {
                    Version::V3 | Version::V5 => Version::V4,
                    Version::V4 => Version::V3,
                };
                if let Some(version) = void.first_mut() {
                    *version = 0x80 | other.number();
                }
                void
            }
            Kind::CompressedFlag if head.body_compression().is_none() => {
                if let Some(flags) = void.get_mut(1) {
                    *flags |= flag::COMPRESSION;
                }
                void
            }
            Kind::CompressedFlag => return Err(self.needs("no compression")),
            Kind::Bomb | Kind::BadOffset => return self.put_compressed(head, segmenter, out),
            Kind::PartialFrame => return Ok(self.drip_frame(head, segmenter, out)),
            _ => return self.put_segment(&void, segmenter, out),
        };
        put_final(&frame, segmenter, out);
        Ok(Attack::Bytes)
    }

    fn put_compressed(
        &self,
        head: &Head,
        segmenter: Option<&mut Segmenter>,
        out: &mut Vec<u8>,
    ) -> Result<Attack, ServerError> {
        let is_bomb = self.kind == Kind::Bomb;
        if let Some(segmenter) = segmenter {
            if !segmenter.is_lz4() {
                return Err(self.needs("compression"));
            }
            let claim = if is_bomb { MAX_PAYLOAD } else { 64 };
            segmenter.put_claimed(&lz4_block(is_bomb), claim, true, out);
            return Ok(Attack::Bytes);
        }
        let body = match head.body_compression() {
            None => return Err(self.needs("compression")),
            Some(Compression::Lz4) => {
                let claim = if is_bomb { HUGE } else { 64 };
                [&claim.to_be_bytes()[..], &lz4_block(is_bomb)].concat()
            }
            // The claim is a varint; then a copy of four bytes from 255 before.
            Some(Compression::Snappy) if is_bomb => {
                [&[0xFF, 0xFF, 0xFF, 0xFF, 0x07][..], &[0; 40]].concat()
            }
            Some(Compression::Snappy) => vec![5, 0x00, b'a', 0x01, 0xFF],
        };
        let header = head.header(Opcode::Result, flag::COMPRESSION, body.len() as u32);
        out.extend_from_slice(&header);
        out.extend_from_slice(&body);
        Ok(Attack::Bytes)
    }

    fn drip_frame(
        &self,
        head: &Head,
        segmenter: Option<&mut Segmenter>,
        out: &mut Vec<u8>,
    ) -> Attack {
        let size = self.size.unwrap_or(1 << 20).min(HUGE as usize);
        let header = head.header(Opcode::Result, 0, size as u32);
        let mut drop = vec![0];
        match segmenter {
            None => out.extend_from_slice(&header),
            Some(segmenter) => {
                segmenter.put_segment(&header, false, out);
                drop.clear();
                segmenter.put_segment(&[0], false, &mut drop);
            }
        }
        Attack::Drip(drop)
    }

    fn put_segment(
        &self,
        frame: &[u8],
        segmenter: Option<&mut Segmenter>,
        out: &mut Vec<u8>,
    ) -> Result<Attack, ServerError> {
        let Some(segmenter) = segmenter else {
            return Err(self.needs("protocol 5"));
        };
        let start = out.len();
        match self.kind {
            Kind::PartialSegment => {
                let size = self.size.unwrap_or(MAX_PAYLOAD).min(MAX_PAYLOAD);
                out.extend_from_slice(&segmenter.header(size, 0, false));
                return Ok(Attack::Drip(vec![0]));
            }
            Kind::HalfFrame => segmenter.put_claimed(&frame[..HEADER_LEN], 0, true, out),
            _ => segmenter.put_claimed(frame, 0, true, out),
        }
        let damaged = match self.kind {
            Kind::SegmentHeaderCrc => out.get_mut(start),
            Kind::SegmentPayloadCrc => out.last_mut(),
            _ => None,
        };
        if let Some(byte) = damaged {
            *byte ^= 1;
        }
        Ok(Attack::Bytes)
    }

    fn needs(&self, what: &str) -> ServerError {
        let message = format!("kind={} needs {what}", self.kind.name());
        error(code::SERVER, message)
    }
}

fn put_final(frame: &[u8], segmenter: Option<&mut Segmenter>, out: &mut Vec<u8>) {
    match segmenter {
        Some(segmenter) => segmenter.put_segment(frame, true, out),
        None => out.extend_from_slice(frame),
    }
}

/// One literal, and a match four bytes long: of what is before it, or of what is before the block.
fn lz4_block(is_bomb: bool) -> Vec<u8> {
    if is_bomb {
        vec![0x10, b'a', 1, 0]
    } else {
        vec![0x10, b'a', 0xFF, 0xFF, 0x50, 1, 2, 3, 4, 5]
    }
}

/// `list<int>` and `blob` as `[option]`s.
const LIST: [u8; 4] = [0, 0x20, 0, 0x09];
const BLOB: [u8; 2] = [0, 0x03];

/// A table, and a column of this type.
fn column(ty: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ["testkit", "hostile", "c"]
        .into_iter()
        .for_each(|name| put_text(&mut out, name));
    out.extend_from_slice(ty);
    out
}

/// The rest of one row with one list that claims so many items.
fn one_list(items: i32) -> Vec<u8> {
    let mut out = column(&LIST);
    [1, 4, items]
        .into_iter()
        .for_each(|int| put_int(&mut out, int));
    out
}
