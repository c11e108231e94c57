//! Those who wait for the very same answer: one of them listens for all, and its answer is written to all.
//!
//! Two plain requests of the same bytes have the same answer, down to its headers. So the first who waits
//! listens; those after it follow, each with its own end of the wait, and no change wakes them. Who has
//! heard news takes all who follow out of the company before the answer is drawn: nobody is told what is
//! older than its question. All are written to before one of them is woken, so that no next question
//! comes between; what a slow socket did not take its own task sends.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::backend::Company;

/// So many are written to before other tasks have their turn.
const CHUNK: usize = 64;

/// All companies of a listener; a key is the whole head of a request.
#[derive(Default)]
pub(super) struct Companies(Mutex<HashMap<Arc<[u8]>, Followers>>);

/// By their address in memory.
type Followers = HashMap<usize, Arc<Seat>>;

/// An answer as it is written.
pub(super) struct Answer {
    /// With the body, where that is short.
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    /// Whether the connection stays.
    pub(super) keep: bool,
}

/// One who may wait, as the others see it.
pub(super) struct Seat {
    companies: Arc<Companies>,
    state: Mutex<State>,
}

struct State {
    role: Role,
    /// The same place in memory for all of a company.
    key: Arc<[u8]>,
    waker: Option<Waker>,
    /// Until an answer is written to it by another.
    stream: Option<Arc<TcpStream>>,
    /// Those to whom the news will be told.
    taken: Vec<Arc<Seat>>,
    help: Option<Arc<Round>>,
}

enum Role {
    Alone,
    Listens,
    Follows,
    Told(Told),
}

/// What was written to one.
pub(super) struct Told {
    pub(super) round: Arc<Round>,
    pub(super) written: io::Result<usize>,
}

/// What another one wants of a task that follows.
pub(super) enum Called {
    Help(Arc<Round>),
    Told(Told),
}

/// Whose answer it is that a task has come to.
pub(super) enum Settled {
    /// Its own, for these too.
    Own(Vec<Arc<Seat>>),
    /// Another one is telling it.
    Others,
}

/// A seat that is left when dropped.
pub(super) struct Place(Arc<Seat>);

impl Companies {
    pub(super) fn place(self: &Arc<Self>, head: &[u8], stream: &Arc<TcpStream>) -> Place {
        let state = Mutex::new(State {
            role: Role::Alone,
            key: head.into(),
            waker: None,
            stream: Some(Arc::clone(stream)),
            taken: Vec::new(),
            help: None,
        });
        Place(Arc::new(Seat { companies: Arc::clone(self), state }))
    }

    /// Always locked before a seat.
    fn all(&self) -> MutexGuard<'_, HashMap<Arc<[u8]>, Followers>> {
        lock(&self.0)
    }
}

impl Place {
    pub(super) fn company(&self) -> Arc<dyn Company> {
        Arc::<Seat>::clone(&self.0)
    }

    /// Ends when another one calls.
    pub(super) async fn called(&self) -> Called {
        poll_fn(|cx| {
            let mut state = lock(&self.0.state);
            if let Some(round) = state.help.take() {
                return Poll::Ready(Called::Help(round));
            }
            match std::mem::replace(&mut state.role, Role::Alone) {
                Role::Told(told) => return Poll::Ready(Called::Told(told)),
                other => state.role = other,
            }
            state.wake_by(cx);
            Poll::Pending
        })
        .await
    }

    /// When the task has an answer itself.
    pub(super) fn settle(&self) -> Settled {
        if self.0.leave() { Settled::Own(std::mem::take(&mut lock(&self.0.state).taken)) } else { Settled::Others }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.leave();
        let taken = {
            let mut state = lock(&self.0.state);
            state.stream = None;
            std::mem::take(&mut state.taken)
        };
        taken.into_iter().for_each(|seat| seat.turn(Role::Alone));
    }
}

impl Company for Seat {
    fn follows(self: Arc<Self>) -> bool {
        let mut all = self.companies.all();
        let mut state = lock(&self.state);
        match state.role {
            Role::Listens => return false,
            Role::Follows | Role::Told(_) => return true,
            Role::Alone => {}
        }
        match all.entry(Arc::clone(&state.key)) {
            Entry::Vacant(entry) => {
                entry.insert(Followers::new());
                state.role = Role::Listens;
                false
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().insert(self.id(), Arc::clone(&self));
                state.key = Arc::clone(entry.key());
                state.role = Role::Follows;
                true
            }
        }
    }

    fn poll_alone(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if matches!(state.role, Role::Alone | Role::Listens) {
            return Poll::Ready(());
        }
        state.wake_by(cx);
        Poll::Pending
    }

