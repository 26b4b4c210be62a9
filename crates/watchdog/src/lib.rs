//! The daemon of a XiVO, CC or MDS node.

pub mod hands;
