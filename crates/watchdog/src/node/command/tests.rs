use std::path::Path;

use tokio::time::sleep;

use super::*;

pub(super) fn sh(script: &str, limit: Duration) -> CommandSpec {
    CommandSpec::new(["sh", "-c", script], limit)
}

pub(super) const LONG: Duration = Duration::from_secs(60);
/// A time limit that is waited for: a shell has come to its wait long before, on a busy machine too.
const SOME: Duration = Duration::from_secs(2);

pub(super) fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])))
}

pub(super) async fn gone(pid: &str) -> bool {
    let gone = async {
        while lives(pid) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(LONG, gone).await.is_ok()
}

pub(super) async fn written(path: &Path) -> String {
    let written = async {
        loop {
            match std::fs::read_to_string(path) {
                Ok(text) if text.ends_with('\n') => return text,
                _ => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    timeout(LONG, written).await.unwrap()
}

#[tokio::test]
async fn a_command_ends_with_its_exit_code_and_its_words() {
    let ran = sh("echo out; echo err >&2; exit 3", LONG).run().await;
    assert_eq!((ran.ending, ran.output.as_str()), (Ending::ExitCode(3), "out\nerr\n"));
    assert!(ran.to_string().starts_with("exit code 3 after ") && ran.to_string().ends_with(": err"), "{ran}");
    assert!(sh("true", LONG).run().await.is_done());
    assert_eq!(sh("kill -9 $$", LONG).run().await.ending, Ending::Signal(9));
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_told_apart() {
    let ran = |argv: &[&str]| CommandSpec::new(argv.iter().copied(), LONG);
    assert_eq!(ran(&["/no/such/program"]).run().await.ending, Ending::NotFound);
    assert_eq!(ran(&["no-such-program"]).run().await.ending, Ending::NotFound);
    assert_eq!(ran(&[]).run().await.ending, Ending::NotFound);
    assert_eq!(ran(&["/etc/passwd"]).run().await.ending, Ending::NotExecutable);
    assert_eq!(ran(&["/etc"]).run().await.ending, Ending::NotExecutable);
}

#[tokio::test]
async fn its_environment_is_small_and_its_input_empty() {
    let ran = sh("env; pwd; cat", LONG).run().await;
    let mut names: Vec<_> = ran.output.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !["PWD", "_", "OLDPWD", "SHLVL"].contains(name));
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH"]);
    assert!(ran.output.ends_with("/\n") && ran.is_done(), "{ran:?}");
}

#[tokio::test]
async fn what_it_reads_is_given_whole() {
    let input = "0123456789\n".repeat(30_000);
    let argv = ["wc", "-c"].map(String::from);
    let run = Run { argv: &argv, time_limit: LONG, input: Some(&input), grace: GRACE, keep: KEPT, record: None };
    assert_eq!(run.until(pending()).await.output.trim(), "330000");
}

#[tokio::test]
async fn a_command_that_ends_while_the_watchdog_stands_still_has_not_taken_too_long() {
    let command = CommandSpec::new(["true"], Duration::from_millis(50));
    let stands_still = async {
        tokio::task::yield_now().await;
        std::thread::sleep(Duration::from_secs(2));
    };
    let (ran, ()) = futures_util::future::join(command.run(), stands_still).await;
    assert_eq!(ran.ending, Ending::Done);
}

#[tokio::test]
async fn a_command_that_hangs_is_ended_at_its_time_limit_with_its_children() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    let ran = sh(&script, SOME).run().await;
    assert_eq!(ran.ending, Ending::TimedOut);
    assert!(ran.took < LONG, "{ran}");
    assert!(gone(&written(&file).await).await);
}

#[tokio::test]
async fn a_group_that_ignores_sigterm_is_killed_after_the_grace() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    // The leader ends at once, its child does not listen.
    let script = format!("(trap '' TERM; sh -c 'echo $PPID' > {}; while :; do sleep 1; done) & wait", file.display());
    let ran = sh(&script, SOME).run().await;
    assert_eq!(ran.ending, Ending::TimedOut);
    assert!(ran.took >= GRACE && ran.took < LONG, "{ran}");
    assert!(gone(&written(&file).await).await);
}

#[tokio::test]
async fn an_orderly_end_within_the_grace_is_waited_for() {
    let script = "trap 'echo orderly; exit 0' TERM; while :; do sleep 0.05; done";
    let ran = sh(script, SOME).run().await;
    assert_eq!((ran.ending, ran.summary().as_str()), (Ending::TimedOut, "orderly"));
}

#[tokio::test]
async fn killing_ends_the_group_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("trap '' TERM; sleep 600 & echo $! > {}; wait", file.display());
    let ran = sh(&script, LONG).run_until(async { drop(written(&file).await) }).await;
    assert_eq!(ran.ending, Ending::Killed);
    assert!(gone(&written(&file).await).await);
}

#[tokio::test]
async fn dropping_a_run_kills_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    let command = sh(&script, LONG);
    let pid = tokio::select! {
        ran = command.run() => panic!("{ran}"),
        pid = written(&file) => pid,
    };
    assert!(gone(&pid).await);
}

