//! The machine that the figures were measured on.

use std::fs;

use serde::{Deserialize, Serialize};

/// Above this load at the start, other programs use the machine.
const QUIET_LOAD_MAX: f64 = 0.5;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) kernel: String,
    /// The load average of the last minute before the rig started.
    pub(crate) load: Option<f64>,
}

impl Machine {
    pub(crate) fn ask() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            cpu: cpu_model(&read("/proc/cpuinfo")).unwrap_or("unknown CPU").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: load(&read("/proc/loadavg")),
        }
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.load.is_some_and(|load| load <= QUIET_LOAD_MAX)
    }
}

fn cpu_model(cpu_info: &str) -> Option<&str> {
    let line = cpu_info.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, model)| model.trim())
}

fn load(load_average: &str) -> Option<f64> {
    load_average.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_and_the_load_are_read_as_the_kernel_writes_them() {
        let cpu_info = "processor\t: 0\nmodel name\t: Some CPU @ 2.80GHz\nstepping\t: 7\n";
        assert_eq!(cpu_model(cpu_info), Some("Some CPU @ 2.80GHz"));
        assert_eq!(cpu_model("processor\t: 0\n"), None);
        assert_eq!(load("0.42 4.46 3.87 5/421 9922\n"), Some(0.42));
    }

    #[test]
    fn a_machine_is_quiet_until_other_programs_use_it() {
        let machine = |load| Machine { load, ..Machine::ask() };
        assert!(machine(Some(0.2)).is_quiet() && !machine(Some(1.0)).is_quiet() && !machine(None).is_quiet());
    }
}
