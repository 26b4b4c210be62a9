//! Pure decision machines.
#![no_std]
#![forbid(unsafe_code)]
