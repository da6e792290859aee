//! The node and the surface from outside, in one process: what goes wrong is told, and what comes and goes is noticed.
#![allow(clippy::unwrap_used)]

mod config;
mod copies;
mod file;
mod group;
mod hosts;
mod memory;
mod mirror;
mod panics;
mod tables;
mod why;
mod world;
