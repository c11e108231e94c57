//! The terminal: raw mode and the alternate screen, taken and given back whatever happens.
//! Nothing else touches it. `runtime` holds the [`Guard`]; a panic anywhere gives the terminal back first.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::mem::ManuallyDrop;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use color_eyre::eyre::{Result, WrapErr, bail};
use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::style::{Print, ResetColor};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use crossterm::{execute, queue};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::clock;
use crate::model::{Colors, Look};

/// How long a terminal may take to say where its cursor is.
const PROBE: Duration = Duration::from_millis(100);
/// Of a text that is copied; terminals take a bounded one.
const COPY_MAX: usize = 8_192;

pub type Screen = Terminal<CrosstermBackend<io::Stdout>>;

/// The terminal is ours.
static TAKEN: AtomicBool = AtomicBool::new(false);
/// Some part of the console panicked; nothing may be drawn any more.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// Says why no screen can be drawn here, before anything is touched.
pub fn check() -> Result<()> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        bail!("this is no terminal; in scripts use `console status`");
    }
    if var("TERM").is_none() {
        bail!("TERM is not set, so the terminal's kind is not known; try TERM=xterm-256color");
    }
    Ok(())
}

/// What is not said is found out from the environment.
pub fn look(colors: Option<Colors>, ascii: bool) -> Look {
    let term = var("TERM").unwrap_or_default();
    let auto = if var("NO_COLOR").is_some() || term == "dumb" {
        Colors::None
    } else if var("COLORTERM").is_some() || is_rich(&term) {
        Colors::Indexed
    } else {
        Colors::Sixteen
    };
    let background = var("COLORFGBG").and_then(|pair| pair.rsplit(';').next()?.parse::<u8>().ok());
    let light = matches!(background, Some(7 | 15));
    Look { colors: colors.unwrap_or(auto), ascii: ascii || !is_utf8(), light }
}

fn is_rich(term: &str) -> bool {
    ["256color", "kitty", "alacritty", "ghostty", "foot", "wezterm", "direct"].iter().any(|kind| term.contains(kind))
}

/// The locale says UTF-8; the first of the three that is set decides.
fn is_utf8() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(var).unwrap_or_default().to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}

/// A variable of the environment; an empty one is as none.
fn var(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Holds the terminal; dropping it gives it back.
pub struct Guard {
    /// Never dropped: its end would show the cursor, which we do, and complain on standard error when it
    /// cannot, which panics when the window is gone.
    pub screen: ManuallyDrop<Screen>,
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").finish_non_exhaustive()
    }
}

impl Guard {
    /// Takes the terminal.
    pub fn take() -> Result<Self> {
        enter().wrap_err("prepare the terminal")?;
        let screen = Terminal::new(CrosstermBackend::new(io::stdout())).wrap_err("prepare the terminal")?;
        Ok(Self { screen: ManuallyDrop::new(screen) })
    }

    /// Whether this terminal draws ★ two columns wide, which tears every line it is in. One that does not
    /// answer in time is believed to be fine. Keys pressed meanwhile are lost.
    pub fn draws_double(&self) -> bool {
        // Asked before the stream of keys is opened, which would take the answer for its own.
        measure_star().is_some_and(|columns| columns > 1)
    }

