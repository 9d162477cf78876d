//! What the data path says without a kernel that has it.

use super::*;

fn without() -> Bpf {
    Bpf::off(Unsupported { feature: "CAP_BPF".to_owned(), since: "not granted", instead: "nothing is counted" })
}

#[test]
fn without_ebpf_it_is_off_and_says_why() {
    let mut bpf = without();
    assert_eq!(bpf.state(), State::Off { why: "CAP_BPF is not there (not granted); instead: nothing is counted".to_owned() });
    assert_eq!(bpf.filters().unwrap(), Filters::Absent);
    assert!(bpf.attachments().unwrap().is_empty());
    let error = bpf.attach(3).unwrap_err().line();
    assert_eq!(
        error,
        "could not bind interface #3 to the shared tc blocks: CAP_BPF is not there (not granted); instead: nothing is counted"
    );
}

#[test]
fn a_directory_without_bpffs_turns_it_off_and_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let bpf = Bpf::start(&dir.path().join("netd"));
    assert!(!bpf.is_on());
    assert!(!dir.path().join("netd").exists());
}

#[test]
fn only_the_last_lines_of_a_verifiers_log_ride_in_an_error() {
    let log: Vec<String> = (0..100).map(|line| format!("line {line}")).collect();
    let words = with_sources(&std::io::Error::other(log.join("\n")));
    assert_eq!(words.lines().count(), VERIFIER_LINES + 2);
    assert!(words.starts_with("line 0\n(… 79 lines of the verifier)\nline 80\n") && words.ends_with("line 99"));
}
