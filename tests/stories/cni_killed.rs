//! The plugin or netd killed at each step of ADD and DEL: after GC nothing is leaked, nothing is lost, and other containers talk on.

use std::{
    ops::Range,
    thread,
    time::{Duration, Instant},
};

use lab::{
    HOST_V4, Lab,
    cni::{Call, Cni, Conflist, Interface, Running, Sandbox, Steps},
    stream::Stream,
    wait,
};

use crate::interrupted::{LOUD, kind, kinds};

/// How often netd is killed at one step at most, until the kill comes in the middle of the request.
const TRIES: u32 = 5;

/// A container that must not notice anything, and one that is attached and detached all the time.
struct Scene<'lab> {
    lab: &'lab Lab,
    cni: Cni<'lab>,
    list: Conflist,
    other: Sandbox<'lab>,
    stream: Stream,
    victim: Sandbox<'lab>,
    wish: Interface<'lab>,
}

impl<'lab> Scene<'lab> {
    fn set(lab: &'lab Lab) -> Self {
        let cni = lab.cni();
        let list = Conflist::dual("web");
        let [other, victim] = ["other", "victim"].map(|id| cni.sandbox(id).listens(80));
        other.eth0().port(9090, 80, "tcp").joins(&list);
        let stream = lab.outside().streams((HOST_V4, 9090));
        let wish = victim.eth0().port(8080, 80, "tcp");
        Self { lab, cni, list, other, stream, victim, wish }
    }

    /// The runtime says that only the other container is there; then it is so.
    #[track_caller]
    fn is_clean_after_gc(&self, when: &str) {
        self.cni.collects(&self.list, &[self.other.eth0()]).unwrap_or_else(|refusal| panic!("{when}: {refusal}"));
        self.is_clean(when);
    }

    #[track_caller]
    fn is_clean(&self, when: &str) {
        let status = self.lab.status();
        assert_eq!((status.containers, status.attachments, status.ports), (1, 1, 1), "{when}");
        assert_eq!(self.victim.links(), ["lo"], "{when}");
        assert_eq!(self.lab.plan(), Vec::<String>::new(), "{when}");
        self.other.eth0().is_well(&self.list);
    }

    fn ends(self) {
        self.stream.expect_flowing();
        drop(self.stream);
        self.other.leaves(&self.list);
        self.other.ends();
        self.victim.ends();
        self.lab.ends_clean();
    }
}

/// The steps of a run: the system calls that it makes.
fn steps(call: &Call) -> Range<u32> {
    let Steps::Ended(last, spoken) = call.killed_at(u32::MAX) else { panic!("nobody killed it") };
    assert!(spoken.status == 0, "{spoken:?}");
    1..last + 1
}

#[test]
fn the_plugin_killed_at_each_step_of_add_leaves_nothing_after_gc() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let add = scene.wish.runs(&scene.list, "ADD");
    let all = steps(&add);
    scene.is_clean_after_gc("after an ADD whose result the runtime lost");
    let mut made = 0;
    for step in all {
        if let Steps::Ended(_, spoken) = add.killed_at(step) {
            spoken.expect_result();
        }
        made += u32::from(lab.status().containers == 2);
        scene.is_clean_after_gc(&format!("the plugin was killed at step {step} of ADD"));
    }
    assert!(made > 0, "some of the kills came when netd had done it");
    scene.ends();
}

#[test]
fn the_plugin_killed_at_each_step_of_del_leaves_a_whole_container_or_none() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let (add, del) = (scene.wish.runs(&scene.list, "ADD"), scene.wish.runs(&scene.list, "DEL"));
    add.runs().expect_result();
    for step in steps(&del) {
        add.runs().expect_result();
        if let Steps::Ended(_, spoken) = del.killed_at(step) {
            spoken.expect_nothing();
        }
        // A runtime whose plugin ended so tries again; a last one leaves it to GC.
        if step % 2 == 0 {
            del.runs().expect_nothing();
            scene.is_clean(&format!("the plugin was killed at step {step} of DEL, and asked again"));
        } else {
            scene.is_clean_after_gc(&format!("the plugin was killed at step {step} of DEL"));
        }
    }
    scene.ends();
}

