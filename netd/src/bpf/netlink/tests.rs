//! Framing, against bytes written by hand.

use super::*;

#[test]
fn an_attribute_is_padded_and_read_back() {
    let message = Message::new(36, libc::NLM_F_ACK, &[7; 4]).text(1, "clsact").number(13, 42);
    let body = &message.0[HEADER + 4..];
    assert_eq!(body.len(), 4 + 8 + 4 + 4);
    let read: Vec<_> = attributes(body).collect();
    assert_eq!(read[0], (1, b"clsact\0".as_slice()));
    assert_eq!(text(read[0].1), b"clsact");
    assert_eq!(number(read[1].1), Some(42));
}

#[test]
fn a_nest_has_the_length_of_what_is_in_it() {
    let message = Message::new(16, 0, &[]).nest(18, |inner| inner.text(1, "bridge"));
    let (kind, inner) = attributes(&message.0[HEADER..]).next().unwrap();
    assert_eq!(kind, 18);
    assert_eq!(attributes(inner).next(), Some((1, b"bridge\0".as_slice())));
}

#[test]
fn a_cut_off_attribute_ends_the_list() {
    let whole = Message::new(16, 0, &[]).number(1, 1).number(2, 2);
    let body = &whole.0[HEADER..];
    assert_eq!(attributes(&body[..body.len() - 1]).count(), 1);
    assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0, "shorter than its own header");
}

#[test]
fn a_finished_message_says_its_length_and_number() {
    let bytes = Message::new(36, libc::NLM_F_CREATE, &[]).number(1, 1).finished(libc::NLM_F_ACK, 9);
    let [part] = parts(&bytes).collect::<Vec<_>>().try_into().ok().unwrap();
    assert_eq!((part.kind, part.sequence, part.payload.len()), (36, 9, 8));
    assert_eq!(i32::from(part.flags), libc::NLM_F_REQUEST | libc::NLM_F_CREATE | libc::NLM_F_ACK);
}
