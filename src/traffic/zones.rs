//! Zones: how many requests a client address may make. What becomes of a request is told to `http` and `websocket`, who
//! answer or hold it.

pub mod bucket;
pub mod table;
