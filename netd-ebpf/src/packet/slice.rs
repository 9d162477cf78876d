//! A frame in memory: for what reads frames outside the kernel, tests and fuzzing above all. Never used by the programs, whose bytes the kernel holds.

use super::{Bytes, Header};

/// A frame's bytes, seen from some place on.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    whole: &'a [u8],
    /// Where this view of it begins.
    begins: usize,
}

impl<'a> Slice<'a> {
    /// The frame that these bytes are, from its Ethernet header on.
    #[must_use]
    pub const fn of(whole: &'a [u8]) -> Self {
        Self { whole, begins: 0 }
    }
}

impl Header for Slice<'_> {
    fn u8(&self, at: u32) -> Option<u8> {
        self.far(self.begins as u32 + at).map(|[byte]| byte)
    }

    fn u16(&self, at: u32) -> Option<u16> {
        self.far(self.begins as u32 + at).map(u16::from_be_bytes)
    }

    fn word(&self, at: u32) -> Option<u32> {
        self.far(self.begins as u32 + at).map(u32::from_ne_bytes)
    }
}

impl Bytes for Slice<'_> {
    fn from(&self, at: u32) -> Option<Self> {
        Some(Self { begins: at as usize, ..*self })
    }

    fn far<const N: usize>(&self, at: u32) -> Option<[u8; N]> {
        self.whole.get(at as usize..)?.first_chunk().copied()
    }

    /// What is read behind the `N` bytes is none, so that a test sees who does.
    fn block<const N: u32>(&self) -> Option<impl Header> {
        let end = self.begins + N as usize;
        self.whole.get(..end).map(|whole| Slice { whole, ..*self })
    }

    fn length(&self) -> u32 {
        self.whole.len() as u32
    }
}
