//! Nothing to use: the benchmarks are in `benches/`, and the rig in `rig/`.
