//! quell.
fn main() {}
