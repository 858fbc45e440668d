//! What a reload cannot change: sockets and threads that exist since the start.

use super::{Loaded, Problem};
use std::fmt::Display;

/// Why `new` cannot take the place of `old` without a restart, each thing by name; empty if it can.
pub fn refusals(old: &Loaded, new: &Loaded) -> Vec<Problem> {
    let mut refusals = Refusals { new, list: Vec::new() };
    let lines = &new.lines;
    refusals.changed(
        lines.admin,
        "[admin]: `socket`",
        &old.admin_socket.display(),
        &new.admin_socket.display(),
    );
    refusals.changed(lines.metrics, "[metrics]: `listen`", &old.metrics, &new.metrics);
    let workers = (old.plan.media_workers, new.plan.media_workers);
    refusals.changed(lines.media, "[media]: `workers`", &workers.0, &workers.1);
    let transcoders = (old.plan.transcoders, new.plan.transcoders);
    refusals.changed(lines.media, "[media]: `transcoders`", &transcoders.0, &transcoders.1);
    refusals.changed(lines.media, "[media]: `engine`", &old.media_engine, &new.media_engine);
    refusals.changed(lines.media, "[media]: `offload`", &old.media_offload, &new.media_offload);
    refusals.changed(
        lines.state,
        "[state]: `directory`",
        &old.state.display(),
        &new.state.display(),
    );
    if old.log != new.log {
        refusals.refuse(lines.log, "[log] cannot change".to_owned());
    }
    refusals.list
}

struct Refusals<'a> {
    new: &'a Loaded,
    list: Vec<Problem>,
}

impl Refusals<'_> {
    fn refuse(&mut self, line: u32, message: String) {
        self.list.push(Problem {
            file: self.new.lines.file.clone(),
            line,
            message: format!("{message} without a restart"),
            hint: None,
        });
    }

    fn changed(&mut self, line: u32, what: &str, old: &dyn Display, new: &dyn Display) {
        let (old, new) = (old.to_string(), new.to_string());
        if old != new {
            self.refuse(line, format!("{what} cannot change from {old} to {new}"));
        }
    }
}
