//! The loop: next message, update, perform effects, draw if anything changed.
//!
//! One thread takes keys, changes the model and draws; another does all I/O, so that neither waits for
//! it. Between them is one bounded queue. Called by `cli`, which has settled where to look.

use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr, bail};
use crossterm::event::{Event as Input, EventStream};
use futures_util::StreamExt;
use shared::http::Settings;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::client::{Client, QUEUE};
use crate::model::{Look, Model, Setup};
use crate::msg::{Effect, Link, Msg, Trick};
use crate::terminal::{self, Guard};
use crate::{clock, keymap, update, view};

/// Frames while keys are pressed, and else.
const FRAME_BUSY: Duration = Duration::from_millis(16);
const FRAME: Duration = Duration::from_millis(33);
/// Keys this close together are one stroke of work.
const BUSY: Duration = Duration::from_millis(250);
const TICK: Duration = Duration::from_secs(1);
const TICK_AGING: Duration = Duration::from_millis(250);
/// News taken between two looks at the keys.
const BATCH: usize = 256;

/// What the console is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    /// One lane each; at least one.
    pub places: Vec<Settings>,
    pub look: Look,
    pub read_only: bool,
}

/// The processes of a demo, to those who may play with them. Called on the main thread, and must not wait.
pub trait Stage {
    /// What was done, or why it was not: the rest of a sentence that begins with the node.
    fn trick(&mut self, node: &str, trick: Trick) -> std::result::Result<String, String>;

    /// What is done to nodes and does not show by itself, a phrase each.
    fn fates(&self) -> Vec<String>;
}

/// What the last picture showed, to be told when the screen is gone.
#[derive(Clone, Debug)]
pub struct Closed {
    /// The agent that was in use.
    pub address: String,
    pub was_live: bool,
}

/// Runs the screen until it is closed. Call it on the main thread, with no runtime around it.
pub fn run(launch: Launch, stage: Option<&mut dyn Stage>) -> Result<Closed> {
    terminal::check()?;
    terminal::install_panic_hook();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("console-client")
        .enable_all()
        .build()
        .wrap_err("start the runtime")?;
    let closed = runtime.block_on(screen(launch, stage));
    // A name that is being looked up must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(100));
    closed
}

/// Everything the loop owns.
struct Console<'s> {
    stage: Option<&'s mut dyn Stage>,
    guard: Guard,
    model: Model,
    client: Client,
    news: mpsc::Receiver<Msg>,
    keys: EventStream,
    signals: Signals,
    drawn: Instant,
    pressed: Instant,
    is_over: bool,
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
    stop: Signal,
}

/// What a signal asks for.
enum Asked {
    End,
    Suspend,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).wrap_err("listen for signals");
        // SIGTSTP, as the shell's `kill -TSTP` sends it; it has no name of its own in tokio.
        let stop = rustix::process::Signal::TSTP.as_raw();
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            quit: listen(SignalKind::quit())?,
            stop: listen(SignalKind::from_raw(stop))?,
        })
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            _ = self.hang_up.recv() => Asked::End,
            _ = self.quit.recv() => Asked::End,
            _ = self.stop.recv() => Asked::Suspend,
        }
    }
}

async fn screen(launch: Launch, stage: Option<&mut dyn Stage>) -> Result<Closed> {
    let (tell, news) = mpsc::channel(QUEUE);
    let client = Client::start(&launch.places, &tell)?;
    let signals = Signals::new()?;
    let guard = Guard::take()?;
    let mut look = launch.look;
    look.ascii = look.ascii || guard.draws_double();
    let addresses = launch.places.iter().map(|place| place.address.clone()).collect();
    let mut model = Model::new(Setup {
        addresses,
        utc_offset_s: clock::utc_offset_s(),
        look,
        read_only: launch.read_only,
        demo: stage.is_some(),
    });
    let size = guard.screen.size().wrap_err("ask the terminal for its size")?;
    update::update(&mut model, Msg::Tick { now: clock::now() });
    update::update(&mut model, Msg::Resize { width: size.width, height: size.height });
    let now = Instant::now();
    let mut console = Console {
        stage,
        guard,
        model,
        client,
        news,
        keys: EventStream::new(),
        signals,
        drawn: now - FRAME,
        pressed: now - BUSY,
        is_over: false,
    };
    console.run().await?;
    let lane = console.model.lane();
    Ok(Closed {
        address: lane.map(|lane| lane.address.clone()).unwrap_or_default(),
        was_live: lane.is_some_and(|lane| matches!(lane.link, Link::Live { .. })),
    })
}

