//! What the demo says on standard output: sentences for people, or one JSON object a line.

use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::order::Order;
use super::plan::{EDGE_PROGRAM, Plan};

/// Says things.
#[derive(Debug)]
pub(super) struct Tell {
    json: bool,
}

impl Tell {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    /// One sentence.
    pub(super) fn line(&self, sentence: &str) -> io::Result<()> {
        self.say(&json!({ "sentence": sentence }), sentence)
    }

    /// What came of an order.
    pub(super) fn order(&self, order: Order, said: &Result<String, String>) -> io::Result<()> {
        let (Ok(sentence) | Err(sentence)) = said;
        let value = json!({ "order": order.word(), "ok": said.is_ok(), "sentence": sentence });
        self.say(&value, sentence)
    }

    /// A step of the story, and how long it took.
    pub(super) fn step(&self, name: &str, took: Duration, said: &Result<String, String>) -> io::Result<()> {
        let (Ok(sentence) | Err(sentence)) = said;
        let mark = if said.is_ok() { "ok  " } else { "FAIL" };
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        let value = json!({ "step": name, "ok": said.is_ok(), "ms": ms, "sentence": sentence });
        self.say(&value, &format!("{mark} {ms:>6} ms  {name:<9} {sentence}"))
    }

    /// How to play.
    pub(super) fn welcome(&self, plan: &Plan) -> io::Result<()> {
        let value = json!({
            "url": plan.url(),
            "http": format!("http://localhost:{}", plan.http.port()),
            "metrics": format!("http://{}/metrics", plan.metrics),
            "socket": plan.socket,
            "ca": plan.authority,
            "config": plan.config(),
            "log": plan.log(),
        });
        let (demo, edge) = programs();
        self.say(&value, &welcome(plan, &demo, &edge))
    }

    fn say(&self, value: &Value, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{value}")?,
            false => writeln!(out, "{}", text.trim_end())?,
        }
        out.flush()
    }
}

/// How this program and the Edge's beside it are called in commands to copy.
fn programs() -> (String, String) {
    let typed = std::env::args().next().unwrap_or_default();
    let demo = match typed.contains('/') {
        true => std::env::current_exe().unwrap_or(typed.into()),
        false => typed.into(),
    };
    let edge = demo.with_file_name(EDGE_PROGRAM);
    (quoted(&demo.display().to_string()), quoted(&edge.display().to_string()))
}

/// As a shell takes it.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

fn welcome(plan: &Plan, demo: &str, bascule: &str) -> String {
    let path = |path: &std::path::Path| quoted(&path.display().to_string());
    let (socket, ca, log) = (path(&plan.socket), path(&plan.authority), path(&plan.log()));
    let (directory, url) = (path(plan.directory.path()), plan.url());
    let (http, metrics) = (plan.http.port(), plan.metrics);
    format!(
        "\
A whole site runs on this machine: Main, Standby and an Edge. It reads and writes {directory}
and nothing else: a Bascule in /etc/bascule is left alone.

  Page      {url}
            Browsers warn once: nobody knows the demo's authority. http://localhost:{http} leads there, too.
  Command   curl -sI --cacert {ca} {url} | grep demo-side
  Status    {bascule} status --watch --socket {socket}
  Log       tail -f {log}
  Metrics   curl -s http://{metrics}/metrics

Open the page, then try this in another terminal. The last word of a demo command may be typed here, too.

  1. Kill Main. The page goes on with Standby, without a click.
       {demo} --do kill-main
  2. Bring Main back. Traffic stays with Standby: a side that works is left alone.
       {demo} --do start-main
  3. Freeze, and kill Standby: nothing moves, and whoever loads the page is asked to wait. Resume: Main serves them.
       {bascule} freeze --reason demo --socket {socket}
       {demo} --do kill-standby
       {bascule} resume --socket {socket}

Why did it do that?  {bascule} explain --socket {socket}
Ctrl-C ends everything and leaves nothing behind."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_survive_a_shell() {
        assert_eq!(quoted("/usr/bin/bascule"), "/usr/bin/bascule");
        assert_eq!(quoted("/my tools/it's"), r"'/my tools/it'\''s'");
    }

    #[test]
    fn the_welcome_names_what_can_be_tried_and_promises_to_leave_etc_alone() {
        let plan = Plan::new(None).unwrap();
        let text = welcome(&plan, "bascule-demo", "bascule");
        let socket = plan.socket.display();
        for words in [
            "bascule-demo --do kill-main\n".to_owned(),
            "bascule-demo --do start-main\n".to_owned(),
            format!("bascule freeze --reason demo --socket {socket}\n"),
            format!("bascule status --watch --socket {socket}\n"),
            "/etc/bascule is left alone".to_owned(),
            plan.url(),
        ] {
            assert!(text.contains(&words), "no {words} in\n{text}");
        }
    }
}
