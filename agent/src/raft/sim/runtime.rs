//! openraft's runtime in tests: tokio, with dice that a simulation loads, and with watches that wake
//! whoever waits in the order in which they came (tokio's wake in any).

use std::future::Future;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use futures_util::FutureExt as _;
use openraft::impls::TokioRuntime;
use openraft::{AsyncRuntime, OptionalSend, OptionalSync, async_runtime as rt};
use openraft_rt::deterministic_rng::DeterministicRng;
use tokio::sync::Notify;

use super::seams;

type Dice = DeterministicRng<TokioRuntime>;

#[derive(Debug)]
pub(crate) struct Runtime;

impl AsyncRuntime for Runtime {
    type JoinError = <TokioRuntime as AsyncRuntime>::JoinError;
    type JoinHandle<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::JoinHandle<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = <TokioRuntime as AsyncRuntime>::Instant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> = <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <Dice as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        TokioRuntime::spawn(future)
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(duration)
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        TokioRuntime::sleep_until(deadline)
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(duration: Duration, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(duration, future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(deadline: Self::Instant, future: F) -> Self::Timeout<R, F> {
        TokioRuntime::timeout_at(deadline, future)
    }

    fn is_panic(join_error: &Self::JoinError) -> bool {
        TokioRuntime::is_panic(join_error)
    }

    fn thread_rng() -> Self::ThreadLocalRng {
        let seed = seams::seed().unwrap_or_else(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let thrown = Dice::scope(seed, async { Dice::thread_rng() }).now_or_never();
        thrown.expect("nothing in it waits")
    }

    fn new(_threads: usize) -> Self {
        Self
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        TokioRuntime::new(1).block_on(future)
    }

    fn spawn_blocking<F, T>(f: F) -> impl Future<Output = Result<T, io::Error>> + Send
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        TokioRuntime::spawn_blocking(f)
    }
}

pub(crate) struct Watch;

struct Watched<T> {
    /// The value, its version, and how many can still send.
    state: RwLock<(T, u64, usize)>,
    changed: Notify,
}

impl<T> Watched<T> {
    fn read(&self) -> RwLockReadGuard<'_, (T, u64, usize)> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, (T, u64, usize)> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) struct Sender<T>(Arc<Watched<T>>);
pub(crate) struct Receiver<T>(Arc<Watched<T>>, u64);
pub(crate) struct Borrowed<'a, T>(RwLockReadGuard<'a, (T, u64, usize)>);

impl<T> Deref for Borrowed<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.0
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.write().2 += 1;
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.write().2 -= 1;
        self.0.changed.notify_waiters();
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0), self.1)
    }
}

impl rt::Watch for Watch {
    type Sender<T: OptionalSend + OptionalSync> = Sender<T>;
    type Receiver<T: OptionalSend + OptionalSync> = Receiver<T>;
    type Ref<'a, T: OptionalSend + 'a> = Borrowed<'a, T>;

    fn channel<T: OptionalSend + OptionalSync>(init: T) -> (Sender<T>, Receiver<T>) {
        let watched = Arc::new(Watched { state: RwLock::new((init, 0, 1)), changed: Notify::new() });
        (Sender(Arc::clone(&watched)), Receiver(watched, 0))
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchSender<Watch, T> for Sender<T> {
    fn send(&self, value: T) -> Result<(), rt::watch::SendError<T>> {
        self.send_if_modified(|held| {
            *held = value;
            true
        });
        Ok(())
    }

    fn send_if_modified<F>(&self, modify: F) -> bool
    where
        F: FnOnce(&mut T) -> bool,
    {
        let mut state = self.0.write();
        let modified = modify(&mut state.0);
        if modified {
            state.1 += 1;
            drop(state);
            self.0.changed.notify_waiters();
        }
        modified
    }

    fn borrow_watched(&self) -> Borrowed<'_, T> {
        Borrowed(self.0.read())
    }

    fn subscribe(&self) -> Receiver<T> {
        let version = self.0.read().1;
        Receiver(Arc::clone(&self.0), version)
    }
}

impl<T: OptionalSend + OptionalSync> rt::WatchReceiver<Watch, T> for Receiver<T> {
    async fn changed(&mut self) -> Result<(), rt::RecvError> {
        loop {
            let mut notified = std::pin::pin!(self.0.changed.notified());
            notified.as_mut().enable();
            {
                let state = self.0.read();
                if state.1 != self.1 {
                    self.1 = state.1;
                    return Ok(());
                }
                if state.2 == 0 {
                    return Err(rt::watch::RecvError(()));
                }
            }
            notified.await;
        }
    }

    fn borrow_watched(&self) -> Borrowed<'_, T> {
        Borrowed(self.0.read())
    }

    fn borrow_and_update(&mut self) -> Borrowed<'_, T> {
        let state = self.0.read();
        self.1 = state.1;
        Borrowed(state)
    }
}
