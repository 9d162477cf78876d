//! Shutdown as a value: who holds a [`Drain`] learns that it is time to end; who holds the [`Tasks`] waits until all have. Decides on no deadline.

use std::{future::Future, time::Duration};

use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::timeout,
};

/// Begins the end.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Learns of the end.
#[derive(Debug, Clone)]
pub struct Drain(watch::Receiver<bool>);

/// A stopper and the first of its drains.
pub fn drain() -> (Stopper, Drain) {
    let (stopper, drain) = watch::channel(false);
    (Stopper(stopper), Drain(drain))
}

impl Stopper {
    /// Tells all that hold a drain to finish what they do and end.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Drain {
    /// Waits until it is time to end. May be dropped and waited for again.
    pub async fn begun(&mut self) {
        // A stopper that is gone will not call any more: the end has come, too.
        let _gone = self.0.wait_for(|stopped| *stopped).await;
    }
}

/// Tasks by name, all of which are joined.
#[derive(Debug, Default)]
pub struct Tasks {
    set: JoinSet<()>,
    names: Vec<(Id, &'static str)>,
}

impl Tasks {
    /// Starts a task that ends soon after its drain has begun.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let handle = self.set.spawn(task);
        self.names.push((handle.id(), name));
    }

    /// Waits for one of them to end, and gives its name and whether it panicked. None: there are none.
    pub async fn ended(&mut self) -> Option<(&'static str, bool)> {
        let (id, panicked) = match self.set.join_next_with_id().await? {
            Ok((id, ())) => (id, false),
            Err(why) => (why.id(), why.is_panic()),
        };
        let at = self.names.iter().position(|(known, _)| *known == id)?;
        Some((self.names.swap_remove(at).1, panicked))
    }

    /// Waits for all of them. Those that do not end in time are cut off where they wait; gives their names.
    pub async fn join(mut self, limit: Duration) -> Vec<&'static str> {
        if timeout(limit, async { while self.ended().await.is_some() {} }).await.is_ok() {
            return Vec::new();
        }
        self.set.abort_all();
        self.names.into_iter().map(|(_, name)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    //! Tests of the shutdown.

    use super::*;

    #[tokio::test]
    async fn tasks_end_with_the_drain_and_the_stubborn_are_named() {
        let (stopper, drain) = drain();
        let mut tasks = Tasks::default();
        for name in ["one", "two"] {
            let mut drain = drain.clone();
            tasks.spawn(name, async move { drain.begun().await });
        }
        tasks.spawn("stubborn", std::future::pending());
        stopper.stop();
        assert_eq!(tasks.join(Duration::from_millis(200)).await, ["stubborn"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn("bad", async { panic!("for the test") });
        assert_eq!(tasks.ended().await, Some(("bad", true)));
        assert_eq!(tasks.ended().await, None);
    }
}