#[test]
fn the_plugin_killed_at_each_step_without_netd_queues_a_del_wholly_or_not_at_all() {
    let lab = Lab::new();
    let scene = Scene::set(&lab);
    let (add, del) = (scene.wish.runs(&scene.list, "ADD"), scene.wish.runs(&scene.list, "DEL"));
    add.runs().expect_result();
    lab.netd().kill9();
    for step in steps(&del) {
        del.killed_at(step);
    }
    lab.netd().start();
    scene.is_clean("each DEL was killed, one was not");
    scene.ends();
}

/// Waits until netd is about to make a step of this kind, and kills it; the run that it was made for goes on without it.
#[track_caller]
fn netd_killed_at(lab: &Lab, step: &str, call: &Call) -> Running {
    let from = lab.netd().log().len() as u64;
    let running = call.starts();
    let start = Instant::now();
    let came = loop {
        if lab.netd().log_since(from).lines().any(|line| kind(line).as_deref() == Some(step)) {
            break true;
        }
        if start.elapsed() > wait::PATIENCE {
            break false;
        }
        // A step takes some tenths of a millisecond.
        thread::sleep(Duration::from_micros(50));
    };
    lab.netd().kill9();
    assert!(came, "there was no step like `{step}`");
    running
}

/// The kinds of steps that netd makes for a run.
fn kinds_of(lab: &Lab, call: &Call) -> Vec<String> {
    let from = lab.netd().log().len();
    assert_eq!(call.runs().status, 0);
    kinds(&lab.netd().log()[from..]).into_iter().collect()
}

#[test]
fn netd_killed_at_each_step_of_add_has_done_it_wholly_or_not_at_all() {
    let lab = Lab::bare();
    lab.netd().start_with(LOUD, &[]);
    let scene = Scene::set(&lab);
    let add = scene.wish.runs(&scene.list, "ADD");
    let all = kinds_of(&lab, &add);
    assert!(all.len() >= 6, "fewer kinds of steps than there should be: {all:#?}");
    scene.is_clean_after_gc("after an ADD");
    let mut cut = 0;
    for step in &all {
        // On a busy machine the kill may come when all is done; then once more.
        for _ in 0..TRIES {
            let spoken = netd_killed_at(&lab, step, &add).ends();
            lab.netd().start_with(LOUD, &[]);
            if spoken.status != 0 {
                spoken.expect_error(11).with_hint();
                cut += 1;
                // No DEL and no GC: the plugin itself has seen to it.
                scene.is_clean(&format!("netd was killed at `{step}` of ADD"));
                break;
            }
            scene.wish.runs(&scene.list, "DEL").runs().expect_nothing();
            scene.is_clean(&format!("netd was killed behind `{step}` of ADD, and DEL came"));
        }
    }
    assert!(cut * 2 >= all.len(), "only {cut} of {} kills came in the middle", all.len());
    scene.ends();
}

#[test]
fn netd_killed_at_each_step_of_del_has_done_it_when_it_is_back() {
    let lab = Lab::bare();
    lab.netd().start_with(LOUD, &[]);
    let scene = Scene::set(&lab);
    let (add, del) = (scene.wish.runs(&scene.list, "ADD"), scene.wish.runs(&scene.list, "DEL"));
    add.runs().expect_result();
    let all = kinds_of(&lab, &del);
    assert!(all.len() >= 2, "fewer kinds of steps than there should be: {all:#?}");
    for step in &all {
        add.runs().expect_result();
        netd_killed_at(&lab, step, &del).ends().expect_nothing();
        lab.netd().start_with(LOUD, &[]);
        scene.is_clean(&format!("netd was killed at `{step}` of DEL"));
    }
    scene.ends();
}

#[test]
fn plugin_and_netd_killed_together_leave_nothing_after_gc_or_a_reboot() {
    let lab = Lab::bare();
    lab.netd().start_with(LOUD, &[]);
    let scene = Scene::set(&lab);
    let add = scene.wish.runs(&scene.list, "ADD");
    for step in kinds_of(&lab, &add) {
        scene.is_clean_after_gc("before the next round");
        let running = netd_killed_at(&lab, &step, &add);
        running.kill9();
        lab.netd().start_with(LOUD, &[]);
        scene.is_clean_after_gc(&format!("both were killed at `{step}` of ADD"));
        add.runs().expect_result();
    }
    scene.victim.stops_serving();
    scene.other.stops_serving();
    drop(scene.stream);
    lab.reboots();
    let status = lab.status();
    assert_eq!((status.networks, status.containers, status.ports), (0, 0, 0));
    lab.ends_clean();
}
