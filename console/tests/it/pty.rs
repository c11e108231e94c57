//! The real `console` in a terminal of ours: what it shows, what its keys do, and how it gives the
//! terminal back.

#![expect(clippy::disallowed_methods, reason = "how long to wait is nobody else's business here")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use crate::fake_agent::{Fake, hashicorp};

/// Far beyond what a busy machine needs, for only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(10);
const PROGRAM: &str = env!("CARGO_BIN_EXE_console");
/// Asks for the place of the cursor.
const WHERE: &[u8] = b"\x1b[6n";

/// What the terminal shows, and the word that it changed.
pub(crate) struct Glass {
    parser: Mutex<vt100::Parser>,
    changed: Condvar,
}

pub(crate) struct Console {
    glass: Arc<Glass>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    pub(crate) child: Box<dyn Child + Send + Sync>,
    terminal: Box<dyn MasterPty + Send>,
    /// The terminal's modes before.
    modes: String,
}

/// How the program is started.
pub(crate) struct Start<'a> {
    pub(crate) arguments: &'a [&'a str],
    pub(crate) environment: &'a [(&'a str, &'a str)],
    /// Columns that the terminal says ★ takes.
    pub(crate) star: u8,
    /// Where it runs.
    pub(crate) place: &'a Path,
}

impl Start<'_> {
    pub(crate) fn run(self) -> Console {
        let size = PtySize { rows: 36, cols: 120, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).expect("a terminal");
        let mut command = CommandBuilder::new(PROGRAM);
        command.args(self.arguments);
        command.env_clear();
        command.cwd(self.place);
        for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8"), ("HOME", "/nonexistent")] {
            command.env(name, value);
        }
        for (name, value) in self.environment {
            command.env(name, value);
        }
        let modes = modes(&*pair.master);
        let glass = Arc::new(Glass { parser: Mutex::new(vt100::Parser::new(36, 120, 0)), changed: Condvar::new() });
        let keys = Arc::new(Mutex::new(pair.master.take_writer().expect("a keyboard")));
        let mut reader = pair.master.try_clone_reader().expect("a screen");
        let (watched, answers, star) = (glass.clone(), keys.clone(), self.star);
        std::thread::spawn(move || {
            let mut piece = [0; 65_536];
            while let Ok(read) = reader.read(&mut piece) {
                if read == 0 {
                    break;
                }
                watched.parser.lock().expect("no panic").process(&piece[..read]);
                if piece[..read].windows(WHERE.len()).any(|part| part == WHERE) {
                    let answer = format!("\x1b[1;{}R", star + 1);
                    answers.lock().expect("no panic").write_all(answer.as_bytes()).expect("an answer");
                }
                watched.changed.notify_all();
            }
        });
        let child = pair.slave.spawn_command(command).expect("the console");
        Console { glass, keys, child, terminal: pair.master, modes }
    }
}

/// What the line discipline does, as text to compare.
fn modes(terminal: &dyn MasterPty) -> String {
    let modes = terminal.get_termios().expect("the terminal's modes");
    format!("{:?} {:?} {:?}", modes.input_flags, modes.output_flags, modes.local_flags)
}

pub(crate) fn console(arguments: &[&str]) -> Console {
    Start { arguments, environment: &[], star: 1, place: &std::env::temp_dir() }.run()
}

impl Console {
    pub(crate) fn press(&self, keys: &str) {
        self.keys.lock().expect("no panic").write_all(keys.as_bytes()).expect("the console reads keys");
    }

