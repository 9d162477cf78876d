//! Publishing and withdrawing one port with 0, 1,000 and 10,000 published, and with 100,000 tracked connections, beside one linear rule a port.

use std::{
    fs::File,
    io::Write,
    thread,
    time::{Duration, Instant},
};

use netd_api::message::Request;

use crate::{
    linear::Linear,
    stand::{Stand, container},
    table::{Goals, Samples},
};

/// The largest range that can be published at once, and a round number of them.
const ROW: usize = 1000;

pub(crate) fn run(quick: bool) -> bool {
    let rounds: usize = if quick { 30 } else { 200 };
    let mut goals = Goals::default();
    let mut stand = Stand::new();
    let disk = fsync(&stand);
    println!("fdatasync of 4 KiB on the state's disk: {:.3} ms (p95 {:.3})", disk.p50(), disk.p95());
    stand.asks(&container("one", "bench"));
    stand.asks(&container("many", "bench"));
    println!("one port; milliseconds, p50 (p95) of {rounds}");
    println!(
        "{:>9} {:>9}  {:>18} {:>18}  {:>18} {:>18}",
        "published", "tracked", "netd publish", "netd unpublish", "linear add", "linear delete"
    );
    let (mut published, mut firsts) = (0, None);
    let goal = (2.0 * disk.p50() + 0.3).max(0.4);
    let mut linear = Linear::new(&stand);
    for (wanted, tracked) in [(0, 0), (1000, 0), (10_000, 0), (10_000, 100_000)] {
        while published < wanted {
            let first = 20_000 + published;
            let spec = format!("{first}-{}:{first}-{}", first + ROW - 1, first + ROW - 1);
            stand.asks(&Request::Publish("many".parse().expect("a name"), spec.parse().expect("a range")));
            published += ROW;
        }
        linear.grow(published);
        if tracked > 0 {
            track(&stand, tracked);
        }
        // The linear rules are there by now, and so is what netd thinks of them.
        thread::sleep(Duration::from_secs(3));
        let (mut add, mut remove, mut linear_add, mut linear_remove) =
            (Samples::default(), Samples::default(), Samples::default(), Samples::default());
        for round in 0..rounds + 3 {
            let spec = "9000:80".parse().expect("a port");
            let name = || "one".parse().expect("a name");
            let (added, removed) = (stand.times(&Request::Publish(name(), spec)), stand.times(&Request::Unpublish(name(), Some(spec))));
            if round >= 3 {
                add.push(added);
                remove.push(removed);
            }
        }
        // Afterwards and not in between: netd hears of others' rules and looks at them, which is not what is measured here. One linear rule
        // costs tens of milliseconds, so fewer rounds tell enough.
        for _ in 0..rounds.div_ceil(10) {
            let (added, removed) = linear.once();
            linear_add.push(added);
            linear_remove.push(removed);
        }
        let show = |samples: &Samples| format!("{:.3} ({:.3})", samples.p50(), samples.p95());
        println!(
            "{wanted:>9} {tracked:>9}  {:>18} {:>18}  {:>18} {:>18}",
            show(&add),
            show(&remove),
            show(&linear_add),
            show(&linear_remove)
        );
        let case = if tracked > 0 { format!("at {wanted} ports and {tracked} connections") } else { format!("at {wanted} ports") };
        goals.at_most(&format!("publish {case}"), add.p50(), goal, " ms");
        goals.at_most(&format!("unpublish {case}"), remove.p50(), goal, " ms");
        let (first_add, first_remove) = *firsts.get_or_insert((add.p50(), remove.p50()));
        goals.at_most(&format!("growth of publish {case}"), add.p50() / first_add, 1.2, "x");
        goals.at_most(&format!("growth of unpublish {case}"), remove.p50() / first_remove, 1.2, "x");
    }
    goals.all_met()
}

/// What the disk below the state directory needs for one small write.
fn fsync(stand: &Stand) -> Samples {
    let mut samples = Samples::default();
    let path = stand.disk.path().join("fsync-probe");
    let mut file = File::create(&path).expect("the state directory can be written");
    for _ in 0..200 {
        let began = Instant::now();
        file.write_all(&[7; 4096]).and_then(|()| file.sync_data()).expect("a file can be written");
        samples.push(began.elapsed().as_secs_f64() * 1e3);
    }
    let _ = std::fs::remove_file(path);
    samples
}

/// Fills the connection table with UDP flows that nobody answers.
fn track(stand: &Stand, flows: usize) {
    let host = stand.lab.host();
    let largest = std::fs::write(host.path("/proc/sys/net/netfilter/nf_conntrack_max"), "262144");
    let script = format!(
        "import socket\nsockets=[socket.socket(socket.AF_INET,socket.SOCK_DGRAM) for _ in range(10)]\n\
         for n in range({flows}):\n sockets[n%10].sendto(b'x',('192.0.2.2',1+n//10))\n"
    );
    host.run("python3", &["-c", &script]);
    let count = host.run("conntrack", &["--count"]);
    println!("{} connections are tracked{}", count.trim(), if largest.is_err() { " (the table's limit could not be raised)" } else { "" });
}
