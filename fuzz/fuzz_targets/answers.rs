#![no_main]
//! The client's reader of HTTP answers: it does not panic, and gives the same however the bytes are cut.

use std::io::{self, Read};

use libfuzzer_sys::fuzz_target;
use netd_api::client::read_answer;

struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.1.min(self.0.len()).min(buffer.len());
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        Ok(count)
    }
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read_answer(&mut Pieces(bytes, usize::MAX)).ok().map(|answer| (answer.status, answer.body));
    let cut = read_answer(&mut Pieces(bytes, 3)).ok().map(|answer| (answer.status, answer.body));
    assert_eq!(whole, cut);
});
