//! How a side behaves: well, with errors, or not at all.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// How a side behaves towards whoever asks it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Well.
    Ok,
    /// Takes everything and says nothing any more, on open connections neither.
    Mute,
    /// Answers each request with an HTML 500.
    Failing,
}

impl Mode {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "ok" => Some(Self::Ok),
            "mute" => Some(Self::Mute),
            "500" => Some(Self::Failing),
            _ => None,
        }
    }
}

/// The mode of one side, which may change at any time.
#[derive(Debug, Clone)]
pub(super) struct ModeSwitch(Arc<watch::Sender<Mode>>);

impl ModeSwitch {
    pub(super) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Mode::Ok)))
    }

    pub(super) fn now(&self) -> Mode {
        *self.0.borrow()
    }

    pub(super) fn set(&self, mode: Mode) {
        self.0.send_replace(mode);
    }

    async fn not_mute(self) {
        // The sender is ours: it cannot be gone.
        let _ = self.0.subscribe().wait_for(|mode| *mode != Mode::Mute).await;
    }
}

/// Lets one connection speak although its side is mute: the order to be mute is answered.
#[derive(Debug, Clone, Default)]
pub(super) struct Exempt(Arc<AtomicBool>);

impl Exempt {
    pub(super) fn grant(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A stream on which nothing is said while the side is mute.
pub(super) struct Muted<S> {
    inner: S,
    mode: ModeSwitch,
    exempt: Exempt,
    silence: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> Muted<S> {
    pub(super) fn new(inner: S, mode: ModeSwitch, exempt: Exempt) -> Self {
        Self { inner, mode, exempt, silence: None }
    }

    fn poll_may_speak(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.mode.now() == Mode::Mute && !self.exempt.0.load(Ordering::Relaxed) {
            let silence = self.silence.get_or_insert_with(|| Box::pin(self.mode.clone().not_mute()));
            ready!(silence.as_mut().poll(cx));
            self.silence = None;
        }
        self.silence = None;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Muted<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Muted<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_may_speak(cx));
        Pin::new(&mut this.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_may_speak(cx));
        Pin::new(&mut this.inner).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}
