//! Netlink framing against made bytes. Never opens a socket of the host.

use super::*;

fn datagram(messages: &[(u16, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, payload) in messages {
        bytes.extend_from_slice(&((HEADER + payload.len()) as u32).to_ne_bytes());
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&[0; 10]);
        bytes.extend_from_slice(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[test]
fn a_datagram_is_split_at_aligned_borders_and_ends_where_it_is_cut_off() {
    let mut bytes = datagram(&[(16, b"abcde"), (17, b"fgh")]);
    let seen: Vec<_> = parts(&bytes).map(|part| (part.kind, part.payload.to_vec())).collect();
    assert_eq!(seen, [(16, b"abcde".to_vec()), (17, b"fgh".to_vec())]);
    bytes.truncate(bytes.len() - 4);
    assert_eq!(parts(&bytes).count(), 1);
    assert_eq!(parts(&bytes[..10]).count(), 0);
}

#[test]
fn a_refusal_carries_the_kernels_own_words() {
    let mut payload = (-libc::EEXIST).to_ne_bytes().to_vec();
    payload.extend_from_slice(&[0; HEADER]);
    payload.extend_from_slice(&8_u16.to_ne_bytes());
    payload.extend_from_slice(&EXTACK_TEXT.to_ne_bytes());
    payload.extend_from_slice(b"no\0\0");
    assert_eq!(outcome(&payload), Err(KernelError::Errno { errno: libc::EEXIST, said: Some("no".to_owned()) }));
    assert_eq!(outcome(&[0; 4 + HEADER]), Ok(()));
    assert!(outcome(&[]).is_err());
}
