//! An HTTP/1.1 answer read from a stream (RFC 9112): by length, by chunks, or up to the end. Knows nothing of what it says.

use std::io::{self, Read};

/// The head may have so many bytes: ours have some 150.
const MOST_HEAD: usize = 16 << 10;
/// The body may have so many bytes: 1,000 containers with their ports have some 2 MiB.
const MOST_BODY: usize = 256 << 20;
/// Headers in one head.
const MOST_HEADERS: usize = 32;

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP's status code.
    pub status: u16,
    /// The body, with chunks joined.
    pub body: Vec<u8>,
    /// Whether the connection may carry another request.
    pub keep: bool,
}

/// Why something is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The connection failed.
    #[error("the connection broke: {0}")]
    Io(#[source] io::Error),
    /// Nothing came for too long.
    #[error("no answer came in time")]
    Silent,
    /// The daemon hung up in the middle.
    #[error("the connection ended before the answer did")]
    Ended,
    /// It is not HTTP.
    #[error("it is not HTTP: {0}")]
    Http(&'static str),
    /// It is longer than can be meant.
    #[error("it is too large")]
    TooLarge,
    /// A status that is not one of ours, without a fault in the body.
    #[error("it has the status {0} and no reason")]
    Status(u16),
    /// The body is not what was asked for: daemon and client are of different versions, or it is no netd.
    #[error("it is not what was asked for: {0}")]
    Json(#[source] serde_json::Error),
}

/// How the end of a body is known (RFC 9112, section 6.3).
enum Extent {
    Length(usize),
    Chunks,
    ToTheEnd,
}

struct Head {
    status: u16,
    keep: bool,
    extent: Extent,
}

/// Reads one answer. Bytes behind it are an error of the daemon: nothing was asked that they could answer.
///
/// # Errors
/// What is wrong with the bytes, or with the stream.
pub fn read_answer(stream: &mut impl Read) -> Result<Answer, Broken> {
    let mut input = Input { stream, bytes: Vec::with_capacity(4096), at: 0 };
    let head = loop {
        let head = input.head()?;
        // 1xx is not the answer yet (RFC 9110, section 15.2).
        if head.status >= 200 {
            break head;
        }
    };
    let body = match head.extent {
        Extent::Length(length) => input.take(length)?.to_vec(),
        Extent::Chunks => input.chunks()?,
        Extent::ToTheEnd => input.rest()?,
    };
    let keep = head.keep && input.at == input.bytes.len();
    Ok(Answer { status: head.status, body, keep })
}

struct Input<'a, R> {
    stream: &'a mut R,
    bytes: Vec<u8>,
    at: usize,
}

impl<R: Read> Input<'_, R> {
    /// Reads what there is; 0 at the end.
    fn more(&mut self) -> Result<usize, Broken> {
        let before = self.bytes.len();
        self.bytes.resize(before + 16384, 0);
        let count = loop {
            match self.stream.read(&mut self.bytes[before..]) {
                Err(why) if why.kind() == io::ErrorKind::Interrupted => {}
                Err(why) if [io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut].contains(&why.kind()) => return Err(Broken::Silent),
                // A Unix socket that was closed with unread bytes says so (unix_release_sock in net/unix/af_unix.c).
                Err(why) if why.kind() == io::ErrorKind::ConnectionReset => return Err(Broken::Ended),
                Err(why) => return Err(Broken::Io(why)),
                Ok(count) => break count,
            }
        };
        self.bytes.truncate(before + count);
        Ok(count)
    }

    fn head(&mut self) -> Result<Head, Broken> {
        loop {
            let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&self.bytes[self.at..]).map_err(|_| Broken::Http("a malformed head"))?;
            if let httparse::Status::Complete(length) = parsed {
                if length > MOST_HEAD {
                    return Err(Broken::TooLarge);
                }
                let head = head(&response)?;
                self.at += length;
                return Ok(head);
            }
            if self.bytes.len() - self.at > MOST_HEAD {
                return Err(Broken::TooLarge);
            }
            if self.more()? == 0 {
                return Err(Broken::Ended);
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&[u8], Broken> {
        if length > MOST_BODY {
            return Err(Broken::TooLarge);
        }
        while self.bytes.len() - self.at < length {
            if self.more()? == 0 {
                return Err(Broken::Ended);
            }
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    /// A line without its end; chunk headers and trailers are short.
    fn line(&mut self) -> Result<Vec<u8>, Broken> {
        let mut length = 0;
        loop {
            let line = &self.bytes[self.at..];
            if let Some(end) = line[length..].windows(2).position(|two| two == b"\r\n") {
                let line = line[..length + end].to_vec();
                if line.len() > MOST_HEAD {
                    return Err(Broken::TooLarge);
                }
                self.at += line.len() + 2;
                return Ok(line);
            }
            length = line.len().saturating_sub(1);
            if length > MOST_HEAD {
                return Err(Broken::TooLarge);
            }
            if self.more()? == 0 {
                return Err(Broken::Ended);
            }
        }
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Broken> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default();
            let size = str::from_utf8(size).ok().map(|size| size.trim_end_matches([' ', '\t']));
            let size = size
                .filter(|size| !size.is_empty() && size.bytes().all(|digit| digit.is_ascii_hexdigit()))
                .ok_or(Broken::Http("a chunk without its size"))?;
            let size = usize::from_str_radix(size, 16).map_err(|_| Broken::TooLarge)?;
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            if body.len().saturating_add(size) > MOST_BODY {
                return Err(Broken::TooLarge);
            }
            body.extend_from_slice(self.take(size)?);
            if !self.line()?.is_empty() {
                return Err(Broken::Http("a chunk longer than its size"));
            }
        }
    }

    fn rest(&mut self) -> Result<Vec<u8>, Broken> {
        while self.more()? > 0 {
            if self.bytes.len() - self.at > MOST_BODY {
                return Err(Broken::TooLarge);
            }
        }
        let body = self.bytes[self.at..].to_vec();
        self.at = self.bytes.len();
        Ok(body)
    }
}

fn head(response: &httparse::Response<'_, '_>) -> Result<Head, Broken> {
    let status = response.code.ok_or(Broken::Http("a head without a status"))?;
    let mut keep = response.version == Some(1);
    let mut length = None;
    let mut chunks = false;
    for header in response.headers.iter() {
        let value = str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let given = Some(value)
                .filter(|value| !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|value| value.parse().ok())
                .ok_or(Broken::Http("a length that is no number"))?;
            if length.is_some_and(|length| length != given) {
                return Err(Broken::Http("two lengths"));
            }
            length = Some(given);
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            chunks = value.eq_ignore_ascii_case("chunked");
            if !chunks {
                return Err(Broken::Http("an unknown transfer encoding"));
            }
        } else if header.name.eq_ignore_ascii_case("connection") {
            keep &= !value.split(',').any(|word| word.trim().eq_ignore_ascii_case("close"));
        }
    }
    let extent = match (status, chunks, length) {
        (100..200 | 204 | 304, ..) => Extent::Length(0),
        (_, true, _) => Extent::Chunks,
        (_, false, Some(length)) => Extent::Length(length),
        (_, false, None) => Extent::ToTheEnd,
    };
    keep &= !matches!(extent, Extent::ToTheEnd);
    Ok(Head { status, keep, extent })
}