    /// Waits until the screen is so.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, holds: impl Fn(&vt100::Screen) -> bool) {
        let end = Instant::now() + PATIENCE;
        let mut parser = self.glass.parser.lock().expect("no panic");
        while !holds(parser.screen()) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waiting for {what}, last seen:\n{}", parser.screen().contents());
            parser = self.glass.changed.wait_timeout(parser, left).expect("no panic").0;
        }
    }

    /// Whether the text is there before the time is up.
    fn comes_to_show(&self, text: &str, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        let mut parser = self.glass.parser.lock().expect("no panic");
        while !parser.screen().contents().contains(text) {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            parser = self.glass.changed.wait_timeout(parser, left).expect("no panic").0;
        }
        true
    }

    #[track_caller]
    pub(crate) fn shows(&self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text));
    }

    #[track_caller]
    pub(crate) fn shows_not(&self, text: &str) {
        self.until(&format!("no {text}"), |screen| !screen.contents().contains(text));
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.process_id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        kill_process(pid.expect("it runs"), signal).expect("it is told");
    }

    /// Waits for its end and looks whether the terminal is as it was; its exit code.
    #[track_caller]
    pub(crate) fn ends(&mut self) -> u32 {
        let end = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status;
            }
            assert!(
                Instant::now() < end,
                "it does not end:\n{}",
                self.glass.parser.lock().expect("no panic").screen().contents()
            );
            std::thread::sleep(PAUSE);
        };
        self.until("the screen from before", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        assert_eq!(modes(&*self.terminal), self.modes);
        status.exit_code()
    }
}

impl Console {
    /// What it shows now.
    pub(crate) fn contents(&self) -> String {
        self.glass.parser.lock().expect("no panic").screen().contents()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "waited for {what}");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn each_key_does_what_the_help_says() {
    let mut console = console(&["demo"]);
    console.shows("3 of 3 voters up");
    for (keys, shown) in [
        ("2", "[2 Members"),
        ("s", "by node"),
        ("S", "▼"),
        ("/zzz", "no member passes the filter"),
        ("\x15srv", "/ srv"),
        ("\r", "s sort"),
        ("\r", "incarnation"),
    ] {
        console.press(keys);
        console.shows(shown);
    }
    console.press("\x1b");
    console.shows_not("incarnation");
    for (keys, shown) in [
        ("3", "[3 Raft]"),
        ("z", "═ Replication"),
        ("\t", "═ Elections"),
        ("\x1b[Z", "═ Replication"),
        ("z", "Leadership"),
        ("5", "[5 Events]"),
        ("l", "level debug+"),
        ("t", "only"),
        (" ", "frozen"),
        ("f", "following"),
        ("?", "ANYWHERE"),
        ("?", "[5 Events]"),
        ("1", "[1 Overview]"),
        ("r", "QUORUM OK"),
    ] {
        console.press(keys);
        console.shows(shown);
    }
    console.press("q");
    assert_eq!(console.ends(), 0);
}

#[test]
fn an_agent_that_is_left_keeps_running_and_the_screen_says_so() {
    let fake = Fake::new(hashicorp);
    let mut console = console(&["--addr", &fake.address]);
    console.shows("srv-1");
    console.press("\x03");
    assert_eq!(console.ends(), 0);
    console.shows(&format!("console closed; the agent at {} keeps running", fake.address));
}

#[test]
fn another_size_is_drawn_at_once() {
    let fake = Fake::new(hashicorp);
    let mut console = console(&["--addr", &fake.address]);
    console.shows("srv-1");
    let (rows, cols) = (24, 80);
    console.glass.parser.lock().expect("no panic").screen_mut().set_size(rows, cols);
    console.terminal.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).expect("another size");
    // The last line of the smaller screen holds the keys.
    console.until("the footer", |screen| screen.contents().lines().nth(23).is_some_and(|line| line.contains("q quit")));
    console.press("q");
    assert_eq!(console.ends(), 0);
}

#[test]
fn signals_give_the_terminal_back() {
    let fake = Fake::new(hashicorp);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut console = console(&["--addr", &fake.address]);
        console.shows("srv-1");
        console.signal(signal);
        assert_eq!(console.ends(), 0, "{signal:?}");
    }
}

