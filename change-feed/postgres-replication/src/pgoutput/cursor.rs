//! Reads a message from its front.

use super::error::DecodeError;
use super::kind::MessageKind;

/// The rest of a message. Every read names what it expects, for the error.
pub(super) struct Cursor<'a> {
    message: MessageKind,
    size_bytes: usize,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Starts after the first byte of a message, which names its kind. `size_bytes` includes that byte.
    pub(super) fn after_tag(message: MessageKind, rest: &'a [u8]) -> Self {
        Self { message, size_bytes: rest.len() + 1, rest }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn array<const N: usize>(&mut self, expected: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((array, rest)) = self.rest.split_first_chunk() else {
            return Err(self.truncated(expected));
        };
        self.rest = rest;
        Ok(*array)
    }

    pub(super) fn u8(&mut self, expected: &'static str) -> Result<u8, DecodeError> {
        self.array(expected).map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self, expected: &'static str) -> Result<u16, DecodeError> {
        self.array(expected).map(u16::from_be_bytes)
    }

    pub(super) fn i32(&mut self, expected: &'static str) -> Result<i32, DecodeError> {
        self.array(expected).map(i32::from_be_bytes)
    }

    pub(super) fn u32(&mut self, expected: &'static str) -> Result<u32, DecodeError> {
        self.array(expected).map(u32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, expected: &'static str) -> Result<i64, DecodeError> {
        self.array(expected).map(i64::from_be_bytes)
    }

    pub(super) fn u64(&mut self, expected: &'static str) -> Result<u64, DecodeError> {
        self.array(expected).map(u64::from_be_bytes)
    }

    /// Reads the number of items that follow: an Int32 that can't be negative.
    pub(super) fn count(&mut self, expected: &'static str) -> Result<usize, DecodeError> {
        let number = self.i32(expected)?;
        usize::try_from(number).map_err(|_| self.unexpected(4, expected))
    }

    pub(super) fn bytes(&mut self, size_bytes: usize, expected: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(size_bytes) else {
            return Err(self.truncated(expected));
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// Reads a String of the protocol: text that a zero byte ends.
    pub(super) fn text(&mut self, expected: &'static str) -> Result<&'a str, DecodeError> {
        let end = self.rest.iter().position(|&byte| byte == 0).ok_or_else(|| self.truncated(expected))?;
        let bytes = self.bytes(end, expected)?;
        let text = str::from_utf8(bytes).map_err(|_| self.unexpected(bytes.len(), expected))?;
        self.u8(expected)?;
        Ok(text)
    }

    /// Fails unless the message ends here.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeError::Trailing { message: self.message, offset: self.offset(), bytes: self.rest.len() })
    }

    /// Makes the error for the last `size_bytes` bytes, which are not what was expected.
    pub(super) fn unexpected(&self, size_bytes: usize, expected: &'static str) -> DecodeError {
        DecodeError::Unexpected { message: self.message, offset: self.offset() - size_bytes, expected }
    }

    fn truncated(&self, expected: &'static str) -> DecodeError {
        DecodeError::Truncated { message: self.message, offset: self.offset(), expected }
    }

    fn offset(&self) -> usize {
        self.size_bytes - self.rest.len()
    }
}
