//! Without a line of its own, so that cargo looks at every file of this folder: what is embedded is no Rust source.

fn main() {}
