//! What is asked, what is printed and what is told beside it, with a daemon that is a list of answers.

use std::{cell::RefCell, collections::VecDeque};

use netd_api::flow::{FlowEnd, FlowEvent};

use super::*;

fn flow(number: u64) -> FlowView {
    let end = |address: &str, port| FlowEnd {
        address: address.parse().unwrap(),
        port,
        id: None,
        name: None,
        namespace: None,
        labels: netd_api::spec::Labels::new(),
        host: false,
    };
    FlowView {
        number,
        event: FlowEvent::Closed,
        began: 1_795_770_720.0,
        last_seen: 1_795_770_721.0,
        container: end("10.88.0.2", 40_000),
        network: "lan".parse().unwrap(),
        ifname: "eth0".parse().unwrap(),
        remote: end("10.88.0.3", u16::try_from(number).unwrap()),
        direction: "egress".to_owned(),
        protocol: "tcp".to_owned(),
        verdict: "forward".parse().unwrap(),
        reason: String::new(),
        policy: None,
        rule: None,
        sent: Default::default(),
        received: Default::default(),
        flags_sent: String::new(),
        flags_received: String::new(),
    }
}

fn view(numbers: &[u64], last: u64, lost: u64, forgotten: u64) -> FlowsView {
    FlowsView { flows: numbers.iter().map(|number| flow(*number)).collect(), last, lost, forgotten }
}

fn wish(follow: bool) -> Flows {
    Flows { follow, container: "web".parse().ok(), verdict: "drop".parse().ok(), since: None }
}

/// What one run did.
struct Ran {
    asked: Vec<FlowQuery>,
    printed: String,
    told: Vec<String>,
    pauses: usize,
    ended: Result<(), Failure>,
}

impl Ran {
    /// The ports of the other ends, which are the numbers of the flows.
    fn numbers(&self) -> Vec<u64> {
        let number = |line: &str| line.split("10.88.0.3:").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        self.printed.lines().map(number).collect()
    }
}

/// Answers with these; the daemon is gone after the last.
fn run_with(wish: &Flows, output: Output, answers: Vec<FlowsView>) -> Ran {
    let mut answers = VecDeque::from(answers);
    let asked = RefCell::new(Vec::new());
    let (mut printed, told, mut pauses) = (Vec::new(), RefCell::new(Vec::new()), 0);
    let ended = run(
        wish,
        output,
        1000,
        Ways {
            ask: &mut |query| {
                asked.borrow_mut().push(query);
                answers.pop_front().ok_or(Failure { status: 3, what: "gone".to_owned(), hint: String::new() })
            },
            out: &mut printed,
            tell: &mut |note| told.borrow_mut().push(note.to_owned()),
            pause: &mut || pauses += 1,
        },
    );
    Ran { asked: asked.into_inner(), printed: String::from_utf8(printed).unwrap(), told: told.into_inner(), pauses, ended }
}

#[test]
fn without_follow_it_asks_once() {
    let ran = run_with(&wish(false), Output::Table, vec![view(&[1, 2], 2, 0, 0)]);
    let query = FlowQuery { container: "web".parse().ok(), verdict: "drop".parse().ok(), since: None, after: None };
    assert_eq!((ran.asked.as_slice(), ran.numbers(), ran.told.len(), ran.pauses), (&[query][..], vec![1, 2], 0, 0));
    assert_eq!(ran.ended, Ok(()));
}

#[test]
fn since_is_counted_back_from_now() {
    for (since, expected) in [("10m", 400), ("2h", 0), ("1970-01-01T00:01:00Z", 60)] {
        let ran = run_with(&Flows { since: since.parse().ok(), ..wish(false) }, Output::Table, vec![view(&[], 0, 0, 0)]);
        assert_eq!(ran.asked[0].since, Some(expected), "{since}");
    }
}

#[test]
fn following_asks_after_what_was_seen_and_no_more_since_when() {
    let meant = Flows { since: "10m".parse().ok(), ..wish(true) };
    let ran = run_with(&meant, Output::Table, vec![view(&[1, 2], 2, 0, 0), view(&[], 2, 0, 0), view(&[4], 5, 0, 0)]);
    assert_eq!(ran.numbers(), [1, 2, 4]);
    let asked: Vec<_> = ran.asked.iter().map(|query| (query.since, query.after)).collect();
    assert_eq!(asked, [(Some(400), None), (None, Some(2)), (None, Some(2)), (None, Some(5))]);
    assert!(ran.asked.iter().all(|query| query.container.is_some() && query.verdict.is_some()));
    assert_eq!((ran.pauses, ran.told.len(), ran.ended.unwrap_err().status), (3, 0, 3));
}

#[test]
fn what_was_lost_is_told_at_the_end() {
    let ran = run_with(&wish(false), Output::Table, vec![view(&[8], 8, 3, 7)]);
    let expected = [
        "3 records were lost since netd started: the kernel's buffer was full, too much was denied or begun in a moment, or a port was used again at once; counters have it all",
        "older than these 7 records were forgotten to make room",
    ];
    assert_eq!(ran.told, expected);
}

#[test]
fn following_tells_each_new_loss_once() {
    let answers = vec![view(&[1], 1, 2, 0), view(&[2], 2, 2, 0), view(&[3], 3, 3, 0), view(&[9], 9, 3, 5), view(&[], 9, 3, 9)];
    let ran = run_with(&wish(true), Output::Table, answers);
    let expected = [
        "2 records were lost since netd started: the kernel's buffer was full, too much was denied or begun in a moment, or a port was used again at once; counters have it all",
        "1 record was lost meanwhile: the kernel's buffer was full, too much was denied or begun in a moment, or a port was used again at once; counters have it all",
        "2 records were forgotten to make room before they could be printed",
    ];
    assert_eq!(ran.told, expected);
    assert_eq!(ran.numbers(), [1, 2, 3, 9]);
}

#[test]
fn a_daemon_that_starts_anew_is_told_and_followed_from_its_first_record() {
    let answers = vec![view(&[7], 7, 4, 0), view(&[], 2, 0, 0), view(&[1, 2], 2, 1, 0)];
    let ran = run_with(&wish(true), Output::Table, answers);
    assert_eq!(ran.asked.iter().map(|query| query.after).collect::<Vec<_>>(), [None, Some(7), Some(0), Some(2)]);
    assert_eq!(ran.numbers(), [7, 1, 2]);
    assert!(ran.told[1].starts_with("netd has started anew"), "{:?}", ran.told);
    assert!(ran.told[2].starts_with("1 record was lost meanwhile"), "{:?}", ran.told);
}

#[test]
fn json_is_one_object_a_line() {
    let ran = run_with(&wish(false), Output::Json, vec![view(&[1, 2], 2, 0, 0)]);
    let read: Vec<FlowView> = ran.printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read, [flow(1), flow(2)]);
}

/// A pipe whose reader goes after so many writes.
struct Pipe(usize);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_goes_ends_it_without_failure() {
    for writes in 0..2 {
        let mut number = 0;
        let ways = Ways {
            ask: &mut |_| {
                number += 1;
                Ok(view(&[number], number, 0, 0))
            },
            out: Pipe(writes),
            tell: &mut |note| panic!("{note}"),
            pause: &mut || {},
        };
        assert_eq!(run(&wish(true), Output::Table, 0, ways), Ok(()));
    }
}
