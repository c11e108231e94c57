//! The console's integration tests: screens from fixtures, stories from messages, the client against
//! agents that misbehave, and the program itself in a terminal.

mod asking;
mod catalog;
mod demo;
mod fake_agent;
mod fixture;
mod handover;
mod lives;
mod past;
mod pty;
mod pulse;
mod screens;
mod services;
mod standing;
mod stories;
