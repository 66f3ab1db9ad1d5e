//! The `caio` binary: a thin shell over the library.

fn main() {
    println!("caio {}", env!("CARGO_PKG_VERSION"));
}
