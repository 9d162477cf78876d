//! Loss of power at every write, and disks that refuse. Does not know what records mean.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, PoisonError},
};

use super::{super::tests::directory, *};

type Records = BTreeMap<String, Vec<u8>>;

fn place(dir: &Path, durability: Durability, disks: Disks) -> Place {
    Place { path: dir.join("state.redb"), durability, boot: "today".to_owned(), disks }
}

fn plain() -> Disks {
    Arc::new(|file: File| Arc::new(file))
}

fn records(database: &Database) -> Records {
    let mut records = Records::new();
    database
        .read(|_, key, value| {
            records.insert(key.to_owned(), value.to_vec());
            Ok(())
        })
        .expect("records can be read");
    records
}

/// What another process finds that opens a copy of the file as it is now.
fn found_after_kill(dir: &Path, durability: Durability) -> Records {
    let copy = directory();
    fs::copy(dir.join("state.redb"), copy.path().join("state.redb")).expect("a copy");
    records(&Database::open(place(copy.path(), durability, plain())).expect("the copy opens"))
}

/// The nth change: it writes over the records of former ones, of sizes from nothing to several pages.
fn change(model: &Records, n: usize) -> Vec<Write> {
    (0..4)
        .map(|part| {
            let key = format!("{:03}", (n * 7 + part * 5) % 40);
            let before = model.get(&key).cloned();
            let gone = before.is_some() && (n + part).is_multiple_of(3);
            let after = (!gone).then(|| vec![b'a' + u8::try_from(n % 26).unwrap_or_default(); (n * 977 + part * 389) % 3000]);
            Write { table: Table::Containers, key, before, after }
        })
        .collect()
}

fn apply(model: &mut Records, writes: &[Write]) {
    for Write { key, after, .. } in writes {
        match after {
            Some(value) => model.insert(key.clone(), value.clone()),
            None => model.remove(key),
        };
    }
}

/// What happened to a disk, in order.
#[derive(Debug, Clone)]
enum Event {
    Write(u64, Vec<u8>),
    SetLen(u64),
    SyncBegan,
    SyncEnded,
    Committed(usize),
    Settled(usize),
}

#[derive(Debug)]
struct Logged {
    file: File,
    log: Arc<Mutex<Vec<Event>>>,
}