impl Console<'_> {
    async fn run(&mut self) -> Result<()> {
        let mut tick = Instant::now() + to_next_second();
        while !self.is_over {
            if terminal::panicked() {
                bail!("a part of the console failed");
            }
            let draw_at = self.drawn + self.frame();
            if self.model.dirty && Instant::now() >= draw_at {
                self.draw()?;
            }
            tokio::select! {
                // Keys first: they must not wait behind news.
                biased;
                input = self.keys.next() => self.input(input)?,
                asked = self.signals.next() => match asked {
                    Asked::End => self.is_over = true,
                    Asked::Suspend => self.suspend()?,
                },
                () = self.client.broken() => bail!("a part of the console failed"),
                () = sleep_until(draw_at), if self.model.dirty => {}
                Some(msg) = self.news.recv() => self.news(msg)?,
                () = sleep_until(tick) => {
                    self.take(Msg::Tick { now: clock::now() })?;
                    tick = Instant::now() + if self.is_aging() { TICK_AGING } else { to_next_second() };
                }
            }
        }
        Ok(())
    }

    /// The least time between two frames.
    fn frame(&self) -> Duration {
        if self.pressed.elapsed() < BUSY { FRAME_BUSY } else { FRAME }
    }

    /// Something on screen counts faster than the clock: the time until the next attempt.
    fn is_aging(&self) -> bool {
        !self.model.is_live()
    }

    fn draw(&mut self) -> Result<()> {
        self.model.dirty = false;
        let effects = update::settle(&mut self.model);
        self.perform(effects)?;
        let model = &self.model;
        let mut scrolls = 0;
        self.guard.screen.draw(|frame| scrolls = view::draw(model, frame)).wrap_err("draw the screen")?;
        self.model.scrolled(scrolls);
        self.drawn = Instant::now();
        if cfg!(debug_assertions) && std::env::var_os("QUORATE_CONSOLE_PANIC").is_some() {
            panic!("asked for by QUORATE_CONSOLE_PANIC");
        }
        Ok(())
    }

    fn input(&mut self, input: Option<std::io::Result<Input>>) -> Result<()> {
        match input {
            None => self.is_over = true,
            Some(Err(error)) => return Err(error).wrap_err("read from the terminal"),
            Some(Ok(Input::Resize(width, height))) => self.take(Msg::Resize { width, height })?,
            Some(Ok(Input::Key(key))) => {
                if let Some(action) = keymap::action(&self.model, key) {
                    self.pressed = Instant::now();
                    // What a key begins is dated by it.
                    self.take(Msg::Tick { now: clock::now() })?;
                    self.take(Msg::Act(action))?;
                }
            }
            Some(Ok(_)) => {}
        }
        Ok(())
    }

    /// Takes what has come, up to a bound, before the screen is drawn again.
    fn news(&mut self, first: Msg) -> Result<()> {
        self.take(first)?;
        for _ in 1..BATCH {
            match self.news.try_recv() {
                Ok(msg) => self.take(msg)?,
                Err(_) => break,
            }
        }
        Ok(())
    }

    fn take(&mut self, msg: Msg) -> Result<()> {
        let effects = update::update(&mut self.model, msg);
        self.perform(effects)
    }

    fn perform(&mut self, effects: Vec<Effect>) -> Result<()> {
        for effect in effects {
            match effect {
                Effect::Quit => self.is_over = true,
                Effect::Suspend => self.suspend()?,
                Effect::Refresh(lane) => self.client.refresh(lane),
                Effect::Attach(lane) => self.client.attach(lane),
                Effect::LogLevel(level) => self.client.set_log_level(level),
                Effect::Order { id, to, order } => self.client.order(id, &to, order),
                Effect::Trick { node, trick } => self.trick(node, trick)?,
                Effect::Probe { lane, probe } => self.client.probe(lane, probe),
                Effect::Watch(interest) => self.client.watch(interest),
                Effect::Copy(text) => terminal::copy(&text).wrap_err("hand a text to the terminal")?,
                Effect::Save { name, text } => self.client.save(name, text),
            }
        }
        Ok(())
    }

    fn trick(&mut self, node: String, trick: Trick) -> Result<()> {
        let Some(stage) = &mut self.stage else { return Ok(()) };
        let (done, fates) = (stage.trick(&node, trick), stage.fates());
        self.take(Msg::Tricked { at: clock::now(), node, done, fates })
    }

    /// Stops until the shell continues it; what changed meanwhile is drawn at once.
    fn suspend(&mut self) -> Result<()> {
        self.guard.suspend()?;
        let size = self.guard.screen.size().wrap_err("ask the terminal for its size")?;
        self.take(Msg::Tick { now: clock::now() })?;
        self.take(Msg::Resize { width: size.width, height: size.height })
    }
}

/// Until the clock on screen shows another second.
fn to_next_second() -> Duration {
    let second = i64::try_from(TICK.as_micros()).unwrap_or(i64::MAX);
    let left = second - clock::now().micros().rem_euclid(second);
    Duration::from_micros(u64::try_from(left).unwrap_or(0))
}
