//! Metrics of the process itself, read from /proc when somebody asks.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge, IntGauge, Result};

/// What /proc/PID/stat counts CPU time and start times in, per second: part of Linux's interface to programs.
const USER_HZ: f64 = 100.0;

/// Reads /proc/self at each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    open: IntGauge,
    most: IntGauge,
    resident: IntGauge,
    virtual_: IntGauge,
    threads: IntGauge,
    cpu: Counter,
    start: Gauge,
}

impl ProcessCollector {
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            open: IntGauge::new("process_open_fds", "Open file descriptors.")?,
            most: IntGauge::new("process_max_fds", "Most file descriptors that may be open.")?,
            resident: IntGauge::new("process_resident_memory_bytes", "Memory in RAM.")?,
            virtual_: IntGauge::new("process_virtual_memory_bytes", "Memory mapped.")?,
            threads: IntGauge::new("process_threads", "Threads.")?,
            cpu: Counter::new("process_cpu_seconds_total", "CPU time spent, by user and system together.")?,
            start: Gauge::new("process_start_time_seconds", "When the process started, since 1970.")?,
        })
    }

    fn metrics(&self) -> [&dyn Collector; 7] {
        [&self.open, &self.most, &self.resident, &self.virtual_, &self.threads, &self.cpu, &self.start]
    }

    fn read(&self) {
        if let Ok(list) = fs::read_dir("/proc/self/fd") {
            // One of them is the list's own.
            self.open.set(i64::try_from(list.count().saturating_sub(1)).unwrap_or(i64::MAX));
        }
        let status = text("/proc/self/status");
        self.resident.set(kilobytes(&status, "VmRSS:"));
        self.virtual_.set(kilobytes(&status, "VmSize:"));
        self.threads.set(row(&status, "Threads:").and_then(|words| words.parse().ok()).unwrap_or(0));
        self.most.set(limit(&text("/proc/self/limits")));
        let stat = Stat::parse(&text("/proc/self/stat"));
        let gained = stat.cpu_ticks / USER_HZ - self.cpu.get();
        // A counter never goes back, and rounding may be off by a hair.
        if gained > 0.0 {
            self.cpu.inc_by(gained);
        }
        let boot: f64 = row(&text("/proc/stat"), "btime ").and_then(|word| word.parse().ok()).unwrap_or(0.0);
        self.start.set(boot + stat.start_ticks / USER_HZ);
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.metrics().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.read();
        self.metrics().into_iter().flat_map(Collector::collect).collect()
    }
}

/// What is wanted of proc_pid_stat(5).
#[derive(Debug, Default, PartialEq)]
struct Stat {
    cpu_ticks: f64,
    start_ticks: f64,
}

impl Stat {
    /// The second field, a name in brackets, may hold blanks and brackets: fields are counted from its end.
    fn parse(stat: &str) -> Self {
        let Some((_, rest)) = stat.rsplit_once(") ") else { return Self::default() };
        let field = |number: usize| -> f64 {
            rest.split(' ').nth(number - 3).and_then(|word| word.parse().ok()).unwrap_or(0.0)
        };
        Self { cpu_ticks: field(14) + field(15), start_ticks: field(22) }
    }
}

fn text(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn row<'a>(file: &'a str, name: &str) -> Option<&'a str> {
    file.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn kilobytes(status: &str, name: &str) -> i64 {
    row(status, name).and_then(|row| row.split(' ').next()?.parse::<i64>().ok()).unwrap_or(0) * 1024
}

fn limit(limits: &str) -> i64 {
    row(limits, "Max open files").and_then(|row| row.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use prometheus::core::Collector;

    use super::{ProcessCollector, Stat, limit};

    #[test]
    fn a_process_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 30 12 0 0 20 0 3 0 4200 0 0\n";
        assert_eq!(Stat::parse(stat), Stat { cpu_ticks: 42.0, start_ticks: 4200.0 });
        assert_eq!(Stat::parse("nonsense"), Stat::default());
    }

    #[test]
    fn limits_are_read() {
        assert_eq!(limit("Limit   Soft  Hard\nMax open files            1024        524288      files\n"), 1024);
    }

    #[test]
    fn this_process_has_descriptors_memory_and_a_past() {
        let collector = ProcessCollector::new().unwrap();
        let families = collector.collect();
        assert_eq!(families.len(), 7);
        assert!(collector.open.get() >= 3 && collector.resident.get() > 100_000 && collector.threads.get() >= 1);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 86_400.0..=now + 2.0).contains(&collector.start.get()), "{}", collector.start.get());
    }
}
