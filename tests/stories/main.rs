//! What netd promises, one file per promise. Each story makes a private host, uses the real binaries, and leaves nothing behind.

mod announce;
mod boot;
mod cli;
mod containers;
mod crash;
mod datapath;
mod drift;
mod faults;
mod golden;
mod hairpin;
mod isolation;
mod kernels;
mod lab_itself;
mod loopback;
mod networks;
mod publish;
mod reservation;
mod restart;
mod sctp;
mod tracking;
mod uplinks;
