//! `bascule`: the Edge and the operator's command line.
fn main() {}