    fn has_news(&self) {
        let mut all = self.companies.all();
        let mut state = lock(&self.state);
        match state.role {
            Role::Listens => {
                state.taken = all.remove(&state.key).unwrap_or_default().into_values().collect();
                state.role = Role::Alone;
            }
            Role::Follows if self.quit(&mut all, &state.key) => state.role = Role::Alone,
            _ => {}
        }
    }
}

impl Seat {
    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    /// Whether it was among those who follow.
    fn quit(&self, all: &mut HashMap<Arc<[u8]>, Followers>, key: &[u8]) -> bool {
        all.get_mut(key).is_some_and(|followers| followers.remove(&self.id()).is_some())
    }

    /// False when another one has an answer for it. Whoever listened hands that on.
    fn leave(&self) -> bool {
        let mut all = self.companies.all();
        let mut state = lock(&self.state);
        match state.role {
            Role::Alone => return true,
            Role::Told(_) => return false,
            Role::Follows if !self.quit(&mut all, &state.key) => return false,
            Role::Follows => {}
            Role::Listens => {
                let followers = all.get_mut(&state.key);
                let next = followers.and_then(|all| all.keys().next().copied().and_then(|id| all.remove(&id)));
                match next {
                    Some(next) => next.turn(Role::Listens),
                    None => drop(all.remove(&state.key)),
                }
            }
        }
        state.role = Role::Alone;
        true
    }

    fn turn(&self, role: Role) {
        let waker = {
            let mut state = lock(&self.state);
            state.role = role;
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// What its socket takes now.
    fn write(&self, answer: &Answer) -> io::Result<usize> {
        // Taken, so that the task has its connection to itself once it is told.
        let stream = lock(&self.state).stream.take();
        stream.map_or(Ok(0), |stream| answer.write(&stream, 0))
    }
}

impl State {
    fn wake_by(&mut self, cx: &Context<'_>) {
        match &self.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }
}

/// One answer on its way to many, written by whoever has time.
pub(super) struct Round {
    pub(super) answer: Arc<Answer>,
    count: usize,
    rest: Mutex<Vec<Arc<Seat>>>,
    written: Mutex<Vec<(io::Result<usize>, Arc<Seat>)>>,
}

impl Round {
    /// Writes to all of them, with the help of as many tasks as can run beside this one.
    pub(super) async fn tell(taken: Vec<Arc<Seat>>, answer: Arc<Answer>) {
        let threads = tokio::runtime::Handle::current().metrics().num_workers();
        let helpers = (threads - 1).min(taken.len() / CHUNK);
        let helpers = taken[..helpers].to_vec();
        let written = Mutex::new(Vec::with_capacity(taken.len()));
        let round = Arc::new(Self { answer, count: taken.len(), rest: Mutex::new(taken), written });
        for helper in helpers {
            let waker = {
                let mut state = lock(&helper.state);
                state.help = Some(Arc::clone(&round));
                state.waker.clone()
            };
            waker.into_iter().for_each(Waker::wake);
        }
        round.work().await;
    }

    pub(super) async fn work(self: &Arc<Self>) {
        loop {
            let some = {
                let mut rest = lock(&self.rest);
                let at = rest.len().saturating_sub(CHUNK);
                rest.split_off(at)
            };
            if some.is_empty() {
                return;
            }
            let some = some.into_iter().map(|seat| (seat.write(&self.answer), seat)).collect::<Vec<_>>();
            let all = {
                let mut written = lock(&self.written);
                written.extend(some);
                if written.len() == self.count { std::mem::take(&mut *written) } else { Vec::new() }
            };
            for (written, seat) in all {
                seat.turn(Role::Told(Told { round: Arc::clone(self), written }));
            }
            tokio::task::yield_now().await;
        }
    }
}

impl Answer {
    pub(super) fn length(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// How many bytes after the first `from` are taken now.
    pub(super) fn write(&self, stream: &TcpStream, from: usize) -> io::Result<usize> {
        let head = self.head.get(from..).unwrap_or_default();
        let body = &self.body[from.saturating_sub(self.head.len()).min(self.body.len())..];
        let written = match (head.is_empty(), body.is_empty()) {
            (false, true) => stream.try_write(head),
            (true, _) => stream.try_write(body),
            (false, false) => stream.try_write_vectored(&[io::IoSlice::new(head), io::IoSlice::new(body)]),
        };
        match written {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            other => other,
        }
    }
}

/// Nothing is left half done under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    struct One {
        place: Place,
        client: TcpStream,
    }

    impl One {
        async fn new(companies: &Arc<Companies>, head: &str) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("an address");
            let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
            let stream = Arc::new(accepted.expect("accepted").0);
            stream.writable().await.expect("room to write");
            Self { place: companies.place(head.as_bytes(), &stream), client: client.expect("connected") }
        }

        fn follows(&self) -> bool {
            self.place.company().follows()
        }

        fn is_released(&self) -> bool {
            poll_fn(|cx| self.place.company().poll_alone(cx)).now_or_never().is_some()
        }

        async fn read(&mut self, count: usize) -> String {
            let mut bytes = vec![0; count];
            self.client.read_exact(&mut bytes).await.expect("read");
            String::from_utf8(bytes).expect("text")
        }
    }

