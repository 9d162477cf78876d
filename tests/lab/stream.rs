//! A connection that keeps talking: numbered lines out, their echo back. Shows whether it was ever broken, and for how long it stood still.
//! Never connects again.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    ask::{self, Answer},
    space::NetSpace,
    wait::{PATIENCE, poll},
};

/// See the module.
#[derive(Debug)]
pub struct Stream {
    what: String,
    /// Who answered the connection.
    pub answer: Answer,
    progress: Arc<Mutex<Progress>>,
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug, Clone)]
struct Progress {
    echoes: u64,
    last: Instant,
    pause: Duration,
    broken: Option<String>,
}

impl Stream {
    pub(crate) fn new(net: &NetSpace, who: &str, to: SocketAddr) -> Self {
        let what = format!("{who}'s connection to {to}");
        let connected = net.inside(|| -> std::io::Result<_> {
            let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_nodelay(true)?;
            let answer = ask::greeting(&stream, PATIENCE)?;
            Ok((stream, answer))
        });
        let (stream, answer) = connected.unwrap_or_else(|why| panic!("{what} failed: {why}"));
        let progress = Arc::new(Mutex::new(Progress { echoes: 0, last: Instant::now(), pause: Duration::ZERO, broken: None }));
        let stop = Arc::new(AtomicBool::new(false));
        let (seen, ended) = (progress.clone(), stop.clone());
        let thread = thread::spawn(move || talk(&stream, &seen, &ended));
        let stream = Self { what, answer, progress, stop, thread: Some(thread) };
        stream.expect_flowing();
        stream
    }

    /// It goes on: another ten echoes come back, and it was never broken.
    #[track_caller]
    pub fn expect_flowing(&self) {
        let before = self.now().echoes;
        let flowing = poll(PATIENCE, || {
            let now = self.now();
            (now.broken.is_some() || now.echoes >= before + 10).then_some(now)
        });
        let now = self.now();
        assert!(now.broken.is_none(), "{} broke after {} echoes: {}", self.what, now.echoes, now.broken.unwrap_or_default());
        assert!(flowing.is_some(), "{} stands still after {} echoes", self.what, now.echoes);
    }

    /// It is cut: broken, or no echo for a second.
    #[track_caller]
    pub fn expect_cut(&self) {
        let cut = poll(PATIENCE, || {
            let now = self.now();
            (now.broken.is_some() || now.last.elapsed() > Duration::from_secs(1)).then_some(())
        });
        assert!(cut.is_some(), "{} still flows", self.what);
    }

    /// The longest time between two echoes so far.
    pub fn longest_pause(&self) -> Duration {
        let now = self.now();
        now.pause.max(now.last.elapsed())
    }

    fn now(&self) -> Progress {
        self.progress.lock().expect("the talker does not panic").clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn talk(stream: &TcpStream, progress: &Mutex<Progress>, stop: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    let mut sender = stream;
    let mut number = 0_u64;
    let broken = |why: String| progress.lock().expect("readers do not panic").broken = Some(why);
    while !stop.load(Ordering::Relaxed) {
        if let Err(why) = sender.write_all(format!("{number}\n").as_bytes()) {
            return broken(why.to_string());
        }
        loop {
            match lines.read_line(&mut line) {
                Ok(0) => return broken("the peer closed it".to_owned()),
                Ok(_) => break,
                Err(why) if why.kind() == std::io::ErrorKind::WouldBlock && !stop.load(Ordering::Relaxed) => {}
                Err(_) if stop.load(Ordering::Relaxed) => return,
                Err(why) => return broken(why.to_string()),
            }
        }
        if line.trim_end() != number.to_string() {
            return broken(format!("line {number} came back as {line:?}"));
        }
        line.clear();
        number += 1;
        {
            let mut progress = progress.lock().expect("readers do not panic");
            progress.pause = progress.pause.max(progress.last.elapsed());
            progress.last = Instant::now();
            progress.echoes = number;
        }
        thread::sleep(Duration::from_millis(2));
    }
}
