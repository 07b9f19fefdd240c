//! The wire format of SSH (RFC 4251, section 5): bytes, big-endian numbers, strings with their length before them.
//!
//! A reader refuses what is cut short; who reads must say that nothing may follow.

/// Bytes that end before what they announce, or go on after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads from the front of a text of bytes.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        self.take(1)?.first().copied().ok_or(Malformed)
    }

    pub fn number(&mut self) -> Result<u32, Malformed> {
        let bytes: [u8; 4] = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(u32::from_be_bytes(bytes))
    }

    pub fn string(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        self.take(length)
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.string()?).map_err(|_| Malformed)
    }

    /// A positive number of at most 32 bytes in its only form, left-padded.
    pub fn scalar(&mut self) -> Result<[u8; 32], Malformed> {
        let bytes = match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|first| first & 0x80 != 0) => rest,
            bytes if bytes.first().is_some_and(|first| (1..0x80).contains(first)) => bytes,
            _ => return Err(Malformed),
        };
        let mut padded = [0; 32];
        let room = 32_usize.checked_sub(bytes.len()).ok_or(Malformed)?;
        padded.split_at_mut_checked(room).ok_or(Malformed)?.1.copy_from_slice(bytes);
        Ok(padded)
    }

    pub const fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}

/// Appends a string with its length before it. Whatever is longer than the length can say does not occur: texts here are bounded.
pub(crate) fn put(out: &mut Vec<u8>, string: &[u8]) {
    out.extend_from_slice(&u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(string);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_has_one_form() {
        let read = |bytes: &[u8]| {
            let mut out = Vec::new();
            put(&mut out, bytes);
            Reader(&out).scalar()
        };
        assert_eq!(read(&[7]).unwrap()[31], 7);
        assert_eq!(read(&[0, 0x80]).unwrap()[31], 0x80);
        for bad in [&[][..], &[0], &[0, 7], &[0x80], &[1; 33], &[0, 0, 0x80]] {
            assert_eq!(read(bad), Err(Malformed), "{bad:?}");
        }
    }
}