    /// Gives the terminal back, stops this process until it is continued, and takes the terminal again.
    pub fn suspend(&mut self) -> Result<()> {
        restore();
        // Only this process: a demo's agents live on. The signal cannot be missed or refused.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP)
            .wrap_err("stop for the shell")?;
        enter().wrap_err("take the terminal again")?;
        // What it knows of the screen before is void, so that everything is drawn. Clearing it would ask where
        // the cursor is, and the stream of keys would take the answer.
        self.screen.swap_buffers();
        Ok(())
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    TAKEN.store(true, Ordering::SeqCst);
    execute!(io::stdout(), EnterAlternateScreen, Hide, Clear(ClearType::All))
}

/// Gives the terminal back, once. What fails here cannot be told anywhere.
fn restore() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        let _ = execute!(io::stdout(), ResetColor, Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// Hands a text to the terminal's clipboard (OSC 52). Terminals that do not know it, or may not, say nothing.
pub fn copy(text: &str) -> io::Result<()> {
    let end = (0..=COPY_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{}\x07", base64(&text.as_bytes()[..end]))?;
    out.flush()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let number = (0..3).fold(0usize, |sum, at| sum << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let letter = LETTERS[number >> (18 - 6 * at) & 63];
            text.push(if at <= three.len() { char::from(letter) } else { '=' });
        }
    }
    text
}

/// Columns that ★ takes here.
fn measure_star() -> Option<u16> {
    let mut out = io::stdout();
    queue!(out, MoveTo(0, 0), Print("★\x1b[6n")).ok()?;
    out.flush().ok()?;
    let answer = read_report();
    let _ = execute!(out, Clear(ClearType::All), MoveTo(0, 0));
    column(&answer?).and_then(|column| column.checked_sub(1))
}

/// Reads up to the `R` that ends a cursor report, or until time is up.
fn read_report() -> Option<Vec<u8>> {
    let stdin = io::stdin();
    let until = clock::after(PROBE);
    let mut report = Vec::new();
    while report.len() < 256 {
        let left = Duration::from_micros(until.micros_since(clock::now()));
        let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
        let wait = Timespec::try_from(left).ok()?;
        if left.is_zero() || poll(&mut ready, Some(&wait)).ok()? == 0 {
            return None;
        }
        let mut piece = [0; 64];
        let read = rustix::io::read(&stdin, &mut piece).ok()?;
        report.extend_from_slice(&piece[..read]);
        if read == 0 || report.contains(&b'R') {
            return Some(report);
        }
    }
    None
}

/// The column of `ESC [ row ; column R`.
fn column(report: &[u8]) -> Option<u16> {
    let text = String::from_utf8_lossy(report);
    let (_, report) = text.rsplit_once("\x1b[")?;
    let (place, _) = report.split_once('R')?;
    place.split_once(';')?.1.parse().ok()
}

/// Whether some part of the console panicked.
pub fn panicked() -> bool {
    PANICKED.load(Ordering::SeqCst)
}

/// From now on a panic gives the terminal back, writes a report and says where.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let is_first = !PANICKED.swap(true, Ordering::SeqCst);
        restore();
        if !is_first {
            return;
        }
        let at = clock::now();
        let trace = std::backtrace::Backtrace::force_capture();
        let report = format!("console {} failed at {at}\n{info}\n\n{trace}\n", env!("CARGO_PKG_VERSION"));
        let written = write_report(&report, at.micros() / 1_000_000);
        let mut err = io::stderr();
        let _ = match written {
            Ok(path) => writeln!(err, "console: failed: {info}\na report is in {}", path.display()),
            Err(error) => writeln!(err, "console: failed: {info}\nno report could be written: {error}\n{trace}"),
        };
    }));
}

fn write_report(report: &str, seconds: i64) -> io::Result<PathBuf> {
    let directory = state_directory();
    std::fs::create_dir_all(&directory)?;
    let path = directory.join(format!("failure-{seconds}-{}.txt", std::process::id()));
    std::fs::write(&path, report)?;
    Ok(path)
}

/// Where reports go: the user's state directory, else the temporary one.
fn state_directory() -> PathBuf {
    directories::ProjectDirs::from("", "", "quorate")
        .map(|dirs| dirs.state_dir().unwrap_or_else(|| dirs.data_local_dir()).to_owned())
        .unwrap_or_else(|| std::env::temp_dir().join("quorate"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_column_is_read_from_a_cursor_report() {
        assert_eq!(column(b"\x1b[1;2R"), Some(2));
        assert_eq!(column(b"jk\x1b[1;3Rq"), Some(3));
        assert_eq!(column(b"\x1b[1;"), None);
        assert_eq!(column(b""), None);
    }

    #[test]
    fn terminals_with_many_colours_are_known_by_name() {
        assert!(is_rich("xterm-256color") && is_rich("xterm-kitty"));
        assert!(!is_rich("xterm") && !is_rich("linux"));
    }

    #[test]
    fn what_is_copied_is_base64() {
        for (text, expected) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("web ✖", "d2ViIOKclg==")]
        {
            assert_eq!(base64(text.as_bytes()), expected);
        }
    }
}
