//! What both ends see. The peers are tungstenite's where a handshake matters, raw bytes where a frame must be broken.

use super::*;

mod crowd;
mod goodbye;
mod load;
mod orphans;
mod support;
mod trouble;