#[test]
fn a_window_that_is_closed_is_no_failure() {
    let fake = Fake::new(hashicorp);
    let state = tempfile::tempdir().expect("a directory");
    let pair = native_pty_system().openpty(PtySize { rows: 36, cols: 120, ..PtySize::default() }).expect("a terminal");
    let mut command = CommandBuilder::new(PROGRAM);
    command.args(["--addr", fake.address.as_str()]);
    command.env_clear();
    command.cwd(std::env::temp_dir());
    for (name, value) in [("TERM", "xterm-256color"), ("LANG", "C.UTF-8")] {
        command.env(name, value);
    }
    command.env("XDG_STATE_HOME", state.path());
    command.env("HOME", state.path());
    let mut reader = pair.master.try_clone_reader().expect("a screen");
    let mut child = pair.slave.spawn_command(command).expect("the console");
    drop(pair.slave);
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut parser = vt100::Parser::new(36, 120, 0);
        let mut piece = [0; 4_096];
        while !parser.screen().contents().contains("srv-1") {
            match reader.read(&mut piece) {
                Ok(read) if read > 0 => parser.process(&piece[..read]),
                _ => break,
            }
        }
        let is_drawn = parser.screen().contents().contains("srv-1");
        // The last that holds the terminal but this test.
        drop(reader);
        tell.send(is_drawn).expect("the test waits");
    });
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true), "the console has drawn");
    drop(pair.master);
    let ended = Mutex::new(&mut child);
    eventually("its end", || ended.lock().expect("no panic").try_wait().expect("its status").is_some());
    let left: Vec<_> = std::fs::read_dir(state.path()).expect("it is there").flatten().collect();
    assert!(left.is_empty(), "a report was written: {left:?}");
}

#[test]
fn a_stop_gives_the_terminal_back_until_it_goes_on() {
    let fake = Fake::new(hashicorp);
    let mut console = console(&["--addr", &fake.address]);
    for ask in [|console: &Console| console.press("\x1a"), |console: &Console| console.signal(Signal::TSTP)] {
        console.shows("srv-1");
        ask(&console);
        console.until("the screen from before", |screen| !screen.alternate_screen() && !screen.hide_cursor());
        let status = format!("/proc/{}/stat", console.child.process_id().expect("it runs"));
        let is_stopped = || std::fs::read_to_string(&status).is_ok_and(|text| text.contains(") T "));
        eventually("its stop", is_stopped);
        assert_eq!(modes(&*console.terminal), console.modes);
        console.signal(Signal::CONT);
        console.until("the console again", vt100::Screen::alternate_screen);
        console.shows("srv-1");
    }
    console.press("q");
    assert_eq!(console.ends(), 0);
}

#[test]
fn a_panic_gives_the_terminal_back_and_leaves_a_report() {
    let state = tempfile::tempdir().expect("a directory");
    let path = state.path().to_string_lossy().into_owned();
    let environment = [("QUORATE_CONSOLE_PANIC", "1"), ("XDG_STATE_HOME", path.as_str())];
    let mut console = Start {
        arguments: &["--addr", "127.0.0.1:1"],
        environment: &environment,
        star: 1,
        place: &std::env::temp_dir(),
    }
    .run();
    assert_ne!(console.ends(), 0);
    console.shows("a report is in");
    let mut reports = std::fs::read_dir(state.path().join("quorate")).expect("its directory").flatten();
    let report = std::fs::read_to_string(reports.next().expect("a report").path()).expect("its text");
    assert!(report.contains("asked for by QUORATE_CONSOLE_PANIC"), "{report}");
}

#[test]
fn glyphs_give_way_where_the_terminal_cannot_draw_them() {
    let fake = Fake::new(hashicorp);
    let drawn = |arguments: &[&str], environment: &[(&str, &str)], star| {
        let arguments = [&["--addr", &fake.address], arguments].concat();
        let console = Start { arguments: &arguments, environment, star, place: &std::env::temp_dir() }.run();
        console.shows("srv-1");
        console.shows("Servers");
        let contents = console.glass.parser.lock().expect("no panic").screen().contents();
        contents.contains('│')
    };
    assert!(drawn(&[], &[], 1));
    assert!(!drawn(&[], &[], 2), "the star is too wide");
    assert!(!drawn(&[], &[("LANG", "C")], 1), "the locale is not UTF-8");
    assert!(!drawn(&["--ascii"], &[], 1));
}

/// What it says and how it ends where there is no terminal.
fn said(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PROGRAM);
    command.args(arguments).env_clear().envs(environment.iter().copied()).stdin(Stdio::null());
    let output = command.output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn without_a_terminal_it_says_so() {
    let (code, text) = said(&[("TERM", "xterm")], &[]);
    assert_eq!((code, text.as_str()), (Some(1), "console: this is no terminal; in scripts use `console status`\n"));
    let (environment, place) = ([("TERM", "")], std::env::temp_dir());
    let mut console = Start { arguments: &[], environment: &environment, star: 1, place: &place }.run();
    assert_eq!(console.ends(), 1);
    console.shows("TERM is not set");
}

