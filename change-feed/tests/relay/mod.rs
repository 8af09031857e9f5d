//! The relay between a source and a publisher in memory: its sessions, its pump, and every fault
//! that either side can show it. The judge is the oracle.

mod drops;
mod faults;
mod identity;
mod pump;
mod rejected;
mod rejoin;
mod scripted;
mod shutdown;
mod standby;
mod world;
