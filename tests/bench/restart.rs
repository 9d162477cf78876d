//! kill -9 with 1,000 containers and 1,000 ports: how long until the next daemon has nothing to do, and what a running flow notices.

use std::{
    net::UdpSocket,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use lab::Station;
use netd_api::{
    message::{Reply, Request},
    publish::PublishSpec,
};

use crate::{
    stand::{Stand, container},
    table::{Goals, Samples},
};

const PER_NETWORK: usize = 250;

pub(crate) fn run(quick: bool) -> bool {
    let (containers, rounds) = if quick { (100, 3) } else { (1000, 7) };
    let mut goals = Goals::default();
    let mut stand = Stand::new();
    println!("making {containers} containers with a port each …");
    for n in 0..containers {
        let network = format!("bench-{}", "x".repeat(n / PER_NETWORK + 1));
        if n % PER_NETWORK == 0 {
            stand.network(&network);
        }
        stand.asks(&container(&format!("c{n}"), &network));
        let spec: PublishSpec = format!("{}:80/udp", 10_000 + n).parse().expect("a port");
        stand.asks(&Request::Publish(format!("c{n}").parse().expect("a name"), spec));
    }
    let first = stand.lab.at("c0", "/run/netns/c0");
    first.serves_udp(80);
    let flow = Flow::start(stand.lab.outside());
    let mut times = Samples::default();
    for _ in 0..rounds {
        stand.lab.netd().kill9();
        let began = Instant::now();
        stand.starts_again();
        loop {
            let Ok(Reply::Plan(plan)) = stand.client.send(&Request::Plan) else { panic!("no plan") };
            if plan.ops.is_empty() {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "the new daemon does not come to an end: {:?}", plan.ops);
        }
        times.push(began.elapsed().as_secs_f64());
    }
    let (sent, lost) = flow.ends();
    println!(
        "from the kill until the new daemon has nothing to do, with {containers} containers and {containers} ports: p50 {:.2} s, slowest {:.2} s, of {rounds}",
        times.p50(),
        times.quantile(1.0)
    );
    println!("a UDP flow through a published port meanwhile: {sent} packets sent, {lost} lost");
    goals.at_most("until nothing is left to do", times.p50(), 2.0, " s");
    #[expect(clippy::cast_precision_loss, reason = "a few thousand packets")]
    goals.at_most("packets lost of a running flow", lost as f64, 0.0, "");
    goals.all_met()
}

/// A UDP flow from the outside host to the first container's published port: a packet every millisecond, each answered by one.
struct Flow {
    over: Arc<AtomicBool>,
    sender: JoinHandle<u64>,
    receiver: JoinHandle<u64>,
}

impl Flow {
    fn start(from: &Station) -> Self {
        let socket = from.net().inside(|| UdpSocket::bind("0.0.0.0:0")).expect("a port is free");
        socket.connect(format!("{}:10000", lab::HOST_V4)).expect("there is a route");
        let over = Arc::new(AtomicBool::new(false));
        let (stop, out) = (Arc::clone(&over), socket.try_clone().expect("a descriptor can be duplicated"));
        let sender = thread::spawn(move || {
            let mut sent = 0;
            while !stop.load(Ordering::Relaxed) {
                sent += u64::from(out.send(b"?").is_ok());
                thread::sleep(Duration::from_millis(1));
            }
            sent
        });
        socket.set_read_timeout(Some(Duration::from_millis(500))).expect("half a second is a time");
        let stop = Arc::clone(&over);
        let receiver = thread::spawn(move || {
            let mut answered = 0;
            // After the last packet, half a second without any answer is the end.
            loop {
                match socket.recv(&mut [0; 256]) {
                    Ok(_) => answered += 1,
                    Err(_) if stop.load(Ordering::Relaxed) => return answered,
                    Err(_) => {}
                }
            }
        });
        Self { over, sender, receiver }
    }

    /// How many packets were sent, and how many of them had no answer.
    fn ends(self) -> (u64, u64) {
        self.over.store(true, Ordering::Relaxed);
        let sent = self.sender.join().expect("the sender does not panic");
        let answered = self.receiver.join().expect("the receiver does not panic");
        (sent, sent.saturating_sub(answered))
    }
}
