//! The Edge.
