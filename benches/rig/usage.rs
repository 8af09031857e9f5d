//! CPU time and memory of a process, from the kernel (proc(5)).

use std::fs;

/// Linux counts the time of processes in these, whatever its own clock is (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
const FIELDS_BEFORE_USER_TIME: usize = 11;

/// What a process has used since it started.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Usage {
    /// Of all its threads, in the program and in the kernel.
    pub(crate) cpu_seconds: f64,
    /// The most memory that it has had resident.
    pub(crate) peak_bytes: u64,
}

impl Usage {
    /// `None` where there is no such process, or no `/proc`.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let peak_bytes = peak_bytes(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)?;
        Some(Self { cpu_seconds: cpu_seconds_of(process)?, peak_bytes })
    }
}

/// The CPU time of a process.
pub(crate) fn cpu_seconds_of(process: u32) -> Option<f64> {
    cpu_seconds(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name of the program, in parentheses, may hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(FIELDS_BEFORE_USER_TIME).map(str::parse::<f64>);
    Some((times.next()?.ok()? + times.next()?.ok()?) / TICKS_PER_SECOND)
}

fn peak_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_name_even_if_it_has_brackets() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194560 900 0 0 0 150 25 7 7 20 0 9 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds("42 (cut) S 1 42"), None);
    }

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(peak_bytes("Name:\tx\nVmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_bytes("Name:\tkthreadd\n"), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(std::process::id()).expect("a process on Linux");
        assert!(usage.peak_bytes > 1 << 20);
        assert_eq!(Usage::of(u32::MAX), None);
    }
}
