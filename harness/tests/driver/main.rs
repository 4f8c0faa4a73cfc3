//! Our own drivers, as children and in this process: what they answer, and what becomes of a
//! call when its client or process is stopped, killed or abandoned in the middle of it.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the failure")]

mod certificates;
mod clocks;
mod faults;
mod processes;
mod support;
mod validator;
