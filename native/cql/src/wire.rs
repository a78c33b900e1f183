//! The protocol's basic notations (section 3): how they are read and written.

use std::net::IpAddr;

use crate::DecodeError;

/// `[bytes map]`, in the order sent.
pub type BytesMap = Vec<(String, Option<Vec<u8>>)>;

/// Reads notations one after another off a message's bytes.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the beginning of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize, what: &'static str) -> Result<&'a [u8], DecodeError> {
        if len > self.rest.len() {
            return Err(DecodeError::Truncated(what));
        }
        let (head, tail) = self.rest.split_at(len);
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(DecodeError::Truncated(what)),
        }
    }

    /// `[byte]`
    pub fn byte(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        self.array::<1>(what).map(|[b]| b)
    }

    /// `[short]`
    pub fn short(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        self.array(what).map(u16::from_be_bytes)
    }

    /// `[int]`
    pub fn int(&mut self, what: &'static str) -> Result<i32, DecodeError> {
        self.array(what).map(i32::from_be_bytes)
    }

    /// `[long]`
    pub fn long(&mut self, what: &'static str) -> Result<i64, DecodeError> {
        self.array(what).map(i64::from_be_bytes)
    }

    /// `[int]` used as a count of things that take at least `each` bytes, so that a hostile count
    /// can't make the reader reserve memory for what can't be there.
    pub fn count(&mut self, each: usize, what: &'static str) -> Result<usize, DecodeError> {
        let n = usize::try_from(self.int(what)?).map_err(|_| DecodeError::Negative(what))?;
        if n.saturating_mul(each) > self.rest.len() {
            return Err(DecodeError::Truncated(what));
        }
        Ok(n)
    }

    /// `[uuid]`
    pub fn uuid(&mut self, what: &'static str) -> Result<[u8; 16], DecodeError> {
        self.array(what)
    }

    /// `[string]`
    pub fn string(&mut self, what: &'static str) -> Result<&'a str, DecodeError> {
        let len = usize::from(self.short(what)?);
        std::str::from_utf8(self.take(len, what)?).map_err(|_| DecodeError::Utf8(what))
    }

    /// `[short bytes]`
    pub fn short_bytes(&mut self, what: &'static str) -> Result<&'a [u8], DecodeError> {
        let len = usize::from(self.short(what)?);
        self.take(len, what)
    }

    /// `[bytes]`: a negative length is null.
    #[inline]
    pub fn bytes(&mut self, what: &'static str) -> Result<Option<&'a [u8]>, DecodeError> {
        match usize::try_from(self.int(what)?) {
            Ok(len) => self.take(len, what).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// `[string list]`
    pub fn string_list(&mut self, what: &'static str) -> Result<Vec<String>, DecodeError> {
        let n = self.short(what)?;
        (0..n)
            .map(|_| self.string(what).map(str::to_owned))
            .collect()
    }

    /// `[string multimap]`, in the order sent.
    pub fn string_multimap(
        &mut self,
        what: &'static str,
    ) -> Result<Vec<(String, Vec<String>)>, DecodeError> {
        let n = self.short(what)?;
        (0..n)
            .map(|_| Ok((self.string(what)?.to_owned(), self.string_list(what)?)))
            .collect()
    }

    /// `[bytes map]`
    pub fn bytes_map(&mut self, what: &'static str) -> Result<BytesMap, DecodeError> {
        let n = self.short(what)?;
        (0..n)
            .map(|_| {
                let key = self.string(what)?.to_owned();
                Ok((key, self.bytes(what)?.map(<[u8]>::to_vec)))
            })
            .collect()
    }

    /// `[inet]`: an address and a port.
    pub fn inet(&mut self, what: &'static str) -> Result<(IpAddr, i32), DecodeError> {
        let len = usize::from(self.byte(what)?);
        let address = ip(self.take(len, what)?)?;
        Ok((address, self.int(what)?))
    }
}

/// An address of four or sixteen bytes.
pub fn ip(bytes: &[u8]) -> Result<IpAddr, DecodeError> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(IpAddr::from(v4));
    }
    <[u8; 16]>::try_from(bytes)
        .map(IpAddr::from)
        .map_err(|_| DecodeError::BadLength {
            ty: "inet",
            len: bytes.len(),
        })
}

/// Something was longer than the notation's length field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is longer than {max} bytes")]
pub struct TooLong {
    /// What was being written.
    pub what: &'static str,
    /// The most its length field can say.
    pub max: usize,
}

/// `[short]` followed by the bytes: `[string]` and `[short bytes]`.
pub fn put_short_bytes(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), TooLong> {
    let len = u16::try_from(bytes.len()).map_err(|_| TooLong {
        what,
        max: usize::from(u16::MAX),
    })?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

/// `[int]` followed by the bytes: `[long string]` and `[bytes]`.
pub fn put_long_bytes(out: &mut Vec<u8>, bytes: &[u8], what: &'static str) -> Result<(), TooLong> {
    let len = i32::try_from(bytes.len()).map_err(|_| TooLong {
        what,
        max: i32::MAX as usize,
    })?;
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
