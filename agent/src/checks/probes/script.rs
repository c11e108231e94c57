//! One run of one script: its exit code is the status, what it prints the output. It and all that it
//! started end with the run.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing::warn;

use super::clients::words;
use super::tail::Tail;
use crate::store::command::CheckStatus;

/// Read at once: what a pipe holds.
const CHUNK: usize = 64 * 1024;

pub(in crate::checks) async fn run(
    id: &str,
    args: &[String],
    limit: Duration,
    output_max: usize,
) -> (CheckStatus, String) {
    let (mut child, output) = match start(args) {
        Ok(started) => started,
        Err(problem) => {
            warn!(target: "agent", check = %id, error = %problem, "Check failed to start");
            return (CheckStatus::Critical, problem);
        }
    };
    let group = Group(child.id());
    let mut printed = Tail::new(output_max);
    let ended = timeout(limit, async {
        let (read, exit) = tokio::join!(read(output, &mut printed), child.wait());
        read.and(exit)
    });
    let ended = ended.await;
    // What the script left running would hold its output open for ever.
    drop(group);
    match ended {
        Ok(Ok(exit)) => {
            let status = match exit.code() {
                Some(0) => CheckStatus::Passing,
                Some(1) => CheckStatus::Warning,
                _ => CheckStatus::Critical,
            };
            (status, printed.told())
        }
        Ok(Err(problem)) => (CheckStatus::Critical, problem.to_string()),
        Err(_) => {
            let span = shared::duration::format(limit);
            warn!(target: "agent", check = %id, timeout = %span, "Timed out running check");
            let late = format!("Timed out ({span}) running check");
            match printed.told() {
                nothing if nothing.is_empty() => (CheckStatus::Critical, late),
                told => (CheckStatus::Critical, format!("{late}\n\n{told}")),
            }
        }
    }
}

/// Standard output and errors into one pipe, in the order they were printed.
fn start(args: &[String]) -> Result<(Child, pipe::Receiver), String> {
    let [program, rest @ ..] = args else { return Err("a script without a name".to_owned()) };
    let failed = |problem: io::Error| match problem.kind() {
        io::ErrorKind::NotFound if !program.contains('/') => {
            format!("exec: {program:?}: executable file not found in $PATH")
        }
        _ => format!("fork/exec {program}: {}", words(&problem)),
    };
    let (read, write) = io::pipe().map_err(failed)?;
    let both = write.try_clone().map_err(failed)?;
    let child = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(both)
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let read = pipe::Receiver::from_owned_fd(OwnedFd::from(read)).map_err(failed)?;
    Ok((child, read))
}

/// The processes of a run, ended when dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let id = self.0.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            // It may have ended by itself.
            let _ = rustix::process::kill_process_group(id, rustix::process::Signal::KILL);
        }
    }
}

/// Until nobody holds the pipe any more.
async fn read(mut from: pipe::Receiver, into: &mut Tail) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    loop {
        let count = from.read(&mut chunk).await?;
        if count == 0 {
            return Ok(());
        }
        into.take(&chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(script: &str, limit: Duration, status: CheckStatus, output: &str) {
        let args = ["sh", "-c", script].map(str::to_owned);
        assert_eq!(run("c", &args, limit, 8).await, (status, output.to_owned()), "{script}");
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn the_exit_code_is_the_status_and_what_is_printed_the_output() {
        use CheckStatus::{Critical, Passing, Warning};
        check("echo hi; echo err >&2", LONG, Passing, "hi\nerr\n").await;
        check("exit 1", LONG, Warning, "").await;
        check("exit 2", LONG, Critical, "").await;
        check("kill -9 $$", LONG, Critical, "").await;
        check("printf 0123456789", LONG, Passing, "Captured 8 of 10 bytes\n...\n23456789").await;
        check("sleep 60", Duration::from_millis(50), Critical, "Timed out (50ms) running check").await;
        let flood = "Captured 8 of 5000000 bytes\n...\ny\ny\ny\ny\n";
        check("yes | head -c 5000000", LONG, Passing, flood).await;
        let (late, limit) = ("Timed out (3s) running check\n\nsaid\n", Duration::from_secs(3));
        let goes_on = check("echo said; sleep 600", limit, Critical, late);
        let leaves_behind = check("sleep 600 & echo said", limit, Critical, late);
        tokio::join!(goes_on, leaves_behind);
    }

    #[tokio::test]
    async fn a_script_that_is_not_there_is_critical() {
        let mut gone = vec!["no-such-program-here".to_owned()];
        let error = start(&gone).map(|_| ()).expect_err("not there");
        assert_eq!(error, "exec: \"no-such-program-here\": executable file not found in $PATH");
        let error = start(&["/no/such".to_owned()]).map(|_| ()).expect_err("not there");
        assert_eq!(error, "fork/exec /no/such: no such file or directory");
        gone.clear();
        assert!(start(&gone).is_err());
    }
}