#[tokio::test]
async fn a_service_left_behind_neither_holds_the_run_nor_dies_of_a_closed_pipe() {
    let directory = tempfile::tempdir().unwrap();
    let (file, go) = (directory.path().join("said"), directory.path().join("go"));
    let script = format!(
        "(while [ ! -e {go} ]; do sleep 0.02; done; echo one; echo two; echo lives > {file}) & echo started",
        go = go.display(),
        file = file.display(),
    );
    let ran = sh(&script, LONG).run().await;
    assert_eq!((ran.ending, ran.summary().as_str()), (Ending::Done, "started"));
    assert!(ran.took < LONG, "{ran}");
    std::fs::write(&go, "").unwrap();
    assert_eq!(written(&file).await, "lives\n");
}

/// A loop that says something every 50 ms, and counts in `beats` how often it could.
fn says_something(directory: &Path, kind: &str) -> String {
    let d = directory.display();
    format!("{kind} sh -c 'echo $$ > {d}/pid; while sleep 0.05; do echo tick; echo >> {d}/beats; done' &")
}

fn beats(directory: &Path) -> u64 {
    std::fs::metadata(directory.join("beats")).map_or(0, |file| file.len())
}

/// Whether a loop of [`says_something`] goes on by itself; it is ended then.
fn goes_on(directory: &Path) -> bool {
    let (pid, before) = (std::fs::read_to_string(directory.join("pid")).unwrap(), beats(directory));
    let deadline = std::time::Instant::now() + LONG;
    while lives(&pid) && beats(directory) < before + 10 && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    let went_on = lives(&pid) && beats(directory) >= before + 10;
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    went_on
}

#[test]
fn what_a_command_left_behind_goes_on_saying_things_when_the_watchdog_ends() {
    for recorded in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("record");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let command = sh(&says_something(directory.path(), ""), LONG);
        let ran = runtime.block_on(async {
            let ran = command.run_recorded(recorded.then_some(record.as_path()), pending()).await;
            written(&directory.path().join("pid")).await;
            ran
        });
        assert!(ran.is_done(), "{ran}");
        drop(runtime);
        assert!(goes_on(directory.path()), "recorded: {recorded}");
    }
}

#[test]
fn what_left_the_group_of_a_dropped_run_goes_on_saying_things() {
    for recorded in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let record = directory.path().join("record");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let command = sh(&format!("{} wait", says_something(directory.path(), "setsid")), LONG);
        let began = directory.path().join("beats");
        runtime.block_on(async {
            tokio::select! {
                ran = command.run_recorded(recorded.then_some(record.as_path()), pending()) => panic!("{ran}"),
                _ = written(&began) => {}
            }
        });
        drop(runtime);
        assert!(goes_on(directory.path()), "recorded: {recorded}");
    }
}

#[tokio::test]
async fn a_child_that_says_much_after_the_end_waits_for_nobody_and_fills_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (file, d) = (directory.path().join("said"), directory.path().display());
    let script = format!("(sleep 0.2; head -c 30000000 /dev/zero; echo all > {d}/said) &");
    assert!(sh(&script, LONG).run().await.is_done());
    assert_eq!(written(&file).await, "all\n");
}

#[tokio::test]
async fn a_service_in_its_own_session_survives_its_start_commands_end() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let script = format!("setsid sh -c 'echo $$ > {}; exec sleep 600' & wait_for=1; sleep 0.1", file.display());
    assert!(sh(&script, LONG).run().await.is_done());
    let pid = written(&file).await;
    assert!(lives(&pid));
    let pid = rustix::process::Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_flood_of_words_is_kept_to_its_end_and_holds_nobody() {
    let ran = sh("yes 'a long line of nothing' | head -c 5000000; echo; echo last", LONG).run().await;
    assert!(ran.is_done() && ran.output.len() <= KEPT, "{ran}");
    assert_eq!(ran.summary(), "last");
    let ran = sh("exec yes", Duration::from_millis(200)).run().await;
    assert_eq!(ran.ending, Ending::TimedOut);
    let ran = sh("printf '\\377\\376 \\033[31m'", LONG).run().await;
    assert_eq!(ran.summary(), "\u{fffd}\u{fffd}  [31m");
}

#[tokio::test]
async fn a_child_that_floods_after_the_end_holds_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pid");
    let ran = sh(&format!("yes & echo $! > {}", file.display()), LONG).run().await;
    assert!(ran.is_done() && ran.took < LONG, "{ran}");
    let pid = rustix::process::Pid::from_raw(written(&file).await.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
