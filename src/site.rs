//! The site as the Edge sees it: what its nodes report, the vote they ask for, the planned switch of all of them together,
//! and what operators have taken out of service.

pub mod maintenance;
pub mod nodes;
pub mod switchover;
pub mod witness;
