//! What every verb that asks a running program does with the answer: print it for people or as JSON, or show it again each
//! second. What is asked, and how an answer reads, is left to the programs.

use std::io::{self, IsTerminal, Stdout, Write};
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{AskError, Client};
use crate::exit::Exit;

/// Between two looks of `status --watch`.
const WATCH: Duration = Duration::from_secs(1);

/// Asks a running program and prints what it says.
#[derive(Debug)]
pub struct Inquiry<W> {
    /// The way to the running program, over its socket.
    pub client: Client,
    /// Whether answers are printed as JSON.
    pub json: bool,
    /// Whether `out` is a terminal, which can be painted over.
    pub terminal: bool,
    /// Standard output, or what a test reads.
    pub out: W,
}

/// Why a verb ends otherwise than well.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The verb printed why.
    #[error("it was told why")]
    Told(Exit),
    /// There is no answer, or it is no.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The answer could not be printed.
    #[error(transparent)]
    Output(#[from] io::Error),
}

/// Carries out a verb that asks, on standard output; an error goes to standard error, or with `json` to standard output, where
/// programs look for it.
pub fn inquire(
    client: Client,
    json: bool,
    verb: impl AsyncFnOnce(&mut Inquiry<Stdout>) -> Result<(), Trouble>,
) -> Exit {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&format!("cannot start: {error}")),
    };
    let mut inquiry = Inquiry { client, json, terminal: io::stdout().is_terminal(), out: io::stdout() };
    match runtime.block_on(verb(&mut inquiry)) {
        Ok(()) => Exit::Done,
        // Whoever reads has enough: `bascule history | head`.
        Err(Trouble::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(Trouble::Output(error)) => failed(&format!("cannot print: {error}")),
        Err(Trouble::Told(exit)) => exit,
        Err(Trouble::Ask(error)) => {
            if json {
                let _ = inquiry.object(&error.body());
            } else {
                failed(&error.to_string());
            }
            Exit::from(&error)
        }
    }
}

fn failed(why: &str) -> Exit {
    // There is nobody else to tell.
    let _ = writeln!(io::stderr(), "{why}");
    Exit::Failed
}

impl<W: Write> Inquiry<W> {
    /// Asks for what stands at `path`.
    ///
    /// # Errors
    /// There is no answer, or not the expected one.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.read(&self.client.ask(Method::GET, path, Vec::new()).await?)
    }

    /// Gives an order.
    ///
    /// # Errors
    /// It was refused, or there is no answer, or not the expected one.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, order: &impl Serialize) -> Result<T, AskError> {
        let order = serde_json::to_vec(order).map_err(|error| self.client.broken(&error))?;
        self.read(&self.client.ask(Method::POST, path, order).await?)
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AskError> {
        serde_json::from_slice(body).map_err(|error| self.client.broken(&error))
    }

    /// Shows what stands at `path`, again each second until interrupted; a program that restarts is waited for.
    ///
    /// # Errors
    /// It cannot be printed.
    pub async fn watch<T>(&mut self, path: &str, human: impl Fn(&T) -> String) -> Result<(), Trouble>
    where
        T: Serialize + DeserializeOwned,
    {
        loop {
            // An error is shown like an answer: a program that restarts is watched on, not left.
            let answer: Result<T, AskError> = self.get(path).await;
            match (&answer, self.json) {
                (Ok(answer), true) => self.line(answer)?,
                (Err(error), true) => self.line(&error.body())?,
                (Ok(answer), false) => self.redraw(&human(answer))?,
                (Err(error), false) => self.redraw(&format!("{error}\n"))?,
            }
            tokio::time::sleep(WATCH).await;
        }
    }

    /// Paints over the last picture instead of clearing it, which would flicker.
    fn redraw(&mut self, text: &str) -> io::Result<()> {
        if self.terminal {
            let text = text.replace('\n', "\x1b[K\n");
            write!(self.out, "\x1b[H{text}\x1b[J")?;
        } else {
            writeln!(self.out, "{text}")?;
        }
        self.out.flush()
    }

    /// Prints an answer.
    ///
    /// # Errors
    /// It cannot be printed.
    pub fn show<T: Serialize>(&mut self, answer: &T, human: impl Fn(&T) -> String) -> Result<(), Trouble> {
        match self.json {
            true => self.object(answer)?,
            false => self.print(&human(answer))?,
        }
        Ok(())
    }

    /// Prints text for people.
    ///
    /// # Errors
    /// It cannot be printed.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    /// Prints one answer as JSON, for people's eyes as well.
    ///
    /// # Errors
    /// It cannot be printed.
    pub fn object(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, answer)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }

    /// Prints one of many answers as JSON, on a line of its own.
    fn line(&mut self, answer: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, answer)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}
