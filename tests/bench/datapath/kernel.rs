//! The kernel's own figures of eBPF programs and maps: run time and number of runs, memory; and a program that does nothing, to know what the figures
//! themselves and the hooks cost. Never sets the global switch `kernel.bpf_stats_enabled`.

use std::{
    collections::BTreeMap,
    ffi::CString,
    fs, io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

/// Commands of bpf(2), linux/bpf.h.
const PROG_LOAD: libc::c_long = 5;
const OBJ_GET: libc::c_long = 7;
const PROG_ATTACH: libc::c_long = 8;
const PROG_TEST_RUN: libc::c_long = 10;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const ENABLE_STATS: libc::c_long = 32;
/// BPF_PROG_TYPE_SCHED_CLS.
const CLASSIFIER: u32 = 3;
/// BPF_TCX_INGRESS and BPF_TCX_EGRESS.
const HOOKS: [u32; 2] = [46, 47];
/// Where `run_time_ns` and `run_cnt` are in `struct bpf_prog_info`, and where the second one ends.
const RUN_TIME: usize = 192;
const RUN_COUNT: usize = 200;
const INFO: usize = 208;
/// Runs of the program that does nothing.
const EMPTY_RUNS: u32 = 1_000_000;

// The first fields of `union bpf_attr` for each command; what is not given is zero to the kernel.

#[repr(C)]
struct Get {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
struct EnableStats {
    kind: u32,
}

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

#[repr(C)]
struct Attach {
    target_ifindex: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
}

#[repr(C)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

/// One call with one of the structs above.
fn bpf<A>(command: libc::c_long, mut attributes: A) -> io::Result<libc::c_long> {
    // SAFETY: the kernel reads and writes as many bytes of `attributes` as they have. Each pointer in them comes from the functions below, is to a
    // buffer of the length given with it or to a text with a NUL, and that lives until the call is over.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attributes, size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn descriptor(result: libc::c_long) -> OwnedFd {
    let fd = libc::c_int::try_from(result).expect("a descriptor is small");
    // SAFETY: the kernel has just opened it for this call, and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn number(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// While this is there, the kernel measures every program.
pub(super) struct Measuring {
    _stats: OwnedFd,
}

impl Measuring {
    pub(super) fn begins() -> Self {
        // BPF_STATS_RUN_TIME is 0.
        let stats = bpf(ENABLE_STATS, EnableStats { kind: 0 }).expect("Linux 5.8 measures eBPF programs for root");
        Self { _stats: descriptor(stats) }
    }
}

/// Nanoseconds and runs of a program, since it was loaded and while it was measured.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Runs {
    pub(super) ns: u64,
    pub(super) count: u64,
}

impl Runs {
    /// Nanoseconds of a run since then; none where there was none.
    pub(super) fn ns_each(self, before: Self) -> Option<f64> {
        let count = self.count - before.count;
        #[expect(clippy::cast_precision_loss, reason = "some seconds in nanoseconds")]
        let each = (self.ns - before.ns) as f64 / count as f64;
        (count > 0).then_some(each)
    }
}

/// A loaded program.
pub(super) struct Program(OwnedFd);

impl Program {
    /// The pinned one whose name in the directory begins so: the rest of it is the build.
    pub(super) fn pinned(directory: &Path, name: &str) -> Self {
        let pins = pins(directory);
        let pin = pins.iter().find(|pin| pin.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name)));
        let pin = pin.unwrap_or_else(|| panic!("no {name} among {pins:?}"));
        Self(opened(pin).unwrap_or_else(|why| panic!("{}: {why}", pin.display())))
    }

    pub(super) fn runs(&self) -> Runs {
        let mut info = [0_u8; INFO];
        let asked = InfoByFd { bpf_fd: number(&self.0), info_len: INFO as u32, info: info.as_mut_ptr() as u64 };
        bpf(OBJ_GET_INFO_BY_FD, asked).expect("a program can be asked about");
        let word = |at: usize| u64::from_ne_bytes(info[at..at + 8].try_into().expect("eight bytes"));
        Runs { ns: word(RUN_TIME), count: word(RUN_COUNT) }
    }

    /// `r0 = 0; exit`, which touches nothing and lets every packet pass (TC_ACT_OK).
    pub(super) fn empty() -> Self {
        let code: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 0, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];
        let asked = Load { prog_type: CLASSIFIER, insn_cnt: 2, insns: code.as_ptr() as u64, license: c"MIT".as_ptr() as u64 };
        Self(descriptor(bpf(PROG_LOAD, asked).expect("root may load a program")))
    }

    /// Puts it at both hooks of an interface of this thread's network namespace.
    pub(super) fn at_hooks_of(&self, ifindex: u32) {
        for hook in HOOKS {
            let asked = Attach { target_ifindex: ifindex, attach_bpf_fd: number(&self.0), attach_type: hook, attach_flags: 0 };
            bpf(PROG_ATTACH, asked).expect("Linux 6.6 takes programs at an interface's hooks");
        }
    }

    fn run_on_nothing(&self, repeat: u32) {
        let frame = [0_u8; 64];
        let asked = TestRun {
            prog_fd: number(&self.0),
            retval: 0,
            data_size_in: 64,
            data_size_out: 0,
            data_in: frame.as_ptr() as u64,
            data_out: 0,
            repeat,
            duration: 0,
        };
        bpf(PROG_TEST_RUN, asked).expect("a classifier can be run on a test packet");
    }
}

/// Whether links have hooks for programs here (tcx): from Linux 6.6 on.
pub(super) fn has_hooks() -> bool {
    let release = nix::sys::utsname::uname().expect("uname(2) does not fail").release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

/// What the statistics say of a program that does nothing: their own share of every figure, in nanoseconds a run.
pub(super) fn nothing_ns() -> f64 {
    let empty = Program::empty();
    empty.run_on_nothing(1000);
    let before = empty.runs();
    empty.run_on_nothing(EMPTY_RUNS);
    empty.runs().ns_each(before).expect("it was run")
}

/// Bytes of kernel memory of all maps and programs that are pinned in a directory or that a process has open; each once.
pub(super) fn memory(directory: &Path, pid: u32) -> u64 {
    let mut found = BTreeMap::new();
    let held: Vec<OwnedFd> = pins(directory).iter().filter_map(|pin| opened(pin).ok()).collect();
    for fd in &held {
        found.extend(described(&PathBuf::from(format!("/proc/self/fdinfo/{}", fd.as_raw_fd()))));
    }
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten() {
        found.extend(described(&entry.path()));
    }
    found.values().sum()
}

/// What `fdinfo` says of a map or program: which one it is, and its `memlock`, which since Linux 6.4 is what a map really takes, and before what it may.
fn described(fdinfo: &Path) -> Option<(String, u64)> {
    let text = fs::read_to_string(fdinfo).ok()?;
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let which = ["map_id:", "prog_id:"].into_iter().find_map(|kind| Some(format!("{kind}{}", field(kind)?)))?;
    Some((which, field("memlock:")?.parse().ok()?))
}

fn pins(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn opened(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes())?;
    bpf(OBJ_GET, Get { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 }).map(descriptor)
}
