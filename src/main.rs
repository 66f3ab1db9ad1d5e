//! The `caio` binary: a thin shell over the library.

use caio::cli;
use caio::cli::style::Output;
use std::process::ExitCode;

#[cfg(feature = "serve")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    let code = cli::dispatch(&args, &mut Output::of(&mut out), &mut Output::of(&mut err));
    ExitCode::from(code)
}
