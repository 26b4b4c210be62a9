//! The nodes of the site as the Edge sees them: what they report, the vote they ask for, and the planned switch of all of
//! them together.

pub mod nodes;
pub mod switchover;
pub mod witness;
