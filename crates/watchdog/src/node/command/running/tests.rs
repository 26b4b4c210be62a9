use std::future::pending;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::super::CommandSpec;
use super::super::tests::{LONG, gone, lives, sh, written};
use super::*;

/// Where a killed watchdog's test keeps its files; set for the copy of this program that is killed.
const DIRECTORY: &str = "WATCHDOG_TO_BE_KILLED";

/// A command that hangs together with a child, and a file that tells the child's number.
fn hangs(directory: &Path) -> CommandSpec {
    sh(&format!("trap '' TERM; sleep 600 & echo $! > {}; wait", directory.join("pid").display()), LONG)
}

fn record(directory: &TempDir) -> PathBuf {
    directory.path().join("command")
}

#[tokio::test]
async fn a_command_is_recorded_while_it_runs() {
    let directory = tempfile::tempdir().unwrap();
    let path = record(&directory);
    let seen = directory.path().join("seen");
    let copy = format!("while ! cp {} {}; do sleep 0.01; done; echo $$", path.display(), seen.display());
    let ran = sh(&copy, LONG).run_recorded(Some(&path), pending()).await;
    let text = fs::read_to_string(seen).unwrap();
    let (leader, _, command) = parse(&text).unwrap();
    assert_eq!((leader.as_raw_pid().to_string(), command.starts_with("sh -c while")), (ran.summary(), true), "{text}");
    assert!(!path.exists());
    assert_eq!(reap(&path).await, None);
}

#[tokio::test]
async fn the_record_of_a_run_that_is_dropped_goes_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let (path, command, file) = (record(&directory), hangs(directory.path()), directory.path().join("pid"));
    let pid = tokio::select! {
        ran = command.run_recorded(Some(&path), pending()) => panic!("{ran}"),
        pid = written(&file) => pid,
    };
    assert!(gone(&pid).await && !path.exists());
}

/// Not a test by itself: what `a_killed_watchdogs_command_is_ended_by_the_next` starts and kills.
#[tokio::test]
async fn the_watchdog_to_be_killed() {
    if let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) {
        hangs(&directory).run_recorded(Some(&directory.join("command")), pending()).await;
    }
}

#[tokio::test]
async fn a_killed_watchdogs_command_is_ended_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = record(&directory);
    let (_, here) = module_path!().split_once("::").unwrap();
    let test = format!("{here}::the_watchdog_to_be_killed");
    let mut watchdog = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &test])
        .env(DIRECTORY, directory.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = written(&directory.path().join("pid")).await;
    let leader = written(&path).await.split(' ').next().unwrap().to_owned();
    watchdog.kill().unwrap();
    watchdog.wait().unwrap();
    assert!(lives(&pid) && lives(&leader), "SIGKILL of the watchdog leaves its command running");
    let said = reap(&path).await.unwrap();
    assert!(said.starts_with("`sh -c trap") && said.ends_with("and has been killed"), "{said}");
    assert!(!lives(&pid) && !lives(&leader), "it is gone when the next goes on");
    assert!(!path.exists());
    assert_eq!(reap(&path).await, None);
}

#[tokio::test]
async fn a_process_that_only_has_the_number_and_a_group_without_its_leader_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let (path, command) = (record(&directory), hangs(directory.path()));
    let others = async {
        let pid = written(&directory.path().join("pid")).await;
        let text = written(&path).await;
        let (leader, began, _) = parse(&text).unwrap();
        fs::write(&path, format!("{} {} somebody else", leader.as_raw_pid(), began - 1)).unwrap();
        let said = reap(&path).await.unwrap();
        assert_eq!(said, "`somebody else` was running when the watchdog was killed; it has ended since");
        assert!(lives(&pid) && !path.exists());
        pid
    };
    let pid = tokio::select! {
        ran = command.run_recorded(Some(&path), pending()) => panic!("{ran}"),
        pid = others => pid,
    };
    assert!(gone(&pid).await);
    // A start command that has ended well: its group is what it started.
    let service = directory.path().join("service");
    let ran = sh(&format!("sleep 600 & echo $! > {}; echo $$", service.display()), LONG).run().await;
    let pid = written(&service).await;
    fs::write(&path, format!("{} 1 start", ran.summary())).unwrap();
    assert!(reap(&path).await.unwrap().ends_with("it has ended since"));
    assert!(lives(&pid));
    let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_record_is_told_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = record(&directory);
    for text in ["", "one 2 three", "0 1 all", "1 1 all", "-1 1 all", "17"] {
        fs::write(&path, text).unwrap();
        assert!(reap(&path).await.unwrap().ends_with("holds no record"), "{text:?}");
        assert!(!path.exists());
    }
}
