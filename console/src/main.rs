//! The `console` program: nothing but its start.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    console::cli::main(std::env::args_os().skip(1).collect())
}
