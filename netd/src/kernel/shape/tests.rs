//! Buckets in the kernel's words. Asks no kernel.

use super::*;

/// An answer about a root, with the fields that are read: struct tcmsg, kind, struct tc_tbf_qopt, and the rate of 64 bits where there is one.
fn told(handle: u32, kind: &str, rate: u32, ticks: u32, rate64: Option<u64>) -> Vec<u8> {
    let mut numbers = [0; QOPT];
    numbers[1] = ETHERNET;
    numbers[8..12].copy_from_slice(&rate.to_ne_bytes());
    numbers[24..28].copy_from_slice(&312_500_u32.to_ne_bytes());
    numbers[28..32].copy_from_slice(&ticks.to_ne_bytes());
    let message = Message::new(libc::RTM_NEWQDISC, 0, &root(7, handle)).text(TCA_KIND, kind).nest(TCA_OPTIONS, |options| {
        let options = options.with(TCA_TBF_PARMS, &numbers);
        match rate64 {
            Some(rate) => options.with(TCA_TBF_RATE64, &rate.to_ne_bytes()),
            None => options,
        }
    });
    message.0[16..].to_vec()
}

const BUCKET: Bucket = Bucket { rate: 6_250_000, burst: 100_000, limit: 312_500 };

#[test]
fn a_bucket_of_ours_is_read_back_as_it_was_wanted() {
    let (index, found) = seen(&told(mark::BUCKET_HANDLE, "tbf", 6_250_000, 250_000, None)).unwrap();
    assert_eq!((index, found.bucket(Some(BUCKET)), found.bucket(None)), (7, BUCKET, BUCKET));
    // 100,001 bytes are 250,002.5 ticks: the kernel keeps 250,002, which are 100,000 bytes.
    let odd = Bucket { burst: 100_001, ..BUCKET };
    let (_, found) = seen(&told(mark::BUCKET_HANDLE, "tbf", 6_250_000, 250_002, None)).unwrap();
    assert_eq!(found.bucket(Some(odd)), odd);
}

#[test]
fn another_rate_or_depth_than_the_wanted_is_seen() {
    let (_, faster) = seen(&told(mark::BUCKET_HANDLE, "tbf", 12_500_000, 125_000, None)).unwrap();
    assert_eq!(faster.bucket(Some(BUCKET)), Bucket { rate: 12_500_000, ..BUCKET });
    let (_, deeper) = seen(&told(mark::BUCKET_HANDLE, "tbf", 6_250_000, 500_000, None)).unwrap();
    assert_eq!(deeper.bucket(Some(BUCKET)), Bucket { burst: 200_000, ..BUCKET });
}

#[test]
fn rates_and_depths_beyond_32_bits_are_read() {
    let fast = Bucket { rate: 12_500_000_000, burst: 125_081_920, limit: 312_500 };
    let (_, found) = seen(&told(mark::BUCKET_HANDLE, "tbf", u32::MAX, 156_352, Some(fast.rate))).unwrap();
    assert_eq!(found.bucket(Some(fast)), fast);
    // 268 MB at 1 Mbit/s are 2147 s; the ticks of that are cut to their lowest 32 bits.
    let deep = Bucket { rate: 125_000, burst: 268_435_455, limit: 312_500 };
    let ticks = u128::from(deep.burst) * SECOND / 125_000 / TICK;
    let (_, found) = seen(&told(mark::BUCKET_HANDLE, "tbf", 125_000, ticks as u32, None)).unwrap();
    assert_eq!(found.bucket(Some(deep)), deep);
}

#[test]
fn what_strangers_put_at_a_root_is_no_bucket_of_ours() {
    assert_eq!(seen(&told(0x8001_0000, "tbf", 6_250_000, 250_000, None)), None);
    assert_eq!(seen(&told(mark::BUCKET_HANDLE, "htb", 6_250_000, 250_000, None)), None);
    assert_eq!(seen(&told(mark::BUCKET_HANDLE, "tbf", 6_250_000, 250_000, None)[..30]), None);
}
