//! The data plane: from a client's first byte to an upstream's last. Which side is live is read here, never decided.

pub mod budget;
pub mod downstream;
pub mod edge;
pub mod http;
pub mod pages;
pub mod pass;
pub mod proxy_protocol;
pub mod route;
pub mod scratch;
pub mod upstream;
pub mod websocket;
pub mod zones;
