//! The `agent` program: exit codes and nothing else.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    agent::cli::main("agent", std::env::args_os().skip(1).collect())
}