#[test]
fn the_flags_that_tell_something_need_no_terminal() {
    let (code, text) = said(&[], &["--version"]);
    assert_eq!((code, text.starts_with("console 0.")), (Some(0), true), "{text}");
    let (code, text) = said(&[], &["--help"]);
    assert_eq!((code, text.contains("--addr HOST:PORT")), (Some(0), true), "{text}");
    let (code, text) = said(&[], &["--adr", "x"]);
    assert_eq!((code, text.as_str()), (Some(1), "console: there is no flag --adr; see console --help\n"));
}

#[test]
fn a_demo_of_another_agents_cluster_is_refused() {
    let (code, text) = said(&[("TERM", "xterm")], &["demo", "--addr", "127.0.0.1:1"]);
    assert_eq!((code, text.starts_with("console: --addr is of no use with demo")), (Some(1), true), "{text}");
}

#[test]
fn a_status_is_told_to_scripts_by_its_code() {
    let fake = Fake::new(hashicorp);
    let (code, text) = said(&[], &["status", "-addr", &fake.address]);
    // This token may not read the configuration, and nobody is a member: it does not guess.
    assert_eq!((code, text.starts_with("quorum  unclear")), (Some(2), true), "{text}");
    let (code, text) = said(&[], &["impact", "srv-9", "-addr", &fake.address]);
    assert_eq!((code, text.contains("\"srv-9\" is no member and no server")), (Some(1), true), "{text}");
    let (code, text) = said(&[], &["impact"]);
    assert_eq!((code, text.contains("needs the names")), (Some(1), true), "{text}");
    let (code, text) = said(&[], &["status", "--addr=127.0.0.1:1"]);
    assert_eq!((code, text.contains("connection refused")), (Some(1), true), "{text}");
}

/// Node maintenance of HashiCorp's agent, on or off: it says so in its log.
fn put_maintenance(address: &str, on: bool) {
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let request = format!(
        "PUT /v1/agent/maintenance?enable={on} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("it takes the request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The same screens on HashiCorp's agent, where `QUORATE_REAL_CONSUL` names its program.
#[test]
fn a_real_consul_is_shown_by_asking_it() {
    let Some(program) = std::env::var_os("QUORATE_REAL_CONSUL") else {
        println!("did not run: QUORATE_REAL_CONSUL names no consul");
        return;
    };
    let id = std::process::id();
    let ip = format!("127.77.{}.{}", id / 250 % 250, 1 + id % 250);
    let http = format!("{ip}:8500");
    let mut consul = Command::new(program)
        .args(["agent", "-dev", "-node=srv-1", "-log-level=info", &format!("-bind={ip}"), &format!("-client={ip}")])
        .stdout(Stdio::null())
        .spawn()
        .expect("consul");
    let shown = std::panic::catch_unwind(|| {
        let mut console = console(&["--addr", &http]);
        console.shows("Consul 1.8.7");
        console.shows("★ srv-1 leads term 2");
        console.shows("QUORUM OK");
        let (code, text) = said(&[], &["status", "--json", "--addr", &http]);
        assert_eq!((code, text.contains("\"Leader\": \"srv-1\"")), (Some(0), true), "{text}");
        console.press("2");
        console.shows(&format!("{ip}:8301"));
        console.press("5l");
        // The agent logs when it likes: what is waited for is made to happen, until it is seen.
        for attempt in 0..15 {
            if console.comes_to_show("maintenance mode", Duration::from_secs(2)) {
                break;
            }
            put_maintenance(&http, attempt % 2 == 0);
        }
        console.shows("maintenance mode");
        console.press("q");
        assert_eq!(console.ends(), 0);
        console.shows(&format!("console closed; the agent at {http} keeps running"));
    });
    consul.kill().expect("it is killed");
    consul.wait().expect("its end");
    shown.expect("the screens");
}