impl Logged {
    fn note(&self, event: Event) {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

impl Disk for Logged {
    fn len(&self) -> io::Result<u64> {
        Disk::len(&self.file)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Disk::read(&self.file, offset, out)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.note(Event::Write(offset, data.to_vec()));
        Disk::write(&self.file, offset, data)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.note(Event::SetLen(len));
        Disk::set_len(&self.file, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.note(Event::SyncBegan);
        // Gives a write that does not wait for us every chance to be noted too early.
        (0..100).for_each(|_| std::thread::yield_now());
        self.note(Event::SyncEnded);
        Ok(())
    }
}

/// A generator that is the same on every run (the constants of Knuth's MMIX).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// The file after a loss of power behind this much of the log: what was synced is there, of the rest any 512-byte sectors.
fn after_power_loss(start: &[u8], log: &[Event], dice: &mut Dice) -> Vec<u8> {
    let began = |end: usize| log[..end].iter().rposition(|event| matches!(event, Event::SyncBegan)).unwrap_or_default();
    let synced = log.iter().rposition(|event| matches!(event, Event::SyncEnded)).map_or(0, began);
    let mut image = start.to_vec();
    for (at, event) in log.iter().enumerate() {
        match event {
            Event::SetLen(len) => image.resize(usize::try_from(*len).unwrap_or_default(), 0),
            Event::Write(offset, data) => {
                let offset = usize::try_from(*offset).unwrap_or_default();
                for (sector, bytes) in data.chunks(512).enumerate() {
                    if at < synced || dice.below(3) > 0 {
                        image[offset + sector * 512..][..bytes.len()].copy_from_slice(bytes);
                    }
                }
            }
            _ => {}
        }
    }
    image
}

#[test]
fn after_a_loss_of_power_at_any_write_what_was_settled_is_there() {
    let dir = directory();
    drop(Database::open(place(dir.path(), Durability::Lasting, plain())).expect("a new file"));
    let start = fs::read(dir.path().join("state.redb")).expect("the file");
    let log = Arc::new(Mutex::new(Vec::new()));
    let noted = |event| log.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    let disks: Disks = Arc::new({
        let log = Arc::clone(&log);
        move |file| Arc::new(Logged { file, log: Arc::clone(&log) })
    });
    let mut database = Database::open(place(dir.path(), Durability::Lasting, disks)).expect("it opens");
    let mut states = vec![Records::new()];
    for n in 1..60 {
        let mut model = states.last().cloned().unwrap_or_default();
        let writes = change(&model, n);
        apply(&mut model, &writes);
        states.push(model);
        database.commit(&writes).expect("it commits");
        noted(Event::Committed(n));
        // Some changes are not waited for: their sync and the next commit then have to keep their order by themselves.
        if n % 3 != 0 {
            database.settle().expect("it settles");
            noted(Event::Settled(n));
        }
    }
    let log = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for (at, pair) in log.windows(2).enumerate() {
        assert!(
            !matches!(pair, [Event::SyncBegan, Event::Write(..) | Event::SetLen(_)]),
            "event {at}: a write overtook a sync: {:?}",
            pair[1]
        );
    }
    let mut dice = Dice(7);
    let crashed = directory();
    for end in (0..=log.len()).step_by(if cfg!(debug_assertions) { 5 } else { 1 }) {
        let log = &log[..end];
        let last = |pick: fn(&Event) -> Option<usize>| log.iter().rev().find_map(pick).unwrap_or_default();
        let settled = last(|event| if let Event::Settled(n) = event { Some(*n) } else { None });
        let committed = last(|event| if let Event::Committed(n) = event { Some(*n) } else { None });
        let image = after_power_loss(&start, log, &mut dice);
        fs::write(crashed.path().join("state.redb"), image).expect("the image");
        let database = Database::open(place(crashed.path(), Durability::Lasting, plain()))
            .unwrap_or_else(|why| panic!("power lost behind event {end} of {}, {settled} settled: {why}", log.len()));
        let found = records(&database);
        // The commit after the last one that returned may be there too: its header may have been written already.
        let legal = &states[settled..states.len().min(committed + 2)];
        assert!(
            legal.contains(&found),
            "power lost behind event {end}: changes {settled} to {} are legal, none of them was found",
            committed + 1
        );
    }
}

/// Which calls a disk refuses.
#[derive(Debug, Default)]
struct Refusal {
    /// How many calls that change something are still to go through.
    good: usize,
    /// How many are then refused.
    bad: usize,
    errno: i32,
}

#[derive(Debug)]
struct Refusing {
    file: File,
    refusal: Arc<Mutex<Refusal>>,
}

impl Refusing {
    fn ask(&self) -> io::Result<()> {
        let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
        if refusal.bad == 0 {
            return Ok(());
        }
        if refusal.good > 0 {
            refusal.good -= 1;
            return Ok(());
        }
        refusal.bad -= 1;
        Err(io::Error::from_raw_os_error(refusal.errno))
    }
}

impl Disk for Refusing {
    fn len(&self) -> io::Result<u64> {
        Disk::len(&self.file)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        Disk::read(&self.file, offset, out)
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.ask()?;
        Disk::write(&self.file, offset, data)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.ask()?;
        Disk::set_len(&self.file, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.ask()
    }
}

/// A commit (of a size that makes the file grow, or not) on a disk that refuses its nth change and the `bad - 1` after it.
/// Returns whether the refusal was reached.
fn survives_refusal(durability: Durability, n: usize, bad: usize, size: usize) -> bool {
    let dir = directory();
    let refusal = Arc::new(Mutex::new(Refusal::default()));
    let disks: Disks = Arc::new({
        let refusal = Arc::clone(&refusal);
        move |file| Arc::new(Refusing { file, refusal: Arc::clone(&refusal) })
    });
    let mut database = Database::open(place(dir.path(), durability, disks)).expect("a new file");
    let mut model = Records::new();
    let first = change(&model, 1);
    database.commit(&first).and_then(|()| database.settle()).expect("a good disk");
    apply(&mut model, &first);

    *refusal.lock().unwrap_or_else(PoisonError::into_inner) = Refusal { good: n, bad, errno: nix::libc::EIO };
    let writes: Vec<_> = (0..size)
        .map(|at| Write { table: Table::Containers, key: format!("x{at}"), before: None, after: Some(vec![b'x'; 100_000]) })
        .chain(change(&model, 2))
        .collect();
    let result = database.commit(&writes).and_then(|()| database.settle().inspect_err(|_| database.take_back(&writes)));
    let reached = refusal.lock().unwrap_or_else(PoisonError::into_inner).bad < bad;
    let healed = std::mem::take(&mut *refusal.lock().unwrap_or_else(PoisonError::into_inner)).bad == 0;
    match &result {
        Ok(()) => apply(&mut model, &writes),
        Err(StoreError::Write { cause, .. } | StoreError::Sync { cause, .. }) => {
            assert_eq!(cause.raw_os_error(), Some(nix::libc::EIO), "{cause:?}");
            if healed && bad == 1 {
                assert_eq!(
                    found_after_kill(dir.path(), durability),
                    model,
                    "refused at {n}: what failed is not there when we are killed now"
                );
            }
        }
        Err(other) => panic!("refused at {n}: {other:?}"),
    }
    let next = change(&model, 3);
    database.commit(&next).and_then(|()| database.settle()).unwrap_or_else(|why| panic!("refused at {n}, then good again: {why}"));
    apply(&mut model, &next);
    assert_eq!(records(&database), model, "refused at {n}, {bad} times");
    assert_eq!(found_after_kill(dir.path(), durability), model, "refused at {n}, {bad} times, then killed");
    reached
}

#[test]
fn a_refused_write_or_sync_is_an_error_and_the_next_commit_is_good() {
    for durability in [Durability::Lasting, Durability::UntilBoot] {
        for (bad, size) in [(1, 0), (1, 16), (40, 0)] {
            let reached = (0..200).take_while(|n| survives_refusal(durability, *n, bad, size)).count();
            assert!((3..200).contains(&reached), "{reached} places to refuse at");
        }
    }
}

#[test]
fn a_file_of_another_boot_is_begun_anew_and_one_of_this_boot_kept() {
    let dir = directory();
    let mut database = Database::open(place(dir.path(), Durability::UntilBoot, plain())).expect("a new file");
    database.commit(&change(&Records::new(), 1)).expect("it commits");
    let kept = records(&database);
    drop(database);
    assert_eq!(records(&Database::open(place(dir.path(), Durability::UntilBoot, plain())).expect("it opens")), kept);
    let tomorrow = Place { boot: "tomorrow".to_owned(), ..place(dir.path(), Durability::UntilBoot, plain()) };
    assert!(records(&Database::open(tomorrow).expect("it opens")).is_empty());
}

#[test]
fn damage_is_said_or_harmless_but_never_lost_records() {
    let dir = directory();
    let mut database = Database::open(place(dir.path(), Durability::Lasting, plain())).expect("a new file");
    let mut model = Records::new();
    for n in 1..30 {
        let writes = change(&model, n);
        apply(&mut model, &writes);
        database.commit(&writes).expect("it commits");
    }
    drop(database);
    let path = dir.path().join("state.redb");
    let whole = fs::read(&path).expect("the file");
    let mut dice = Dice(11);
    let mut said = 0;
    for round in 0..160 {
        let mut bytes = whole.clone();
        match round % 4 {
            0 => bytes.truncate(usize::try_from(dice.below(whole.len() as u64)).unwrap_or_default()),
            1 => {
                let page = usize::try_from(dice.below(whole.len() as u64 / 4096)).unwrap_or_default();
                bytes[page * 4096..][..4096].fill(0);
            }
            _ => {
                let at = usize::try_from(dice.below(whole.len() as u64)).unwrap_or_default();
                bytes[at] ^= 1 << dice.below(8);
            }
        }
        fs::write(&path, &bytes).expect("the damaged file");
        match Database::open(place(dir.path(), Durability::Lasting, plain())) {
            Ok(database) => assert_eq!(records(&database), model, "round {round}"),
            Err(why @ StoreError::Damaged { .. }) => {
                said += 1;
                assert_eq!(fs::read(&path).expect("the file"), bytes, "round {round}: a damaged file is left as it is");
                assert!(why.to_string().contains(&*path.to_string_lossy()) && why.hint().contains("mv "), "{why}: {}", why.hint());
            }
            Err(other) => panic!("round {round}: {other:?}"),
        }
    }
    assert!(said > 40, "{said} of 160 were noticed");
}