    fn answer(head: &'static str, body: &'static str) -> Arc<Answer> {
        Arc::new(Answer { head: Bytes::from(head), body: Bytes::from(body), keep: true })
    }

    fn own(place: &Place) -> Vec<Arc<Seat>> {
        match place.settle() {
            Settled::Own(taken) => taken,
            Settled::Others => panic!("another one has an answer for it"),
        }
    }

    #[tokio::test]
    async fn the_first_listens_for_all_who_ask_the_same() {
        let companies = Arc::new(Companies::default());
        let first = One::new(&companies, "a").await;
        let mut others = Vec::new();
        for _ in 0..3 {
            others.push(One::new(&companies, "a").await);
        }
        let stranger = One::new(&companies, "b").await;
        assert!(!first.follows() && others.iter().all(One::follows) && !stranger.follows());
        assert!(!first.follows() && others[0].follows(), "asked again they say the same");
        first.place.company().has_news();
        let late = One::new(&companies, "a").await;
        assert!(!late.follows(), "who comes after the news listens for itself");
        let taken = own(&first.place);
        assert_eq!(taken.len(), 3);
        assert!(matches!(others[0].place.settle(), Settled::Others), "another one has its answer");
        Round::tell(taken, answer("head", "-body")).await;
        for one in &mut others {
            let Called::Told(told) = one.place.called().await else { panic!("it was told") };
            assert_eq!((told.written.expect("written"), told.round.answer.length()), (9, 9));
            assert_eq!(one.read(9).await, "head-body");
        }
        drop((late, stranger));
        assert!(companies.all().is_empty());
    }

    #[tokio::test]
    async fn who_listened_and_goes_hands_that_on() {
        let companies = Arc::new(Companies::default());
        let first = One::new(&companies, "a").await;
        let second = One::new(&companies, "a").await;
        assert!(!first.follows() && second.follows() && !second.is_released());
        assert!(own(&first.place).is_empty(), "its wait is over");
        assert!(second.is_released() && !second.follows());
        let third = One::new(&companies, "a").await;
        assert!(third.follows());
        drop(second);
        assert!(third.is_released() && !third.follows());
        let fourth = One::new(&companies, "a").await;
        assert!(fourth.follows());
        third.place.company().has_news();
        drop(third);
        assert!(fourth.is_released(), "nobody will tell it");
        assert!(!fourth.follows());
        drop(fourth);
        assert!(companies.all().is_empty());
    }

    #[tokio::test]
    async fn who_follows_may_go_or_see_for_itself() {
        let companies = Arc::new(Companies::default());
        let first = One::new(&companies, "a").await;
        let second = One::new(&companies, "a").await;
        let third = One::new(&companies, "a").await;
        assert!(!first.follows() && second.follows() && third.follows());
        drop(second);
        third.place.company().has_news();
        assert!(own(&third.place).is_empty());
        first.place.company().has_news();
        assert!(own(&first.place).is_empty());
        assert!(companies.all().is_empty());
    }

    #[tokio::test]
    async fn many_are_told_with_help() {
        let companies = Arc::new(Companies::default());
        let first = One::new(&companies, "a").await;
        let mut others = Vec::new();
        for _ in 0..3 * CHUNK {
            others.push(One::new(&companies, "a").await);
        }
        assert!(!first.follows() && others.iter().all(One::follows));
        first.place.company().has_news();
        let round = {
            let rest = own(&first.place);
            Arc::new(Round {
                answer: answer("x", ""),
                count: rest.len(),
                rest: Mutex::new(rest),
                written: Mutex::default(),
            })
        };
        tokio::join!(round.work(), round.work());
        for one in &mut others {
            assert!(matches!(one.place.called().await, Called::Told(_)));
            assert_eq!(one.read(1).await, "x");
        }
    }

    #[tokio::test]
    async fn an_answer_goes_on_where_it_was() {
        let companies = Arc::new(Companies::default());
        let mut one = One::new(&companies, "a").await;
        let stream = lock(&one.place.0.state).stream.clone().expect("a stream");
        for from in 0..6 {
            let left = 6 - from;
            assert_eq!(answer("abc", "def").write(&stream, from).expect("written"), left, "from {from}");
            assert_eq!(one.read(left).await, "abcdef"[from..]);
        }
    }
}
