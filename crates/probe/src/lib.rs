//! One check, one time limit.
#![forbid(unsafe_code)]
