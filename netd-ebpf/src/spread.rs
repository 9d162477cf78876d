//! The place of a number in a small table. Never chosen by chance: who wants two numbers to meet finds some.

/// Two to the 64, divided by the golden ratio: multiplied with it, numbers that differ a little differ in their highest bits (Knuth, TAOCP 3, 6.4).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number's place among two to the power of `bits`, at least one.
#[inline(always)]
#[must_use]
pub const fn place(number: u64, bits: u32) -> u64 {
    number.wrapping_mul(SPREAD) >> (64 - bits)
}
